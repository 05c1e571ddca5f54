"""The writer in front of logs that are slow, that fail, and that lose a history."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, thread_time
from types import TracebackType

import anyio
import pytest
from anyio import CancelScope, Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store import log_writer
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog
from ydoc_exec.store.update_log import History, UpdateLog

pytestmark = pytest.mark.anyio

A = RoomId("json", "notebook", "a")
B = RoomId("json", "notebook", "b")
C = RoomId("json", "notebook", "c")
L = Lineage("lineage")
NEVER = 3600.0
FULL = UpdateLogError("write", "the disk is full")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class ScriptedLog:
    """A log in memory that says what it did, and does it when and as the test wants."""

    lasts = True

    def __init__(self) -> None:
        self.memory = MemoryUpdateLog()
        self.calls: list[object] = []
        self.error: Exception | None = None
        self.gate: Event | None = None
        self.entered = Event()
        self.unreadable: Exception | None = None
        self.failed = 0
        self.asked = 0
        self.reads = 0

    async def _do(self, call: object) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            self.failed += 1
            raise self.error
        self.calls.append(call)

    async def __aenter__(self) -> ScriptedLog:
        await self.memory.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.memory.__aexit__(exc_type, exc_value, traceback)

    async def read(self, room: RoomId) -> History | None:
        self.reads += 1
        if self.unreadable is not None:
            raise self.unreadable
        return await self.memory.read(room)

    async def lineage(self, room: RoomId) -> Lineage | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await self.memory.lineage(room)

    async def size(self, room: RoomId) -> int:
        return await self.memory.size(room)

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        await self._do(("begin", room, snapshot))
        await self.memory.begin(room, lineage, snapshot, base)

    async def append(self, batch: Sequence[tuple[RoomId, bytes]]) -> None:
        await self._do(list(batch))
        await self.memory.append(batch)

    async def set_base(self, room: RoomId, base: str) -> None:
        await self._do(("set_base", room, base))
        await self.memory.set_base(room, base)

    async def compact(self, room: RoomId, snapshot: bytes) -> None:
        await self._do(("compact", room, snapshot))
        await self.memory.compact(room, snapshot)

    async def forget(self, room: RoomId) -> None:
        await self._do(("forget", room))
        await self.memory.forget(room)


@dataclass
class Degraded:
    """What the writer said of the log."""

    said: list[UpdateLogError | None] = field(default_factory=list)
    changed: Event = field(default_factory=Event)

    def __call__(self, error: UpdateLogError | None) -> None:
        self.said.append(error)
        self.changed.set()

    async def next(self) -> UpdateLogError | None:
        with fail_after(30):
            await self.changed.wait()
        self.changed = Event()
        return self.said[-1]


@asynccontextmanager
async def running(
    log: UpdateLog, delay: float = NEVER, limit_bytes: int = log_writer.LIMIT_BYTES
) -> AsyncIterator[tuple[LogWriter, Degraded]]:
    degraded = Degraded()
    writer = LogWriter(log, delay, degraded, limit_bytes)
    async with create_task_group() as tasks:
        await tasks.start(writer.run)
        yield writer, degraded
        tasks.cancel_scope.cancel()


async def test_updates_are_written_together() -> None:
    async with ScriptedLog() as log, running(log) as (writer, degraded):
        writer.begin(A, L, b"a", None)
        writer.begin(B, L, b"b", None)
        for i in range(100):
            writer.put(A, b"%d" % i)
            writer.put(B, b"%d" % -i)
        await writer.flush()
        assert log.calls[2:] == [
            [(room, b"%d" % number) for i in range(100) for room, number in ((A, i), (B, -i))]
        ]
        assert degraded.said == []


async def test_without_a_flush_the_delay_decides() -> None:
    async with ScriptedLog() as log, running(log, delay=0.01) as (writer, _):
        for i in range(3):
            log.entered = Event()
            before = monotonic()
            if not i:
                writer.begin(A, L, b"", None)
            writer.put(A, b"%d" % i)
            with fail_after(30):
                await log.entered.wait()
            assert monotonic() - before >= 0.009
        await writer.flush()
        assert await log.read(A) == History(L, [b"", b"0", b"1", b"2"], None)


async def test_hurry_writes_what_waits() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.hurry()
        writer.begin(A, L, b"snapshot", None)
        writer.put(A, b"1")
        await checkpoint()
        assert log.calls == []
        writer.hurry()
        with fail_after(5):
            while len(log.calls) < 2:
                await checkpoint()
        writer.put(A, b"2")
        for _ in range(20):
            await checkpoint()
        assert len(log.calls) == 2


async def test_flush_returns_when_it_is_written() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        await writer.flush()
        writer.begin(A, L, b"", None)
        await writer.flush()
        writer.put(A, b"1")
        log.gate = Event()
        log.entered = Event()
        flushed = False

        async def flush() -> None:
            nonlocal flushed
            await writer.flush(A)
            flushed = True

        async with create_task_group() as tasks:
            tasks.start_soon(flush)
            await log.entered.wait()
            writer.put(A, b"2")
            for _ in range(10):
                await checkpoint()
            assert not flushed
            log.gate.set()
        assert await log.read(A) == History(L, [b"", b"1"], None)
        await writer.flush()
        assert await log.read(A) == History(L, [b"", b"1", b"2"], None)


async def test_flush_of_one_room_does_not_wait_for_another() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        log.error = FULL
        writer.begin(A, L, b"", None)
        await writer.flush(B)
        with pytest.raises(UpdateLogError):
            await writer.flush(A)
        await writer.flush(B)
        log.error = None


async def test_without_a_task_nothing_is_promised() -> None:
    async with ScriptedLog() as log:
        writer = LogWriter(log, NEVER, Degraded())
        await writer.flush()
        writer.begin(A, L, b"", None)
        with pytest.raises(UpdateLogError, match="not running"):
            await writer.flush()
        with fail_after(30):
            async with create_task_group() as tasks:
                await tasks.start(writer.run)
                await writer.flush()
                tasks.cancel_scope.cancel()
        assert await log.read(A) == History(L, [b""], None)


async def test_a_slow_log_does_not_delay_put() -> None:
    """While one write hangs, thousands of updates are taken; they are written with the next."""
    async with ScriptedLog() as log, running(log, delay=0.0) as (writer, _):
        writer.begin(A, L, b"", None)
        await writer.flush()
        log.gate, log.entered = Event(), Event()
        writer.put(A, b"first")
        await log.entered.wait()
        before = thread_time()
        for i in range(30_000):
            writer.put(A, b"%d" % i)
        assert thread_time() - before < 5, "what waits is looked through for each update"  # takes 0.1
        log.gate.set()
        await writer.flush()
        assert log.calls[1:] == [[(A, b"first")], [(A, b"%d" % i) for i in range(30_000)]]


async def test_a_slow_disk_does_not_delay_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a thread that is blocked in its write."""
    log = SqliteUpdateLog(tmp_path / "log.db")
    work = log._work
    writing, all_put = threading.Event(), threading.Event()
    came_to_it: list[bool] = []

    def slow(what: str, call: object) -> object:
        writing.set()
        came_to_it.append(all_put.wait(30))
        return work(what, call)  # type: ignore[arg-type]

    async with log, running(log, delay=0.0) as (writer, _):
        writer.begin(A, L, b"", None)
        await writer.flush()
        monkeypatch.setattr(log, "_work", slow)
        writer.put(A, b"0")
        while not writing.is_set():
            await checkpoint()
        for i in range(1, 100):
            writer.put(A, b"%d" % i)
            await checkpoint()
        all_put.set()
        await writer.flush()
        assert all(came_to_it)
        assert await log.read(A) == History(L, [b"", *(b"%d" % i for i in range(100))], None)


