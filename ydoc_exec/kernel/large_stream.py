"""The content of a stream message that is large, and of which perhaps only the two ends are wanted."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ydoc_exec.notebook.output_tail import text_size
from ydoc_exec.notebook.terminal import LINES

LEAST_BETWEEN = 2**18
"""Bytes: to leave out less than this saves nothing."""

# The layout of ipykernel's JSON. Any other is read as a whole.
_BEGIN = re.compile(rb'\s*{\s*"name"\s*:\s*"([\w.-]+)"\s*,\s*"text"\s*:\s*"')
_END = re.compile(rb'"\s*}\s*\Z')
_LONGEST_END = 64

_PIECE = 2**19
"""Bytes: read in pieces of this size the memory of one is there again for the next. (Measured: pieces of 1 MiB take
three times as long, and the whole of 50 MB twice.)"""

_ESCAPE = 6
"""The longest escape of JSON, in bytes."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The beginning and the end of a text, each in pieces, and the bytes in UTF-8 of what is between them."""

    name: str
    head: list[str]
    between: int
    tail: list[str]


class LargeStream:
    """A content that nobody has read yet.

    Args:
        content: the part of the message.
        unpack: reads all of it.
    """

    def __init__(self, content: bytes | memoryview, unpack: Any) -> None:
        self._content = content
        self._unpack = unpack

    def read(self) -> Mapping[str, Any]:
        """All of it. Raises what ``unpack`` raises."""
        content: Mapping[str, Any] = self._unpack(bytes(self._content))
        return content

    def read_ends(self, head: int, tail: int) -> Ends | None:
        """At least so many bytes of the text from its beginning and from its end; None if it has to be read as a whole.

        That is so when not much would be left out; when there are control characters, which may reach from one end
        into the other, or so few lines that others may; and when it is not what a kernel usually sends.
        """
        content = memoryview(self._content)
        begin = _BEGIN.match(content)
        end = _END.search(content, max(len(content) - _LONGEST_END, 0))
        if begin is None or end is None or end.start() - begin.end() < head + tail + LEAST_BETWEEN:
            return None
        try:
            return _read(begin[1].decode(), content[begin.end() : end.start()], head, tail)
        except ValueError:
            return None  # no JSON, or another layout: whoever reads all of it will say


# Private


def _read(name: str, text: memoryview, head: int, tail: int) -> Ends | None:
    first: list[str] = []
    last: deque[tuple[str, int]] = deque()
    head_size = tail_size = between = begin = 0
    while begin < len(text):
        end = _cut(text, begin)
        piece: str = json.loads(f'"{str(text[begin:end], "utf-8")}"')
        if end < len(text) and "\ud800" <= piece[-1:] <= "\udbff":
            piece, end = piece[:-1], end - _ESCAPE  # half a character: both halves are in the next
        if "\r" in piece or "\b" in piece or "\x1b" in piece:
            return None
        begin, size = end, text_size(piece)
        if head_size < head:
            first.append(piece)
            head_size += size
            continue
        last.append((piece, size))
        tail_size += size
        while tail_size - last[0][1] >= tail:
            between += last[0][1]
            tail_size -= last.popleft()[1]
    ends = Ends(name, first, between, [piece for piece, _ in last])
    if between < LEAST_BETWEEN or _lines(ends.head) < LINES or _lines(ends.tail) < LINES:
        return None
    return ends


def _cut(text: memoryview, begin: int) -> int:
    """Where to end the piece that begins there: not within a character, nor within an escape."""
    end = begin + _PIECE
    if end >= len(text):
        return len(text)
    for _ in range(3):  # a character has at most four bytes
        if text[end] & 0xC0 == 0x80:
            end -= 1
    at = bytes(text[end - _ESCAPE : end]).rfind(b"\\")
    if at < 0:
        return end
    before = bytes(text[begin : end - _ESCAPE + at + 1])
    backslashes = len(before) - len(before.rstrip(b"\\"))
    return begin + len(before) - backslashes % 2


def _lines(pieces: list[str]) -> int:
    return sum(piece.count("\n") for piece in pieces)
