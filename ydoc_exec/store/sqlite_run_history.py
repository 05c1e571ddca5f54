"""What became of runs, in a SQLite database, for as long as is wanted.

Several servers of one user share it. A server that is killed cannot say that its runs are lost; the others, and it
itself when it is started again, know it by a lock that a living server holds on a file.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import orjson
from filelock import FileLock, Timeout

from ydoc_exec.errors import RunHistoryError
from ydoc_exec.store.sqlite_file import Schema, SqliteFile, transaction, vacuum

logger = logging.getLogger(__name__)

SCHEMA = Schema(
    name="run history",
    application_id=0x59445248,  # "YDRH"
    version=2,
    statements=(
        """
        CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            kernel TEXT NOT NULL,
            server TEXT,
            at REAL NOT NULL,
            seq INTEGER NOT NULL,
            record BLOB NOT NULL,
            more BLOB
        )
        """,
        "CREATE INDEX runs_of_kernel ON runs (kernel, at)",
        "CREATE INDEX runs_by_time ON runs (at)",
        "CREATE INDEX runs_of_server ON runs (server) WHERE server IS NOT NULL",
    ),
    upgrades={1: ("ALTER TABLE runs ADD COLUMN more BLOB",)},
)

STOPPED = "the server stopped"

PRUNE_EVERY = 1000
"""Runs are dropped after so many were written."""

DAY = 24 * 60 * 60

Record = dict[str, Any]
"""What ``Run.record`` gives. ``run_id``, ``kernel_id``, ``seq``, ``state`` and ``reason`` are known here."""


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as it is to be kept.

    Args:
        at: when it was queued, in seconds since 1970.
        ended: whether nothing more becomes of it. Another one is lost when this server is gone.
        more: what another server needs to go on with it then, if its kernel is still there.
    """

    record: Record
    at: float
    ended: bool
    more: Record | None = None


