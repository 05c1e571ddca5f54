"""The signatures of trusted notebooks, written in the thread that writes the file.

Jupyter Server signs a notebook before it saves it, on the event loop: two commits to an SQLite database, in which
nobody is served while the disk is waited for (6 ms where this was measured, for every save).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from nbformat.sign import NotebookNotary, SQLiteSignatureStore

_saves: ContextVar[Signing | None] = ContextVar("signing", default=None)


@dataclass
class Signing:
    """The notebooks of one save that are to be signed by the thread that writes them, with their paths."""

    waiting: list[tuple[Any, str]] = field(default_factory=list)

    def take(self, notebook: Any) -> str | None:
        """The path of a notebook that is to be signed, once."""
        for index, (waits, path) in enumerate(self.waiting):
            if waits is notebook:
                del self.waiting[index]
                return path
        return None


@contextmanager
def signing() -> Iterator[Signing]:
    """A save is under way: what it wants signed may wait until it is written."""
    save = Signing()
    token = _saves.set(save)
    try:
        yield save
    finally:
        _saves.reset(token)


def present_signing() -> Signing | None:
    """That of the save that led to the present call, if one did."""
    return _saves.get()


def can_sign_in_thread(notary: Any) -> bool:
    """Whether another connection to its signatures comes to the same: they are in a file, and nobody has changed how."""
    store = getattr(notary, "store", None)
    return (
        type(notary) is NotebookNotary and type(store) is SQLiteSignatureStore and store.db_file != ":memory:"
    )
