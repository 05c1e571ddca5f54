"""The update log fails in all ways it can: people type together, files are saved, and nothing that it has is lost."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, fail_after, sleep

from tests.documents.collaborating import Server, is_closed, of
from tests.documents.conftest import LastingLog, Tab, ab
from tests.documents.test_returning_tabs import come_back
from tests.room.waiting import until
from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.room.room import Room
from ydoc_exec.store.update_log import History

pytestmark = pytest.mark.anyio

GONE = UpdateLogError("do anything", "the disk is gone")


class FaultyLog(LastingLog):
    """Waits and raises when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: Event | None = None
        self.writing = Event()
        self.write_error: Exception | None = None
        self.read_error: Exception | None = None

    def known(self, room: RoomId) -> History:
        """What it has, whatever it says."""
        return self._histories[room]

    async def _write(self) -> None:
        self.writing.set()
        if self.writes is not None:
            await self.writes.wait()
        if self.write_error is not None:
            raise self.write_error

    async def read(self, room: RoomId) -> History | None:
        if self.read_error is not None:
            raise self.read_error
        return await super().read(room)

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        await self._write()
        await super().begin(room, lineage, snapshot, base)

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        await self._write()
        await super().append(batch)

    async def set_base(self, room: RoomId, base: str) -> None:
        await self._write()
        await super().set_base(room, base)

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        await self._write()
        await super().compact(room, snapshot)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    server = Server(tmp_path)
    (server.root / "a.ipynb").write_text(json.dumps(ab()))
    return server


def on_disk(server: Server, path: str = "a.ipynb") -> list[str]:
    try:
        return ["".join(cell["source"]) for cell in json.loads((server.root / path).read_text())["cells"]]
    except ValueError:
        return []  # half-way


@asynccontextmanager
async def two_tabs(collaboration: Collaboration, room: RoomId) -> AsyncIterator[tuple[Tab, Tab]]:
    """Two people look at the document, until the block ends and the document is closed."""
    tabs = Tab(), Tab()
    async with collaboration.documents.open(room) as document:
        for tab in tabs:
            await tab.come_to(document)
    try:
        yield tabs
    finally:
        for tab in tabs:
            tab.leave()
            tab.forget()
    await until(lambda: is_closed(collaboration, room))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was said of the log."""
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if "update log" in record.getMessage().lower()
    ]


async def test_a_write_that_does_not_end_delays_nobody(server: Server) -> None:
    """Neither those who type together nor the file nor another document wait for the disk of the log."""
    room, other = server.room("a.ipynb"), server.room("b.ipynb")
    (server.root / "b.ipynb").write_text(json.dumps(ab("x", "y")))
    log = FaultyLog()
    async with server.serving(log) as collaboration:
        async with two_tabs(collaboration, room) as (ada, bob):
            log.writes, log.writing = Event(), Event()
            await ada.edit(0, "1")
            await log.writing.wait()
            for number in range(20):
                await ada.edit(0, f"while it writes {number}")
                await until(lambda number=number: bob.sources[0] == f"while it writes {number}")  # type: ignore[misc]
            await until(lambda: on_disk(server)[:1] == ["while it writes 19"])
            await until(lambda: bob.state["dirty"] is False)
            async with collaboration.documents.open(other) as document:
                assert of(document) == ["x", "y"]
            assert "while it writes" not in str(log._histories)
            log.writes.set()
        history = log.known(room)
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["while it writes 19", "b"]
        assert document.lineage == history.lineage


@pytest.mark.parametrize("error", [GONE, RuntimeError("a mistake")], ids=["gone", "mistake"])
async def test_writes_that_raise(server: Server, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, documents are saved, closed and opened again, and all is recorded when it works again."""
    room = server.room("a.ipynb")
    log = FaultyLog()
    log.write_error = error
    async with server.serving(log) as collaboration:
        for text in ("one", "two"):
            async with two_tabs(collaboration, room) as (ada, bob):
                await ada.edit(0, text)
                await until(lambda text=text: bob.sources[0] == text)  # type: ignore[misc]
            assert on_disk(server) == [text, "b"]
        async with two_tabs(collaboration, room) as (ada, bob):
            await ada.edit(1, "three")
            await until(lambda: bob.sources == ["two", "three"])
            log.write_error = None
            await until(lambda: "works again" in caplog.text)
            await ada.edit(1, "four")
            await until(lambda: bob.sources[1] == "four")
    assert [level for level, _ in said(caplog) if level >= logging.WARNING].count(logging.WARNING) == 1
    assert len({message for level, message in said(caplog) if level == logging.ERROR}) <= 2
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["two", "four"]