async def test_a_failing_log_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_RETRY", 0.001)
    async with ScriptedLog() as log, running(log, delay=0.0) as (writer, degraded):
        writer.begin(A, L, b"", None)
        await writer.flush()
        log.error = FULL
        writer.put(A, b"1")
        assert await degraded.next() is FULL
        writer.put(A, b"2")
        while log.failed < 5:
            await checkpoint()
        assert degraded.said == [FULL]
        log.error = None
        writer.put(A, b"3")
        assert await degraded.next() is None
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"", b"1", b"2", b"3"], None)
        assert writer.broken == set()


async def test_flush_raises_and_what_it_was_about_is_kept() -> None:
    async with ScriptedLog() as log, running(log) as (writer, degraded):
        writer.begin(A, L, b"", None)
        writer.put(A, b"1")
        log.error = FULL
        for _ in range(3):
            with pytest.raises(UpdateLogError, match="the disk is full"):
                await writer.flush()
        log.error = None
        await writer.flush()
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"", b"1"], None)


async def test_too_much_waits() -> None:
    """The room with the most gives up; its history stays a beginning, and the others lose nothing."""
    async with ScriptedLog() as log, running(log, limit_bytes=100) as (writer, degraded):
        for room in (A, B):
            writer.begin(room, L, b"s", None)
            writer.put(room, b"1")
        await writer.flush()
        log.error = FULL
        writer.put(A, b"2" * 60)
        writer.put(A, b"3" * 60)
        writer.put(B, b"2" * 30)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        assert writer.broken == set()
        writer.put(B, b"3" * 20)
        assert writer.broken == {A}, "the largest and 110 bytes"
        writer.put(A, b"4")
        writer.compact(A, b"ignored")
        writer.set_base(A, "ignored: the log lacks what came before")
        log.error = None
        await writer.flush()
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"s", b"1"], None)
        assert await log.read(B) == History(L, [b"s", b"1", b"2" * 30, b"3" * 20], None)

        writer.begin(A, L, b"s1234", "base")
        writer.put(A, b"5")
        await writer.flush()
        assert writer.broken == set()
        assert await log.read(A) == History(L, [b"s1234", b"5"], "base")


