"""What is known of runs, and who hears of their steps."""

from __future__ import annotations

import anyio
import pytest

from ydoc_exec.errors import RunNotFound, TooManyWait
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import BatchId, CellId, KernelId, RoomId, RunId
from ydoc_exec.kernel import run_book
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import RunBook

pytestmark = pytest.mark.anyio

ONE, OTHER = KernelId("one"), KernelId("other")
ROOM = RoomId("json", "notebook", "file")


class Writer:
    """Makes runs and has them take their steps."""

    def __init__(self, remembered: int = 10) -> None:
        self.book = RunBook(remembered)

    def queue(self, *names: str, kernel: KernelId = ONE) -> list[Run]:
        runs = [
            Run(
                RunId(name),
                kernel,
                ROOM,
                CellId(name),
                "1",
                "ada",
                self.book.next_seq(),
                batch=BatchId(names[0]),
            )
            for name in names
        ]
        self.book.queued(runs)
        return runs

    def start(self, run: Run) -> None:
        run.started_at = "now"
        self.book.started(run)

    def end(self, run: Run) -> None:
        run.outcome = Outcome(RunState.OK)
        self.book.ended(run)


def names(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


def test_where_runs_stand() -> None:
    writer = Writer()
    a, b, c = writer.queue("a", "b", "c")
    [x] = writer.queue("x", kernel=OTHER)
    assert names(writer.book.live(ONE)) == ["a", "b", "c"]
    assert [writer.book.place(run) for run in (a, b, c, x)] == [0, 1, 2, 0]
    writer.start(a)
    writer.end(b)  # taken out of the queue
    assert [writer.book.place(run) for run in (a, b, c)] == [0, None, 1]
    writer.end(a)
    assert names(writer.book.live(ONE)) == ["c"]
    assert names(writer.book.recent(ONE)) == ["a", "b"]
    assert writer.book.recent(OTHER) == []
    assert [writer.book.get(run.id) for run in (a, c, x)] == [a, c, x]
    with pytest.raises(RunNotFound):
        writer.book.get(RunId("y"))


def test_the_oldest_are_forgotten_and_none_that_is_under_way() -> None:
    writer = Writer(remembered=2)
    runs = writer.queue("a", "b", "c", "d")
    for run in runs[:3]:
        writer.end(run)
    assert names(writer.book.recent(ONE)) == ["c", "b"]
    assert writer.book.get(RunId("d")) is runs[3]
    with pytest.raises(RunNotFound):
        writer.book.get(RunId("a"))


def test_every_step_is_told_in_its_order_and_one_who_fails_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer, told = Writer(), list[tuple[str, str]]()

    def fail(run: Run) -> None:
        raise ValueError("a mistake")

    writer.book.observe(fail)
    writer.book.observe(lambda run: told.append((run.id, run.state.value)))
    a, b = writer.queue("a", "b")
    writer.start(a)
    writer.end(a)
    writer.end(b)
    assert told == [("a", "queued"), ("b", "queued"), ("a", "running"), ("a", "ok"), ("b", "ok")]
    assert len(caplog.records) == 5


async def test_a_watch_has_each_run_once_and_only_those_that_it_is_for() -> None:
    writer = Writer()
    a, b = writer.queue("a", "b")
    [x] = writer.queue("x", kernel=OTHER)
    with (
        writer.book.watch(ONE) as kernel,
        writer.book.watch(b.id) as run,
        writer.book.watch(BatchId("x")) as batch,
    ):
        assert kernel.take() == []
        writer.start(a)
        writer.end(a)
        with anyio.fail_after(30):
            await kernel.wait()
        assert kernel.take() == [a]
        assert (run.take(), batch.take()) == ([], [])
        writer.end(x)
        assert batch.take() == [x]
        with anyio.move_on_after(0.01) as nothing:
            await kernel.wait()
        assert nothing.cancelled_caught
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.wait)
            await anyio.lowlevel.checkpoint()
            writer.start(b)
        assert run.take() == [b]
    writer.end(b)
    assert run.take() == []


async def test_nobody_waits_for_a_server_that_stops() -> None:
    writer = Writer()
    [a] = writer.queue("a")
    with writer.book.watch(a.id) as watch:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.wait)
            await anyio.lowlevel.checkpoint()
            writer.book.close()
        assert watch.over
        await watch.wait()
    with writer.book.watch(a.id) as late, anyio.fail_after(30):
        await late.wait()
        assert late.over


def test_so_many_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_book, "WATCHES", 2)
    book = RunBook(1)
    with book.watch(ONE):
        with book.watch(ONE), pytest.raises(TooManyWait, match="2 requests"), book.watch(ONE):
            pass
        with book.watch(ONE):
            pass
