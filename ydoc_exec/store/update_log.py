"""The update log: what was done to each document, in order, outlasting the server.

The log knows rooms, lineages and bytes, and nothing of what the bytes mean. The two implementations are
``SqliteUpdateLog`` and ``MemoryUpdateLog``; ``tests/store/test_contract.py`` holds both, and any other, to
this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId


@dataclass(frozen=True, slots=True)
class History:
    """What is known of one document: applied in order, its ``updates`` are the document.

    ``base`` is the fingerprint of the content that document and file last had in common, as far as the log
    was told; the updates before it was set are certain to be there.
    """

    lineage: Lineage
    updates: list[bytes]
    base: str | None


class HistoryMissing(UpdateLogError):
    """Something was to be added to a history that is not there: never begun, forgotten, or begun anew by
    others.

    The log itself is well. ``begin`` makes such a room's history again.
    """

    def __init__(self, what: str, rooms: Iterable[RoomId]) -> None:
        self.rooms = frozenset(rooms)
        super().__init__(what, f"it has no history of {', '.join(sorted(map(str, self.rooms)))}")


class UpdateLog(Protocol):
    """A durable, ordered record of the updates of many rooms.

    Guarantees of every implementation:

    * Each call is one atomic step. When it has returned, what it did is there for every later ``read``, also
      after the process was killed (for as long as the implementation promises to last).
    * A call that raised changed nothing, or (only if the failure came while the change was becoming durable)
      did all of it. Doing it again is harmless: updates are idempotent.
    * Updates of one room are read in the order in which they were appended.
    * A history always begins with the snapshot it was begun or compacted with. There is no way to add to a
      room that has none, so what arrives late for a forgotten room cannot look like the whole of it.

    Every method raises ``UpdateLogError``, and of errors nothing else. They may be called concurrently.
    """

    @property
    def lasts(self) -> bool:
        """Whether what it has is there for the next server too."""
        ...

    async def __aenter__(self) -> UpdateLog:
        """Open the log. A log that is unavailable just now does not raise here but in every call, until it
        is.
        """
        ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the log, after the calls under way. It may be entered again."""
        ...

    async def read(self, room: RoomId) -> History | None:
        """All that is known of the room."""
        ...

    async def lineage(self, room: RoomId) -> Lineage | None:
        """The lineage of the room's history, without reading the history."""
        ...

    async def size(self, room: RoomId) -> int:
        """How many bytes ``read`` would return as updates, the snapshot among them; 0 for an unknown room."""
        ...

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        """Replace whatever is known of the room by a history that is so far one ``snapshot``."""
        ...

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        """Add updates to the histories of their rooms: all of the batch or, raising, none.

        Raises ``HistoryMissing`` with all rooms of the batch that have no history.
        """
        ...

    async def set_base(self, room: RoomId, base: str) -> None:
        """Remember the fingerprint of the content that file and document now have in common.

        Raises ``HistoryMissing``.
        """
        ...

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        """Replace all updates of the history by one ``snapshot``; lineage and base stay.

        The snapshot must hold everything appended until this call takes effect, or that is lost. While a
        ``LogWriter`` writes to the room, its ``compact`` takes care of that. Raises ``HistoryMissing``.
        """
        ...

    async def forget(self, room: RoomId) -> None:
        """Remove all that is known of the room, if anything is."""
        ...
