"""Whether a change has wiped a document, and whether what is left may be saved unasked. Pure.

Tabs that have lost their way clear a document: JupyterLab then inserts one blank cell, which looks like anybody's
edit. People clear documents too. So a wipe is not refused; what was there is kept, and a file is not written over by
nothing until somebody asks for it.

Contents are as the contents API has them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

LEAST_CHARACTERS = 200
"""Less text than this is soon written again, unless it was all of several cells."""

_WORD = re.compile(r"\w+|[^\w\s]")


def is_wipe(before: Any, after: Any) -> bool:
    """Whether most of ``before`` was taken away at once.

    Of a notebook that is: all of several cells, or of more than half of its cells most of the text, and with them
    most of the text of all. Of a text, or of a notebook with one cell: most of the text, with not even half as much
    left or in its place. Blank cells do not count.

    The text of a cell is its source. Words are compared wherever they are now, so what was moved, split, joined,
    renamed, formatted or replaced here and there is still there. Outputs count where there is no source: clearing all
    outputs is a thing that people do every day, and running brings them back.
    """
    old, new = _passages(before), _passages(after)
    lost = _lost(old, new)
    total, gone = sum(passage.size for passage in old), sum(lost)
    several = len(old) > 1
    if several and not new:
        return True
    if gone < LEAST_CHARACTERS or 2 * gone <= total:
        return False
    if several:
        gutted = [passage for passage, size in zip(old, lost, strict=True) if 2 * size > passage.size]
        return 2 * len(gutted) > len(old)
    return 2 * sum(passage.size for passage in new) < total


def is_emptied(content: Any) -> bool:
    """Whether nothing is left that anybody would miss: no cell with a source or outputs, or no text.

    JupyterLab puts a blank cell into a notebook that has none, so the number of cells says nothing.
    """
    return not _passages(content)


def would_empty(file: Any, document: Any) -> bool:
    """Whether saving the document would leave nothing of a file that has something: nobody does that unasked."""
    return is_emptied(document) and not is_emptied(file)


# Private


@dataclass(frozen=True, slots=True)
class _Passage:
    """A text that stands for itself, as words."""

    name: object
    words: Counter[str]

    @property
    def size(self) -> int:
        """In characters without white space."""
        return _size(self.words)


def _passages(content: Any) -> list[_Passage]:
    """The parts of a document that are not blank."""
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        words = Counter(_WORD.findall(content) if isinstance(content, str) else _whole(content))
        return [_Passage(None, words)] if words else []
    passages = [
        # Cells of old notebooks have no ids; the name only says where to look first.
        _Passage(cell.get("id", position), _words(cell))
        for position, cell in enumerate(content["cells"])
        if isinstance(cell, dict)
    ]
    return [passage for passage in passages if passage.words]


def _words(cell: dict[str, Any]) -> Counter[str]:
    source = cell.get("source")
    # Files have lists of lines; the contents manager joins them.
    text = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
    return Counter(_WORD.findall(text)) or Counter(_whole(cell.get("outputs")))


def _whole(value: Any) -> list[str]:
    """Something that is no text counts as one word."""
    if isinstance(value, bytes):
        return [value.hex()] if value else []
    return [json.dumps(value, sort_keys=True, default=str)] if value else []


def _lost(old: list[_Passage], new: list[_Passage]) -> list[int]:
    """For each passage, how many of its characters are nowhere any more.

    What a passage has kept is not looked for elsewhere, and only once can a word be found.
    """
    left: dict[object, Counter[str]] = {}
    for passage in new:
        left[passage.name] = left.get(passage.name, Counter()) + passage.words
    missing = []
    for passage in old:
        kept = passage.words & left.get(passage.name, Counter())
        if kept:
            left[passage.name] -= kept
        missing.append(passage.words - kept)
    pool: Counter[str] = sum(left.values(), Counter())
    for words in missing:
        found = words & pool
        pool -= found
        words -= found
    return [_size(words) for words in missing]


def _size(words: Counter[str]) -> int:
    return sum(len(word) * count for word, count in words.items())
