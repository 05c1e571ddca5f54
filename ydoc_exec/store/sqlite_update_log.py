"""The update log in a SQLite database.

SQLite blocks, so every call is made in a worker thread, one at a time. The database is opened when it is
first needed and, after any failure, again at the next call: a disk that was full or a database that was
locked comes back by itself.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from secrets import randbits
from types import TracebackType
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
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

ROW_BYTES = 64 * 2**20
"""An update that is larger is put into several rows, of which all but the last are ``continued``. SQLite refuses a row
of more than 10**9 bytes (``SQLITE_LIMIT_LENGTH``), and a websocket's message may be larger than that."""

_VACUUM_PAGES = 4096
"""How much free space one call gives back to the file system: 16 MiB, so that no call takes long."""

_WAL_BYTES = 4 * 2**20
"""What is left of the write-ahead log when it has been taken up, which is done every 1000 pages."""

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


class SqliteUpdateLog:
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

    def __init__(self, path: Path, busy_timeout: float = 1.0, row_bytes: int = ROW_BYTES) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._row_bytes = row_bytes
        # Of capacity one: it is what keeps all but one thread from the connection.
        self._limiter: CapacityLimiter | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._unreadable: str | None = None
        # The histories this process reads and writes. Ids are never used twice, so one that was replaced by
        # another process is noticed.
        self._ids: dict[RoomId, int] = {}

    async def __aenter__(self) -> SqliteUpdateLog:
        self._limiter = CapacityLimiter(1)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        limiter, self._limiter = self._limiter, None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._disconnect, limiter=limiter)
        self._ids.clear()

    async def read(self, room: RoomId) -> History | None:
        def work(connection: sqlite3.Connection) -> History | None:
            with _transaction(connection, "DEFERRED"):
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
            with _transaction(connection):
                _delete(connection, room)
                connection.execute(
                    "INSERT INTO histories (id, room, lineage, base) VALUES (?, ?, ?, ?)",
                    (history, str(room), lineage, base),
                )
                self._insert(connection, [(history, snapshot)])
            self._ids[room] = history
            _vacuum(connection)

        await self._call("begin a history", work)

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        what = "append updates"

        def work(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
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
            with _transaction(connection):
                history = self._get(connection, what, room)
                connection.execute("UPDATE histories SET base = ? WHERE id = ?", (base, history))

        await self._call(what, work)

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        what = "compact a history"

        def work(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                history = self._get(connection, what, room)
                connection.execute("DELETE FROM updates WHERE history = ?", (history,))
                self._insert(connection, [(history, snapshot)])
            _vacuum(connection)

        await self._call(what, work)

    async def forget(self, room: RoomId) -> None:
        def work(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                _delete(connection, room)
            _vacuum(connection)

        await self._call("forget a history", work)

    # Private: on the event loop

    async def _call(self, what: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        if self._limiter is None:
            raise UpdateLogError(what, "it is not open")
        return await to_thread.run_sync(self._work, what, work, limiter=self._limiter)

    # Private: in the worker thread

    def _work(self, what: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            if self._connection is not None and _identity(self._path) != self._file:
                # What is written into a file without a name is gone with the process.
                _logger.warning("The update log %s was removed or replaced; it is opened again.", self._path)
                self._disconnect()
            if self._connection is None:
                self._connection = self._connect()
                self._file = _identity(self._path)
            return work(self._connection)
        except (sqlite3.Error, OSError, MemoryError) as error:
            self._disconnect()
            if _is_unreadable(error):
                self._unreadable = str(error)
            raise UpdateLogError(what, f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._unreadable is None and _is_no_database(self._path):
            # Seen before SQLite opens it, which would remove the write-ahead log beside it.
            self._unreadable = "it is no database"
        if self._unreadable is not None:
            self._set_aside(self._unreadable)
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not _is_unreadable(error):
                raise
            self._set_aside(str(error))
            return self._open()

    def _open(self) -> sqlite3.Connection:
        """Raises ``sqlite3.DatabaseError`` itself, and no subclass, when the file is not a log of ours."""
        # SQLite would make it readable for everybody the umask allows; its companions take after it.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, self._busy_timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, why: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._path.with_name(f"{self._path.name}.{now}.unreadable")
        # The companions first: were they left to a new database, SQLite would play them into it.
        for suffix in ("-wal", "-shm", "-journal", ""):
            source = self._path.with_name(self._path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))
        self._unreadable = None
        _logger.warning("The update log %s cannot be read (%s). It is now %s.", self._path, why, aside.name)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                # Everything committed is in the file; what could fail is only tidying up.
                _logger.warning("The update log %s was not closed in order: %s", self._path, error)

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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        file = path.stat()
    except OSError:
        return None
    return file.st_dev, file.st_ino


def _is_no_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) not in (b"", b"SQLite format 3\0")
    except FileNotFoundError:
        return False


def _is_unreadable(error: Exception) -> bool:
    # What SQLite says of a damaged file or one that is no database is a plain DatabaseError; being locked,
    # full or forbidden is an OperationalError. (Python 3.10 gives no error code.)
    return type(error) is sqlite3.DatabaseError


def _prepare(connection: sqlite3.Connection, busy_timeout: float) -> None:
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            _check_schema(connection)
            return
        except sqlite3.OperationalError:
            # Changing the journal mode does not wait for others as everything else does: two processes that
            # open a new database at the same time meet here.
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _check_schema(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")  # all of one moment: another process may be making it
    try:
        application_id = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    new = (application_id, version, tables) == (0, 0, 0)
    if not new and application_id != APPLICATION_ID:
        raise sqlite3.DatabaseError("it belongs to another program")
    if not new and version != SCHEMA_VERSION and version not in _UPGRADES:
        raise sqlite3.DatabaseError(f"it has version {version} of the schema and {SCHEMA_VERSION} is needed")
    if new:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only works before the first table
    _prefer_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if new:
        with _transaction(connection):
            if _pragma(connection, "user_version") == 0:  # another process may have been faster
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION:
        _upgrade(connection)


def _upgrade(connection: sqlite3.Connection) -> None:
    with _transaction(connection):
        # Asked again: another process may have been faster.
        for version in range(_pragma(connection, "user_version"), SCHEMA_VERSION):
            for statement in _UPGRADES[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _prefer_wal(connection: sqlite3.Connection) -> None:
    """Write ahead: a commit then need not wait for the disk. Some network file systems cannot do it."""
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()  # may well answer that it stays as it was
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    # IMMEDIATE, because a transaction that reads first and then wants to write is refused without waiting
    # when another process wrote in between.
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _delete(connection: sqlite3.Connection, room: RoomId) -> None:
    connection.execute(
        "DELETE FROM updates WHERE history = (SELECT id FROM histories WHERE room = ?)", (str(room),)
    )
    connection.execute("DELETE FROM histories WHERE room = ?", (str(room),))


def _vacuum(connection: sqlite3.Connection) -> None:
    """Give free space back. After the commit: what was committed stays so when this fails."""
    try:
        # As a script: it gives a row without columns for every page, and ``execute`` stops at the first.
        connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
    except sqlite3.OperationalError as error:
        _logger.debug("The update log was not shrunk this time: %s", error)
