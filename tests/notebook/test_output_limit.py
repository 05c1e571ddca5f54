"""What is left of output that is too much: values, and for any output what must be true of it."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.notebook.messages import (
    Message,
    Output,
    clear,
    display,
    display_output,
    error,
    error_output,
    messages,
    much,
    names,
    result,
    stream,
    stream_output,
    update,
    words,
)
from tests.notebooks import cell, notebook
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.output_limit import SMALLEST_LIMIT, OutputLimit
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.notebook.output_tail import OUTPUT_SIZE, output_size

MB = 2**20
MANY = 200_000  # lines, 2.4 MB
FLUSH = None


@dataclass
class Shown:
    """A cell's outputs, and edits carried out on them that keep what is promised of them."""

    outputs: list[Output] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)

    def apply(self, edits: list[Edit]) -> None:
        for edit in edits:
            self._apply(edit)
        for one, other in pairwise(self.outputs):
            assert one["output_type"] != "stream" or one.get("name") != other.get("name")

    def _apply(self, edit: Edit) -> None:
        match edit:
            case ClearOutputs():
                self.outputs.clear()
                self.ids.clear()
            case ReplaceDisplay(display_id, data, metadata):
                for position, own_id in enumerate(self.ids):
                    if own_id == display_id:
                        old = self.outputs[position]
                        self.outputs[position] = {**old, "data": data, "metadata": metadata}
            case EditTail(name, erase, append):
                last = self.outputs[-1]
                assert last["name"] == name
                assert last["text"].endswith(erase)
                self.outputs[-1] = {**last, "text": last["text"].removesuffix(erase) + append}
            case AppendOutput(output, display_id):
                self.outputs.append(output)
                self.ids.append(display_id)
            case ReplaceLast(count, outputs):
                assert count <= len(self.outputs)
                del self.outputs[len(self.outputs) - count :]
                del self.ids[len(self.ids) - count :]
                for one in outputs:
                    self._apply(one)


class Run:
    """A run whose outputs are limited, and what they would be without a limit."""

    def __init__(self, limit: int) -> None:
        self.reducer = OutputReducer()
        self.limit = OutputLimit(limit)
        self.all = Shown()
        self.shown = Shown()

    def flush(self) -> list[Edit]:
        edits = self.reducer.take()
        passed = self.limit.pass_on(edits)
        self.all.apply(edits)
        self.shown.apply(passed)
        return passed

    def say(self, message: Message) -> list[Edit]:
        self.reducer.feed(message)
        return self.flush()

    def end(self) -> None:
        self.flush()
        self.shown.apply(self.limit.last())

    def play(self, steps: list[Message | None]) -> list[Output]:
        """Feed messages, flush in between, and end."""
        for step in steps:
            if step is None:
                self.flush()
            else:
                self.reducer.feed(step)
        self.end()
        return self.shown.outputs

    @property
    def parts(self) -> tuple[list[Output], int, list[Output]]:
        """What is before the (last) notice, how much it says was cut, and what is behind it."""
        outputs = self.shown.outputs
        notices = [position for position, output in enumerate(outputs) if "ydoc_exec" in meta(output)]
        if not notices:
            return outputs, 0, []
        at = notices[-1]
        return outputs[:at], meta(outputs[at])["ydoc_exec"]["cut_bytes"], outputs[at + 1 :]


def played(limit: int, *steps: Message | None) -> Run:
    """A run with this limit, from its begin to its end."""
    run = Run(limit)
    run.play(list(steps))
    return run


def meta(output: Output) -> dict[str, Any]:
    metadata: dict[str, Any] = output.get("metadata", {})
    return metadata


def size(outputs: list[Output]) -> int:
    return sum(map(output_size, outputs))


def lines(count: int, of: str = "line") -> str:
    return "".join(f"{of} {number:06}\n" for number in range(count))


# Values


@pytest.mark.parametrize(
    "output",
    [
        stream_output("é█😀\n" * 100),
        display_output("x" * 1000),
        {
            "output_type": "display_data",
            "data": {"application/json": {"a": [1.5, None, "é"] * 99}},
            "metadata": {},
        },
        {"output_type": "display_data", "data": {"image/png": "A" * 9999}, "metadata": {"width": 3}},
        error_output("E"),
    ],
)
def test_sizes_are_about_those_in_a_file(output: Output) -> None:
    written = len(json.dumps(output, ensure_ascii=False, indent=1).encode())
    assert 0.7 < (output_size(output) - OUTPUT_SIZE + 64) / written < 1.6


