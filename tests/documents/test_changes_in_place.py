"""Changes that come from the file, beside what tabs do to the same cells at the same time."""

from __future__ import annotations

import copy
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from tests.notebooks import Cell, cell, notebook, shared
from ydoc_exec.documents.cell_order import longest_ascending
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


def test_a_cell_is_moved_past_others() -> None:
    """Only that one is made anew, so what is typed into the others meanwhile stays."""
    names = ["a", "b", "c", "d"]
    for start in range(4):
        for end in range(4):
            document = shared(*(cell(name, name) for name in names))
            tab, before = tab_of(document), cell_items(document)
            for item in tab.ycells:
                item["source"].insert(1, "!")
            moved = [name for name in names if name != names[start]]
            moved.insert(end, names[start])
            change(document, *(cell(name, name) for name in moved))
            assert len(cell_items(document) & before) >= 3
            assert len([source for source in meet(document, tab) if "!" in source]) >= 3


@given(st.permutations(range(8)), st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefgh")))
def test_cells_are_brought_into_any_order(places: list[int], names: list[str], gone: set[str]) -> None:
    before = names[:6]
    after = [name for name in (names[place] for place in places) if name not in gone] or ["a"]
    document = shared(*(cell(name, name) for name in before))
    items = cell_items(document)
    change(document, *(cell(name, name) for name in after))
    there = [after.index(name) for name in before if name in after]
    assert len(cell_items(document) & items) == len(longest_ascending(there))


@given(st.permutations(range(7)))
def test_the_longest_ascending_selection(places: list[int]) -> None:
    found = longest_ascending(places)
    ordered = [place for place in places if place in found]
    assert ordered == sorted(ordered)
    longer = combinations(places, len(found) + 1)
    assert not any(list(other) == sorted(other) for other in longer)
