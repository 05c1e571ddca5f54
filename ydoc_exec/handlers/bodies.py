"""The bodies of requests, read once. Each reader raises ``BadBody`` with what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from ydoc_exec.documents.execution import ExecuteRequest, KernelFor
from ydoc_exec.errors import BadRequest
from ydoc_exec.ids import CellId, KernelId, PromptId, RoomId, RunId
from ydoc_exec.notebook.known_source import KnownSource

MAX_CELLS = 10_000
MAX_INPUT = 2**20


class BadBody(BadRequest):
    """A request's body that is not what the endpoint takes."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"The request's body is not understood: {self.why}."


def read_json(text: str | bytes) -> Any:
    """JSON values. Raises ``BadBody``; jupyter_server's ``get_json_body`` answers 500 to bytes that are not UTF-8."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBody(f"it is no JSON ({error})") from None


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
    """``POST /api/kernels/{kernel_id}/execute``: one of four forms, told apart by their keys.

    - ``ydoc_exec``: ``{"document_id", "cell_ids", "after"?, "stop_on_error"?, "record_timing"?, "allow_stdin"?}``, or with
      ``path`` in the place of ``document_id``; then no ``cell_ids`` mean all cells with code.
    - ``jupyter_docprovider``, the stock front end's: ``{"document_id", "cell_id"}``.
    - ``nbmodel``, that of jupyter-server-nbmodel 0.2: ``{"code", "metadata": {"cell_id", "document_id"?,
      "document_path"?, "record_timing"?}}``.
    - ``server_documents``, that of jupyter-server-documents 0.3: ``{"document_id", "cells": [{"cell_id",
      "source_hash"}], "request_id"?, "previous_request_id"?}``.

    Exactly one of ``room`` and ``path`` is there, unless the path is in the request's address. What else is in a body is
    for others.
    """

    room: RoomId | None
    cells: tuple[CellId, ...] | None
    after: str | None = None
    stop_on_error: bool = True
    record_timing: bool = False
    path: str | None = None
    known: tuple[tuple[CellId, KnownSource], ...] = ()
    request: str | None = None
    previous: str | None = None
    form: str = "ydoc_exec"
    allow_stdin: bool = True
    kernel_name: str | None = None

    @classmethod
    def read(cls, body: Any) -> ExecuteBody:
        """The body of a request that names the kernel in its address."""
        fields = _object(body)
        if "code" in fields:
            return cls._nbmodel(fields)
        if "cells" in fields:
            return cls._server_documents(fields)
        path = None
        if "path" in fields and "document_id" not in fields:
            path = _string(fields, "path")
        room = None if path is not None else RoomId.parse(_string(fields, "document_id"))
        if "cell_id" in fields:
            if "cell_ids" in fields:
                raise BadBody("it needs either 'cell_id' or 'cell_ids'")
            form = "jupyter_docprovider" if path is None else "ydoc_exec"
            cells: tuple[CellId, ...] | None = (CellId(_string(fields, "cell_id")),)
        elif "cell_ids" in fields or path is None:
            form, cells = "ydoc_exec", _cell_ids(fields)
        else:
            form, cells = "ydoc_exec", None
        return cls._ours(fields, room, path, cells, form)

    @classmethod
    def read_for_path(cls, body: Any) -> ExecuteBody:
        """The body of a request that names the document in its address: ``{"cell_ids"?, "kernel_name"?, "after"?,
        "stop_on_error"?, "record_timing"?, "allow_stdin"?}``."""
        fields = _object(body)
        cells = _cell_ids(fields) if "cell_ids" in fields else None
        read = cls._ours(fields, None, None, cells, "ydoc_exec")
        if fields.get("kernel_name") is None:
            return read
        return replace(read, kernel_name=_string(fields, "kernel_name"))

    @classmethod
    def read_frame(cls, body: Any, room: RoomId) -> tuple[KernelId, ExecuteBody]:
        """What a room's client asks for on its websocket: ``{"kernel_id", "cell_ids", "stop_on_error"?, "record_timing"?,
        "allow_stdin"?}``."""
        fields = _object(body)
        kernel = KernelId(_string(fields, "kernel_id"))
        return kernel, cls._ours(fields, room, None, _cell_ids(fields), "ydoc_exec")

    def asked_by(
        self, user: Any, room: RoomId, kernel: KernelId | KernelFor, id: str | None = None
    ) -> ExecuteRequest:
        """What this user of the server asks for with it."""
        return ExecuteRequest(
            kernel=kernel,
            room=room,
            cells=self.cells,
            user=getattr(user, "username", ""),
            name=getattr(user, "display_name", "") or "",
            after=self.after,
            stop_on_error=self.stop_on_error,
            record_timing=self.record_timing,
            allow_stdin=self.allow_stdin,
            known=dict(self.known),
            request=self.request,
            previous=self.previous,
            id=id,
            form=self.form,
        )

    # Private

    @classmethod
    def _ours(
        cls,
        fields: dict[str, Any],
        room: RoomId | None,
        path: str | None,
        cells: tuple[CellId, ...] | None,
        form: str,
    ) -> ExecuteBody:
        return cls(
            room,
            cells,
            _token(fields, "after", "the token of a barrier"),
            _flag(fields, "stop_on_error", default=True),
            _flag(fields, "record_timing", default=False),
            path=path,
            form=form,
            allow_stdin=_flag(fields, "allow_stdin", default=True),
        )

    @classmethod
    def _nbmodel(cls, fields: dict[str, Any]) -> ExecuteBody:
        code, metadata = fields["code"], fields.get("metadata")
        if not isinstance(code, str):
            raise BadBody("'code' must be a string")
        if fields.get("server") is not None:
            raise BadBody("'server' is not supported; have this server use the other one as its gateway")
        if not isinstance(metadata, dict) or metadata.get("cell_id") is None:
            raise BadBody("'metadata' must name the cell whose code this is, as 'cell_id'")
        cell = CellId(_string(metadata, "cell_id"))
        room = path = None
        if metadata.get("document_path") is not None:
            path = _string(metadata, "document_path")
        elif metadata.get("document_id") is None:
            raise BadBody("'metadata' must name the document, as 'document_id' or 'document_path'")
        if metadata.get("document_id") is not None:
            try:
                room, path = RoomId.parse(_string(metadata, "document_id")), None
            except BadRequest:
                if path is None:  # it may be the name of a document elsewhere
                    raise
        timing = metadata.get("record_timing") is not None and _flag(metadata, "record_timing", default=False)
        return cls(
            room,
            (cell,),
            record_timing=timing,
            path=path,
            known=((cell, KnownSource(text=code)),),
            form="nbmodel",
        )

    @classmethod
    def _server_documents(cls, fields: dict[str, Any]) -> ExecuteBody:
        room = RoomId.parse(_string(fields, "document_id"))
        cells = fields["cells"]
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise BadBody("'cells' must be a list of objects with 'cell_id' and 'source_hash'")
        ids = _cell_ids({"cell_ids": [cell.get("cell_id") for cell in cells]}, "cells")
        known = [KnownSource(hash=_string(cell, "source_hash")) for cell in cells]
        return cls(
            room,
            ids,
            known=tuple(zip(ids, known, strict=True)),
            request=_token(fields, "request_id", "an id of this request"),
            previous=_token(fields, "previous_request_id", "the id of an earlier request"),
            form="server_documents",
        )


@dataclass(frozen=True, slots=True)
class InputBody:
    """``POST /api/kernels/{kernel_id}/input``: ``{"run_id", "value", "prompt_id"?}``, or that of jupyter-server-nbmodel,
    ``{"input"}``, which is for whatever the kernel waits for.

    What is wrong is said without the value: it may be a password.
    """

    value: str = field(repr=False)
    run: RunId | None = None
    prompt: PromptId | None = None

    @classmethod
    def read(cls, body: Any) -> InputBody:
        """The body of a request that names the kernel in its address."""
        fields = _object(body)
        if "input" in fields and "value" not in fields:
            return cls(_input(fields, "input"))
        prompt = None if fields.get("prompt_id") is None else PromptId(_string(fields, "prompt_id"))
        return cls(_input(fields, "value"), RunId(_string(fields, "run_id")), prompt)


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


def _cell_ids(fields: dict[str, Any], name: str = "cell_ids") -> tuple[CellId, ...]:
    cells = fields.get("cell_ids")
    if cells is None and name == "cell_ids":
        raise BadBody("it needs either 'cell_id' or 'cell_ids'")
    if not isinstance(cells, list) or not cells:
        raise BadBody(f"{name!r} must be a list of at least one cell id")
    if len(cells) > MAX_CELLS:
        raise BadBody(f"{name!r} has more than {MAX_CELLS} cell ids")
    if not all(isinstance(cell, str) and cell for cell in cells):
        raise BadBody(f"{name!r} must contain strings and nothing else")
    if len(set(cells)) != len(cells):
        raise BadBody(f"{name!r} names a cell twice")
    return tuple(CellId(cell) for cell in cells)


def _token(fields: dict[str, Any], name: str, what: str) -> str | None:
    token = fields.get(name)
    if token is not None and not (isinstance(token, str) and 0 < len(token) <= 128):
        raise BadBody(f"{name!r} must be {what}, a string of at most 128 characters")
    return token


def _input(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise BadBody(f"{name!r} must be a string")
    if len(value) > MAX_INPUT:
        raise BadBody(f"{name!r} is longer than {MAX_INPUT} characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise BadBody(f"{name!r} has halves of characters (lone surrogates), which no kernel can read")
    return value


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
