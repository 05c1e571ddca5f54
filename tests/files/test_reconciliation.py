"""Two contents come together though of their common base only digests are known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.files.test_merge import cell, notebook, text
from ydoc_exec.files.merge import merge
from ydoc_exec.files.reconciliation import WHOLE, Reconciled, digests, reconcile

Notebook = dict[str, Any]


def together(base: Any, ours: Any, theirs: Any, **options: Any) -> Reconciled:
    return reconcile(digests(base), ours, theirs, **options)


def sources(content: Notebook) -> dict[str, str]:
    return {cell["id"]: cell["source"] for cell in content["cells"]}


AB = notebook(cell("a", "a"), text("b", "b"))


def test_a_side_that_has_not_changed_takes_the_other() -> None:
    changed = notebook(cell("x", "new"), text("b", "changed"), k=1)
    assert together(AB, AB, changed) == Reconciled(changed, ())
    assert together(AB, changed, AB) == Reconciled(changed, ())


def test_changes_in_other_cells_are_all_there() -> None:
    ours = notebook(cell("a", "ours"), text("b", "b"), cell("c", "c"))
    theirs = notebook(cell("0", "0"), cell("a", "a"), text("b", "theirs"))
    result = together(AB, ours, theirs)
    assert sources(result.content) == {"0": "0", "a": "ours", "b": "theirs", "c": "c"}
    assert [cell["id"] for cell in result.content["cells"]] == ["0", "a", "b", "c"]
    assert result.conflicts == ()


def test_the_same_cell_changed_on_both_sides_is_a_conflict() -> None:
    result = together(AB, notebook(cell("a", "ours"), text("b", "b")), notebook(cell("a", "theirs")))
    assert result == Reconciled(notebook(cell("a", "ours")), ("a",))


def test_the_same_change_on_both_sides_is_none() -> None:
    changed = notebook(cell("a", "same"), text("b", "b"))
    assert together(AB, changed, changed) == Reconciled(changed, ())


def test_a_cell_that_one_deleted_and_the_other_changed_stays() -> None:
    result = together(AB, notebook(cell("a", "a")), notebook(cell("a", "a"), text("b", "changed")))
    assert sources(result.content) == {"a": "a", "b": "changed"}


def test_without_a_base_nothing_is_deleted_and_what_differs_is_a_conflict() -> None:
    result = reconcile({}, notebook(cell("a", "1"), cell("b", "")), notebook(cell("a", "2"), cell("c", "")))
    assert sources(result.content) == {"a": "1", "b": "", "c": ""}
    assert result.conflicts == ("a",)


@pytest.mark.parametrize("take", [False, True])
@pytest.mark.parametrize("known", [digests(notebook(cell("a"))), {}], ids=["with a base", "without"])
def test_results_are_of_the_side_that_is_said_to_have_the_newer(known: dict[str, str], take: bool) -> None:
    ours, theirs = notebook(cell("a", "", 1)), notebook(cell("a", "", 2))
    expected = Reconciled(theirs, ()) if take else Reconciled(ours, (), ("a",))
    assert reconcile(known, ours, theirs, take_results=take) == expected
    assert reconcile(known, ours, theirs, ("a",), take_results=take) == Reconciled(ours, (), ("a",))


def test_neither_a_run_nor_trust_changes_a_digest() -> None:
    ran = cell("a", "", 3, metadata={"trusted": True, "execution": {"iopub.status.busy": "now"}})
    assert digests(notebook(ran)) == digests(notebook(cell("a", "")))


def test_who_moved_cells_leads() -> None:
    moved = notebook(text("b", "b"), cell("a", "a"))
    assert together(AB, AB, moved) == Reconciled(moved, ())
    assert together(AB, moved, AB) == Reconciled(moved, ())


def test_cells_that_cannot_be_told_apart() -> None:
    twice = notebook(cell("a", "1"), cell("a", "2"))
    assert together(AB, AB, twice) == Reconciled(AB, (WHOLE,))


@pytest.mark.parametrize(
    "ours, theirs, expected, conflicts",
    [("x", "x", "x", ()), ("x", "y", "y", ()), ("y", "x", "y", ()), ("y", "z", "y", (WHOLE,))],
)
def test_text(ours: str, theirs: str, expected: str, conflicts: tuple[str, ...]) -> None:
    assert together("x", ours, theirs) == Reconciled(expected, conflicts)


names = st.sampled_from("abcdef")
cells = st.builds(cell, names, st.sampled_from(["", "1", "2", "3"]), st.sampled_from([None, 1, 2]))
notebooks = st.lists(cells, max_size=5, unique_by=lambda cell: cell["id"]).map(lambda some: notebook(*some))


@given(notebooks, notebooks, notebooks)
def test_it_is_what_the_merge_with_the_base_itself_gives(
    base: Notebook, ours: Notebook, theirs: Notebook
) -> None:
    """What somebody wrote, that is: for the order, a base of which neither side has the order is not known."""
    exact = merge(_without_results(base), _without_results(ours), _without_results(theirs))
    assert exact is not None
    result = together(base, _without_results(ours), _without_results(theirs))
    assert sources(result.content) == sources(exact.content)
    assert set(result.conflicts) == set(exact.conflicts)


@given(notebooks, notebooks, notebooks, st.booleans())
def test_nothing_is_lost_in_silence(base: Notebook, ours: Notebook, theirs: Notebook, take: bool) -> None:
    result = together(base, ours, theirs, take_results=take)
    known, there = sources(base), sources(result.content)
    for side in (ours, theirs):
        for name, source in sources(side).items():
            if known.get(name) != source:
                assert there.get(name) == source or name in result.conflicts
    assert len(there) == len(result.content["cells"])


def _without_results(content: Notebook) -> Notebook:
    return {
        **content,
        "cells": [{**cell, "outputs": [], "execution_count": None} for cell in content["cells"]],
    }


@pytest.mark.parametrize("take", [False, True])
def test_a_code_cell_that_one_side_has_made_text_of_keeps_results_if_it_stays_code(take: bool) -> None:
    code, markdown = notebook(cell("a", "ours", 1)), notebook(text("a", "theirs"))
    result = reconcile({}, code, markdown, take_results=take)
    assert result.content == code
    assert result.conflicts == ("a",)
