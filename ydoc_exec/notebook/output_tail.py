"""What came last of a cell's outputs, in memory that is bounded by it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ydoc_exec.notebook.edits import AppendOutput, ReplaceDisplay

OUTPUT_SIZE = 512
"""What an output counts beside its content: more than the JSON around it in the file, since each is a shared
map of its own, a model in every tab, and one more to be passed over whenever another is appended."""

_VALUE_SIZE = 8
_PIECE = 8192  # characters: text is kept, measured and dropped in pieces of about this size
_LINE = 4096  # characters: a line feed that is no farther away than this is worth cutting at


class OutputTail:
    """The outputs of a run from some point on; when ``bounded``, only the last of them.

    Of these ``keep`` bytes are there for certain, and little more: a piece of text, or one display, result or
    error, since those are never cut. What had to go is counted in ``lost``.

    The first output may be ``joined``: a stream that began before that point, in the same document. Its
    beginning, and what an output counts, are then no concern of this.

    Every call costs what the text costs that it is given or asked for, however many pieces it came in.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.bounded = False
        self.size = 0
        self.lost = 0
        self._outputs: deque[_Stream | _Whole] = deque()
        self._by_id: dict[str, deque[_Whole]] = {}

    def __bool__(self) -> bool:
        """Whether there is any output, be it a stream whose text is gone."""
        return bool(self._outputs)

    def overflows(self, added: int, enough: int, *, text: bool) -> bool:
        """Whether at least ``enough`` bytes had to go if ``added`` came and ``last(keep)`` were all.

        ``text``: what comes can be cut, since it is the text of a stream.
        """
        size = self.size + added
        excess = size - self.keep
        if excess < enough:
            return False
        gone = 0
        for output in self._outputs:
            if isinstance(output, _Whole) and output.size > excess - gone:
                return False
            gone += min(output.size, excess - gone)
            if gone >= enough:
                return True
        return text

    def add_stream(self, name: str, *, joined: bool = False) -> None:
        """A new stream, without text as yet."""
        self._add(_Stream(name, joined))

    def add_text(self, text: str) -> None:
        """More text of the last output, which is a stream."""
        if not text:
            return
        stream = self._last_stream()
        self.size -= stream.size
        self.lost -= stream.lost
        stream.add(text, self.keep if self.bounded else None)
        self.size += stream.size
        self.lost += stream.lost
        self._trim()

    def add_whole(self, edit: AppendOutput, size: int) -> None:
        """An output that is no stream, and its ``output_size``."""
        whole = _Whole(edit, size)
        self._add(whole)
        if edit.display_id is not None:
            self._by_id.setdefault(edit.display_id, deque()).append(whole)

    def erase(self, text: str) -> str:
        """Take ``text`` away from the end of the last output, which is a stream that ends with it.

        Gives the beginning of ``text`` that is not here, nor was: it is at the end of what comes before a
        joined stream. Without any outputs that is all of it.
        """
        if not self._outputs:
            return text
        stream = self._last_stream()
        self.size -= stream.size
        self.lost -= stream.lost
        before = stream.erase(text)
        self.size += stream.size
        self.lost += stream.lost
        if not stream.joined:
            return ""
        if not stream.size and not stream.lost:
            self._outputs.pop()
        return before

    def replace(self, edit: ReplaceDisplay) -> bool:
        """Show other data in the outputs displayed under this id. Whether there are any here."""
        found = self._by_id.get(edit.display_id, ())
        for whole in found:
            output = {**whole.edit.output, "data": edit.data, "metadata": edit.metadata}
            self.size -= whole.size
            whole.edit, whole.size = AppendOutput(output, edit.display_id), output_size(output)
            self.size += whole.size
        if found:
            self._trim()
        return bool(found)

    def skip(self, size: int) -> None:
        """Lose all there is and ``size`` bytes of text more. A stream at the end stays, without its text."""
        last = self._outputs[-1] if self._outputs else None
        self.lost += self.size + size
        self.size = 0
        self._outputs.clear()
        self._by_id.clear()
        if isinstance(last, _Stream):
            stream = _Stream(last.name, last.joined)
            stream.lost = last.lost + last.text_size + size
            self._add(stream)
            self.lost -= stream.size

    def trim(self) -> None:
        """Keep no more than the last from now on."""
        self.bounded = True
        self._trim()

    def all(self) -> tuple[tuple[str, str] | None, list[AppendOutput]]:
        """Name and text of the joined stream, if any, and the outputs after it. Nothing may be lost."""
        edits = [output.whole() for output in self._outputs]
        first = self._outputs[0] if self._outputs else None
        if isinstance(first, _Stream) and first.joined:
            return (first.name, first.text()), edits[1:]
        return None, edits

    def last(self, size: int, most: int | None) -> tuple[list[AppendOutput], int]:
        """The last outputs, ``size`` bytes of them, and how many of the bytes here or lost they are.

        Text is cut to fit, at the end of a line if there is one near. The very last output is always there if
        it cannot be cut, whatever its size. Of the others the one that is partly too much is there as well;
        but not if ``most`` is given, which allows no more than that, and no more outputs.
        """
        edits: list[AppendOutput] = []
        count = 0
        for output in reversed(self._outputs):
            room = size - count
            if len(edits) == most:
                break
            if isinstance(output, _Whole):
                if edits and (room <= 0 if most is None else room < output.size):
                    break
                edits.append(output.edit)
                count += output.size
                continue
            if not output.lost and OUTPUT_SIZE + output.text_size <= room:
                edits.append(output.whole())
                count += output.size
                continue
            text = output.end(room - OUTPUT_SIZE)
            if text:
                edits.append(AppendOutput({"output_type": "stream", "name": output.name, "text": text}))
                count += text_size(text) + (0 if output.joined else OUTPUT_SIZE)
            break
        edits.reverse()
        return edits, count

    # Private

    def _add(self, output: _Stream | _Whole) -> None:
        self._outputs.append(output)
        self.size += output.size
        self._trim()

    def _last_stream(self) -> _Stream:
        stream = self._outputs[-1]
        assert isinstance(stream, _Stream), "text is only ever at the end of a stream"
        return stream

    def _trim(self) -> None:
        if not self.bounded or not self._outputs:
            return
        while len(self._outputs) > 1 and self.size - self._outputs[0].size >= self.keep:
            first = self._outputs.popleft()
            self.size -= first.size
            self.lost += first.size
            if isinstance(first, _Whole) and first.edit.display_id is not None:
                same = self._by_id[first.edit.display_id]
                same.popleft()
                if not same:
                    del self._by_id[first.edit.display_id]
        first = self._outputs[0]
        if isinstance(first, _Stream):
            dropped = first.drop(self.size - self.keep)
            self.size -= dropped
            self.lost += dropped


