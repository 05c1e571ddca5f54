"""A SQLite database of ours, opened when it is needed.

SQLite blocks, so every call is made in a worker thread, one at a time. The database is opened when it is
first needed and, after any failure, again at the next call: a disk that was full or a database that was
locked comes back by itself.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from typing_extensions import Self

from ydoc_exec.errors import YdocExecError

_VACUUM_PAGES = 4096
"""How much free space one call gives back to the file system: 16 MiB, so that no call takes long."""

_WAL_BYTES = 4 * 2**20
"""What is left of the write-ahead log when it has been taken up, which is done every 1000 pages."""

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What is in such a database.

    Args:
        name: of the database, in sentences for people.
        application_id: marks the file as ours, see ``PRAGMA application_id``.
        version: to be raised with every change of ``statements``, see ``PRAGMA user_version``.
        statements: make a new one.
        upgrades: what makes a database of one version one of the next.
    """

    name: str
    application_id: int
    version: int
    statements: tuple[str, ...]
    upgrades: Mapping[int, tuple[str, ...]]


class SqliteFile:
    """A database file, by default in write-ahead mode, for a class that knows what is in it.

    What a call has committed survives the death of the process; a power cut can take the last commits with
    it.

    A file that is corrupt, not ours or of another version is renamed to ``<name>.<time>.unreadable`` with one
    warning, and a new one is begun. One that is merely locked or unreachable is left alone: then calls raise
    until it can be opened. One that was removed or replaced is not written to any more.

    Args:
        path: the database. Its directory is made when it is missing; only the user can read either.
        schema: what is in it.
        error: makes the error that is raised, of what was being done and why that failed.
        busy_timeout: seconds to wait for another process that is writing.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        error: Callable[[str, str], YdocExecError],
        busy_timeout: float,
    ) -> None:
        self._path = path
        self._schema = schema
        self._error = error
        self._busy_timeout = busy_timeout
        # Of capacity one: it is what keeps all but one thread from the connection.
        self._limiter: CapacityLimiter | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._unreadable: str | None = None

    async def __aenter__(self) -> Self:
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

    # Private: on the event loop

    async def _call(self, what: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        if self._limiter is None:
            raise self._error(what, "it is not open")
        return await to_thread.run_sync(self._work, what, work, limiter=self._limiter)

    # Private: in the worker thread

    def _work(self, what: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            if self._connection is not None and _identity(self._path) != self._file:
                # What is written into a file without a name is gone with the process.
                _logger.warning(
                    "The %s %s was removed or replaced; it is opened again.", self._schema.name, self._path
                )
                self._disconnect()
            if self._connection is None:
                self._connection = self._connect()
                self._file = _identity(self._path)
            return work(self._connection)
        except (sqlite3.Error, OSError, MemoryError) as error:
            self._disconnect()
            if _is_unreadable(error):
                self._unreadable = str(error)
            raise self._error(what, f"{self._path}: {error}") from error

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
            _prepare(connection, self._schema, self._busy_timeout)
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
        _logger.warning(
            "The %s %s cannot be read (%s). It is now %s.", self._schema.name, self._path, why, aside.name
        )

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                # Everything committed is in the file; what could fail is only tidying up.
                _logger.warning("The %s %s was not closed in order: %s", self._schema.name, self._path, error)


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


def _prepare(connection: sqlite3.Connection, schema: Schema, busy_timeout: float) -> None:
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            _check_schema(connection, schema)
            return
        except sqlite3.OperationalError:
            # Changing the journal mode does not wait for others as everything else does: two processes that
            # open a new database at the same time meet here.
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)


def _check_schema(connection: sqlite3.Connection, schema: Schema) -> None:
    connection.execute("BEGIN")  # all of one moment: another process may be making it
    try:
        application_id = pragma(connection, "application_id")
        version = pragma(connection, "user_version")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    new = (application_id, version, tables) == (0, 0, 0)
    if not new and application_id != schema.application_id:
        raise sqlite3.DatabaseError("it belongs to another program")
    if not new and version != schema.version and version not in schema.upgrades:
        raise sqlite3.DatabaseError(f"it has version {version} of the schema and {schema.version} is needed")
    if new:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only works before the first table
    _prefer_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if new:
        with transaction(connection):
            if pragma(connection, "user_version") == 0:  # another process may have been faster
                for statement in schema.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {schema.application_id}")
                connection.execute(f"PRAGMA user_version = {schema.version}")
    elif version != schema.version:
        _upgrade(connection, schema)


def _upgrade(connection: sqlite3.Connection, schema: Schema) -> None:
    with transaction(connection):
        # Asked again: another process may have been faster.
        for version in range(pragma(connection, "user_version"), schema.version):
            for statement in schema.upgrades[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.version}")


def _prefer_wal(connection: sqlite3.Connection) -> None:
    """Write ahead: a commit then need not wait for the disk. Some network file systems cannot do it."""
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()  # may well answer that it stays as it was
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()


def pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
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


def vacuum(connection: sqlite3.Connection) -> None:
    """Give free space back. After the commit: what was committed stays so when this fails."""
    try:
        # As a script: it gives a row without columns for every page, and ``execute`` stops at the first.
        connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
    except sqlite3.OperationalError as error:
        _logger.debug("A database was not shrunk this time: %s", error)