async def test_too_much_waits_for_a_log_that_is_only_slow() -> None:
    async with ScriptedLog() as log, running(log, 0.0, limit_bytes=100) as (writer, degraded):
        writer.begin(A, Lineage("old"), b"old", None)
        await writer.flush()
        log.gate, log.entered = Event(), Event()
        writer.begin(A, L, b"s", None)
        await log.entered.wait()
        writer.put(A, b"1" * 101)
        writer.put(A, b"2" * 100)
        assert writer.broken == set()
        writer.put(A, b"3")
        assert writer.broken == {A}
        log.gate.set()
        while (error := await degraded.next()) is not None:
            assert "json:notebook:a" in str(error)
        assert [error is None for error in degraded.said] == [False, True]
        assert await log.read(A) == History(L, [b"s"], None), "not the history before it"


async def test_a_beginning_that_waits_is_kept() -> None:
    """Also when what came behind it is given up: without it the log would have the history before it."""
    async with ScriptedLog() as log, running(log, limit_bytes=100) as (writer, degraded):
        writer.begin(A, Lineage("old"), b"old", None)
        await writer.flush()
        log.error = FULL
        writer.begin(A, L, b"s", None)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        for _ in range(3):
            writer.put(A, b"1" * 60)
        assert writer.broken == {A}
        log.error = None
        await writer.flush()
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"s"], None)


async def test_one_update_of_any_size_is_taken() -> None:
    async with ScriptedLog() as log, running(log, 0.0, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        writer.put(A, b"1" * 10_000)
        assert writer.broken == set()
        await writer.flush()
        assert degraded.said == []
        assert await log.read(A) == History(L, [b"s", b"1" * 10_000], None)


async def test_one_update_of_any_size_waits_for_a_log_that_fails() -> None:
    """And so do others behind it, as many as would wait without it."""
    async with ScriptedLog() as log, running(log, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        log.error = FULL
        writer.put(A, b"1" * 10_000)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        for _ in range(10):
            writer.put(A, b"2" * 10)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        assert writer.broken == set()
        log.error = None
        await writer.flush()
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"s", b"1" * 10_000, *[b"2" * 10] * 10], None)


