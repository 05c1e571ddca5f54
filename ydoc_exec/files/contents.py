"""The contents manager, as far as files need it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from datetime import datetime
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class ContentsManager(Protocol):
    """What is used of Jupyter Server's contents manager. Both kinds exist: plain and asynchronous methods."""

    def get(
        self, path: str, content: bool = ..., type: str | None = ..., format: str | None = ...
    ) -> Any: ...
    def save(self, model: dict[str, Any], path: str) -> Any: ...


async def settled(value: T | Awaitable[T]) -> T:
    """The value itself, from either kind of manager."""
    if inspect.isawaitable(value):
        return await value
    return value


def is_missing(error: Exception) -> bool:
    """Whether a contents manager's error says that there is no such file (tornado's ``HTTPError`` 404)."""
    return getattr(error, "status_code", None) == 404


def modified(model: dict[str, Any]) -> datetime | None:
    """The file's time of change as the contents manager says it."""
    stamp = model.get("last_modified")
    return stamp if isinstance(stamp, datetime) else None


def plain(value: Any) -> Any:
    """JSON values as plain dicts and lists (nbformat gives subclasses of them)."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
