"""An update log that lasts as long as the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.update_log import History, HistoryMissing


class MemoryUpdateLog:
    """Keeps histories in memory: for tests, and for servers that are told to leave nothing on disk.

    Leaving ``async with`` loses nothing; dropping the object does.
    """

    lasts = False

    def __init__(self) -> None:
        self._histories: dict[RoomId, History] = {}
        self._entered = False

    async def __aenter__(self) -> MemoryUpdateLog:
        self._entered = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False

    async def read(self, room: RoomId) -> History | None:
        self._check_open("read a history")
        history = self._histories.get(room)
        return None if history is None else replace(history, updates=list(history.updates))

    async def lineage(self, room: RoomId) -> Lineage | None:
        self._check_open("read a lineage")
        history = self._histories.get(room)
        return None if history is None else history.lineage

    async def size(self, room: RoomId) -> int:
        self._check_open("measure a history")
        history = self._histories.get(room)
        return 0 if history is None else sum(map(len, history.updates))

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        self._check_open("begin a history")
        self._histories[room] = History(lineage, [snapshot], base)

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        self._check_open("append updates")
        missing = {room for room, _ in batch if room not in self._histories}
        if missing:
            raise HistoryMissing("append updates", missing)
        for room, update in batch:
            self._histories[room].updates.append(update)

    async def set_base(self, room: RoomId, base: str) -> None:
        self._histories[room] = replace(self._history("set a base", room), base=base)

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        self._histories[room] = replace(self._history("compact a history", room), updates=[snapshot])

    async def forget(self, room: RoomId) -> None:
        self._check_open("forget a history")
        self._histories.pop(room, None)

    # Private

    def _check_open(self, what: str) -> None:
        # It could work all the same, and would hide that a log of another kind would not.
        if not self._entered:
            raise UpdateLogError(what, "it is not open")

    def _history(self, what: str, room: RoomId) -> History:
        self._check_open(what)
        history = self._histories.get(room)
        if history is None:
            raise HistoryMissing(what, {room})
        return history