async def test_a_burst_behind_a_large_update_that_is_being_written() -> None:
    """What the log is just taking does not count, and of what is behind it not the largest."""
    async with ScriptedLog() as log, running(log, 0.0, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        log.gate, log.entered = Event(), Event()
        updates = [b"1" * 10_000, *[b"2" * 10] * 5, b"3" * 10_000, *[b"4" * 10] * 5]
        writer.put(A, updates[0])
        await log.entered.wait()
        for update in updates[1:]:
            writer.put(A, update)
        assert writer.broken == set()
        log.gate.set()
        await writer.flush()
        assert degraded.said == []
        assert await log.read(A) == History(L, [b"s", *updates], None)


async def test_what_the_log_was_not_asked_to_take_does_not_break_it() -> None:
    """More than the limit is written without delay."""
    async with ScriptedLog() as log, running(log, NEVER, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        updates = [b"%d" % i * 10_000 for i in range(5)]
        log.entered = Event()
        for update in updates:
            writer.put(A, update)
        with fail_after(30):
            await log.entered.wait()
        await writer.flush()
        assert degraded.said == []
        assert await log.read(A) == History(L, [b"s", *updates], None)


async def test_what_was_being_written_counts_when_it_fails() -> None:
    async with ScriptedLog() as log, running(log, limit_bytes=100) as (writer, degraded):
        for room in (A, B):
            writer.begin(room, L, b"s", None)
        await writer.flush()
        log.error = FULL
        writer.put(B, b"1")
        for i in range(3):
            writer.put(A, b"%d" % i * 10_000)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        assert writer.broken == {A}
        log.error = None
        await writer.flush()
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"s"], None)
        assert await log.read(B) == History(L, [b"s", b"1"], None)


async def test_what_is_tried_again_counts() -> None:
    async with ScriptedLog() as log, running(log, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        log.error = FULL
        writer.put(A, b"1" * 60)
        writer.put(A, b"2" * 60)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        log.error, log.gate, log.entered = None, Event(), Event()
        await log.entered.wait()
        writer.put(A, b"3" * 40)
        assert writer.broken == set()
        writer.put(A, b"4")
        assert writer.broken == {A}
        log.gate.set()
        while await degraded.next() is not None:
            pass
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"s", b"1" * 60, b"2" * 60], None)


