"""Of large printed text only the ends are kept, and nobody sees a difference."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.session import Session

from tests.kernel.recorder import Recorder
from tests.notebook.messages import Message, clear, display, error, much, names, stream, words
from tests.notebook.test_output_limit import Shown
from ydoc_exec.ids import CellId, KernelId, RoomId, new_run_id
from ydoc_exec.kernel.kernel_runner import Execution
from ydoc_exec.kernel.large_stream import LEAST_BETWEEN, LargeStream
from ydoc_exec.kernel.run import Run
from ydoc_exec.notebook.output_limit import OutputLimit
from ydoc_exec.notebook.output_tail import text_size
from ydoc_exec.notebook.shareable import shareable_text

UNPACK = Session(key=b"").unpack
MB = 2**20
LIMIT = 2**16

characters = st.sampled_from(
    ["x" * 70, "é", "█", "😀", '"', "\\", "\\\\\\", "\t", "\x7f", "\ud83d", "\ude00", "\u2028"]
)
large_texts = st.builds(
    lambda parts, begin: begin + ("".join(parts) + "\n") * (4 * MB // len(json.dumps(parts))),
    st.lists(characters, min_size=1, max_size=20),
    st.text("ab\n", max_size=9),
)


def content(text: str, name: str = "stdout", *, ascii_only: bool = True) -> bytes:
    packed = json.dumps({"name": name, "text": text}, ensure_ascii=ascii_only)
    return packed.encode("utf-8", "replace")


@settings(max_examples=60, deadline=None)
@given(large_texts, st.integers(1, 2 * LIMIT), st.integers(1, 2 * LIMIT))
def test_the_ends_of_any_text(text: str, head: int, tail: int) -> None:
    large = LargeStream(content(text), UNPACK)
    assert large.read() == {"name": "stdout", "text": UNPACK(content(text))["text"]}
    ends = large.read_ends(head, tail)
    text = UNPACK(content(text))["text"]  # with the surrogates joined that belong together
    if ends is None:
        least = text_size(text) - head - tail - 3 * 2**19
        few_lines = min(text[: head // 4].count("\n"), text[-tail // 4 :].count("\n")) < 100
        assert least < LEAST_BETWEEN or few_lines
        return
    first, last = "".join(ends.head), "".join(ends.tail)
    assert ends.name == "stdout"
    assert text_size(first) >= head
    assert text_size(last) >= tail
    assert text.startswith(first)
    assert text.endswith(last)
    assert ends.between == text_size(text[len(first) : len(text) - len(last)]) >= LEAST_BETWEEN


@pytest.mark.parametrize("ascii_only", [True, False])
def test_characters_of_any_length_are_not_cut(ascii_only: bool) -> None:
    text = "\n" * 200 + "😀é█" * MB + "\n" * 200
    for begin in ("", "x", "xx", "xxx", "xxxxxxx", '"', "\\"):
        whole = begin + text
        ends = LargeStream(memoryview(content(whole, ascii_only=ascii_only)), UNPACK).read_ends(1, 400)
        assert ends is not None
        first, last = "".join(ends.head), "".join(ends.tail)
        assert whole.startswith(first)
        assert whole.endswith(last)
        assert ends.between == text_size(whole[len(first) : len(whole) - len(last)])


LINES = "".join(f"line {number:06}\n" for number in range(300_000))


@pytest.mark.parametrize(
    "packed",
    [
        content(LINES[: LIMIT + LEAST_BETWEEN]),
        content(LINES + "\r" + LINES),
        content(LINES + "\b"),
        content("\x1b[31m" + LINES),
        content("x" * len(LINES)),
        content(LINES + "x" * len(LINES)),
        content("x" * len(LINES) + LINES),
        content(LINES) + b"}",
        content(LINES)[:-1] + b', "more": 1}',
        json.dumps({"text": LINES, "name": "stdout"}).encode(),
        json.dumps({"name": "stdout", "text": LINES, "text_": LINES}).encode(),
        json.dumps({"name": "stdout", "text": [LINES]}).encode(),
        content(LINES).replace(b"line 100000", b'line 10000"'),
        content(LINES).replace(b"line 100000", b"line 10000\\x"),
        content(LINES).replace(b"line 100000", b"line 10000\xff"),
        content(LINES).replace(b"line 100000", b"line 10000\n"),
        content(LINES)[:-2] + b'\\"}',
        b"x" * 4 * MB,
        b'{"name": "stdout", "text": "' + b"\\" * 4 * MB + b'\\"}',
        b'{"name": "stdout", "text": "' + b"\x80" * 4 * MB + b'"}',
    ],
    ids=lambda packed: f"{len(packed)} bytes",
)
def test_anything_else_is_read_as_a_whole(packed: bytes) -> None:
    assert LargeStream(packed, UNPACK).read_ends(LIMIT // 2, LIMIT // 2) is None


# What a run shows in the end


def shown(messages: list[Message | None], limit: int, *, in_ends: bool) -> list[dict[str, Any]]:
    run = Run(
        id=new_run_id(),
        kernel=KernelId("kernel"),
        room=RoomId("json", "notebook", "file"),
        cell=CellId("cell"),
        source="",
        user="ada",
        seq=1,
    )
    target = Recorder()
    target.queued([run])
    execution = Execution(run, target, OutputLimit(limit))
    outputs = Shown()
    for message in messages:
        if message is None:
            outputs.apply(execution.take())
            continue
        text = message["content"].get("text", "")
        if in_ends and len(text) > MB:
            packed = content(text, message["content"]["name"])
            execution.feed({**message, "content": LargeStream(packed, UNPACK)})
        elif text:
            execution.feed(stream(shareable_text(text), message["content"]["name"]))
        else:
            execution.feed(message)
    outputs.apply(execution.take_last())
    return outputs.outputs


before = st.lists(
    st.none() | st.builds(stream, words, names) | st.builds(display, much) | st.just(clear(True)), max_size=8
)
behind = st.lists(st.none() | st.builds(stream, st.text("é\nx"), names) | st.just(error("E")), max_size=4)
large = st.builds(stream, large_texts, names)


@settings(max_examples=30, deadline=None)
@given(before, st.lists(st.tuples(large, behind), min_size=1, max_size=2))
def test_a_run_shows_the_same(
    first: list[Message | None], then: list[tuple[Message, list[Message | None]]]
) -> None:
    messages = first + [message for one, others in then for message in (one, *others)]
    for limit in (LIMIT, 0):
        assert shown(messages, limit, in_ends=True) == shown(messages, limit, in_ends=False)