async def unsaved_in_the_log(server: Server, log: FaultyLog) -> tuple[RoomId, Lineage, Tab]:
    """A history with something that is in no file; the tab that typed it."""
    room = server.room("a.ipynb")
    server.contents.broken = OSError("No space left on device")
    async with server.serving(log) as collaboration:
        tab = Tab()
        async with collaboration.documents.open(room) as document:
            await tab.come_to(document)
            await tab.edit(0, "only in the log")
            lineage = document.lineage
    server.contents.broken = None
    assert on_disk(server) == ["a", "b"]
    return room, lineage, tab


@pytest.mark.parametrize("meanwhile", ["nothing", "other cell", "same cell"])
@pytest.mark.parametrize("file", ["as it was", "changed"])
async def test_a_history_that_can_be_read_only_later(
    server: Server, meanwhile: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it has comes into the document that was opened without it, and both versions of one cell are kept."""
    log = FaultyLog()
    room, lineage, away = await unsaved_in_the_log(server, log)
    if file == "changed":
        (server.root / "a.ipynb").write_text(json.dumps(ab("a", "b outside")))
    b = "b" if file == "as it was" else "b outside"
    log.read_error = GONE
    async with server.serving(log) as collaboration, two_tabs(collaboration, room) as (ada, bob):
        assert ada.sources == ["a", b]
        if meanwhile == "other cell":
            b = "b here"
            await ada.edit(1, b)
        elif meanwhile == "same cell":
            await ada.edit(0, "a here")
        await until(lambda: bob.sources == ada.sources == on_disk(server))
        assert log.known(room).lineage == lineage
        log.read_error = None
        await until(lambda: "works again" in caplog.text)
        if meanwhile == "same cell":
            await until(lambda: "only in the log" in bob.sources[0] + str(copies(server)))
            assert "a here" in bob.sources[0] + str(copies(server))
        else:
            await until(lambda: bob.sources == ["only in the log", b])
        assert len(bob.ids) == len(set(bob.ids)) == 2
        assert all(cell["execution_state"] == "idle" for cell in bob.notebook.ycells)
        final = bob.sources
        await until(lambda: on_disk(server) == final)
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == final
        # The tab that typed it was away all the time.
        returned = Tab()
        returned.doc.apply_update(away.doc.get_update())
        returned._unsent.clear()
        await come_back(returned, document, lineage)
        await until(lambda: returned.sources == of(document))
        assert len(of(document)) == 2
        assert "".join(of(document)).count("only in the log") <= 1
        if meanwhile != "same cell":
            assert of(document) == final


def copies(server: Server) -> list[Any]:
    return [json.loads(file.read_text()) for file in (server.data / "recovery").glob("**/content*")]


async def test_a_history_that_cannot_be_read_at_all_stays_as_it_is(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    log = FaultyLog()
    room, lineage, _ = await unsaved_in_the_log(server, log)
    before = log.known(room)
    log.read_error = GONE
    async with server.serving(log) as collaboration:
        for _ in range(3):
            async with two_tabs(collaboration, room) as (ada, bob):
                assert ada.sources == bob.sources == ["a", "b"]
    log.read_error = None
    assert log.known(room) == before
    assert [level for level, _ in said(caplog) if level == logging.ERROR].count(logging.ERROR) <= 2
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["only in the log", "b"]
        assert document.lineage == lineage


async def test_a_log_that_works_again_before_the_document_is_open(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can be told of it yet."""
    log = FaultyLog()
    room, _, _ = await unsaved_in_the_log(server, log)
    log.read_error = GONE
    open_room = Room.open

    @asynccontextmanager
    async def open_late(self: Room) -> AsyncIterator[None]:
        if self.name == str(room):
            log.read_error = None
            await until(lambda: "works again" in caplog.text)
        async with open_room(self):
            yield

    monkeypatch.setattr(Room, "open", open_late)
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        await until(lambda: of(document) == ["only in the log", "b"])
        await until(lambda: on_disk(server) == ["only in the log", "b"])


async def test_it_is_read_late_and_is_no_document(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    log = FaultyLog()
    room, _, _ = await unsaved_in_the_log(server, log)
    log.known(room).updates.append(b"no update")
    log.read_error = GONE
    async with server.serving(log) as collaboration, two_tabs(collaboration, room) as (ada, bob):
        log.read_error = None
        await until(lambda: bool(copies(server)))
        await ada.edit(0, "typed")
        await until(lambda: bob.sources == ["typed", "b"])
    async with server.serving(log) as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["typed", "b"]


# A real database


def damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * max(path.stat().st_size - 4096, 100_000))
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            with companion.open("r+b") as file:
                file.write(b"\xff" * companion.stat().st_size)


def removed(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def replaced_by_rubbish(path: Path) -> None:
    removed(path)
    path.write_bytes(b"This is no database. " * 1000)


@pytest.mark.parametrize("happens", [damaged, removed, replaced_by_rubbish])
async def test_what_happens_to_the_database_while_documents_are_open(
    server: Server, happens: Callable[[Path], None]
) -> None:
    """All that was typed, before and after, is there again after a kill."""
    room = server.room("a.ipynb")
    server.contents.broken = OSError("No space left on device")
    path = server.settings.log_path
    assert path is not None
    async with server.serving() as collaboration, collaboration.documents.open(room) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, "before")
        await until(lambda: of(document)[0] == "before")
        await document._writer.flush()
        happens(path)
        for number in range(100):
            await tab.edit(1, f"after {number}")
            await until(lambda number=number: of(document)[1] == f"after {number}")  # type: ignore[misc]
        await until(lambda: document.room_id not in document._writer.broken)
        await document._writer.flush()
        assert await document._loading._log.lineage(room) == document.lineage
        document.stop()
        await document.closed.wait()
    server.contents.broken = None
    async with server.serving() as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["before", "after 99"]


@pytest.mark.parametrize("kind", ["rubbish", "foreign", "newer", "empty", "directory"])
async def test_what_may_be_there_at_the_start(
    server: Server, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = server.settings.log_path
    assert path is not None
    if kind == "directory":
        path.mkdir()
    elif kind in ("foreign", "newer"):
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE histories (something TEXT)")
            if kind == "newer":
                connection.execute("PRAGMA application_id = 0x59444F43")
                connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        path.write_bytes(b"" if kind == "empty" else os.urandom(10_000))
    room = server.room("a.ipynb")
    async with server.serving() as collaboration:
        for text in ("one", "two"):
            async with two_tabs(collaboration, room) as (ada, bob):
                await ada.edit(0, text)
                await until(lambda text=text: bob.sources[0] == text)  # type: ignore[misc]
            assert on_disk(server) == [text, "b"]
    warnings = [message for level, message in said(caplog) if level >= logging.WARNING]
    if kind in ("rubbish", "foreign", "newer"):
        assert [message for message in warnings if "cannot be read" in message] == warnings
        assert len(warnings) == 1
        assert len(list(path.parent.glob("*.unreadable"))) == 1
    elif kind == "empty":
        assert warnings == []
    else:
        assert len([message for message in warnings if "failed to" in message]) >= 1


async def test_a_database_that_is_locked_when_documents_are_opened(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    room = server.room("a.ipynb")
    server.contents.broken = OSError("No space left on device")
    async with server.serving() as collaboration, two_tabs(collaboration, room) as (ada, bob):
        await ada.edit(0, "only in the log")
        await until(lambda: bob.sources[0] == "only in the log")
        await ada.say_here({"autosave": False})
        async with collaboration.documents.open(room) as document:
            document.stop()
    server.contents.broken = None
    path = server.settings.log_path
    assert path is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        async with server.serving() as collaboration, two_tabs(collaboration, room) as (ada, bob):
            assert ada.sources == ["a", "b"]
            await ada.edit(1, "typed meanwhile")
            await until(lambda: bob.sources == ["a", "typed meanwhile"])
            other.close()
            with fail_after(30):
                while bob.sources != ["only in the log", "typed meanwhile"]:  # noqa: ASYNC110
                    await sleep(0.05)
    finally:
        other.close()
    async with server.serving() as collaboration, collaboration.documents.open(room) as document:
        assert of(document) == ["only in the log", "typed meanwhile"]
    assert not list(path.parent.glob("*.unreadable"))


async def test_two_servers_on_one_database(tmp_path: Path) -> None:
    """Each has its own documents open, and gets those of the other when that has closed them."""
    one = Server(tmp_path)
    for name in ("a.ipynb", "b.ipynb"):
        (one.root / name).write_text(json.dumps(ab()))
    rooms = [one.room("a.ipynb"), one.room("b.ipynb")]
    async with one.serving() as first, one.serving() as second:
        for turn in range(3):
            async with (
                two_tabs(first, rooms[turn % 2]) as (ada, ada2),
                two_tabs(second, rooms[1 - turn % 2]) as (bob, bob2),
            ):
                for tab, seeing in ((ada, ada2), (bob, bob2)):
                    for number in range(10):
                        await tab.edit(0, f"{turn} {number}")
                    await until(lambda seeing=seeing, turn=turn: seeing.sources[0] == f"{turn} 9")  # type: ignore[misc]
    async with one.serving() as only:
        for room in rooms:
            async with only.documents.open(room) as document:
                assert of(document) == ["2 9", "b"]
