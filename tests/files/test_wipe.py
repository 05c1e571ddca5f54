"""What is a wipe, and what is somebody working."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.files.wipe import LEAST_CHARACTERS, is_emptied, is_wipe, would_empty

LONG = "\n".join(f"value_{n} = compute(rows[{n}], columns={n})" for n in range(20))
"""A cell's text that nobody would want to write again."""

OTHER = "# All of the fishes\n" + "Most of the fishes that are seen here swim in the open sea.\n" * 12


def cell(source: str | list[str], outputs: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": outputs or [], "metadata": {}, **more}


def notebook(*cells: str | dict[str, Any]) -> dict[str, Any]:
    return {
        "cells": [
            {"id": f"cell-{index}"} | (cell(one) if isinstance(one, str) else one)
            for index, one in enumerate(cells)
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def long(number: int) -> str:
    """Another one for each number."""
    return LONG.replace("value", f"name{number}").replace("compute", f"make{number}")


def without(content: dict[str, Any], *positions: int) -> dict[str, Any]:
    cells = [one for index, one in enumerate(content["cells"]) if index not in positions]
    return {**content, "cells": cells}


PRINTED = [{"output_type": "stream", "name": "stdout", "text": "something\n" * 100}]
BLANK = notebook(cell("", id="new"))
FOUR = notebook(*map(long, range(4)))


@pytest.mark.parametrize(
    "before, after",
    [
        (FOUR, BLANK),
        (FOUR, notebook()),
        (FOUR, notebook(cell(" \n\t", id="new"), cell("", id="newer"))),
        (notebook("a", "b"), BLANK),  # all of several cells, however short
        (FOUR, without(FOUR, 0, 1, 2)),
        (FOUR, notebook(long(0), "", "", "")),
        (FOUR, notebook(*(OTHER.replace("the", f"the {n}") for n in range(4)))),
        (notebook(LONG), BLANK),
        (notebook(LONG), notebook("x = 1")),
        (notebook(cell("", PRINTED), cell("", PRINTED)), BLANK),
        (LONG, ""),
        (LONG, LONG[:100]),
        (LONG, "\n" * len(LONG)),
        (b"x" * 500, b""),
    ],
)
def test_a_wipe(before: Any, after: Any) -> None:
    assert is_wipe(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        (FOUR, FOUR),
        (BLANK, notebook()),
        (notebook(), notebook()),
        (notebook(), FOUR),
        (FOUR, without(FOUR, 2)),  # one cell cut
        (without(FOUR, 2), FOUR),  # and pasted
        (FOUR, without(FOUR, 0, 1)),
        (notebook(LONG, "x"), notebook("", "x")),  # one of two, the longer one
        (notebook(LONG, "x"), without(notebook(LONG, "x"), 0)),
        (notebook("x = 1"), BLANK),
        (notebook("a", "b", "c"), without(notebook("a", "b", "c"), 0, 1)),
        (FOUR, notebook(*map(long, (3, 1, 0, 2)))),  # moved
        (FOUR, notebook("\n".join(map(long, range(4))))),  # joined
        (notebook(LONG), notebook(*LONG.splitlines())),  # split
        (FOUR, notebook(*(cell(long(n), id=f"pasted-{n}") for n in range(4)))),  # cut and pasted
        (FOUR, notebook(*(long(n).replace("rows", "lines") for n in range(4)))),  # renamed everywhere
        (FOUR, notebook(*(long(n).replace(", ", ",\n    ") for n in range(4)))),  # formatted
        (FOUR, notebook(*(cell(long(n), cell_type="markdown") for n in range(4)))),
        (notebook(cell(LONG, PRINTED), cell("b", PRINTED)), notebook(LONG, "b")),  # all outputs cleared
        (notebook(LONG), notebook(long(1))),  # another text in its place
        (LONG, long(1)),
        (LONG, LONG[len(LONG) // 3 :]),
        ("x = 1", ""),
        ("", LONG),
        (b"", b"x"),
        (b"x" * 10, b""),
    ],
)
def test_no_wipe(before: Any, after: Any) -> None:
    assert not is_wipe(before, after)


def test_lines_of_files_are_joined_or_not() -> None:
    lines = notebook(*(cell(long(n).splitlines(keepends=True)) for n in range(4)))
    assert not is_wipe(FOUR, lines)
    assert is_wipe(lines, BLANK)


@pytest.mark.parametrize("content", [notebook(), BLANK, notebook(" \n", "\t"), "", " \n", b"", None])
def test_emptied(content: Any) -> None:
    assert is_emptied(content)


@pytest.mark.parametrize(
    "content",
    [
        notebook("x"),
        notebook("", "", "."),
        notebook(cell("", PRINTED)),
        notebook(cell("_", cell_type="markdown")),
        "x",
        b"\0",
    ],
)
def test_not_emptied(content: Any) -> None:
    assert not is_emptied(content)
    assert would_empty(content, notebook())
    assert not would_empty(content, content)
    assert not would_empty(notebook(), content)


def test_nothing_may_be_saved_over_nothing() -> None:
    assert not would_empty(BLANK, notebook())


contents = st.lists(
    st.text("abc \n.", max_size=12) | st.sampled_from([long(n) for n in range(6)]), max_size=8
).map(lambda sources: notebook(*sources))


@given(contents, st.randoms(use_true_random=False))
def test_moving_cells_is_never_a_wipe(before: dict[str, Any], shuffler: random.Random) -> None:
    after = {**before, "cells": shuffler.sample(before["cells"], len(before["cells"]))}
    assert not is_wipe(before, after)


@given(contents, contents)
def test_adding_is_never_a_wipe(before: dict[str, Any], more: dict[str, Any]) -> None:
    added = [{**one, "id": f"more-{index}"} for index, one in enumerate(more["cells"])]
    assert not is_wipe(before, {**before, "cells": [*added, *before["cells"]]})


@given(contents)
def test_what_empties_several_cells_is_always_a_wipe(before: dict[str, Any]) -> None:
    several = len([one for one in before["cells"] if one["source"].strip()]) > 1
    longer = sum(len("".join(one["source"].split())) for one in before["cells"]) >= LEAST_CHARACTERS
    assert is_wipe(before, BLANK) == (several or longer)


@given(contents, contents)
def test_a_wipe_takes_most_of_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Whoever is told of a wipe finds that more than half of the cells are not what they were."""
    if is_wipe(before, after):
        same = [one for one in before["cells"] if one["source"].strip() and one in after["cells"]]
        assert 2 * len(same) < len([one for one in before["cells"] if one["source"].strip()])
