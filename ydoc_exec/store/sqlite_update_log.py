"""The update log in a SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from secrets import randbits
from types import TracebackType

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.sqlite_file import Schema, SqliteFile, transaction, vacuum
from ydoc_exec.store.update_log import History, HistoryMissing

APPLICATION_ID = 0x59444F43
"""Marks the file as ours ("YDOC"), see ``PRAGMA application_id``."""

SCHEMA_VERSION = 2
"""To be raised with every change of ``_SCHEMA``, see ``PRAGMA user_version``. ``_UPGRADES`` leads there."""

_SCHEMA = (
    """
    CREATE TABLE histories (
        id INTEGER PRIMARY KEY,
        room TEXT NOT NULL UNIQUE,
        lineage TEXT NOT NULL,
        base TEXT
    )
    """,
    """
    CREATE TABLE updates (
        id INTEGER PRIMARY KEY,
        history INTEGER NOT NULL,
        data BLOB NOT NULL,
        continued INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX updates_of_history ON updates (history)",
)

_UPGRADES = {
    1: ("ALTER TABLE updates ADD COLUMN continued INTEGER NOT NULL DEFAULT 0",),
}
"""What makes a database of one version one of the next."""

SCHEMA = Schema(
    name="update log",
    application_id=APPLICATION_ID,
    version=SCHEMA_VERSION,
    statements=_SCHEMA,
    upgrades=_UPGRADES,
)

ROW_BYTES = 64 * 2**20
"""An update that is larger is put into several rows, of which all but the last are ``continued``. SQLite refuses a row
of more than 10**9 bytes (``SQLITE_LIMIT_LENGTH``), and a websocket's message may be larger than that."""


class SqliteUpdateLog(SqliteFile):
    """Keeps histories in one database file, by default in write-ahead mode.

    What a call has committed survives the death of the process; a power cut can take the last commits with
    it, but never leaves a history without its beginning. Several processes may use one database, as long as
    no two have the same room open: a process that adds to a history which another one has begun anew gets
    ``HistoryMissing``.

    A file that is corrupt, not ours or of another version is renamed to ``<name>.<time>.unreadable`` with one
    warning, and a new one is begun. One that is merely locked or unreachable is left alone: then calls raise
    ``UpdateLogError`` until it can be opened. One that was removed or replaced is not written to any more: then
    histories are missing, and are begun in what is there now.

    Args:
        path: the database. Its directory is made when it is missing; only the user can read either.
        busy_timeout: seconds to wait for another process that is writing.
        row_bytes: see ``ROW_BYTES``.
    """

    lasts = True

    def __init__(self, path: Path, busy_timeout: float = 1.0, row_bytes: int = ROW_BYTES) -> None:
        super().__init__(path, SCHEMA, UpdateLogError, busy_timeout)
        self._row_bytes = row_bytes
        # The histories this process reads and writes. Ids are never used twice, so one that was replaced by
        # another process is noticed.
        self._ids: dict[RoomId, int] = {}

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc_value, traceback)
        self._ids.clear()

    async def read(self, room: RoomId) -> History | None:
        def work(connection: sqlite3.Connection) -> History | None:
            with transaction(connection, "DEFERRED"):
                row = connection.execute(
                    "SELECT id, lineage, base FROM histories WHERE room = ?", (str(room),)
                ).fetchone()
                if row is None:
                    return None
                self._ids[room] = row[0]
                rows = connection.execute(
                    "SELECT data, continued FROM updates WHERE history = ? ORDER BY id", row[:1]
                )
                return History(Lineage(row[1]), _joined(rows), row[2])

        return await self._call("read a history", work)

    async def lineage(self, room: RoomId) -> Lineage | None:
        def work(connection: sqlite3.Connection) -> Lineage | None:
            row = connection.execute("SELECT lineage FROM histories WHERE room = ?", (str(room),)).fetchone()
            return None if row is None else Lineage(row[0])

        return await self._call("read a lineage", work)

    async def size(self, room: RoomId) -> int:
        def work(connection: sqlite3.Connection) -> int:
            (size,) = connection.execute(
                "SELECT coalesce(sum(length(data)), 0) FROM updates"
                " WHERE history = (SELECT id FROM histories WHERE room = ?)",
                (str(room),),
            ).fetchone()
            return int(size)

        return await self._call("measure a history", work)

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        def work(connection: sqlite3.Connection) -> None:
            history = randbits(63)
            with transaction(connection):
                _delete(connection, room)
                connection.execute(
                    "INSERT INTO histories (id, room, lineage, base) VALUES (?, ?, ?, ?)",
                    (history, str(room), lineage, base),
                )
                self._insert(connection, [(history, snapshot)])
            self._ids[room] = history
            vacuum(connection)

        await self._call("begin a history", work)

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        what = "append updates"

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                found: dict[RoomId, int] = {}
                missing: set[RoomId] = set()
                for room in {room for room, _ in batch}:
                    history = self._find(connection, room)
                    if history is None:
                        missing.add(room)
                    else:
                        found[room] = history
                if missing:
                    raise HistoryMissing(what, missing)
                self._insert(connection, ((found[room], update) for room, update in batch))

        if batch:
            await self._call(what, work)

    async def set_base(self, room: RoomId, base: str) -> None:
        what = "set a base"

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                history = self._get(connection, what, room)
                connection.execute("UPDATE histories SET base = ? WHERE id = ?", (base, history))

        await self._call(what, work)

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        what = "compact a history"

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                history = self._get(connection, what, room)
                connection.execute("DELETE FROM updates WHERE history = ?", (history,))
                self._insert(connection, [(history, snapshot)])
            vacuum(connection)

        await self._call(what, work)

    async def forget(self, room: RoomId) -> None:
        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                _delete(connection, room)
            vacuum(connection)

        await self._call("forget a history", work)

    def _insert(self, connection: sqlite3.Connection, updates: Iterable[tuple[int, bytes]]) -> None:
        connection.executemany(
            "INSERT INTO updates (history, data, continued) VALUES (?, ?, ?)",
            (
                (history, data, continued)
                for history, update in updates
                for data, continued in _parts(update, self._row_bytes)
            ),
        )

    def _find(self, connection: sqlite3.Connection, room: RoomId) -> int | None:
        row = connection.execute("SELECT id FROM histories WHERE room = ?", (str(room),)).fetchone()
        if row is None or self._ids.get(room, row[0]) != row[0]:
            return None
        return int(row[0])

    def _get(self, connection: sqlite3.Connection, what: str, room: RoomId) -> int:
        history = self._find(connection, room)
        if history is None:
            raise HistoryMissing(what, {room})
        return history


def _parts(update: bytes, row_bytes: int) -> Iterator[tuple[memoryview, bool]]:
    """The update in pieces that fit into rows, and whether there is more of it behind."""
    view = memoryview(update)
    for start in range(0, max(len(view), 1), row_bytes):
        yield view[start : start + row_bytes], start + row_bytes < len(view)


def _joined(rows: Iterable[tuple[bytes, int]]) -> list[bytes]:
    updates: list[bytes] = []
    parts: list[bytes] = []
    for data, continued in rows:
        if continued or parts:
            parts.append(data)
        if not continued:
            updates.append(b"".join(parts) if parts else data)
            parts.clear()
    return updates


def _delete(connection: sqlite3.Connection, room: RoomId) -> None:
    connection.execute(
        "DELETE FROM updates WHERE history = (SELECT id FROM histories WHERE room = ?)", (str(room),)
    )
    connection.execute("DELETE FROM histories WHERE room = ?", (str(room),))
