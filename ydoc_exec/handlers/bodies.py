"""The bodies of requests, read once. Each reader raises ``BadBody`` with what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ydoc_exec.errors import BadRequest
from ydoc_exec.ids import CellId, RoomId

MAX_CELLS = 10_000


class BadBody(BadRequest):
    """A request's body that is not what the endpoint takes."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"The request's body is not understood: {self.why}."


@dataclass(frozen=True, slots=True)
class SessionBody:
    """``PUT /api/collaboration/session/{path}``."""

    format: str
    type: str

    @classmethod
    def read(cls, body: Any) -> SessionBody:
        """``{"format": ..., "type": ...}``."""
        fields = _object(body)
        return cls(_string(fields, "format"), _string(fields, "type"))


@dataclass(frozen=True, slots=True)
class ExecuteBody:
    """``POST /api/kernels/{kernel_id}/execute``."""

    room: RoomId
    cells: tuple[CellId, ...]
    after: str | None
    stop_on_error: bool
    record_timing: bool

    @classmethod
    def read(cls, body: Any) -> ExecuteBody:
        """The stock ``{"document_id", "cell_id"}`` or ours, ``{"document_id", "cell_ids", "after"?,
        "stop_on_error"?, "record_timing"?}``; what else is in it is for others."""
        fields = _object(body)
        room = RoomId.parse(_string(fields, "document_id"))
        if ("cell_id" in fields) == ("cell_ids" in fields):
            raise BadBody("it needs either 'cell_id' or 'cell_ids'")
        if "cell_id" in fields:
            cells: Any = [_string(fields, "cell_id")]
        else:
            cells = fields["cell_ids"]
            if not isinstance(cells, list) or not cells:
                raise BadBody("'cell_ids' must be a list of at least one cell id")
            if len(cells) > MAX_CELLS:
                raise BadBody(f"'cell_ids' has more than {MAX_CELLS} cell ids")
            if not all(isinstance(cell, str) and cell for cell in cells):
                raise BadBody("'cell_ids' must contain strings and nothing else")
            if len(set(cells)) != len(cells):
                raise BadBody("'cell_ids' names a cell twice")
        after = fields.get("after")
        if after is not None and not (isinstance(after, str) and 0 < len(after) <= 128):
            raise BadBody("'after' must be the token of a barrier, a string of at most 128 characters")
        return cls(
            room,
            tuple(CellId(cell) for cell in cells),
            after,
            _flag(fields, "stop_on_error", default=True),
            _flag(fields, "record_timing", default=False),
        )


@dataclass(frozen=True, slots=True)
class RestoreBody:
    """``POST /api/collaboration/recovery/{path}``."""

    copy: str

    @classmethod
    def read(cls, body: Any) -> RestoreBody:
        """``{"copy": id}``."""
        return cls(_string(_object(body), "copy"))


# Private


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadBody("it must be a JSON object")
    return body


def _flag(fields: dict[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise BadBody(f"{name!r} must be true or false")
    return value


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadBody(f"{name!r} must be a string that is not empty")
    return value