@dataclass(slots=True)
class _Whole:
    """A display, a result or an error."""

    edit: AppendOutput
    size: int

    def whole(self) -> AppendOutput:
        return self.edit


class _Stream:
    """The text of one stream; of a joined one, only what comes after the beginning."""

    def __init__(self, name: str, joined: bool) -> None:
        self.name = name
        self.joined = joined
        self.text_size = 0
        self.lost = 0  # bytes dropped from the beginning
        self._pieces: deque[_Piece] = deque()
        self._loose: list[str] = []  # behind the pieces, and too small to be pieces
        self._loose_length = 0

    @property
    def size(self) -> int:
        return self.text_size + (0 if self.joined else OUTPUT_SIZE)

    def text(self) -> str:
        return "".join((*(text for text, _ in self._pieces), *self._loose))

    def whole(self) -> AppendOutput:
        return AppendOutput({"output_type": "stream", "name": self.name, "text": self.text()})

    def add(self, text: str, keep: int | None) -> None:
        """Append ``text``; at least the last ``keep`` bytes of it, if that is given."""
        size = text_size(text)
        if keep is not None and len(text) > keep + _PIECE:
            last = text[-keep - _PIECE :]
            last_size = text_size(last)
            self.lost += self.text_size + size - last_size
            self._pieces.clear()
            self._take_loose()
            self.text_size = 0
            text, size = last, last_size
        self.text_size += size
        if len(text) < _PIECE:
            self._loose.append(text)
            self._loose_length += len(text)
            if self._loose_length >= _PIECE:
                self._pieces.append(_piece(self._take_loose()))
        else:
            if self._loose:
                self._pieces.append(_piece(self._take_loose()))
            self._pieces.extend(map(_piece, _cut(text)))

    def erase(self, text: str) -> str:
        """Take ``text`` away at the end, also of what was dropped; gives what of it is before all that."""
        count = len(text)
        while count and (self._loose or self._pieces):
            if not self._loose:
                self._loose.append(self._pieces.pop()[0])
                self._loose_length = len(self._loose[0])
            last = self._loose.pop()
            stays, goes = last[: max(len(last) - count, 0)], last[-count:]
            if stays:
                self._loose.append(stays)
            self._loose_length -= len(goes)
            self.text_size -= text_size(goes)
            count -= len(goes)
        before = text[:count]
        size = text_size(before)
        dropped = min(size, self.lost)
        self.lost -= dropped
        return before[: fitting(before, size - dropped)]

    def drop(self, size: int) -> int:
        """Drop pieces from the beginning, at most ``size`` bytes; gives how many they were."""
        dropped = 0
        while self._pieces and dropped + self._pieces[0][1] <= size:
            dropped += self._pieces.popleft()[1]
        self.text_size -= dropped
        self.lost += dropped
        return dropped

    def end(self, size: int) -> str:
        """The last ``size`` bytes of the text, from the beginning of a line on if there is one near."""
        parts = []
        for piece, piece_size in chain((_piece("".join(self._loose)),), reversed(self._pieces)):
            if piece_size > size:
                parts.append(piece[len(piece) - fitting(piece[::-1], size) :])
                break
            parts.append(piece)
            size -= piece_size
        text = "".join(reversed(parts))
        return text[text.find("\n", 0, min(_LINE, len(text) // 4)) + 1 :]

    def _take_loose(self) -> str:
        text = "".join(self._loose)
        self._loose.clear()
        self._loose_length = 0
        return text


_Piece = tuple[str, int]
"""A text and its size."""


def _piece(text: str) -> _Piece:
    return text, text_size(text)


def _cut(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def text_size(text: str) -> int:
    """Bytes in UTF-8. ASCII is not encoded for it, and other text only piece by piece."""
    if text.isascii():
        return len(text)
    return sum(len(piece.encode(errors="surrogatepass")) for piece in _cut(text))


def output_size(output: Mapping[str, Any]) -> int:
    """About the bytes of the output's JSON: its strings in UTF-8, and a little for everything else."""
    if output.get("output_type") == "stream":
        return OUTPUT_SIZE + text_size(output["text"])
    return OUTPUT_SIZE + sum(_value_size(value) for key, value in output.items() if key != "output_type")


def fitting(text: str, size: int) -> int:
    """How many characters from the beginning on are no more than ``size`` bytes together."""
    if text.isascii():
        return min(len(text), max(size, 0))
    count = 0
    for piece, piece_size in map(_piece, _cut(text)):
        if piece_size > size:
            return count + bisect_right(range(1, len(piece)), size, key=lambda end: text_size(piece[:end]))
        size -= piece_size
        count += len(piece)
    return len(text)


def _value_size(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE_SIZE + text_size(value)
    if isinstance(value, Mapping):
        return _VALUE_SIZE + sum(_value_size(key) + _value_size(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return _VALUE_SIZE + sum(map(_value_size, value))
    return _VALUE_SIZE
