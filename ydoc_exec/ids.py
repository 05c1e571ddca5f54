"""Identifiers. Parsed once at the edge; below it nobody splits a string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType
from uuid import uuid4

from ydoc_exec.errors import BadRoomId

CellId = NewType("CellId", str)
"""The ``id`` of a notebook cell (nbformat 4.5), unique within one notebook."""

RunId = NewType("RunId", str)
"""One request to execute one cell."""

BatchId = NewType("BatchId", str)
"""The runs of one gesture, which enter the queue together."""

PromptId = NewType("PromptId", str)
"""One question of a run (``input()``): a run may ask several, one after the other."""

KernelId = NewType("KernelId", str)
"""A kernel, as in ``/api/kernels/{kernel_id}``."""

Lineage = NewType("Lineage", str)
"""The identity of a document's CRDT history. Histories of different lineage must never be merged as they
are: the union doubles every cell."""

GLOBAL_AWARENESS = "JupyterLab:globalAwareness"
"""The one room that has presence and no document (``jupyter-docprovider``, ``awareness.ts``)."""


def new_run_id() -> RunId:
    """A run id that was never given before and says nothing about anybody."""
    return RunId(uuid4().hex)


def new_batch_id() -> BatchId:
    """A batch id that was never given before."""
    return BatchId(uuid4().hex)


def new_prompt_id() -> PromptId:
    """A prompt id that was never given before."""
    return PromptId(uuid4().hex)


def new_lineage() -> Lineage:
    """A lineage that no document has had before."""
    return Lineage(uuid4().hex)


@dataclass(frozen=True, slots=True, order=True)
class RoomId:
    """The name of a document's room: contents format, document type and file id.

    The same three parts, joined by colons, are the last segment of the room's websocket address and the
    ``document_id`` that clients send when they execute (``jupyter-docprovider``, ``yprovider.ts``).
    """

    format: str
    type: str
    file_id: str

    @classmethod
    def parse(cls, name: str) -> RoomId:
        """Read ``format:type:file id``. Raises ``BadRoomId``."""
        parts = name.split(":", 2)
        if len(parts) != 3:
            raise BadRoomId(name, "it has no three parts joined by colons")
        format_, type_, file_id = parts
        if format_ not in ("json", "text", "base64"):
            raise BadRoomId(name, f"{format_!r} is none of the formats json, text and base64")
        if not type_ or not file_id:
            raise BadRoomId(name, "its document type or its file id is empty")
        return cls(format_, type_, file_id)

    def __str__(self) -> str:
        return f"{self.format}:{self.type}:{self.file_id}"
