"""The verbs of a notebook over the shared document, without a front end."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Map, Text

from tests.notebook.messages import (
    Message,
    Output,
    display_ids,
    display_output,
    error_output,
    messages,
    much,
    names,
    result_output,
    stream_output,
    words,
)
from tests.notebooks import Cell, cell, shared
from ydoc_exec.errors import CellNotFound
from ydoc_exec.ids import CellId, RunId
from ydoc_exec.notebook.cell_view import CellView
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_limit import SMALLEST_LIMIT, OutputLimit
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.origin import FromKernel

A, B, TEXT, GONE = CellId("a"), CellId("b"), CellId("text"), CellId("gone")


class Written:
    """A notebook in its document, and how to write and read it."""

    def __init__(self, outputs: list[Output] | None = None, **code_cell: Any) -> None:
        text: Cell = {"cell_type": "markdown", "id": TEXT, "source": "# 1", "metadata": {"tags": ["t"]}}
        self.document = shared(
            cell(A, "é = 1", **{"outputs": outputs or [], **code_cell}),
            text,
            cell(B, "é = 1", **{**code_cell, "metadata": {"tags": ["one", "two"]}}),
        )
        self.document.path = "some.ipynb"
        self.document.undo_manager.clear()
        self.notebook = Notebook(self.document)

    def __call__(self, verb: Callable[..., Any], *args: Any) -> Any:
        """Call a verb in a transaction of its own."""
        with self.document.ydoc.transaction(origin=FromKernel()):
            return verb(*args)

    def apply(self, *edits: Edit, cell_id: CellId = A) -> bool:
        result: bool = self(self.notebook.apply, cell_id, edits)
        return result

    def ycell(self, cell_id: CellId = A) -> Map[Any]:
        cell: Map[Any] = self.document.ycells[self.notebook.order().index(cell_id)]
        return cell

    def outputs(self, cell_id: CellId = A) -> list[Output]:
        cells = {cell["id"]: cell for cell in self.document.get()["cells"]}
        outputs: list[Output] = cells[cell_id]["outputs"]
        return outputs

    def unwritten(self, action: Callable[[], Any]) -> bool:
        """Whether the action leaves no trace at all in the document's history."""
        events: list[Any] = []
        subscription = self.document.ydoc.observe(events.append)
        self(action)
        self.document.ydoc.unobserve(subscription)
        return events == []


@pytest.fixture
def written() -> Written:
    return Written()


def shown(text: str, display_id: str) -> ReplaceDisplay:
    return ReplaceDisplay(display_id, {"text/plain": text}, {"updated": True})


def new(output: Output, display_id: str | None = None) -> AppendOutput:
    return AppendOutput(output, display_id)


def last(count: int, *outputs: Output) -> ReplaceLast:
    return ReplaceLast(count, tuple(AppendOutput(output) for output in outputs))


# Reading


def test_cells_are_looked_up_wherever_they_are(written: Written) -> None:
    assert written.notebook.order() == [A, TEXT, B]
    expected = CellView(B, "code", "é = 1", ("one", "two"))
    assert written.notebook.cell(B) == expected
    written.document.ycells.pop(0)
    assert written.notebook.cell(B) == expected
    assert written.notebook.cell(TEXT) == CellView(TEXT, "markdown", "# 1", ("t",))
    assert written.notebook.order() == [TEXT, B]
    with pytest.raises(CellNotFound, match=r"some\.ipynb"):
        written.notebook.cell(A)


# A run


def test_begin_and_finish() -> None:
    written = Written(
        outputs=[stream_output("old")], execution_count=3, metadata={"execution": {"shell": "t"}, "tags": []}
    )
    assert written(written.notebook.begin, A)
    assert written.ycell().to_py() == {
        "id": A,
        "cell_type": "code",
        "source": "é = 1",
        "metadata": {"tags": [], "trusted": True},
        "outputs": [],
        "execution_count": None,
        "execution_state": "running",
    }
    assert written(written.notebook.finish, A, 4)
    assert (written.ycell()["execution_count"], written.ycell()["execution_state"]) == (4, "idle")
    assert written(written.notebook.begin, A)
    assert written(written.notebook.finish, A, None)
    assert (written.ycell()["execution_count"], written.ycell()["execution_state"]) == (None, "idle")