class SqliteRunHistory(SqliteFile):
    """Keeps the records of runs. Every method raises ``RunHistoryError``, and of errors nothing else.

    Args:
        path: the database.
        days: how long an ended run is kept.
        number: so many of them are kept, the newest ones.
        busy_timeout: seconds to wait for another process that is writing.
    """

    def __init__(self, path: Path, days: float, number: int, busy_timeout: float = 1.0) -> None:
        super().__init__(path, SCHEMA, RunHistoryError, busy_timeout)
        self._days = days
        self._number = number
        self._server = uuid4().hex
        self._locks = path.with_name(f"{path.name}.servers")
        self._lock: FileLock | None = None
        self._unpruned = PRUNE_EVERY

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc_value, traceback)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()
            (self._locks / self._server).unlink(missing_ok=True)

    async def write(self, runs: Sequence[KeptRun]) -> None:
        """Keep these runs, in the place of what was known of them. All or none."""

        def work(connection: sqlite3.Connection) -> None:
            self._be_alive()
            with transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO runs (id, kernel, server, at, seq, record, more)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        (
                            run.record["run_id"],
                            run.record["kernel_id"],
                            None if run.ended else self._server,
                            run.at,
                            run.record["seq"],
                            orjson.dumps(run.record),
                            None if run.more is None else orjson.dumps(run.more),
                        )
                        for run in runs
                    ),
                )
            self._unpruned += len(runs)
            if self._unpruned >= PRUNE_EVERY:
                self._unpruned = 0
                self._prune(connection, self._settle(connection))

        if runs:
            await self._call("write", work)

    async def get(self, run_id: str) -> Record | None:
        """The record of a run; None if it is not known."""

        def work(connection: sqlite3.Connection) -> Record | None:
            left = self._settle(connection)
            row = connection.execute("SELECT record, server FROM runs WHERE id = ?", (run_id,)).fetchone()
            return None if row is None else _read(row[0], row[1], left)

        return await self._call("read", work)

    async def of(self, kernel_id: str, takes: Callable[[Record], bool], limit: int) -> list[Record]:
        """The records of a kernel's runs that ``takes`` wants, the one that was queued last first."""

        def work(connection: sqlite3.Connection) -> list[Record]:
            left = self._settle(connection)
            rows = connection.execute(
                "SELECT record, server FROM runs WHERE kernel = ? ORDER BY at DESC, seq DESC", (kernel_id,)
            )
            found: list[Record] = []
            for data, server in rows:
                record = _read(data, server, left)
                if takes(record):
                    found.append(record)
                    if len(found) == limit:
                        break
            return found

        return await self._call("read", work)

    async def claim(self, wanted: Callable[[Record], bool]) -> list[tuple[Record, Record]]:
        """Take over the runs of servers that are gone with which somebody can go on (``KeptRun.more``, which is asked
        about). Each goes to one server only: its record, and what was said to be needed."""

        def work(connection: sqlite3.Connection) -> list[tuple[Record, Record]]:
            self._be_alive()
            claimed: list[tuple[Record, Record]] = []
            left = self._settle(connection)
            with transaction(connection):
                for server in left:
                    rows = connection.execute(
                        "SELECT id, record, more FROM runs WHERE server = ? ORDER BY at, seq", (server,)
                    ).fetchall()
                    for run_id, record, data in rows:
                        more = orjson.loads(data)
                        if wanted(more):
                            connection.execute(
                                "UPDATE runs SET server = ? WHERE id = ?", (self._server, run_id)
                            )
                            claimed.append((orjson.loads(record), more))
            return claimed

        return await self._call("read", work)

    # Private: in the worker thread

    def _be_alive(self) -> None:
        """Hold this server's lock, as long as its process lives."""
        if self._lock is not None:
            return
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not of a thread: it is given back by another one.
        lock = FileLock(self._locks / self._server, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError) as error:
            # A file system without locks. Other servers take this one for gone; it itself does not.
            logger.warning("%s cannot be locked: %s", self._locks, error)
        self._lock = lock

    def _settle(self, connection: sqlite3.Connection) -> set[str]:
        """What servers had that are gone is lost, but for that with which another one can go on.

        Those that have left such runs are returned. Until somebody goes on with them, they are read as lost too.
        """
        left: set[str] = set()
        servers = connection.execute("SELECT DISTINCT server FROM runs WHERE server IS NOT NULL").fetchall()
        for (server,) in servers:
            if server == self._server or self._is_alive(server):
                continue
            with transaction(connection):
                rows = connection.execute(
                    "SELECT id, record FROM runs WHERE server = ? AND more IS NULL", (server,)
                ).fetchall()
                connection.executemany(
                    "UPDATE runs SET server = NULL, record = ? WHERE id = ?",
                    ((orjson.dumps(_lost(orjson.loads(data))), run_id) for run_id, data in rows),
                )
                if connection.execute("SELECT 1 FROM runs WHERE server = ?", (server,)).fetchone():
                    left.add(server)
            (self._locks / server).unlink(missing_ok=True)
        return left

    def _is_alive(self, server: str) -> bool:
        if not (self._locks / server).exists():
            return False
        lock = FileLock(self._locks / server, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        except (OSError, NotImplementedError):
            return False
        lock.release()
        return False

    def _prune(self, connection: sqlite3.Connection, left: set[str]) -> None:
        with transaction(connection):
            connection.execute(
                "DELETE FROM runs WHERE server IS NULL AND at < ?", (time.time() - self._days * DAY,)
            )
            # Nobody has gone on with these.
            connection.executemany(
                "DELETE FROM runs WHERE server = ? AND at < ?",
                ((server, time.time() - self._days * DAY) for server in left),
            )
            connection.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE server IS NULL"
                " ORDER BY at DESC, seq DESC LIMIT -1 OFFSET ?)",
                (self._number,),
            )
        vacuum(connection)


def _lost(record: Record) -> Record:
    return {**record, "state": "lost", "reason": STOPPED, "prompt": None}


def _read(data: bytes, server: str | None, left: set[str]) -> Record:
    record: Record = orjson.loads(data)
    return _lost(record) if server in left else record
