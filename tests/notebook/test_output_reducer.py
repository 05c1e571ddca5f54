"""Messages in, edits out: tables, and a naive reduction as the judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notebook.messages import (
    Message,
    Output,
    clear,
    display,
    display_output,
    error,
    error_output,
    message,
    messages,
    result,
    result_output,
    stream,
    stream_output,
    update,
)
from tests.notebook.test_terminal import process_text
from ydoc_exec.notebook.edits import AppendOutput, ClearOutputs, Edit, EditTail, ReplaceDisplay
from ydoc_exec.notebook.output_reducer import OutputReducer

TAKE = None


def take_all(steps: list[Message | None]) -> list[list[Edit]]:
    """What every take gave, the one at the end included."""
    reducer = OutputReducer()
    taken = []
    for step in [*steps, TAKE]:
        if step is None:
            taken.append(reducer.take())
            assert not reducer.pending
        else:
            reducer.feed(step)
    return taken


def new(output: Output, display_id: str | None = None) -> AppendOutput:
    return AppendOutput(output, display_id)


def replaced(text: str, display_id: str, updated: bool = True) -> ReplaceDisplay:
    return ReplaceDisplay(display_id, {"text/plain": text}, {"updated": True} if updated else {})


def displayed(text: str, display_id: str) -> list[Edit]:
    """What a display under an id comes to: others may have been displayed under it before."""
    return [replaced(text, display_id, updated=False), new(display_output(text), display_id)]


@pytest.mark.parametrize(
    ("steps", "edits"),
    [
        ([], [[]]),
        ([stream("a"), stream("b")], [[new(stream_output("ab"))]]),
        ([stream("a"), TAKE, stream("b")], [[new(stream_output("a"))], [EditTail("stdout", "", "b")]]),
        (
            [stream("a"), stream("b", "stderr"), stream("c")],
            [[new(stream_output("a")), new(stream_output("b", "stderr")), new(stream_output("c"))]],
        ),
        (
            [stream("1%"), TAKE, stream("\r2%"), stream("\r3%\n"), result("x"), stream("y")],
            [
                [new(stream_output("1%"))],
                [EditTail("stdout", "1%", "3%\n"), new(result_output("x")), new(stream_output("y"))],
            ],
        ),
        ([stream("1%"), TAKE, stream("\r1%")], [[new(stream_output("1%"))], []]),
        ([stream("")], [[]]),
        ([display("a"), error("E")], [[new(display_output("a")), new(error_output("E"))]]),
        # clear_output
        ([stream("a"), clear()], [[ClearOutputs()]]),
        ([stream("a"), TAKE, clear()], [[new(stream_output("a"))], [ClearOutputs()]]),
        ([stream("a"), clear(wait=True)], [[new(stream_output("a"))]]),
        (
            [stream("a"), TAKE, stream("b"), clear(wait=True), TAKE, stream("c"), stream("d")],
            [
                [new(stream_output("a"))],
                [EditTail("stdout", "", "b")],
                [ClearOutputs(), new(stream_output("cd"))],
            ],
        ),
        ([stream("a"), TAKE, clear(True), stream("")], [[new(stream_output("a"))], [ClearOutputs()]]),
        ([display("a", "x"), TAKE, clear(True), update("b", "x")], [
            displayed("a", "x"),
            [replaced("b", "x")],
        ]),
        # update_display_data
        (
            [display("a", "x"), update("b", "x")],
            [[replaced("b", "x"), new(display_output("b", True), "x")]],
        ),
        (
            [display("a", "x"), TAKE, update("b", "x"), update("c", "x"), stream("d")],
            [displayed("a", "x"), [replaced("c", "x"), new(stream_output("d"))]],
        ),
        (
            [display("a", "x"), TAKE, display("b", "x"), stream("c"), display("d", "x")],
            [
                displayed("a", "x"),
                [
                    replaced("d", "x", updated=False),
                    new(display_output("d"), "x"),
                    new(stream_output("c")),
                    new(display_output("d"), "x"),
                ],
            ],
        ),
        (
            [display("a", "x"), clear(), display("b", "y"), update("c", "x"), update("d", "y")],
            [[ClearOutputs(), replaced("c", "x"), replaced("d", "y"), new(display_output("d", True), "y")]],
        ),
        (
            [stream("a"), TAKE, stream("b"), update("c", "y"), stream("d")],
            [[new(stream_output("a"))], [replaced("c", "y"), EditTail("stdout", "", "bd")]],
        ),
        ([update("a", "")], [[]]),
        # not about outputs
        ([message("status", execution_state="idle"), message("execute_input", code="1")], [[]]),
        ([message("comm_msg", data={})], [[]]),
    ],
)  # fmt: skip
def test_edits(steps: list[Message | None], edits: list[list[Edit]]) -> None:
    assert take_all(steps) == edits


@pytest.mark.parametrize(
    ("malformed", "edits"),
    [
        ({}, []),
        ({"msg_type": "stream"}, []),
        ({"msg_type": "stream", "content": {"text": "a"}}, [new(stream_output("a"))]),
        ({"msg_type": "stream", "content": {"name": None, "text": 7}}, [new(stream_output("7"))]),
        (
            {"header": {"msg_type": "display_data"}, "content": {"data": None, "transient": None}},
            [new({"output_type": "display_data", "data": {}, "metadata": {}})],
        ),
        (
            {"msg_type": "execute_result", "content": {"execution_count": "x", "transient": []}},
            [new({"output_type": "execute_result", "data": {}, "metadata": {}, "execution_count": None})],
        ),
        (
            {"msg_type": "execute_result", "content": {"data": {"a": 1, "b": [{}], "application/json": 1}}},
            [
                new(
                    {
                        "output_type": "execute_result",
                        "data": {"a": "1", "b": "[{}]", "application/json": 1},
                        "metadata": {},
                        "execution_count": None,
                    }
                )
            ],
        ),
        (
            {"msg_type": "execute_result", "content": {"execution_count": True}},
            [new({"output_type": "execute_result", "data": {}, "metadata": {}, "execution_count": None})],
        ),
        (
            {"msg_type": "error", "content": {"ename": None, "traceback": "line"}},
            [new({"output_type": "error", "ename": "", "evalue": "", "traceback": ["line"]})],
        ),
        ({"msg_type": "update_display_data", "content": {"data": {"text/plain": "a"}}}, []),
        ({"msg_type": "clear_output", "content": None}, [ClearOutputs()]),
    ],
)
def test_malformed_messages_do_no_harm(malformed: dict[str, Any], edits: list[Edit]) -> None:
    assert take_all([malformed]) == [edits]


@dataclass
class Reference:
    """The outputs as a client without any cleverness keeps them, one message at a time."""

    outputs: list[tuple[Output, str | None]] = field(default_factory=list)
    clear_next: bool = False
    column: int = 0

    def feed(self, msg: Message) -> None:
        content, kind = msg["content"], msg["msg_type"]
        if kind == "clear_output":
            self.clear_next = content["wait"]
            if not content["wait"]:
                self.outputs = []
            return
        display_id = content.get("transient", {}).get("display_id")
        if display_id is not None:
            for output, own_id in self.outputs:
                if own_id == display_id:
                    output.update(data=content["data"], metadata=content["metadata"])
        if kind == "update_display_data":
            return
        if self.clear_next:
            self.outputs = []
            self.clear_next = False
        if kind == "stream":
            self._stream(content["name"], content["text"])
        else:
            output = {key: value for key, value in content.items() if key != "transient"}
            self.outputs.append(({"output_type": kind, **output}, display_id))

    def _stream(self, name: str, text: str) -> None:
        if not text:
            return
        last = self.outputs[-1][0] if self.outputs else {}
        if last.get("name") != name:
            last = {"output_type": "stream", "name": name, "text": ""}
            self.outputs.append((last, None))
            self.column = 0
        last["text"], self.column = process_text(self.column, text, last["text"])


def apply(outputs: list[tuple[Output, str | None]], edits: list[Edit]) -> None:
    """Carry out edits and see that they keep what is promised of them."""
    kinds = [type(edit) for edit in edits]
    promised = [ClearOutputs, ReplaceDisplay, EditTail, AppendOutput]
    assert kinds == sorted(kinds, key=promised.index)
    assert kinds.count(ClearOutputs) <= 1
    assert kinds.count(EditTail) <= 1
    for edit in edits:
        match edit:
            case ClearOutputs():
                outputs.clear()
            case ReplaceDisplay(display_id, data, metadata):
                for output, own_id in outputs:
                    if own_id == display_id:
                        output.update(data=data, metadata=metadata)
            case EditTail(name, erase, append):
                last = outputs[-1][0]
                assert last["name"] == name
                assert last["text"].endswith(erase)
                last["text"] = last["text"].removesuffix(erase) + append
            case AppendOutput(output, own_id):
                outputs.append((dict(output), own_id))
    for (one, _), (other, _) in pairwise(outputs):
        assert one["output_type"] != "stream" or one.get("name") != other.get("name")
    for output, _ in outputs:
        assert not set(output.get("text", "")) & set("\r\b")


@given(st.lists(st.one_of(st.just(TAKE), messages, messages), max_size=30))
def test_any_messages_taken_anywhere_give_the_same_outputs(steps: list[Message | None]) -> None:
    reference, reducer = Reference(), OutputReducer()
    outputs: list[tuple[Output, str | None]] = []
    for step in [*steps, TAKE]:
        if step is None:
            apply(outputs, reducer.take())
            assert not reducer.pending
            assert outputs == reference.outputs
        else:
            reference.feed(step)
            reducer.feed(step)