def test_what_does_not_change_is_not_written(written: Written) -> None:
    notebook = written.notebook
    written(notebook.reset_live)
    written(notebook.begin, A)
    written.apply(new(display_output("1"), "x"), new(stream_output("a")))
    written(notebook.set_run, A, {"seq": 1})
    assert written.unwritten(lambda: notebook.set_state(A, "running"))
    assert written.unwritten(lambda: notebook.set_run(A, {"seq": 1}))
    assert written.unwritten(lambda: notebook.set_run(B, None))
    assert written.unwritten(lambda: notebook.set_kernel(None))
    assert written.unwritten(lambda: notebook.apply(A, []))
    assert written.unwritten(lambda: notebook.apply(A, [EditTail("stdout", "", "")]))
    assert written.unwritten(lambda: notebook.apply(A, [ReplaceDisplay("x", {"text/plain": "1"}, {})]))
    assert written.unwritten(lambda: notebook.apply(A, [shown("2", "y")]))
    assert written.unwritten(lambda: notebook.apply(B, [ClearOutputs()]))
    assert not written.unwritten(lambda: notebook.begin(B))
    assert written.unwritten(lambda: notebook.begin(B))


@pytest.mark.parametrize("cell_id", [GONE, TEXT])
def test_a_cell_that_cannot_run_is_left_alone(written: Written, cell_id: CellId) -> None:
    before = written.document.get()
    notebook = written.notebook
    assert written.unwritten(lambda: notebook.begin(cell_id))
    assert not written(notebook.begin, cell_id)
    assert not written(notebook.set_state, cell_id, "running")
    assert not written(notebook.finish, cell_id, 1)
    assert not written.apply(new(stream_output("a")), EditTail("stdout", "", "b"), cell_id=cell_id)
    assert written.document.get() == before


# Outputs


def test_all_outputs_make_a_valid_notebook(written: Written) -> None:
    outputs = [
        stream_output("é█😀"),
        stream_output("no", "stderr"),
        display_output("1"),
        result_output("2", 5),
        error_output("E"),
    ]
    written(written.notebook.begin, A)
    written(written.notebook.reset_live)
    written(written.notebook.set_kernel, {"id": "k", "status": "busy"})
    assert written.apply(*[new(output) for output in outputs])
    written(written.notebook.finish, A, 5)
    assert written.outputs() == outputs
    assert isinstance(written.ycell()["outputs"][0]["text"], Text)
    nbformat.validate(written.document.get())
    assert not written.document.undo_manager.can_undo()


@pytest.mark.parametrize(
    ("batches", "outputs"),
    [
        (
            [
                [new(stream_output("é 1%"))],
                [EditTail("stdout", "1%", "2%")],
                [EditTail("stdout", "2%", "😀")],
            ],
            [stream_output("é 😀")],
        ),
        (
            [[new(stream_output("ab"))], [EditTail("stdout", "b", ""), EditTail("stdout", "a", "c")]],
            [stream_output("c")],
        ),
        (
            [[new(stream_output("ab"))], [EditTail("stdout", "", "cd"), EditTail("stdout", "bcd", "x")]],
            [stream_output("ax")],
        ),
        ([[new(stream_output("ab")), EditTail("stdout", "b", "x")]], [stream_output("ax")]),
        (
            [[new(stream_output("a"))], [ClearOutputs(), new(stream_output("b"))]],
            [stream_output("b")],
        ),
        (
            [[new(stream_output("a"))], [EditTail("stdout", "a", "b"), ClearOutputs()]],
            [],
        ),
        # what never comes from one reducer, but can come from two, or after somebody else's edit
        ([[new(stream_output("a"))], [new(stream_output("b"))]], [stream_output("ab")]),
        ([[new(stream_output("a"))], [EditTail("stdout", "xyz", "b")]], [stream_output("ab")]),
        (
            [[new(stream_output("a"))], [EditTail("stderr", "x", "b")]],
            [stream_output("a"), stream_output("b", "stderr")],
        ),
        ([[EditTail("stdout", "a", "b")]], [stream_output("b")]),
        ([[EditTail("stdout", "a", "")]], []),
        (
            [[new(stream_output("xa"))], [EditTail("stdout", "", "b"), EditTail("stdout", "xa", "c")]],
            [stream_output("xabc")],
        ),
        # the last outputs are replaced
        (
            [[new(stream_output("a")), new(display_output("1"))], [last(1, display_output("2"))]],
            [stream_output("a"), display_output("2")],
        ),
        (
            [[new(stream_output("a")), new(display_output("1"))], [last(2, stream_output("b"))]],
            [stream_output("b")],
        ),
        (
            [[new(stream_output("a")), new(display_output("1"))], [last(1, stream_output("b"))]],
            [stream_output("ab")],
        ),
        ([[new(stream_output("a"))], [last(5, display_output("2"))]], [display_output("2")]),
        ([[last(5, display_output("2"))]], [display_output("2")]),
        (
            [[new(display_output("1"))], [new(display_output("2")), last(2, display_output("3"))]],
            [display_output("3")],
        ),
        (
            [[new(stream_output("a"))], [EditTail("stdout", "", "b"), last(1, stream_output("c"))]],
            [stream_output("c")],
        ),
        (
            [
                [new(stream_output("ab")), new(display_output("1")), new(stream_output("c"))],
                [last(2), EditTail("stdout", "b", "x"), new(display_output("2"))],
            ],
            [stream_output("ax"), display_output("2")],
        ),
    ],
)
def test_apply(written: Written, batches: list[list[Edit]], outputs: list[Output]) -> None:
    for batch in batches:
        assert written.apply(*batch)
    assert written.outputs() == outputs


