"""Which files are versions of a document, and which only have its name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.files.namesake import is_namesake


def notebook(*cells: tuple[str | None, str]) -> dict[str, Any]:
    return {
        "cells": [
            {"cell_type": "code", "source": source} | ({} if name is None else {"id": name})
            for name, source in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


OLD = notebook(("a", "import os"), ("b", "x = 1"), ("c", ""))


@pytest.mark.parametrize(
    "file",
    [
        OLD,
        notebook(("a", "rewritten")),
        notebook(("new", "first"), ("a", ""), ("other", "last")),
        notebook(("d", "import os"), ("e", "x = 1")),
        notebook((None, "import os"), (None, "y = 2")),
        notebook(("d", "  x = 1\n")),
        notebook(("c", "")),
    ],
    ids=["same", "rewritten", "around it", "other ids", "no ids", "white space", "emptied"],
)
def test_versions(file: dict[str, Any]) -> None:
    assert not is_namesake(OLD, file)


@pytest.mark.parametrize(
    "file",
    [
        notebook(("z", "")),
        notebook(),
        notebook(("z", "print('another')")),
        notebook(("x", "import os"), ("y", "something else"), ("z", "print('another')")),
        notebook((None, "nothing of it")),
    ],
    ids=["new notebook", "no cells", "another", "one line in common", "no ids"],
)
def test_other_notebooks(file: dict[str, Any]) -> None:
    assert is_namesake(OLD, file)


def test_a_document_of_blanks_is_in_the_way_of_nothing() -> None:
    assert not is_namesake(notebook(("a", "")), notebook(("z", " \n")))
    assert is_namesake(notebook(("a", "")), notebook(("z", "x = 1")))


def test_texts() -> None:
    old = "one\ntwo\nthree\n"
    assert not is_namesake(old, "one\ntwo\nfour\n")
    assert not is_namesake(old, "\n  three")
    assert not is_namesake("", "\n")
    assert is_namesake(old, "")
    assert is_namesake(old, "one\nfour\nfive")
    assert is_namesake(old, "quite another")


names = st.text("abc", min_size=1, max_size=2)
notebooks = st.lists(st.tuples(names, st.text("xyz \n", max_size=4)), max_size=6).map(
    lambda cells: notebook(*cells)
)


@given(notebooks)
def test_nothing_is_a_namesake_of_itself(content: dict[str, Any]) -> None:
    assert not is_namesake(content, content)


@given(notebooks, st.text("xyz", max_size=4))
def test_adding_a_cell_or_changing_all_texts_makes_no_other_notebook(
    content: dict[str, Any], text: str
) -> None:
    if content["cells"]:
        changed = {**content, "cells": [{**cell, "source": text} for cell in content["cells"]]}
        assert not is_namesake(content, changed)
        more = {**content, "cells": [{"id": "new", "source": text}, *content["cells"]]}
        assert not is_namesake(content, more)


@given(notebooks, st.text("xyz", min_size=1, max_size=4))
def test_a_new_notebook_is_one(content: dict[str, Any], text: str) -> None:
    assert is_namesake(content, notebook(("new", f"{text}, which is not there")))
