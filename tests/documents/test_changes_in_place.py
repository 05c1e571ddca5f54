"""Changes that come from the file, beside what tabs do to the same cells at the same time."""

from __future__ import annotations

import copy
from typing import Any

from jupyter_ydoc import YNotebook
from pycrdt import Doc

from tests.notebooks import Cell, cell, notebook, shared
from ydoc_exec.documents.document_types import become
from ydoc_exec.documents.union import cell_items


def tab_of(document: YNotebook) -> YNotebook:
    doc: Doc[Any] = Doc()
    doc.apply_update(document.ydoc.get_update())
    return YNotebook(doc)


def meet(one: YNotebook, other: YNotebook) -> list[str]:
    """Exchange everything; the sources both have then."""
    one.ydoc.apply_update(other.ydoc.get_update(one.ydoc.get_state()))
    other.ydoc.apply_update(one.ydoc.get_update(other.ydoc.get_state()))
    sources = [str(item["source"]) for item in one.ycells]
    assert sources == [str(item["source"]) for item in other.ycells]
    return sources


def change(document: YNotebook, *cells: Cell) -> bool:
    """Let it become a notebook of these cells; whether each cell was changed where it is."""
    before = cell_items(document)
    with document.ydoc.transaction():
        become(document, copy.deepcopy({**document.get(), "cells": list(cells)}))
    assert document.get()["cells"] == list(cells)
    return cell_items(document) == before


def stream(text: str) -> Cell:
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_what_is_typed_meanwhile_stays_where_it_was_typed() -> None:
    document = shared(cell("a", "one two three"))
    tab = tab_of(document)
    tab.ycells[0]["source"].insert(4, "and ")
    assert change(document, cell("a", "1 one two three!"))
    assert meet(document, tab) == ["1 one and two three!"]


def test_other_streams_leave_the_cell_where_it_is() -> None:
    document = shared(cell("a", "one", outputs=[stream("old\n")]))
    tab = tab_of(document)
    tab.ycells[0]["source"].insert(3, "!")
    assert change(document, cell("a", "one", outputs=[stream("new\n")], execution_count=2))
    assert meet(document, tab) == ["one!"]
    assert document.get()["cells"][0]["outputs"] == [stream("new\n")]


def test_outputs_that_are_not_trusted_any_more_are_another_cells() -> None:
    page = {"output_type": "display_data", "data": {"text/html": "<p>"}, "metadata": {}}
    document = shared(cell("a", metadata={"trusted": True}, outputs=[stream("old")]))
    assert not change(document, cell("a", metadata={"trusted": False}, outputs=[page, stream("new")]))


def test_streams_of_which_two_follow_each_other_are_taken_as_they_are() -> None:
    document = shared(cell("a", outputs=[stream("old")]))
    change(document, cell("a", outputs=[stream("one"), stream("two")]))
    assert document.get() == notebook(
        cell("a", outputs=[stream("one"), stream("two")]), **document.get()["metadata"]
    )
