"""What happens to the outputs of one cell, as values.

A closed union: ``OutputReducer`` makes edits out of kernel messages, ``OutputLimit`` cuts what is too much,
``Notebook.apply`` carries them out.
Edits are applied in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ClearOutputs:
    """All outputs of the cell go."""


@dataclass(frozen=True, slots=True)
class EditTail:
    """The last output is a stream called ``name``, its text ends with ``erase``: take that away, then append.

    The name is there for the case that somebody else removed the output meanwhile: what is appended then
    becomes an output of its own.
    """

    name: str
    erase: str
    append: str


@dataclass(frozen=True, slots=True)
class AppendOutput:
    """One more output, as nbformat has it, so without ``transient``; its display id goes beside it."""

    output: dict[str, Any]
    display_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceDisplay:
    """Every output of the notebook displayed under this id shows other data. It never adds an output."""

    display_id: str
    data: dict[str, Any]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplaceLast:
    """The last ``count`` outputs of the cell go, or all if there are fewer, and these come instead.

    It comes from ``OutputLimit`` and ``Notebook.restore``: a kernel has no message for it.
    """

    count: int
    outputs: tuple[AppendOutput, ...]


Edit = ClearOutputs | EditTail | AppendOutput | ReplaceDisplay | ReplaceLast


def replacements(edits: Sequence[Edit]) -> list[Edit]:
    """Those edits that concern displays wherever they are: the others are of the cell that ran."""
    return [edit for edit in edits if isinstance(edit, ReplaceDisplay)]