_texts = st.text(alphabet="ab😀", max_size=3)
_appended = st.one_of(
    st.builds(lambda text, name: new(stream_output(text, name)), _texts, names),
    st.builds(lambda text, display_id: new(display_output(text), display_id), words, display_ids),
)
_edits: st.SearchStrategy[Edit] = st.one_of(
    _appended,
    st.builds(EditTail, names, _texts, _texts),
    st.builds(ReplaceLast, st.integers(0, 4), st.lists(_appended, max_size=3).map(tuple)),
    st.builds(shown, words, display_ids),
    st.just(ClearOutputs()),
)


def carry_out(outputs: list[tuple[Output, str | None]], edit: Edit) -> None:
    """What an edit means, in a list."""
    match edit:
        case ClearOutputs():
            outputs.clear()
        case ReplaceDisplay(display_id, data, metadata):
            for output, own_id in outputs:
                if own_id == display_id:
                    output.update(data=data, metadata=metadata)
        case EditTail(name, erase, append):
            if outputs and outputs[-1][0].get("name") == name:
                text = outputs[-1][0]["text"]
                outputs[-1][0]["text"] = text.removesuffix(erase) + append
            elif append:
                outputs.append((stream_output(append, name), None))
        case AppendOutput(output, own_id):
            if outputs and output["output_type"] == "stream" and outputs[-1][0].get("name") == output["name"]:
                outputs[-1][0]["text"] += output["text"]
            else:
                outputs.append((dict(output), own_id))
        case ReplaceLast(count, instead):
            del outputs[max(len(outputs) - count, 0) :]
            for one in instead:
                carry_out(outputs, one)


@settings(max_examples=300, deadline=None)
@given(batches=st.lists(st.lists(_edits, max_size=5), max_size=10))
def test_any_edits_in_any_batches(batches: list[list[Edit]]) -> None:
    written = Written()
    outputs: list[tuple[Output, str | None]] = []
    for batch in batches:
        written.apply(*batch)
        for edit in batch:
            carry_out(outputs, edit)
        assert written.outputs() == [output for output, _ in outputs]
    nbformat.validate(written.document.get())


def clear_by_hand(outputs: Array[Any]) -> None:
    outputs.clear()


def remove_one(outputs: Array[Any]) -> None:
    if len(outputs):
        del outputs[len(outputs) // 2]


def add_one(outputs: Array[Any]) -> None:
    outputs.append(Map(display_output("by hand")))


def replace_last(outputs: Array[Any]) -> None:
    if len(outputs):
        outputs.pop()
    outputs.append(Map({**stream_output("by hand"), "text": Text("by hand")}))


def cut_text(outputs: Array[Any]) -> None:
    if len(outputs) and outputs[0]["output_type"] == "stream":
        del outputs[0]["text"][:]


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            messages, much, st.sampled_from([clear_by_hand, remove_one, add_one, replace_last, cut_text])
        ),
        max_size=30,
    )
)
def test_whatever_clients_do_to_outputs_that_are_cut_nothing_raises(
    steps: list[Message | Callable[[Array[Any]], None]],
) -> None:
    written, reducer, limit = Written(), OutputReducer(), OutputLimit(SMALLEST_LIMIT)
    for step in steps:
        if callable(step):
            with written.document.ydoc.transaction(origin="a client"):
                step(written.ycell()["outputs"])
        else:
            reducer.feed(step)
            assert written.apply(*limit.pass_on(reducer.take()))
    assert written.apply(*limit.last())
    nbformat.validate(written.document.get())