async def test_a_broken_room_comes_back_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left whose writing would tell that the log works again, and nobody calls."""
    monkeypatch.setattr(log_writer, "_FIRST_RETRY", 0.001)
    async with ScriptedLog() as log, running(log, 0.0, limit_bytes=100) as (writer, degraded):
        writer.begin(A, L, b"s", None)
        await writer.flush()
        log.error = FULL
        for i in range(3):
            writer.put(A, b"%d" % i * 60)
        assert await degraded.next() is FULL
        for i in range(3):
            writer.put(A, b"%d" % i * 60)
        assert writer.broken == {A}
        with fail_after(30):
            while log.asked < 3:
                await checkpoint()
        assert degraded.said == [FULL], "not before it works"
        log.error = None
        assert await degraded.next() is None
        assert degraded.said == [FULL, None]
        asked = log.asked
        writer.begin(A, L, b"again", None)
        await writer.flush()
        assert log.asked == asked
        assert await log.read(A) == History(L, [b"again"], None)


async def test_a_room_that_broke_before_anybody_wrote() -> None:
    async with ScriptedLog() as log:
        degraded = Degraded()
        writer = LogWriter(log, 0.0, degraded, 100)
        for _ in range(3):
            writer.put(A, b"1" * 60)
        assert writer.broken == {A}
        async with create_task_group() as tasks:
            await tasks.start(writer.run)
            while await degraded.next() is not None:
                pass
            assert [error is None for error in degraded.said] == [False, True]
            tasks.cancel_scope.cancel()


async def test_a_history_that_could_not_be_read_is_left_alone() -> None:
    """Neither what comes nor a snapshot replaces it, and it is said when it can be read."""
    async with ScriptedLog() as log, running(log) as (writer, degraded):
        await log.memory.begin(A, L, b"nobody has seen this", None)
        writer.begin(B, L, b"b", None)
        await writer.flush()
        writer.put(A, b"of an earlier life")
        log.error = FULL
        writer.leave_alone(A, FULL)
        writer.put(A, b"1")
        writer.compact(A, b"all")
        writer.set_base(A, "base")
        writer.put(B, b"1")
        assert await degraded.next() is FULL
        assert writer.broken == {A}
        log.error = None
        await writer.flush()
        assert await degraded.next() is None
        assert degraded.said == [FULL, None]
        assert await log.read(A) == History(L, [b"nobody has seen this", b"of an earlier life"], None)
        assert await log.read(B) == History(L, [b"b", b"1"], None)
        writer.begin(A, L, b"anew", None)
        writer.put(A, b"2")
        await writer.flush()
        assert writer.broken == set()
        assert await log.read(A) == History(L, [b"anew", b"2"], None)


async def test_a_log_that_is_asked_whether_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits to be written, and what can be asked besides the history says nothing of it."""
    monkeypatch.setattr(log_writer, "_FIRST_RETRY", 0.001)
    async with ScriptedLog() as log, running(log, 0.0) as (writer, degraded):
        log.unreadable = FULL
        writer.leave_alone(A, FULL)
        assert await degraded.next() is FULL
        with fail_after(30):
            while log.reads < 3:
                await checkpoint()
        assert degraded.said == [FULL]
        log.unreadable = None
        assert await degraded.next() is None
        writer.begin(A, L, b"s", None)
        await writer.flush()
        assert log.reads == 4


