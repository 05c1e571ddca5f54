"""Results of cells as plain values: the same as in a document that nobody else touches, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.notebook.edits import change, prints, show
from tests.notebook.messages import (
    Output,
    display_ids,
    error_output,
    names,
    stream_output,
    texts,
    words,
)
from tests.notebook.test_notebook import GONE, A, B, Written
from ydoc_exec.ids import CellId
from ydoc_exec.notebook.cell_results import PIECE, CellResult, CellResults
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)


def begun(*edits: Edit, cell: CellId = A, **limits: int) -> CellResults:
    """The results of a cell that runs and has said this."""
    results = CellResults(**limits)
    results.begin(cell)
    results.apply(cell, edits)
    return results


def outputs(results: CellResults, cell: CellId = A) -> list[Output] | None:
    known = results[cell].outputs
    return None if known is None else [output.output for output in known]


long_texts = st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 1, 1, 600, 1200]))
appends = st.one_of(
    st.builds(lambda text, name: AppendOutput(stream_output(text, name)), long_texts, names),
    st.builds(show, words, st.none() | display_ids),
    st.builds(lambda word: AppendOutput(error_output(word)), words),
)
edits = st.one_of(
    st.builds(EditTail, names, texts, long_texts),
    st.builds(prints, long_texts),
    st.integers(1, 2 * PIECE),  # erase so many characters of what is there
    appends,
    st.builds(change, words, display_ids),
    st.builds(lambda count, new: ReplaceLast(count, tuple(new)), st.integers(0, 4), st.lists(appends)),
    st.just(ClearOutputs()),
)
steps = st.tuples(
    st.sampled_from([A, A, B]), st.sampled_from([None, 1, 2, 5, 8]), st.lists(edits, max_size=4)
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(steps, max_size=12))
def test_it_knows_what_the_document_shows(
    steps: list[tuple[CellId, int | None, list[Edit | int]]],
) -> None:
    written, results = Written(), CellResults()
    for cell in (A, B):
        written(written.notebook.begin, cell)
        results.begin(cell)
    for cell, count, some in steps:
        batch: list[Edit] = []
        shown = outputs(results, cell) or [{}]
        for edit in some:
            if not isinstance(edit, int):
                batch.append(edit)
            elif shown[-1].get("output_type") == "stream":
                batch.append(EditTail(shown[-1]["name"], shown[-1]["text"][-edit:], "é"))
        written.apply(*batch, cell_id=cell)
        results.apply(cell, batch)
        if count == 1:
            written(written.notebook.begin, cell)
            results.begin(cell)
        elif count is not None:
            written(written.notebook.finish, cell, count)
            results.finish(cell, count)
        for one in (A, B):
            now = written.notebook.result(one)
            assert now is not None
            assert outputs(results, one) == written.outputs(one)
            assert (results[one].execution_count, results[one].running) == (now.execution_count, now.running)
    for cell in (A, B):
        results.forget(cell)
    assert results.size == 0


def test_the_size_is_that_of_the_text() -> None:
    results = begun()
    for _ in range(3000):
        results.apply(A, [EditTail("stdout", "9" * 50, "0123456789" * 10 + "9" * 50)])
    text = "0123456789" * 10 * 3000 + "9" * 50
    assert outputs(results) == [stream_output(text)]
    assert len(text) < results.size < 1.1 * len(text)


def test_what_never_began_is_not_known() -> None:
    results = CellResults()
    results.apply(A, [prints("late"), show("late", "x")])
    results.finish(A, 3)
    results.set_timings(A, {"shell.execute_reply": "now"})
    assert A not in results
    with pytest.raises(KeyError):
        results[A]


def test_displays_of_other_cells_are_changed_by_one_that_is_not_known() -> None:
    results = begun(show("1", "x"), show("2"), show("3", "x"))
    results.apply(GONE, [change("new", "x")])
    assert results[A].outputs == (show("new", "x"), show("2"), show("new", "x"))


def test_a_display_that_went_is_not_taken_for_the_one_that_stayed() -> None:
    results = begun(show("1", "x"), show("2"), show("3", "x"), ReplaceLast(1, (show("4"),)))
    results.apply(A, [change("new", "x")])
    assert results[A].outputs == (show("new", "x"), show("2"), show("4"))


def known(results: CellResults, cells: Sequence[CellId]) -> list[CellId]:
    return [cell for cell in cells if results[cell].outputs is not None]


def test_what_is_too_much_of_one_cell_is_forgotten_until_it_is_cleared() -> None:
    results = begun(prints("x" * 4000), largest_result=5000)
    results.apply(A, [prints("y" * 1000), prints("z"), show("z", "x"), ReplaceLast(1, (show("z", "x"),))])
    results.apply(B, [ReplaceDisplay("x", {}, {})])
    assert results[A] == CellResult(None, None, True)
    assert results.size == 0
    results.apply(A, [ClearOutputs(), prints("z")])
    assert outputs(results) == [stream_output("z")]


def test_one_edit_may_be_too_much_and_the_next_may_clear_it() -> None:
    results = begun(prints("x" * 10_000), ClearOutputs(), prints("z"), largest_result=5000)
    assert outputs(results) == [stream_output("z")]


def test_a_display_that_grows_is_counted() -> None:
    results = begun(show("1", "x"), largest_result=5000)
    results.begin(B)
    results.apply(B, [change("x" * 5000, "x")])
    assert outputs(results) is None
    assert outputs(results, B) == []


def test_the_oldest_that_ended_is_forgotten_first_and_what_runs_last() -> None:
    cells = [CellId(name) for name in "abcd"]
    results = CellResults(largest_total=4 * begun(prints("x" * 2000)).size)
    for cell in cells:
        results.begin(cell)
    for cell in (cells[2], cells[0], cells[1]):
        results.apply(cell, [prints("x" * 2000)])
        results.finish(cell, 1)
    results.apply(cells[3], [prints("x" * 2000)])
    assert known(results, cells) == cells
    results.apply(cells[3], [prints("x")])
    assert known(results, cells) == [cells[0], cells[1], cells[3]]
    results.apply(cells[3], [prints("x" * 6000)])
    assert known(results, cells) == [cells[3]]
    results.apply(cells[3], [prints("x" * 4000)])
    assert known(results, cells) == []
    assert [results[cell].execution_count for cell in cells] == [1, 1, 1, None]
    assert results.size == 0


def test_what_ended_can_be_forgotten() -> None:
    results = CellResults()
    for cell in (A, B):
        results.begin(cell)
        results.apply(cell, [prints("x")])
    results.finish(A, 1)
    results.forget_ended()
    assert A not in results
    assert outputs(results, B) == [stream_output("x")]
