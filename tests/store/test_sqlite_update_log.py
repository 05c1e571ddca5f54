"""What can happen to a database: closing, killing, damage, strangers, locks, and a disk that refuses."""

# ruff: noqa: ASYNC240 (blocking file operations hold up nobody here)

from __future__ import annotations

import logging
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store import sqlite_file
from ydoc_exec.store.sqlite_update_log import APPLICATION_ID, SCHEMA_VERSION, SqliteUpdateLog
from ydoc_exec.store.update_log import History, HistoryMissing

pytestmark = pytest.mark.anyio

A = RoomId("json", "notebook", "a")
B = RoomId("json", "notebook", "b")
L = Lineage("lineage")
NOBODY = 65534


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.db"


@pytest.fixture
def own_path() -> Iterator[Path]:
    """A path for the database of a user who may not do everything, as whom the test runs."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        yield folder / "ydoc_exec" / "log.db"
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


async def test_a_log_can_be_opened_again(path: Path) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        await log.append([(A, b"1")])
    async with SqliteUpdateLog(path) as log:
        assert await log.read(A) == History(L, [b"s", b"1"], None)


async def test_nobody_else_can_read_it(path: Path) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


async def test_the_file_says_what_it_is(path: Path) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
    with reading(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_without_shared_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems: SQLite's dot file locks know no write-ahead log."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_with_dot_file(path: Path, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_with_dot_file)
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        await log.append([(A, b"1")])
        assert await log.read(A) == History(L, [b"s", b"1"], None)
    monkeypatch.undo()
    with reading(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def rubbish(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 1000)


def foreign(path: Path) -> None:
    with reading(path) as connection:
        connection.execute("CREATE TABLE yupdates (path TEXT, yupdate BLOB)")


def newer(path: Path) -> None:
    with reading(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def cut(path: Path) -> None:
    with reading(path) as connection:
        connection.execute("CREATE TABLE t (data BLOB)")
        connection.execute("INSERT INTO t VALUES (randomblob(100000))")
    os.truncate(path, 50)


def ours_but_newer(path: Path) -> None:
    with reading(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.execute("CREATE TABLE histories (something TEXT)")


@pytest.mark.parametrize("make", [rubbish, foreign, newer, ours_but_newer, cut])
async def test_a_file_that_is_not_ours_is_set_aside(
    make: Callable[[Path], None], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    make(path)
    before = path.read_bytes()
    async with SqliteUpdateLog(path) as log:
        assert await log.read(A) is None
        await log.begin(A, L, b"s", None)
    async with SqliteUpdateLog(path) as log:
        assert await log.read(A) == History(L, [b"s"], None)
    (aside,) = path.parent.glob("log.db.*.unreadable")
    assert aside.read_bytes() == before
    assert [(record.levelno, str(path) in record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


async def test_the_companions_go_with_it(path: Path) -> None:
    path.parent.mkdir()
    rubbish(path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(suffix.encode() * 1000)
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        assert await log.read(A) == History(L, [b"s"], None)
    names = sorted(file.name.rpartition(".unreadable")[2] for file in path.parent.glob("*.unreadable*"))
    assert names == ["", "-shm", "-wal"]


async def test_a_database_of_the_first_version_is_taken_over(path: Path) -> None:
    path.parent.mkdir()
    with reading(path) as connection:
        connection.executescript(
            f"""
            CREATE TABLE histories (id INTEGER PRIMARY KEY, room TEXT NOT NULL UNIQUE, lineage TEXT NOT NULL, base TEXT);
            CREATE TABLE updates (id INTEGER PRIMARY KEY, history INTEGER NOT NULL, data BLOB NOT NULL);
            CREATE INDEX updates_of_history ON updates (history);
            INSERT INTO histories VALUES (7, '{A}', '{L}', 'base');
            INSERT INTO updates VALUES (1, 7, x'01'), (2, 7, x'02');
            PRAGMA application_id = {APPLICATION_ID};
            PRAGMA user_version = 1;
            """
        )
    async with SqliteUpdateLog(path, row_bytes=1) as log, SqliteUpdateLog(path) as other:
        assert await log.read(A) == History(L, [b"\1", b"\2"], "base")
        await log.append([(A, b"three")])
        assert await other.read(A) == History(L, [b"\1", b"\2", b"three"], "base")
    assert not list(path.parent.glob("*.unreadable"))
    with reading(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_a_large_update_is_kept_in_several_rows(path: Path) -> None:
    """Sizes around the limit, between others, of two rooms at once, and as a snapshot."""
    updates = [b"%d" % (size % 10) * size for size in (0, 1, 9, 10, 11, 19, 20, 21, 95, 3)]
    async with SqliteUpdateLog(path, row_bytes=10) as log:
        await log.begin(A, L, b"s" * 25, None)
        await log.begin(B, L, b"", None)
        await log.append([(room, update) for update in updates for room in (A, B)])
        assert await log.read(A) == History(L, [b"s" * 25, *updates], None)
        assert await log.read(B) == History(L, [b"", *updates], None)
        assert await log.size(A) == 25 + sum(map(len, updates))
        await log.compact(A, b"c" * 101)
        assert await log.read(A) == History(L, [b"c" * 101], None)
    with reading(path) as connection:
        assert connection.execute("SELECT max(length(data)) FROM updates").fetchone() == (10,)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="SQLite's limits cannot be set from Python before 3.11"
)
async def test_what_sqlite_refuses_as_one_row(path: Path) -> None:
    """Its own limit is 10**9 bytes, which would take gigabytes of memory to reach."""

    def limit(log: SqliteUpdateLog) -> None:
        assert log._connection is not None
        if sys.version_info >= (3, 11):
            log._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)

    async with SqliteUpdateLog(path) as refusing, SqliteUpdateLog(path, row_bytes=900) as log:
        await refusing.begin(A, L, b"s", None)
        limit(refusing)
        with pytest.raises(UpdateLogError, match="too big"):
            await refusing.append([(A, b"1" * 1001)])
        assert await log.read(A) == History(L, [b"s"], None)
        limit(log)
        await log.append([(A, b"1" * 5000)])
        assert await log.read(A) == History(L, [b"s", b"1" * 5000], None)


@pytest.mark.parametrize("then", ["removed", "replaced"])
async def test_a_database_that_is_taken_away(then: str, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is written to a file that has no name any more is seen by nobody later."""
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        await log.append([(A, b"1")])
        for file in path.parent.iterdir():
            file.rename(file.with_name(f"old-{file.name}"))
        if then == "replaced":
            async with SqliteUpdateLog(path) as other:
                await other.begin(B, L, b"b", None)
        with pytest.raises(HistoryMissing):
            await log.append([(A, b"2")])
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        await log.begin(A, L, b"s2", None)
        await log.append([(A, b"3")])
    async with SqliteUpdateLog(path) as log:
        assert await log.read(A) == History(L, [b"s2", b"3"], None)
        assert await log.read(B) == (History(L, [b"b"], None) if then == "replaced" else None)
    with reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_damage_in_the_middle_of_writing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next call that meets it fails, and then there is a new log."""
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, os.urandom(100_000), None)
    async with SqliteUpdateLog(path) as log:
        await log.append([(A, b"1")])
        assert log._connection is not None
        log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log._connection.execute("PRAGMA cache_size = 0")
        with path.open("r+b") as file:
            file.seek(4096)  # behind the header and the schema
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(UpdateLogError):
            for _ in range(3):
                await log.append([(A, b"2" * 10_000)])
                await log.compact(A, b"all")
        with pytest.raises(HistoryMissing):
            await log.append([(A, b"3")])
        await log.begin(A, L, b"new", None)
        assert await log.read(A) == History(L, [b"new"], None)
    assert len(list(path.parent.glob("*.unreadable"))) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_damage_that_is_found_while_reading(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s" * 100_000, None)
        await log.begin(B, L, b"b" * 100_000, None)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)  # behind the header and the schema
        file.write(b"\xff" * (size - 4096))
    async with SqliteUpdateLog(path) as log:
        with pytest.raises(UpdateLogError):
            await log.read(A)
        assert await log.read(A) is None
        with pytest.raises(HistoryMissing):
            await log.append([(A, b"1")])
        await log.begin(A, L, b"new", None)
        await log.append([(A, b"1")])
        assert await log.read(A) == History(L, [b"new", b"1"], None)
    assert len(list(path.parent.glob("*.unreadable"))) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_locked_by_another_program(path: Path) -> None:
    async with SqliteUpdateLog(path, busy_timeout=0.05) as log:
        await log.begin(A, L, b"s", None)
        with reading(path) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await log.read(A) == History(L, [b"s"], None)
            with pytest.raises(UpdateLogError, match="locked"):
                await log.append([(A, b"1")])
            other.execute("ROLLBACK")
        await log.append([(A, b"2")])
        assert await log.read(A) == History(L, [b"s", b"2"], None)
    assert not list(path.parent.glob("*.unreadable"))


async def test_locked_before_it_could_be_opened(path: Path) -> None:
    path.parent.mkdir()
    with reading(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with SqliteUpdateLog(path, busy_timeout=0.05) as log:
            with pytest.raises(UpdateLogError, match="locked"):
                await log.read(A)
            other.execute("ROLLBACK")
            await log.begin(A, L, b"s", None)
    assert not list(path.parent.glob("*.unreadable"))


async def test_another_program_that_is_done_soon_is_waited_for(path: Path) -> None:
    async with SqliteUpdateLog(path, busy_timeout=30) as log, SqliteUpdateLog(path, busy_timeout=30) as other:
        await log.begin(A, L, b"", None)
        await other.begin(B, L, b"", None)

        async def append(log: SqliteUpdateLog, room: RoomId) -> None:
            for i in range(50):
                await log.append([(room, b"%d" % i)])

        async with create_task_group() as tasks:
            tasks.start_soon(append, log, A)
            tasks.start_soon(append, other, B)
        for room in (A, B):
            assert await log.read(room) == History(L, [b"", *(b"%d" % i for i in range(50))], None)


async def test_a_history_that_another_program_has_replaced(path: Path) -> None:
    async with SqliteUpdateLog(path) as log, SqliteUpdateLog(path) as other:
        await log.begin(A, L, b"ours", None)
        await other.begin(A, Lineage("theirs"), b"theirs", None)
        with pytest.raises(HistoryMissing):
            await log.append([(A, b"late")])
        with pytest.raises(HistoryMissing):
            await log.compact(A, b"late")
        assert await other.read(A) == History(Lineage("theirs"), [b"theirs"], None)
        assert await log.read(A) == History(Lineage("theirs"), [b"theirs"], None)
        await log.append([(A, b"1")])
        assert await other.read(A) == History(Lineage("theirs"), [b"theirs", b"1"], None)


@pytest.mark.parametrize("make", ["directory", "file", "loop"])
async def test_a_path_that_cannot_be_a_database(make: str, path: Path) -> None:
    if make == "directory":
        path.mkdir(parents=True)
    elif make == "file":
        path.parent.write_text("a file where the directory should be")
    else:
        path.parent.symlink_to(path.parent)
    async with SqliteUpdateLog(path) as log:
        with pytest.raises(UpdateLogError, match=r"log\.db"):
            await log.begin(A, L, b"s", None)
        with pytest.raises(UpdateLogError):
            await log.read(A)


async def test_a_directory_that_may_not_be_written(own_path: Path) -> None:
    own_path.parent.mkdir(mode=0o500)
    async with SqliteUpdateLog(own_path) as log:
        with pytest.raises(UpdateLogError, match="ermission"):
            await log.read(A)
        own_path.parent.chmod(0o700)
        await log.begin(A, L, b"s", None)


async def test_a_file_that_may_not_be_written(own_path: Path) -> None:
    """It is left as it is, and goes on when it may be."""
    async with SqliteUpdateLog(own_path) as log:
        await log.begin(A, L, b"s", None)
    own_path.chmod(0o400)
    before = own_path.read_bytes()
    async with SqliteUpdateLog(own_path) as log:
        for _ in range(2):
            with pytest.raises(UpdateLogError, match="ermission"):
                await log.append([(A, b"1")])
        assert own_path.read_bytes() == before
        own_path.chmod(0o600)
        await log.append([(A, b"2")])
        assert await log.read(A) == History(L, [b"s", b"2"], None)
    assert not list(own_path.parent.glob("*.unreadable"))


async def test_a_database_that_becomes_unwritable(path: Path) -> None:
    """It works again, without a restart, when the disk does."""
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        assert log._connection is not None
        log._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(UpdateLogError, match="readonly"):
            await log.append([(A, b"1")])
        await log.append([(A, b"2")])
        assert await log.read(A) == History(L, [b"s", b"2"], None)


async def test_a_full_disk(path: Path) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        assert log._connection is not None
        log._connection.execute("PRAGMA max_page_count = 10")
        with pytest.raises(UpdateLogError, match="full"):
            await log.append([(A, b"small"), (A, os.urandom(10**6))])
        assert await log.read(A) == History(L, [b"s"], None)
        await log.append([(A, b"1")])


async def test_a_disk_that_takes_no_more(path: Path) -> None:
    """The kernel refuses to make any file larger, as a quota does."""
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        with largest_file(max(file.stat().st_size for file in path.parent.iterdir()) + 10_000):
            with pytest.raises(UpdateLogError):
                await log.append([(A, os.urandom(10**6))])
            with pytest.raises(UpdateLogError):
                await log.compact(A, os.urandom(10**6))
            assert await log.read(A) == History(L, [b"s"], None)
        await log.append([(A, b"1")])
        assert await log.read(A) == History(L, [b"s", b"1"], None)
    assert not list(path.parent.glob("*.unreadable"))
    with reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_compacting_gives_space_back(path: Path) -> None:
    async with SqliteUpdateLog(path) as log:
        await log.begin(A, L, b"s", None)
        for _ in range(5):
            await log.append([(A, os.urandom(10**6))])
        await log.compact(A, b"s")
        await log.forget(A)
    assert path.stat().st_size < 10**5


@pytest.mark.parametrize("batch", [1, 7, 500])
async def test_killed_in_the_middle(batch: int, path: Path) -> None:
    for attempt in range(3):
        with appending(path, "killed", batch) as process:
            for _ in range(10 + 7 * attempt):
                said = int(read_line(process))
            process.kill()
            assert process.stdout is not None
            *lines, _ = process.stdout.read().split(b"\n")  # the last line may have been cut
            said = max([said, *map(int, lines)])
        async with SqliteUpdateLog(path) as log:
            history = await log.read(RoomId("json", "notebook", "killed"))
        assert history is not None
        numbers = len(history.updates) - 1
        assert history == History(
            Lineage("killed"), [b"snapshot", *(b"%d" % i for i in range(numbers))], None
        )
        assert numbers >= said, "what was committed is there"
        assert numbers % batch == 0, "a batch is there as a whole or not at all"
    assert not list(path.parent.glob("*.unreadable"))


async def test_two_processes_make_and_write_one_database(path: Path) -> None:
    with appending(path, "one", 3) as one, appending(path, "two", 5) as two:
        for process in (one, two, one, two):
            for _ in range(20):
                last = read_line(process)
            assert int(last) > 0
        one.kill()
        two.kill()
        one.wait()
        two.wait()
    async with SqliteUpdateLog(path) as log:
        for name, batch in (("one", 3), ("two", 5)):
            history = await log.read(RoomId("json", "notebook", name))
            assert history is not None
            numbers = len(history.updates) - 1
            assert history.updates[1:] == [b"%d" % i for i in range(numbers)]
            assert numbers >= 40 * batch
    assert not list(path.parent.glob("*.unreadable"))
    with reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_database_that_another_process_makes_while_it_is_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # with it nobody waits for those who only look
    asked = sqlite_file.pragma
    others: list[int] = []

    def ask(connection: sqlite3.Connection, name: str) -> int:
        if name == "user_version" and not others:
            with appending(path, "other", 1) as process:
                others.append(int(read_line(process)))
        return asked(connection, name)

    monkeypatch.setattr(sqlite_file, "pragma", ask)
    async with SqliteUpdateLog(path) as log:
        assert await log.read(RoomId("json", "notebook", "other")) is not None
    assert others
    assert not list(path.parent.glob("*.unreadable"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Nothing this process writes makes a file larger than this. (Python ignores the signal that says so.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another program, closed at the end."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def appending(path: Path, file_id: str, batch: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that appends to the log and says so, killed at the end."""
    command = [sys.executable, "-m", "tests.store.appending_process", str(path), file_id, str(batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process has ended by itself"
    return line
