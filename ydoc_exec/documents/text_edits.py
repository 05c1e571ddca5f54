"""Making a shared text another one, so that everybody else who is writing in it keeps their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Any

from pycrdt import Doc, Text

from ydoc_exec.common_prefix import common_prefix

COMPARED = 200_000
"""Two pieces are compared when the product of their lengths is no more than this: it takes 10 to 100 ms then."""

Edit = tuple[int, int, str]
"""What lies from one place to another (in characters) is replaced by this."""


def replace_text(text: Text, wanted: str) -> None:
    """Make a shared text another one by changing only what differs. Called inside a transaction.

    What stays keeps its items, which matters to all others: what they write at the same time stays where they wrote
    it, and what they have erased comes back only once when they undo that. ``jupyter_ydoc`` replaces the whole source
    of a cell.
    """
    have = str(text)
    # From the end to the beginning, so that the places before stay what they are. Indices are bytes of UTF-8.
    places = [0, *accumulate(len(char.encode()) for char in have)]
    for start, end, new in reversed(edits(have, wanted)):
        if start < end:
            del text[places[start] : places[end]]
        if new:
            text.insert(places[start], new)


def edits(have: str, wanted: str) -> list[Edit]:
    """What makes a text another one, in its order and without overlaps.

    What lies between the common beginning and end is compared line by line, and lines that differ character by
    character, as far as that does not take long.
    """
    return list(_edits(have, wanted, 0))


def is_within(part: str, whole: str) -> bool:
    """Whether ``part`` is what is left of ``whole`` when some of its characters are left out."""
    rest = iter(whole)
    return all(char in rest for char in part)


def units(text: str) -> int:
    """The length in UTF-16 code units, as Yjs counts it."""
    return len(text.encode("utf-16-le")) // 2


def unite_texts(base: str, ours: str, theirs: str) -> str:
    """A text with the changes of both sides, as two people have them who write in a shared text at once."""
    if theirs == base or ours == theirs:
        return ours
    if ours == base:
        return theirs
    doc: Doc[Any] = Doc(client_id=1)
    doc["text"] = text = Text(base)
    other: Doc[Any] = Doc(client_id=2)
    other.apply_update(doc.get_update())
    replace_text(other.get("text", type=Text), theirs)
    replace_text(text, ours)
    doc.apply_update(other.get_update())
    return str(text)


# Private


def _edits(have: str, wanted: str, offset: int) -> Iterator[Edit]:
    start = common_prefix(have, wanted)
    end = common_prefix(have[start:][::-1], wanted[start:][::-1])
    old, new = have[start : len(have) - end], wanted[start : len(wanted) - end]
    offset += start
    if not old or not new:
        if old or new:
            yield offset, offset + len(old), new
        return
    if len(old) * len(new) <= COMPARED:
        for first, last, begin, stop in _differences(old, new):
            yield offset + first, offset + last, new[begin:stop]
        return
    old_lines, new_lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if len(old_lines) * len(new_lines) > COMPARED or len(old_lines) == len(new_lines) == 1:
        yield offset, offset + len(old), new
        return
    places = [0, *accumulate(map(len, old_lines))]
    for first, last, begin, stop in _differences(old_lines, new_lines):
        yield from _lines(
            old[places[first] : places[last]], "".join(new_lines[begin:stop]), offset + places[first]
        )


def _lines(old: str, new: str, offset: int) -> Iterator[Edit]:
    if len(old) * len(new) <= COMPARED:
        yield from _edits(old, new, offset)
    else:
        yield offset, offset + len(old), new


def _differences(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, first, last, begin, stop in matcher.get_opcodes():
        if kind != "equal":
            yield first, last, begin, stop
