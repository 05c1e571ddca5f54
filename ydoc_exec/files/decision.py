"""What to do when the file, the document and what they last had in common disagree. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NewType

Fingerprint = NewType("Fingerprint", str)
"""Stands for one content: equal contents have equal fingerprints, whatever their bytes on disk."""

_DEEP = 6
"""A notebook, its cells, a cell, its outputs, an output, its data."""


@dataclass(frozen=True, slots=True)
class Base:
    """What file and document last had in common, as each of them says it.

    There are two because a document does not give back exactly what was loaded into it (``YNotebook``
    adds default metadata, for example), and that difference alone is no reason to write the file.
    """

    file: Fingerprint
    document: Fingerprint
    saving: Fingerprint | None = None
    """What the document was when a save of it began; None if its end is known."""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.file, self.document, self.saving)))

    @classmethod
    def parse(cls, text: str) -> Base | None:
        """Read what ``str`` wrote, or None."""
        parts = [Fingerprint(part) for part in text.split("/")]
        return cls(*parts) if len(parts) in (2, 3) else None

    def beside(self, file: Fingerprint) -> Base:
        """The same, knowing what the file is now: whether the save came to its end."""
        return Base(file, file) if file == self.saving else Base(self.file, self.document)


class Decision(Enum):
    """What is to be done."""

    KEEP = auto()
    """Nothing: neither side has changed."""
    SAVE = auto()
    """Only the document has changed."""
    RELOAD = auto()
    """Only the file has changed."""
    MERGE = auto()
    """Both have changed."""


def decide(file: Fingerprint, document: Fingerprint, base: Base) -> Decision:
    """Compare both sides with what they had in common."""
    match (file != base.file, document != base.document):
        case (False, False):
            return Decision.KEEP
        case (False, True):
            return Decision.SAVE
        case (True, False):
            return Decision.RELOAD
        case _:
            return Decision.MERGE


def fingerprint(content: Any) -> Fingerprint:
    """The fingerprint of a document's content as the contents API has it: JSON values.

    Whether a cell is trusted is not part of it: the contents manager says that by the notebook's signature,
    and no file holds it.
    """
    if isinstance(content, dict) and isinstance(content.get("cells"), list):
        content = {**content, "cells": [_untrusted(cell) for cell in content["cells"]]}
    digest = hashlib.sha256()
    for piece in _pieces(content, _DEEP):
        digest.update(piece.encode("utf-8", "surrogatepass"))
    return Fingerprint(digest.hexdigest()[:40])


def _pieces(value: Any, deep: int) -> Iterator[str]:
    """The JSON of a value, in pieces: the interpreter runs nothing else while one is made."""
    if deep and isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            if index:
                yield ","
            yield from _pieces(item, deep - 1)
        yield "]"
    elif deep and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        yield "{"
        for index, key in enumerate(sorted(value)):
            yield f"{',' if index else ''}{_json(key)}:"
            yield from _pieces(value[key], deep - 1)
        yield "}"
    else:
        yield _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def _untrusted(cell: Any) -> Any:
    if not isinstance(cell, dict) or "trusted" not in (cell.get("metadata") or {}):
        return cell
    metadata = {key: value for key, value in cell["metadata"].items() if key != "trusted"}
    return {**cell, "metadata": metadata}