def test_what_is_not_too_much_passes_as_it_is() -> None:
    limit = OutputLimit(MB)
    edits: list[Edit] = [
        AppendOutput(stream_output("x" * (MB // 2))),
        EditTail("stdout", "x" * 10, "y" * (MB // 2 - 3000)),
        AppendOutput(display_output("a"), "i"),
        ReplaceDisplay("i", {}, {}),
        EditTail("stdout", "", "z"),
    ]
    passed = [one for edit in edits[:4] for one in limit.pass_on([edit])]
    assert all(one is other for one, other in zip(passed, edits, strict=False))
    assert len(passed) == 4
    assert limit.last() == []


@pytest.mark.parametrize("unlimited", [0, -1])
def test_no_limit(unlimited: int) -> None:
    run = Run(unlimited)
    text = lines(200_000)
    assert run.play([stream(text[:MB]), FLUSH, stream(text[MB:]), FLUSH]) == [stream_output(text)]


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_one_long_text(pieces: int) -> None:
    run = Run(MB)
    text = lines(1_000_000)  # 12 MB
    step = -(-len(text) // pieces)
    run.play([msg for at in range(0, len(text), step) for msg in (stream(text[at : at + step]), FLUSH)])
    [head], cut, [tail] = run.parts
    assert text.startswith(head["text"])
    assert text.endswith(tail["text"])
    assert head["text"].endswith("\n")
    assert tail["text"].startswith("line")
    assert len(head["text"]) + cut + len(tail["text"]) == len(text)
    for part in (head["text"], tail["text"]):
        assert MB // 2 - 21_000 < len(part) <= MB // 2


def test_little_and_much_in_turns() -> None:
    run = Run(MB)
    flood, little = stream(lines(MANY)), stream("little\n")
    run.play([flood, FLUSH, little, FLUSH, flood, FLUSH, little, FLUSH, little])
    head, cut, tail = run.parts
    assert cut == left_out(run.all.outputs, head, tail)


def test_line_by_line_it_is_the_same_as_at_once() -> None:
    text = lines(10_000)
    one, other = Run(MB // 16), Run(MB // 16)
    one.play([stream(text)])
    other.play([step for line in text.splitlines(keepends=True) for step in (stream(line), FLUSH)])
    assert one.shown == other.shown
    assert one.parts[1] > 0


def test_a_long_line_is_cut_anywhere_but_in_a_character() -> None:
    run = Run(MB)
    text = "é█😀" * 200_000
    run.play([stream(text)])
    [head], cut, [tail] = run.parts
    assert text.startswith(head["text"])
    assert text.endswith(tail["text"])
    assert len((head["text"] + tail["text"]).encode()) + cut == len(text.encode())
    assert MB - 21_000 < len((head["text"] + tail["text"]).encode()) + OUTPUT_SIZE <= MB


def test_while_the_run_goes_on_the_last_lines_follow() -> None:
    run = Run(MB)
    text = ""
    kinds: list[type[Edit]] = []
    for number in range(300):
        piece = lines(1000, f"flush {number}")
        run.reducer.feed(stream(piece))
        text += piece
        kinds += [type(edit) for edit in run.flush()]
        if len(text) < MB:
            assert run.shown.outputs == [stream_output(text)]
            continue
        [head], cut, [tail] = run.parts
        assert text.endswith(tail["text"])
        left_out = len(text) - len(head["text"]) - len(tail["text"])
        assert cut <= left_out <= 1.25 * cut
        assert 10_000 < len(tail["text"]) < 40_000
    # The tail moves within its output; the notice is new whenever a quarter more is cut.
    assert len(kinds) - 20 < kinds.count(EditTail)
    run.end()
    [head], cut, [tail] = run.parts
    assert cut == len(text) - len(head["text"]) - len(tail["text"])


IMAGE = "iVBORw0KGgo" * (80 * MB // 11)


def image(display_id: str | None = None) -> Message:
    return display(IMAGE, display_id)


@pytest.mark.parametrize(
    "steps",
    [
        [image()],
        [stream("before"), image()],
        [image(), stream("after")],
        [stream("before"), FLUSH, image(), FLUSH, stream("after"), FLUSH, error("E")],
        [image(), FLUSH, image()],
        [image(), FLUSH, stream("between"), image(), FLUSH, stream("after")],
    ],
)
def test_images_are_whole(steps: list[Message | None]) -> None:
    run = played(20 * MB, *steps)
    assert run.shown.outputs == run.all.outputs


def test_an_image_is_there_whatever_is_printed_around_it() -> None:
    run = Run(20 * MB)
    flood: list[Message | None] = [stream(lines(MANY)), FLUSH] * 10
    run.play([stream("before"), image(), *flood])
    before, _, [after] = run.parts
    assert before == [stream_output("before"), display_output(IMAGE)]
    assert len(after["text"]) > 9 * MB
    run = played(20 * MB, *flood, image())
    assert run.shown.outputs[-1] == display_output(IMAGE)


def test_the_error_at_the_end_is_there() -> None:
    run = played(MB, stream(lines(MANY)), FLUSH, error("E"))
    assert run.shown.outputs[-1] == error_output("E")
    assert run.shown.outputs[-2]["text"].endswith("199999\n")


def test_clearing_begins_anew() -> None:
    run = played(MB, stream(lines(MANY)), FLUSH, clear(), FLUSH, stream("a"), FLUSH)
    assert run.shown.outputs == [stream_output("a")]
    run = Run(MB)
    steps = [step for _ in range(3) for step in (stream(lines(MANY)), FLUSH, clear(wait=True))]
    run.play([*steps, stream(lines(MANY, "new"))])
    head, cut, tail = run.parts
    assert begins_with(run.all.outputs, head)
    assert cut == left_out(run.all.outputs, head, tail)
    assert tail[0]["text"].startswith("new ")


def test_updates_reach_the_head_and_the_tail_but_not_what_was_cut() -> None:
    run = Run(MB)
    flood = stream(lines(MANY))
    run.play([
        display("old", "x"), display("old", "y"), flood, FLUSH,
        display("old", "y"), display("old", "z"), flood, FLUSH,
        display("old", "x"), display("old", "y"), FLUSH,
        update("new", "x"), FLUSH,
        update("new", "y"), update("a" * MB, "z"),
    ])  # fmt: skip
    head, _, tail = run.parts
    assert head[:2] == [display_output("new", updated=True)] * 2
    assert tail[1:] == [display_output("new", updated=True)] * 2
    assert len(head) == len(tail) == 3
    assert size(tail) > MB // 2 - 21_000


def test_what_an_update_adds_to_the_tail_counts() -> None:
    run = played(
        MB,
        stream(lines(60_000)), *[display("small", str(number)) for number in range(20)], FLUSH,
        *[update("a" * (MB // 10), str(number)) for number in range(20)],
    )  # fmt: skip
    head, cut, tail = run.parts
    assert len(tail) == 5
    assert size(head + tail) < MB + MB // 10
    assert size(run.all.outputs) == size(head) + cut + size(tail)


def test_erasing_goes_back_through_what_was_cut() -> None:
    """Nobody rewrites so much; but then it is as if there had never been more."""
    much = lines(MANY)
    run = Run(MB)
    run.say(stream("first\n" + much))
    assert run.parts[1] > 0
    run.shown.apply(run.limit.pass_on([EditTail("stdout", much[100:], "short")]))
    assert run.shown.outputs == [stream_output("first\n" + much[:100] + "short")]
    run.shown.apply(run.limit.pass_on([EditTail("stdout", "short", much)]))
    run.shown.apply(run.limit.last())
    other = Run(MB)
    assert run.shown.outputs == other.play([stream("first\n" + much[:100] + much)])


def test_erasing_what_is_not_shown_of_the_tail() -> None:
    text = lines(MANY)
    run = Run(MB)
    run.say(stream(text))
    for erased, append in [
        (100, "short\n"),
        (10**5, "short\n"),
        (MB // 4, ""),
        (MB, ""),
        (0, "\n"),
        (1, "line\n"),
    ]:
        run.shown.apply(run.limit.pass_on([EditTail("stdout", text[len(text) - erased :], append)]))
        text = text[: len(text) - erased] + append
        [head], cut, tail = run.parts
        assert text.endswith(tail[0]["text"] if tail else "")
        assert (
            cut <= len(text) - len(head["text"]) - sum(len(output["text"]) for output in tail) <= 1.25 * cut
        )
    run.shown.apply(run.limit.last())
    [head], cut, tail = run.parts
    assert tail == [stream_output("line\n")]
    assert cut == len(text) - len(head["text"]) - len("line\n")


def test_the_tail_begins_with_a_line_also_when_its_end_was_erased() -> None:
    text = lines(MANY)
    limit = OutputLimit(MB)
    limit.pass_on([AppendOutput(stream_output(text))])
    limit.pass_on([EditTail("stdout", text[-100_000:], "")])
    [edit] = limit.last()
    assert isinstance(edit, ReplaceLast)
    assert edit.outputs[1].output["text"].startswith("line ")


def test_erasing_before_anything_was_forgotten() -> None:
    run = Run(SMALLEST_LIMIT)
    run.say(stream("x" * 8000))
    assert run.parts[1] > 0
    run.shown.apply(run.limit.pass_on([EditTail("stdout", "x" * 7400, "")]))
    assert run.shown.outputs == [stream_output("x" * 600)]


def test_a_large_display_is_not_written_again_and_again() -> None:
    run = Run(MB)
    large = display_output("a" * (MB // 4))
    for msg in (stream(lines(MANY)), display("0%", "x"), display("a" * (MB // 4))):
        run.say(msg)
    assert run.parts[2] == [large]
    written = 0
    for number in range(100):
        run.reducer.feed(stream(f"{number}\n"))
        run.reducer.feed(update(f"{number}%", "x"))
        edits = run.flush()
        written += sum(
            size([one.output for one in edit.outputs]) for edit in edits if isinstance(edit, ReplaceLast)
        )
    assert 0 < written < MB // 4
    run.end()
    assert run.parts[2][1:] == [display_output("99%", updated=True), large, run.all.outputs[-1]]


def test_while_the_run_goes_on_few_outputs_are_written_again_and_again() -> None:
    """What is removed from a document leaves a trace in it for ever."""
    limit, shown = OutputLimit(MB), Shown()
    shown.apply(limit.pass_on([AppendOutput(stream_output(lines(MANY)))]))
    counts = []
    for number in range(0, 60_000, 3):
        turns = [
            stream_output(f"{turn}", "stdout" if turn % 2 else "stderr") for turn in range(number, number + 3)
        ]
        shown.apply(limit.pass_on([AppendOutput(output) for output in turns]))
        counts.append(len(shown.outputs) - 2)
        assert shown.outputs[-1] == turns[-1]
    assert max(counts[:100]) == 8 + 6
    assert max(counts[-100:]) == 1 + 6
    shown.apply(limit.last())
    assert len(shown.outputs) > 900


def test_a_progress_bar_behind_too_much_is_one_line() -> None:
    run = Run(MB)
    steps: list[Message | None] = [stream(lines(MANY)), FLUSH]
    for percent in range(101):
        steps += [stream(f"\r{percent}% é"), FLUSH]
    run.play(steps)
    assert run.shown.outputs[-1]["text"].endswith("199999\n100% é")
    run = played(MB, *steps[:2])
    for step in steps[2:]:
        if step is not None:
            run.reducer.feed(step)
            assert [type(edit) for edit in run.flush()] == [
                EditTail
            ]  # after the run, and no rewriting of the tail


def test_output_after_the_end_has_room_of_its_own() -> None:
    run = played(MB, stream(lines(MANY)))
    before = run.shown.outputs[:]
    run.say(stream("late\n"))
    assert run.shown.outputs == [*before[:-1], stream_output(before[-1]["text"] + "late\n")]
    late = "late\n"
    for number in range(100):
        run.reducer.feed(stream(lines(1000, f"late {number}")))
        late += lines(1000, f"late {number}")
        run.flush()
        assert size(run.shown.outputs) < 1.25 * MB + 2000
    assert run.shown.outputs[:2] == before[:2]
    head, cut, [tail] = run.parts
    head_size = len(head[-1]["text"]) - len(before[-1]["text"])
    assert late.endswith(tail["text"])
    assert late.startswith(head[-1]["text"][-head_size:])
    assert cut <= len(late) - head_size - len(tail["text"]) <= 1.25 * cut
    assert run.limit.last() == []


def test_what_nobody_reads_is_cut_too() -> None:
    limit, shown = OutputLimit(MB), Shown()
    assert limit.skip(MB) is None
    shown.apply(limit.pass_on([AppendOutput(stream_output(lines(MANY) + "the last line"))]))
    assert limit.skip(5 * MB) == []
    shown.apply(limit.pass_on([EditTail("stdout", "last line", "end")]))
    head, notice, tail = shown.outputs
    assert tail == stream_output("end")
    shown.apply(limit.pass_on([AppendOutput(display_output("a"))]))
    assert limit.skip(MB) == []
    shown.apply(limit.pass_on([AppendOutput(stream_output("b"))]))
    shown.apply(limit.last())
    head, notice, tail = shown.outputs
    assert tail == stream_output("b")
    everything = size([stream_output(lines(MANY) + "the end"), display_output("a"), tail]) + 6 * MB
    assert meta(notice)["ydoc_exec"]["cut_bytes"] == everything - size([head, tail])


def test_the_notice_is_for_people_and_valid() -> None:
    run = played(20 * MB, stream(lines(4_000_000)))
    notice = run.shown.outputs[1]
    assert notice["data"]["text/plain"] == (
        "[28.7 MiB of output is left out here. The end of it follows.\n"
        " 20 MiB of a cell's output are kept, half of it the beginning. To keep more, raise\n"
        " YdocExec.output_limit (bytes per cell) in the server's configuration, or write to a file.]"
    )
    nbformat.validate(notebook(cell("a", outputs=run.shown.outputs, execution_count=1)))


# Any output

_growing: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        lambda text, times, name: stream(text * times, name),
        st.text(alphabet="ab é█😀\n", min_size=1, max_size=30),
        st.integers(1, 60),
        names,
    ),
    st.builds(lambda word, times: display(word * times), words, st.integers(1, 60)),
    st.builds(result, words),
    st.builds(error, words),
)
"""Messages that add to the outputs and do nothing else."""

_limits = st.integers(SMALLEST_LIMIT, 2 * SMALLEST_LIMIT)


def begins_with(outputs: list[Output], head: list[Output]) -> bool:
    """Whether the head is the beginning of the outputs; its last text may be the beginning of one."""
    if not head:
        return True
    *before, last = head
    whole = outputs[len(before)]
    return outputs[: len(before)] == before and (
        last == whole or last == {**whole, "text": whole.get("text", "")[: len(last.get("text", ""))]}
    )


def ends_with(outputs: list[Output], tail: list[Output]) -> bool:
    """The same for the end."""
    if not tail:
        return True
    first, *after = tail
    whole = outputs[-len(tail)]
    return outputs[len(outputs) - len(after) :] == after and (
        first == whole
        or first == {**whole, "text": whole.get("text", "")[-len(first.get("text", "")) or MB :]}
    )


def left_out(outputs: list[Output], head: list[Output], tail: list[Output]) -> int:
    """How many bytes of the outputs are in neither."""
    in_one_stream = len(head) + len(tail) > len(outputs)
    return size(outputs) - size(head) - size(tail) + (OUTPUT_SIZE if in_one_stream else 0)


def most(limit: int, outputs: list[Output]) -> int:
    """How large the outputs may be when they are limited."""
    whole = sorted(output_size(output) for output in outputs if output["output_type"] != "stream")
    return limit + sum(whole[-2:])


@settings(max_examples=300, deadline=None)
@given(
    limit=_limits,
    steps=st.lists(st.one_of(st.just(FLUSH), _growing, _growing), min_size=15, max_size=40),
    others=st.sets(st.integers(0, 40)),
)
def test_output_that_only_grows(limit: int, steps: list[Message | None], others: set[int]) -> None:
    run = Run(limit)
    messages = [step for step in steps if step is not None]
    for step in [*steps, FLUSH]:
        if step is not None:
            run.reducer.feed(step)
            continue
        run.flush()
        head, cut, tail = run.parts
        if not cut:
            assert run.shown.outputs == run.all.outputs
            continue
        assert size(run.all.outputs) > limit
        assert begins_with(run.all.outputs, head)
        assert ends_with(run.all.outputs, tail)
        assert size(head + tail) <= most(limit, run.all.outputs)
        assert cut <= left_out(run.all.outputs, head, tail) <= 1.25 * cut
    run.end()
    head, cut, tail = run.parts
    assert bool(cut) or run.shown.outputs == run.all.outputs
    assert begins_with(run.all.outputs, head)
    assert ends_with(run.all.outputs, tail)
    assert size(head + tail) <= most(limit, run.all.outputs)
    assert cut == left_out(run.all.outputs, head, tail if cut else head[:0])
    # and it is the same whenever it was flushed
    other = Run(limit)
    for position, message in enumerate(messages):
        other.reducer.feed(message)
        if position in others:
            other.flush()
    other.end()
    assert other.shown == run.shown


@settings(max_examples=300, deadline=None)
@given(
    limit=_limits,
    steps=st.lists(
        st.one_of(st.just(FLUSH), st.just(FLUSH), _growing, _growing, much, much, messages),
        min_size=15,
        max_size=40,
    ),
)
def test_any_output(limit: int, steps: list[Message | None]) -> None:
    run = Run(limit)
    exceeded = False
    for step in [*steps, FLUSH]:
        if step is not None:
            run.reducer.feed(step)
            continue
        if any(isinstance(edit, ClearOutputs) for edit in run.flush()):
            exceeded = False
        exceeded = exceeded or size(run.all.outputs) > limit
        head, cut, tail = run.parts
        assert exceeded or not cut
        assert bool(cut) or run.shown == run.all
        assert begins_with(run.all.outputs, head)
        assert ends_with(run.all.outputs, tail)
    run.end()
    head, cut, tail = run.parts
    assert exceeded or not cut
    assert bool(cut) or run.shown == run.all
    assert begins_with(run.all.outputs, head)
    assert ends_with(run.all.outputs, tail)


@settings(max_examples=200, deadline=None)
@given(
    limit=_limits,
    steps=st.lists(_growing, max_size=20),
    late_steps=st.lists(st.one_of(st.just(FLUSH), _growing, _growing), max_size=30),
)
def test_output_after_the_end(
    limit: int, steps: list[Message | None], late_steps: list[Message | None]
) -> None:
    run = played(limit, *steps)
    ended = run.shown.outputs[:]
    cut_before = run.parts[1]
    for step in [*late_steps, FLUSH]:
        if step is not None:
            run.reducer.feed(step)
            continue
        run.flush()
        assert begins_with(run.shown.outputs, ended)
        notices = [output for output in run.shown.outputs if "ydoc_exec" in meta(output)]
        kept = [output for output in run.shown.outputs if output not in notices]
        assert size(kept) <= most(limit + limit // 4, run.all.outputs) + most(0, run.all.outputs)
        if len(notices) > bool(cut_before):
            assert ends_with(run.all.outputs, run.parts[2])
        elif not notices:
            assert run.shown.outputs == run.all.outputs


# Cost


def test_memory_is_bounded_by_the_limit() -> None:
    piece = lines(8000)  # 0.1 MB
    limit = OutputLimit(MB)
    tracemalloc.start()
    try:
        limit.pass_on([AppendOutput(stream_output(piece))])
        for _ in range(10_000):
            limit.pass_on([EditTail("stdout", "", piece)])
        limit.last()
        _, peak = tracemalloc.get_traced_memory()
        ended, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * MB
    assert ended < MB // 4


def _text(number: int) -> Edit:
    return EditTail("stdout", "", "x\n")


def _progress(number: int) -> Edit:
    return EditTail("stdout", "x\n", "y\n" if number % 2 else "x\n")


def _turns(number: int) -> Edit:
    return AppendOutput(stream_output("x", "stderr" if number % 2 else "stdout"))


def _displays(number: int) -> Edit:
    return AppendOutput(display_output("x"), "x")


@pytest.mark.parametrize("edit", [_text, _progress, _turns, _displays])
def test_many_small_edits_cost_no_more_than_their_text(edit: Callable[[int], Edit]) -> None:
    def seconds(count: int) -> float:
        limit = OutputLimit(MB // 16)
        limit.pass_on([AppendOutput(stream_output("x\n"))])
        begin = time.process_time()
        for number in range(count):
            limit.pass_on([edit(number)])
        limit.last()
        return time.process_time() - begin

    # Quadratic would be a factor of 256.
    assert seconds(80_000) < 64 * max(seconds(5_000), 0.02)
