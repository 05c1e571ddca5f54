"""Cells without ids get ones that last."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notebooks import cell
from ydoc_exec.files.cell_ids import identify, names_as_in


def notebook(*sources: str, kind: str = "code") -> dict[str, Any]:
    return {"cells": [{"cell_type": kind, "source": source} for source in sources]}


def ids(content: dict[str, Any]) -> list[str]:
    return [cell["id"] for cell in content["cells"]]


def test_the_same_file_gives_the_same_ids() -> None:
    assert ids(identify(notebook("a", "b"), "123456789")) == ["123456-0", "123456-1"]


def test_ids_that_are_there_stay() -> None:
    content = {"cells": [{"id": "x"}, {"id": "y"}]}
    assert identify(content, "123456", [{"id": "z"}]) is content


def test_an_unchanged_cell_keeps_its_id_wherever_it_is() -> None:
    before = identify(notebook("a", "b", "c"), "111111")
    after = identify(notebook("new", "b", "c"), "222222", before["cells"])
    assert ids(after) == ["111111-0", "111111-1", "111111-2"]  # the first was edited
    longer = identify(notebook("a", "new", "b", "c"), "333333", before["cells"])
    assert ids(longer) == ["111111-0", "333333-1", "111111-1", "111111-2"]


def test_a_cell_that_is_as_another_one_that_is_there_is_that_one() -> None:
    before = identify(notebook("b", "c"), "111111")
    others = [{"id": "x", "cell_type": "code", "source": "a"}, {"id": "y", "cell_type": "code", "source": ""}]
    after = identify(notebook("a", "b", "", "a", "c", "a and more"), "222222", before["cells"], others)
    assert ids(after) == ["x", "111111-0", "222222-2", "222222-3", "111111-1", "222222-5"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (["c = 3", "a = 1", "b = 2"], [2, 0, 1]),
        (["b = 2", "c = 3", "a = 1 + 1"], [1, 2, 0]),
        (["import a", "a = 1 # first", "b = 2", "c = 3"], [None, 0, 1, 2]),
        (["print(0)", "b = 20", "a = 1"], [None, 1, 0]),
        (["", "b = 2", "", "a = 1"], [None, 1, None, 0]),
    ],
    ids=[
        "moved",
        "moved and edited",
        "edited behind a new one",
        "turned round, and one is new",
        "blank ones",
    ],
)
def test_a_cell_is_known_by_what_is_in_it(after: list[str], expected: list[int | None]) -> None:
    before = identify(notebook("a = 1", "b = 2", "c = 3"), "111111")
    found = ids(identify(notebook(*after), "222222", before["cells"]))
    assert [int(name[-1]) if name.startswith("111111") else None for name in found] == expected


def test_a_word_may_have_been_typed_by_half() -> None:
    before = identify(notebook("x", "prin", "y"), "111111")
    after = identify(notebook("x", "new", "print(1)", "y"), "222222", before["cells"])
    assert ids(after) == ["111111-0", "222222-1", "111111-1", "111111-2"]


def test_words_are_letters_where_nobody_puts_spaces_between_them() -> None:
    before = identify(notebook("東京都知事", "大阪府", "x"), "111111")
    after = identify(notebook("x", "東京の都知事"), "222222", before["cells"])
    assert ids(after) == ["111111-2", "111111-0"]


def test_a_cell_of_another_type_may_be_the_same() -> None:
    before = identify(notebook("one two"), "111111")
    assert ids(identify(notebook("one two three", kind="markdown"), "222222", before["cells"])) == [
        "111111-0"
    ]


def test_many_cells_that_are_all_others() -> None:
    before = identify(notebook(*(f"value_{n} = compute({n})" for n in range(2000))), "111111")
    after = notebook(*(f"value_{n} = compute( {n} )  # formatted" for n in reversed(range(2000))))
    found = ids(identify(after, "222222", before["cells"]))
    assert found == [f"111111-{n}" for n in reversed(range(2000))]


def test_a_cell_of_another_type_is_another_cell() -> None:
    before = identify(notebook("a"), "111111")
    assert ids(identify(notebook("b", kind="markdown"), "222222", before["cells"])) == ["222222-0"]


def test_sources_may_be_lists_of_lines() -> None:
    before = identify(notebook("a\nb"), "111111")
    after = identify({"cells": [{"cell_type": "code", "source": ["a\n", "b"]}]}, "222222", before["cells"])
    assert ids(after) == ["111111-0"]


cells = st.lists(
    st.fixed_dictionaries(
        {"cell_type": st.sampled_from(["code", "markdown"]), "source": st.sampled_from(["a", "b", "c"])},
    ),
    max_size=6,
)


@given(cells, cells, st.lists(st.booleans(), min_size=6, max_size=6), st.sampled_from(["111111", "222222"]))
def test_no_id_is_given_twice(
    before: list[dict[str, Any]], after: list[dict[str, Any]], named: list[bool], print_: str
) -> None:
    known = identify({"cells": before}, "111111")["cells"]
    mixed = [
        {**cell, "id": f"111111-{index}"} if keep else cell
        for index, (cell, keep) in enumerate(zip(after, named, strict=False))
    ]
    given_ids = ids(identify({"cells": mixed}, print_, known))
    assert len(set(given_ids)) == len(mixed)
    assert all(given_ids)
    assert [cell["source"] for cell in mixed] == [cell["source"] for cell in after]


def test_two_readings_of_one_notebook() -> None:
    before = [cell("x-0", "a"), cell("x-1", "b"), cell("kept", "c"), cell("x-3", "new")]
    after = [cell("y-0", "a"), cell("y-1", "b, changed"), cell("kept", "c, changed")]
    assert names_as_in(before, after) == {"x-0": "y-0", "x-1": "y-1"}
    assert names_as_in(after, after) == {}
