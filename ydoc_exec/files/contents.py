"""The contents manager, as far as files need it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

import nbformat

from ydoc_exec.files.replacement import FileState

T = TypeVar("T")


class ContentsManager(Protocol):
    """What is used of Jupyter Server's contents manager. Both kinds exist: plain and asynchronous methods."""

    def get(
        self, path: str, content: bool = ..., type: str | None = ..., format: str | None = ...
    ) -> Any: ...
    def save(self, model: dict[str, Any], path: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tells one state of a file from another without reading it, as far as the contents manager can."""

    modified: datetime | None
    size: int | None

    @classmethod
    def of(cls, model: dict[str, Any]) -> Stamp:
        """The stamp in a model of the contents API."""
        when, size = model.get("last_modified"), model.get("size")
        return cls(when if isinstance(when, datetime) else None, size if isinstance(size, int) else None)

    def differs(self, other: Stamp) -> bool:
        """Whether the file was written between the two.

        The size is there for file systems that tell time in seconds; not every manager says it.
        """
        if self.modified != other.modified:
            return True
        return None not in (self.size, other.size) and self.size != other.size


async def settled(value: T | Awaitable[T]) -> T:
    """The value itself, from either kind of manager."""
    if inspect.isawaitable(value):
        return await value
    return value


async def file_hash(contents: ContentsManager, path: str, type: str) -> str | None:
    """The file's hash; None from a manager that makes none (``require_hash`` came with jupyter_server 2.11)."""
    get: Any = contents.get
    if "require_hash" not in inspect.signature(get).parameters:
        return None
    model = await settled(get(path, content=False, type=type, require_hash=True))
    value = model.get("hash")
    return value if isinstance(value, str) else None


def file_state(contents: ContentsManager, path: str) -> FileState | None:
    """The version of a file, from a manager that replaces files as a whole (``handlers/contents_manager.py``)."""
    ask = getattr(contents, "file_state", None)
    return ask(path) if ask is not None else None


def is_missing(error: Exception) -> bool:
    """Whether a contents manager's error says that there is no such file (tornado's ``HTTPError`` 404)."""
    return getattr(error, "status_code", None) == 404


def contents_type(type: str) -> str:
    """What the contents API calls a file that holds a document of this type.

    It knows notebooks and files; a document type of its own (``jcad``) is in a file.
    """
    return type if type in ("notebook", "directory") else "file"


def as_read(notebook: Any) -> Any:
    """What a notebook that somebody wants to save would be when it is read again: lines joined, of this format.

    Nothing in it is trusted, as nothing in a file is by itself. Raises ``ValueError`` or what nbformat raises.
    """
    nameless = [index for index, cell in enumerate(notebook["cells"]) if not cell.get("id")]
    content = plain(nbformat.reads(json.dumps(notebook), as_version=4))  # type: ignore[no-untyped-call, unused-ignore]
    for index in nameless:
        content["cells"][index].pop("id", None)  # made up
    for cell in content["cells"]:
        cell["metadata"].pop("trusted", None)
    return content


def plain(value: Any) -> Any:
    """JSON values as plain dicts and lists (nbformat gives subclasses of them)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