def test_a_kernel_may_send_what_no_document_can_hold(written: Written) -> None:
    data = {
        "application/json": [2**53, 2**53 + 1, 2**70, 10**400, True, 1.5, None, inf],
        "text/plain": "\udc80",
    }
    written.apply(new({"output_type": "display_data", "data": data, "metadata": {"\ud800": {}}}, "x"))
    expected = [2**53, 2**53, 2**70, str(10**400), True, 1.5, None, "inf"]
    assert written.outputs() == [
        {
            "output_type": "display_data",
            "data": {"application/json": expected, "text/plain": "\ufffd"},
            "metadata": {"\ufffd": {}},
        }
    ]


def test_streams_of_old_documents(written: Written) -> None:
    lines = {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]}
    written.ycell()["outputs"].extend([Map(display_output("1")), lines])
    written.apply(EditTail("stdout", "b", "c"))
    assert written.outputs() == [display_output("1"), stream_output("a\nc")]


# Displays


def test_a_display_is_replaced_wherever_it_is(written: Written) -> None:
    written.apply(new(display_output("1"), "x"), new(stream_output("é")), new(result_output("2"), "x"))
    written.apply(new(display_output("3"), "y"), new(display_output("4"), "x"), cell_id=B)
    written.apply(shown("5", "x"), EditTail("stdout", "", "no"), cell_id=B)
    updated = {"data": {"text/plain": "5"}, "metadata": {"updated": True}}
    assert written.outputs(A) == [
        display_output("5", True),
        stream_output("é"),
        {**result_output("2"), **updated},
    ]
    assert written.outputs(B) == [display_output("3"), display_output("5", True), stream_output("no")]
    # and again: the new outputs have the ids of those they replaced
    assert not written.apply(shown("6", "x"), shown("7", "y"), cell_id=GONE)
    assert written.outputs(A)[0] == display_output("6", True)
    assert written.outputs(B)[:2] == [display_output("7", True), display_output("6", True)]


def test_text_and_display_in_one_batch(written: Written) -> None:
    written.apply(new(display_output("1"), "x"), new(stream_output("10%")))
    written.apply(EditTail("stdout", "10%", "20%"), shown("2", "x"), EditTail("stdout", "20%", "█"))
    assert written.outputs() == [display_output("2", True), stream_output("█")]
    written.apply(new(display_output("3"), "y"), shown("4", "y"), new(display_output("5"), "y"))
    assert written.outputs()[2:] == [display_output("4", True), display_output("5")]


def test_ids_survive_a_client_that_replaces_an_output(written: Written) -> None:
    written.apply(new(display_output("1"), "x"), new(display_output("2"), "y"))
    outputs = written.ycell()["outputs"]
    with written.document.ydoc.transaction(origin="a client"):
        del outputs[0]
        outputs.insert(0, Map(display_output("1 and a picture")))
    written.apply(shown("3", "x"))
    assert written.outputs() == [display_output("3", True), display_output("2")]


def test_ids_are_forgotten_when_a_client_changes_the_number_of_outputs(written: Written) -> None:
    written.apply(new(display_output("1"), "x"), new(display_output("2"), "y"))
    with written.document.ydoc.transaction(origin="a client"):
        del written.ycell()["outputs"][0]
    written.apply(shown("3", "x"), shown("3", "y"), new(display_output("4"), "x"))
    assert written.outputs() == [display_output("2"), display_output("4")]
    written.apply(shown("5", "x"))
    assert written.outputs() == [display_output("2"), display_output("5", True)]


def test_ids_leave_with_a_new_run_and_with_the_cell(written: Written) -> None:
    written.apply(new(display_output("1"), "x"))
    written.apply(new(display_output("2"), "x"), cell_id=B)
    written(written.notebook.begin, A)
    with written.document.ydoc.transaction(origin="a client"):
        del written.document.ycells[2]
    written.apply(new(display_output("3")), shown("4", "x"))
    assert written.outputs() == [display_output("3")]


# Live state


