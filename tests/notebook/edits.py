"""Edits of outputs, as short as they can be written."""

from __future__ import annotations

from tests.notebook.messages import display_output
from ydoc_exec.notebook.edits import AppendOutput, EditTail, ReplaceDisplay


def prints(text: str, name: str = "stdout") -> EditTail:
    """Text behind what there is."""
    return EditTail(name, "", text)


def show(text: str, display_id: str | None = None) -> AppendOutput:
    """A display behind what there is."""
    return AppendOutput(display_output(text), display_id)


def change(text: str, display_id: str) -> ReplaceDisplay:
    """Another text in all displays under an id."""
    return ReplaceDisplay(display_id, {"text/plain": text}, {})