async def test_a_log_that_raises_what_it_must_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_RETRY", 0.001)
    async with ScriptedLog() as log, running(log, 0.0) as (writer, degraded):
        log.error = RuntimeError("a mistake")
        writer.begin(A, L, b"s", None)
        error = await degraded.next()
        assert "a mistake" in str(error)
        with fail_after(30):
            while log.failed < 3:
                await checkpoint()
        log.error = None
        assert await degraded.next() is None
        assert await log.read(A) == History(L, [b"s"], None)
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_the_end_of_a_log_that_never_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that is broken does not hold up the end: nothing of it waits."""
    monkeypatch.setattr(log_writer, "_FINAL_FLUSH", 60.0)
    with fail_after(30):
        async with ScriptedLog() as log, running(log, 0.0, limit_bytes=100) as (writer, degraded):
            log.error = FULL
            for _ in range(3):
                writer.put(A, b"1" * 60)
            assert await degraded.next() is FULL
            before = monotonic()
        assert monotonic() - before < 30


async def test_what_is_kept_for_the_next_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_FIRST_RETRY", 0.001)
    async with ScriptedLog() as log, running(log, 0.0) as (writer, degraded):
        for room in (A, B):
            writer.begin(room, L, b"s", None)
        await writer.flush()
        assert writer.keeps(A)
        log.lasts = False
        assert not writer.keeps(A)
        log.lasts = True
        log.error = FULL
        writer.put(A, b"1")
        await degraded.next()
        assert writer.failure == "the disk is full"
        assert not writer.keeps(A)
        assert not writer.keeps(B)
        log.error = None
        await degraded.next()
        assert writer.failure is None
        assert writer.keeps(A)
        await log.memory.forget(A)
        writer.put(A, b"2")
        while writer.keeps(A):
            await checkpoint()
        assert writer.broken == {A}


async def test_a_lost_history_breaks_only_its_room() -> None:
    async with ScriptedLog() as log, running(log) as (writer, degraded):
        writer.begin(A, L, b"a", None)
        writer.begin(B, L, b"b", None)
        await writer.flush()
        await log.memory.forget(A)
        for i in range(3):
            writer.put(A, b"%d" % i)
            writer.put(B, b"%d" % i)
        writer.set_base(A, "base")
        writer.compact(A, b"all")
        await writer.flush(B)
        assert writer.broken == {A}
        assert [error is None for error in degraded.said] == [False, True]
        assert await log.read(A) is None
        assert await log.read(B) == History(L, [b"b", b"0", b"1", b"2"], None)
        await writer.flush()


async def test_flush_of_a_room_that_breaks_raises() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.put(A, b"never begun")
        with pytest.raises(UpdateLogError, match="no history of json:notebook:a"):
            await writer.flush(A)
        assert writer.broken == {A}
        await writer.flush(A)


async def test_a_room_begun_anew_while_its_updates_fail() -> None:
    """The beginning takes the place of what is being written; the room is not broken."""
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.begin(B, L, b"b", None)
        await writer.flush()
        log.gate, log.entered = Event(), Event()
        writer.put(A, b"never begun")
        writer.put(B, b"1")
        async with create_task_group() as tasks:
            tasks.start_soon(writer.flush, B)
            await log.entered.wait()
            writer.begin(A, L, b"a", None)
            writer.put(A, b"1")
            log.gate.set()
        await writer.flush()
        assert writer.broken == set()
        assert await log.read(A) == History(L, [b"a", b"1"], None)
        assert await log.read(B) == History(L, [b"b", b"1"], None)


async def test_a_snapshot_takes_the_place_of_what_was_put_before_it() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.begin(A, L, b"a", None)
        await writer.flush()
        log.calls.clear()
        writer.put(A, b"1")
        writer.set_base(A, "base 1")
        writer.put(B, b"of a room that has no history")
        writer.put(A, b"2")
        writer.compact(A, b"a12")
        writer.put(A, b"3")
        await writer.flush(A)
        assert log.calls[1:] == [("compact", A, b"a12"), ("set_base", A, "base 1"), [(A, b"3")]]
        assert await log.read(A) == History(L, [b"a12", b"3"], "base 1")


async def test_a_snapshot_while_updates_are_being_written() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.begin(A, L, b"a", None)
        await writer.flush()
        log.gate, log.entered = Event(), Event()
        writer.put(A, b"1")
        async with create_task_group() as tasks:
            tasks.start_soon(writer.flush)
            await log.entered.wait()
            writer.compact(A, b"a1")
            writer.put(A, b"2")
            log.gate.set()
        await writer.flush()
        assert await log.read(A) == History(L, [b"a1", b"2"], None)


async def test_flush_waits_for_the_snapshot_that_took_the_place() -> None:
    async with ScriptedLog() as log, running(log) as (writer, _):
        writer.begin(A, L, b"a", None)
        await writer.flush()
        first, second = Event(), Event()
        log.gate, log.entered = first, Event()
        writer.put(A, b"1")
        flushed = Event()

        async def flush() -> None:
            await writer.flush(A)
            flushed.set()

        async with create_task_group() as tasks:
            tasks.start_soon(flush)
            await log.entered.wait()
            writer.compact(A, b"a1")
            log.gate, log.entered = second, Event()
            first.set()
            await log.entered.wait()
            assert await log.read(A) == History(L, [b"a", b"1"], None)
            assert not flushed.is_set()
            second.set()
        assert await log.read(A) == History(L, [b"a1"], None)


async def test_a_forgotten_room() -> None:
    async with ScriptedLog() as log, running(log) as (writer, degraded):
        writer.begin(A, L, b"a", None)
        writer.put(A, b"1")
        writer.forget(A)
        writer.put(A, b"late")
        writer.set_base(A, "late")
        writer.compact(A, b"late")
        await writer.flush()
        assert log.calls == [("forget", A)]
        assert writer.broken == set()
        assert degraded.said == []
        writer.begin(A, L, b"again", None)
        writer.put(A, b"2")
        await writer.flush()
        assert await log.read(A) == History(L, [b"again", b"2"], None)


async def test_the_end_writes_what_waits() -> None:
    async with ScriptedLog() as log:
        async with running(log) as (writer, _):
            writer.begin(A, L, b"a", None)
            writer.put(A, b"1")
        assert await log.read(A) == History(L, [b"a", b"1"], None)
        writer.put(A, b"after the end")
        assert await log.size(A) == 2


async def test_the_end_in_the_middle_of_a_write_writes_nothing_twice() -> None:
    async with ScriptedLog() as log:
        async with create_task_group() as tasks:
            writer = LogWriter(log, 0.0, Degraded())
            await tasks.start(writer.run)
            writer.begin(A, L, b"a", None)
            await writer.flush()
            log.gate, log.entered = Event(), Event()
            writer.put(A, b"1")
            await log.entered.wait()
            writer.put(A, b"2")
            tasks.cancel_scope.cancel()
            with CancelScope(shield=True):
                for _ in range(10):
                    await checkpoint()
                log.gate.set()
        assert await log.read(A) == History(L, [b"a", b"1", b"2"], None)


async def test_the_end_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_writer, "_FINAL_FLUSH", 0.05)
    with fail_after(30):
        async with ScriptedLog() as log, create_task_group() as others, running(log) as (writer, _):

            async def flush() -> None:
                with pytest.raises(UpdateLogError, match="stopped"):
                    await writer.flush()

            log.gate = Event()  # nobody will ever set it
            writer.begin(A, L, b"a", None)
            others.start_soon(flush)
            await log.entered.wait()
    assert ["json:notebook:a" in record.getMessage() for record in caplog.records] == [True]


async def test_a_log_that_works_again_just_before_the_end() -> None:
    async with ScriptedLog() as log:
        async with running(log, delay=0.0) as (writer, degraded):
            log.error = FULL
            writer.begin(A, L, b"a", None)
            assert await degraded.next() is FULL
            log.error = None
        assert await log.read(A) == History(L, [b"a"], None)


async def test_a_listener_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def listen(error: UpdateLogError | None) -> None:
        raise RuntimeError("a mistake")

    async with ScriptedLog() as log, create_task_group() as tasks:
        writer = LogWriter(log, NEVER, listen)
        await tasks.start(writer.run)
        log.error = FULL
        writer.begin(A, L, b"a", None)
        with pytest.raises(UpdateLogError):
            await writer.flush()
        log.error = None
        await writer.flush()
        assert await log.read(A) == History(L, [b"a"], None)
        tasks.cancel_scope.cancel()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "put", "put", "begin", "compact", "set_base", "forget", "wait", "flush", "fail"]
        ),
        st.sampled_from([A, B]),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=500)
@given(steps=steps)
def test_whatever_happens_the_log_has_what_was_put(steps: list[tuple[str, RoomId]]) -> None:
    anyio.run(act_and_compare, steps)


class CheckedLog(ScriptedLog):
    """Every update is a number, a snapshot is "up to" a number, and a base is the number of the update before it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    async def _do(self, call: object) -> None:
        await checkpoint()
        await checkpoint()
        if self.failures:
            self.failures -= 1
            raise FULL
        for history in self.memory._histories.values():
            numbers = [int(update) for update in history.updates]
            assert numbers == list(range(numbers[0], numbers[-1] + 1)), "in order and without a gap"
            assert int(history.base or 0) <= numbers[-1], "no base without what came before it"


