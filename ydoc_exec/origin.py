"""Who wrote.

Every transaction in a room carries one of these. It tells the log and the file mirror whether a change is
news to them, and it keeps changes out of the document's undo history: an undo manager without tracked
origins takes every transaction *without* an origin for an undo item and keeps what it deleted for ever.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FromClient:
    """A browser or another program, through the room's websocket."""

    client: int


@dataclass(frozen=True, slots=True)
class FromKernel:
    """The kernel's answer to a run, or the run queue on its behalf."""


@dataclass(frozen=True, slots=True)
class FromFile:
    """The file was loaded, or changed outside this server."""


@dataclass(frozen=True, slots=True)
class FromLog:
    """A replay of the update log."""


@dataclass(frozen=True, slots=True)
class FromServer:
    """The server's own bookkeeping: path, dirty, hash, kernel status."""


Origin = FromClient | FromKernel | FromFile | FromLog | FromServer
