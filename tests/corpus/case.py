"""One case of the corpus: what a kernel is asked to do, and the outputs that are to come of it.

The outputs are written down by hand, from the messaging protocol (``jupyter_client``'s documentation) and from
what JupyterLab does where the protocol leaves it open. Nothing here is made from a recording.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Output = dict[str, Any]

NO_CURSOR = "it obeys no cursor movements and shows a line for each refresh"
"""Why an output is another than in JupyterLab, which ``OutputReducer(cursor_movement=False)`` does like it."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Case:
    """Cells that one fresh kernel runs one after the other, and what each of them shows in the end."""

    name: str
    cells: Sequence[str]
    outputs: Sequence[Sequence[Output]]
    """The outputs of every cell when nothing comes any more, as nbformat has them."""

    payload: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """What is to come of the ``payload`` of a cell's ``execute_reply``, by position of the cell.

    A ``page`` becomes an output (``display_data`` with the payload's data, as ``OutputArea._onExecuteReply`` of
    JupyterLab makes it); a ``set_next_input`` is ``{"replace": bool, "text": str}``.
    """

    last: str = ""
    """What is still said when all cells have ended; it is waited for when the case is recorded."""

    requires: Sequence[str] = ()
    """Packages that the kernel needs and that ipykernel does not bring."""

    jupyterlab: str = ""
    """How, and why, JupyterLab shows something else. If this is empty, it shows the same."""

    nbclient: str = ""
    """How, and why, nbclient has something else. If this is empty, it has the same."""

    def __post_init__(self) -> None:
        assert len(self.cells) == len(self.outputs), self.name


class Shows:
    """Equal to a text (or a list of texts) in which these are to be read, in this order, colours aside.

    For what is another's to say and changes with its version: how IPython sets a traceback, where a library is,
    how a picture is compressed. That it is taken over exactly is tested for all cases together.
    """

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list):
            other = "\n".join(str(line) for line in other)
        if not isinstance(other, str):
            return False
        whole, position = _COLOURS.sub("", other), 0
        for part in self.parts:
            found = whole.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Shows{self.parts!r}"


# Outputs, as nbformat has them


def stream(text: str | Shows, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def display(data: dict[str, Any] | str | Shows, metadata: dict[str, Any] | None = None) -> Output:
    """A text alone is ``text/plain``."""
    return {"output_type": "display_data", "data": _bundle(data), "metadata": metadata or {}}


def result(
    data: dict[str, Any] | str, count: int | None = 1, metadata: dict[str, Any] | None = None
) -> Output:
    return {
        "output_type": "execute_result",
        "data": _bundle(data),
        "metadata": metadata or {},
        "execution_count": count,
    }


def error(ename: str, evalue: str | Shows, *shows: str) -> Output:
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": Shows(*shows)}


def _bundle(data: dict[str, Any] | str | Shows) -> dict[str, Any]:
    return data if isinstance(data, dict) else {"text/plain": data}