async def act_and_compare(steps: list[tuple[str, RoomId]]) -> None:
    expected: dict[RoomId, History] = {}
    number = 0
    log = CheckedLog()
    async with log:
        async with running(log, delay=0.0) as (writer, _):
            for kind, room in steps:
                history = expected.get(room)
                if kind == "begin":
                    writer.begin(room, L, b"%d" % number, str(number))
                    expected[room] = History(L, [b"%d" % number], str(number))
                elif kind == "wait":
                    await checkpoint()
                elif kind == "fail":
                    log.failures += 1
                elif kind == "flush":
                    try:
                        await writer.flush()
                    except UpdateLogError:
                        continue
                    for known, history in expected.items():
                        assert await log.read(known) == history
                elif kind == "forget":
                    writer.forget(room)
                    expected.pop(room, None)
                elif history is None:
                    continue
                elif kind == "put":
                    # Of both rooms, so that the numbers of each have no gap.
                    number += 1
                    for known, history in expected.items():
                        writer.put(known, b"%d" % number)
                        history.updates.append(b"%d" % number)
                elif kind == "compact":
                    writer.compact(room, b"%d" % number)
                    history.updates[:] = [b"%d" % number]
                elif kind == "set_base":
                    writer.set_base(room, str(number))
                    expected[room] = History(L, history.updates, str(number))
            log.failures = 0
            await writer.flush()
            assert writer.broken == set()
        for room in (A, B):
            assert await log.read(room) == expected.get(room)