def test_live_state_comes_and_goes(written: Written) -> None:
    notebook, document = written.notebook, written.document
    saved = document.get()
    assert notebook.runs() == {}
    written(notebook.queue_runs, {A: {"state": "queued", "seq": 1}})
    written(notebook.reset_live)
    written(notebook.set_state, A, "running")
    written(notebook.queue_runs, {A: {"state": "queued", "seq": 2, "queued_at": "noon"}})
    written(notebook.queue_runs, {B: {"state": "queued", "seq": 3, "queued_at": "later"}})
    written(notebook.set_run, A, {"state": "running", "seq": 2})
    written(notebook.set_kernel, {"id": "k", "status": "idle"})
    live = document.ydoc.get("execution", type=Map)
    running, queued = {"state": "running", "seq": 2}, {"state": "queued", "seq": 3}
    kernel = {"id": "k", "status": "idle"}
    runs = {A: running, B: queued | {"queued_at": "later"}}
    assert notebook.runs() == runs
    assert live.to_py() == {"now": {"kernel": kernel, "runs": runs, "since": "noon", "total": 2}}
    assert document.get() == saved
    written(notebook.set_run, A, None)
    assert notebook.runs() == {B: runs[B]}
    written(notebook.reset_live)
    assert live.to_py() == {"now": {"runs": {}}}
    assert written.ycell()["execution_state"] == "idle"
    assert written.unwritten(notebook.reset_live)
    assert not document.undo_manager.can_undo()


def test_what_is_asked_again_in_another_life_has_what_was_typed(written: Written) -> None:
    notebook, run = written.notebook, RunId("run")
    asked = {"prompt_id": "p", "password": False}
    written(notebook.set_prompt, run, asked)
    with written.document.ydoc.transaction(origin="a client"):
        draft = written.document.ydoc.get("execution", type=Map)["now"]["prompts"]["run"]["value"]
        draft += "typed"
    written(notebook.reset_live)
    assert notebook.prompts() == {}
    written(notebook.set_prompt, RunId("other"), {**asked, "prompt_id": "q"})
    written(notebook.set_prompt, run, asked)
    assert notebook.prompts() == {
        "run": {**asked, "value": "typed"},
        "other": {**asked, "prompt_id": "q", "value": ""},
    }
    written(notebook.set_prompt, run, None)
    written(notebook.set_prompt, run, asked)
    assert notebook.prompts()[run]["value"] == "", "once"


@pytest.mark.parametrize("spoilt", ["typed", {"value": 1}, {"prompt_id": "p"}, {"prompt_id": 1, "value": ""}])
def test_what_was_typed_is_not_there_again_when_a_client_has_spoilt_it(written: Written, spoilt: Any) -> None:
    notebook, run = written.notebook, RunId("run")
    asked = {"prompt_id": "p", "password": False}
    written(notebook.set_prompt, run, asked)
    with written.document.ydoc.transaction(origin="a client"):
        written.document.ydoc.get("execution", type=Map)["now"]["prompts"]["run"] = spoilt
    written(notebook.reset_live)
    written(notebook.set_prompt, run, asked)
    assert notebook.prompts() == {"run": {**asked, "value": ""}}


def test_what_was_live_leaves_one_trace(written: Written) -> None:
    """However many runs there were at once: what is new when none is left is nothing of them."""
    notebook, doc = written.notebook, written.document.ydoc
    kernel = {"id": "k", "status": "idle"}
    written(notebook.reset_live)
    sizes = []
    for cells in (1, 1, 100, 1, 1):
        names = [CellId(f"cell {number}") for number in range(cells)]
        written(notebook.queue_runs, {name: {"state": "queued", "queued_at": "noon"} for name in names})
        for state in ("running", "ok", None):
            written(notebook.set_kernel, {**kernel, "status": "busy"})
            for name in names:
                written(notebook.set_run, name, state and {"state": state})
            written(notebook.set_kernel, kernel)
        sizes.append(len(doc.get_update()))
    assert sizes[4] < sizes[1] + 3 * 30
    left = {"kernel": kernel, "runs": {}, "since": "noon", "total": 1}
    assert doc.get("execution", type=Map).to_py() == {"now": left}


@pytest.mark.parametrize("spoilt", [None, "nothing", {}, {"runs": "nothing"}])
def test_live_state_is_there_again_when_a_client_has_spoilt_it(written: Written, spoilt: Any) -> None:
    notebook, live = written.notebook, written.document.ydoc.get("execution", type=Map)

    def spoil() -> None:
        live["now"] = Map(spoilt) if isinstance(spoilt, dict) else spoilt

    for say in (
        lambda: notebook.set_run(A, {"state": "queued"}),
        lambda: notebook.queue_runs({A: {"state": "queued"}}),
        lambda: notebook.set_kernel({"id": "k"}),
        notebook.reset_live,
    ):
        written(spoil)
        written(notebook.set_run, A, None)
        assert (notebook.runs(), notebook.run(A)) == ({}, None)
        written(say)
        written(notebook.set_run, A, {"state": "running"})
        assert notebook.run(A) == {"state": "running"}