@settings(max_examples=500)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "put", "compact", "wait", "flush", "fail", "fail"]),
            st.sampled_from([A, B]),
            st.sampled_from([1, 10, 40, 500]),
        ),
        min_size=5,
        max_size=60,
    )
)
def test_an_owner_who_begins_anew_when_it_is_said_lacks_nothing(steps: list[tuple[str, RoomId, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_writer, "_FIRST_RETRY", 0.0001)
        patch.setattr(log_writer, "_LAST_RETRY", 0.0001)
        anyio.run(break_and_recover, steps)


async def break_and_recover(steps: list[tuple[str, RoomId, int]]) -> None:
    """As ``act_and_compare``, with updates of any size and little room, and no call after the last step."""
    number = 0
    degraded = Degraded()
    log = CheckedLog()

    def listen(error: UpdateLogError | None) -> None:
        degraded(error)
        if error is None:
            for room in sorted(writer.broken, key=str):
                writer.begin(room, L, b"%d" % number, None)

    writer = LogWriter(log, 0.0, listen, limit_bytes=100)
    async with log, create_task_group() as tasks:
        await tasks.start(writer.run)
        for room in (A, B):
            writer.begin(room, L, b"0", None)
        for kind, room, size in steps:
            if kind == "put":
                number += 1
                for known in (A, B):
                    writer.put(known, (b"%d" % number).zfill(size))
            elif kind == "compact":
                writer.compact(room, b"%d" % number)
            elif kind == "wait":
                await checkpoint()
            elif kind == "fail":
                log.failures += 1
            elif kind == "flush":
                with suppress(UpdateLogError):
                    await writer.flush()
        log.failures = 0
        while writer.broken or degraded.said[-1:] not in ([], [None]):
            await degraded.next()
        await writer.flush()
        for room in (A, B):
            history = await log.read(room)
            assert history is not None
            assert int(history.updates[-1]) == number
        said = [error is None for error in degraded.said]
        assert said == [False, True] * (len(said) // 2), "each is said once, and the last is that it works"
        tasks.cancel_scope.cancel()


async def test_200_megabytes(tmp_path: Path) -> None:
    """As one update, as the snapshot of a compaction, and as that of a beginning; far above the limit."""
    async with SqliteUpdateLog(tmp_path / "log.db") as log, running(log, 0.0) as (writer, degraded):
        large = bytes(200 * 2**20)

        async def read() -> list[bytes]:
            """With a name in the place of what is too long to be printed."""
            await writer.flush()
            history = await log.read(A)
            assert history is not None
            return [b"large" if update == large else update for update in history.updates]

        writer.begin(A, L, b"s", None)
        await writer.flush()
        writer.put(A, large)
        writer.put(A, b"1")
        assert await read() == [b"s", b"large", b"1"]
        writer.compact(A, large)
        writer.put(A, b"2")
        assert await read() == [b"large", b"2"]
        writer.begin(A, L, large, None)
        writer.put(A, b"3")
        assert await read() == [b"large", b"3"]
        assert degraded.said == []
        assert writer.broken == set()
