"""Cells on a real kernel, through the runner."""

from __future__ import annotations

import logging
from itertools import groupby
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from tests.kernel.place import Kernels, Place, place_with, until_there
from tests.kernel.recorder import Recorder
from ydoc_exec.execution.events import IdleOverdue
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.kernel import Channel, Message
from ydoc_exec.kernel.run import Run

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def state(run: Run) -> RunState:
    return run.state


async def test_the_first_words_are_there(kernels: Kernels, kernel_id: KernelId) -> None:
    """A subscription takes a moment; what is published before is lost. So each time with a new link."""
    for number in range(15):
        async with place_with(kernels) as place:
            run = await place.run(kernel_id, f"print('first {number}')")
            assert place.target.text(run) == f"first {number}\n"
            assert run.state is RunState.OK


async def test_order_is_kept(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        first = await place.submit(kernel_id, *(f"print({n})" for n in range(10)))
        second = await place.submit(kernel_id, *(f"print({n})" for n in range(10, 20)))
        runs = [*first, *second]
        await place.target.wait_ended(*runs)
        ids = [run.id for run in runs]
        assert place.target.order("started") == place.target.order("ended") == ids
        assert [place.target.text(run) for run in runs] == [f"{n}\n" for n in range(20)]
        counts = [run.outcome.execution_count for run in runs if run.outcome and run.outcome.execution_count]
        assert counts == list(range(counts[0], counts[0] + 20))


async def test_a_batch_makes_the_kernel_busy_once(kernels: Kernels, kernel_id: KernelId) -> None:
    """Not between two cells, where nobody could see it, and again at the end, also when that is blank."""
    async with place_with(kernels) as place:
        await place.run(kernel_id, "1")  # connected
        for sources in (["1", "2", "3"], ["1", "", ""]):
            place.target.statuses.clear()
            runs = await place.submit(kernel_id, *sources)
            await place.target.wait_ended(*runs)
            await place.target.wait(lambda: place.target.statuses[-1] == "idle")
            assert [status for status, _ in groupby(place.target.statuses)] == ["busy", "idle"]


async def test_an_error_aborts_what_was_queued_before_it(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(kernel_id, "print(1)", "1 / 0", "print(3)", "print(4)")
        await place.target.wait_ended(*runs)
        states = [RunState.OK, RunState.ERROR, RunState.ABORTED, RunState.ABORTED]
        assert [run.state for run in runs] == states
        assert place.target.errors(runs[1]) == ["ZeroDivisionError"]
        assert place.target.text(runs[2]) == ""
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_an_error_that_is_expected_aborts_nothing(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(kernel_id, "1 / 0", "print(2)", stop_on_error=False)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.ERROR, RunState.OK]
        assert place.target.text(runs[1]) == "2\n"


async def test_blank_cells_keep_their_turn_and_reach_no_kernel(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(kernel_id, "print(1)", " \n\t", "print(3)")
        await place.target.wait_ended(*runs)
        assert place.target.order("ended") == [run.id for run in runs]
        assert [run.state for run in runs] == [RunState.OK] * 3
        assert runs[1].started_at is None
        outcome = runs[1].outcome
        assert outcome is not None
        assert outcome.execution_count is None


async def let_the_kernel_send_all(place: Place, kernel_id: KernelId) -> None:
    """The kernel itself drops messages when more than 1,000 wait to be sent, as they do on a machine that has much else to
    do. That holds for those who are connected."""
    thread = "get_ipython().kernel.iopub_thread"
    run = await place.run(kernel_id, f"{thread}.schedule(lambda: setattr({thread}.socket, 'sndhwm', 0))")
    assert run.state is RunState.OK


@pytest.mark.timeout(180)
async def test_a_flood_of_single_prints_loses_nothing(kernels: Kernels, kernel_id: KernelId) -> None:
    """20,000 messages are 20 times what a SUB socket keeps by itself."""
    async with place_with(kernels) as place:
        await let_the_kernel_send_all(place, kernel_id)
        [run] = await place.submit(kernel_id, "for i in range(20000): print(i, flush=True)")
        await place.target.wait_ended(run, timeout=120)
        await place.target.wait(lambda: place.target.text(run).endswith("19999\n"))
        assert place.target.text(run).split() == [str(i) for i in range(20000)]
        assert run.state is RunState.OK


async def test_everything_is_there_when_a_run_ends(kernels: Kernels, kernel_id: KernelId) -> None:
    """The reply overtakes a flood of output; the run ends when the flood has passed, however long it takes."""
    async with place_with(kernels, idle_timeout=1) as place:
        await let_the_kernel_send_all(place, kernel_id)
        run = await place.run(kernel_id, "for i in range(10000): print(i, flush=True)")
        assert place.target.text(run).split() == [str(i) for i in range(10000)]


async def test_a_thread_goes_on_printing_into_its_own_cell(kernels: Kernels, kernel_id: KernelId) -> None:
    # ipykernel knows whose a thread is by its context; a plain thread prints into the cell that runs.
    thread = """
import contextvars, threading
go, said = threading.Event(), threading.Event()
def talk():
    go.wait()
    print('late', flush=True)
    said.set()
threading.Thread(target=contextvars.copy_context().run, args=(talk,)).start()
print('early')"""
    async with place_with(kernels) as place:
        first = await place.run(kernel_id, thread)
        assert first.state is RunState.OK
        second = await place.run(kernel_id, "print('before')\ngo.set(); said.wait()\nprint('after')")
        await place.target.wait_text(first, "late")
        assert place.target.text(first) == "early\nlate\n"
        assert place.target.text(second) == "before\nafter\n"


async def test_a_cell_that_is_run_again_belongs_to_the_new_run(
    kernels: Kernels, kernel_id: KernelId, tmp_path: Path
) -> None:
    async with place_with(kernels) as place:
        code = until_there(tmp_path / "go") + "\nprint('still old')"
        [old] = await place.submit(kernel_id, code, cell="same")
        await place.target.wait_text(old, "began")
        [new] = await place.submit(kernel_id, "print('new')", cell="same")
        (tmp_path / "go").touch()
        await place.target.wait_ended(old, new)
        assert place.target.text(old) == "began\n"
        assert place.target.text(new) == "new\n"
        assert [old.state, new.state] == [RunState.OK, RunState.OK]


async def test_a_cell_that_is_queued_twice_runs_twice(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        await place.run(kernel_id, "times = 0")
        runs = [
            *await place.submit(kernel_id, "times += 1; print(times)", cell="twice"),
            *await place.submit(kernel_id, "times += 1; print(times)", cell="twice"),
        ]
        await place.target.wait_ended(*runs)
        assert [place.target.text(run) for run in runs] == ["", "2\n"]


async def test_input_that_is_not_allowed_fails_at_once(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        [run] = await place.submit(kernel_id, "input('? ')", allow_stdin=False)
        await place.target.wait_ended(run)
        assert run.state is RunState.ERROR
        assert place.target.errors(run) == ["StdinNotImplementedError"]


async def test_a_queued_run_can_be_taken_back(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(kernel_id, "import time; time.sleep(0.2)", "print(2)", "print(3)")
        (await place.runner(kernel_id)).cancel(frozenset({runs[1].id}))
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.OK, RunState.CANCELLED, RunState.OK]


async def test_a_lost_idle_does_not_hold_the_queue(
    kernels: Kernels, kernel_id: KernelId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network cannot be made to drop a chosen message, so the runner's ear is held shut for it."""
    async with place_with(kernels, idle_timeout=1) as place:
        await place.run(kernel_id, "1")
        runner = await place.runner(kernel_id)
        hear = runner._deliver
        dropped: list[str] = []

        def deaf(channel: Channel, message: Message) -> None:
            if (
                channel == "iopub"
                and message["msg_type"] == "status"
                and message["content"]["execution_state"] == "idle"
                and message["parent_header"].get("msg_type") == "execute_request"
            ):
                dropped.append(message["parent_header"]["msg_id"])
            else:
                hear(channel, message)

        monkeypatch.setattr(runner, "_deliver", deaf)
        runner.lose("for the test", said=False)  # the next link takes the ear that is there now
        runs = await place.submit(kernel_id, "print(1)", "print(2)")
        await place.target.wait_ended(*runs)
        assert len(dropped) == 2
        assert [run.state for run in runs] == [RunState.OK] * 2
        assert [place.target.text(run) for run in runs] == ["1\n", "2\n"]
        assert place.target.statuses[-1] == "idle"
        runner._post(IdleOverdue(runs[0].id))  # late ones change nothing


class Broken(Recorder):
    """A document with a bug."""

    def __init__(self, where: str, error: type[BaseException]) -> None:
        super().__init__()
        self.where = where
        self.error = error

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "__dict__").get("where"):
            raise object.__getattribute__(self, "error")("a bug")
        return super().__getattribute__(name)


class Panic(BaseException):
    """What Rust code raises is no ``Exception`` (``pyo3_runtime.PanicException``)."""


@pytest.mark.parametrize("error", [RuntimeError, Panic])
@pytest.mark.parametrize("where", ["together", "started", "edit", "ended", "kernel"])
async def test_a_bug_of_one_document_does_not_stop_the_kernel_for_others(
    kernels: Kernels,
    kernel_id: KernelId,
    where: str,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with place_with(kernels) as place:
        with caplog.at_level(logging.ERROR, "ydoc_exec"):
            broken = Broken(where, error)
            slow = "import time\nfor i in range(4): print(i, flush=True); time.sleep(0.1)"
            [bad] = await place.submit(kernel_id, slow, target=broken)
            [good] = await place.submit(kernel_id, "print('good')")
            await place.target.wait_ended(good)
        assert good.state is RunState.OK
        assert place.target.text(good) == "good\n"
        assert bad.state is RunState.OK
        assert any("a bug" in str(record.exc_info) for record in caplog.records)
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_a_bug_before_anything_is_queued_is_the_askers(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        with pytest.raises(RuntimeError):
            await place.submit(kernel_id, "print('never')", target=Broken("queued", RuntimeError))
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_what_waits_behind_a_bug_is_withdrawn(kernels: Kernels, kernel_id: KernelId) -> None:
    """The kernel may have the first one already; nothing else of that gesture gets there."""
    async with place_with(kernels) as place:
        await place.run(kernel_id, "ran = []")
        with pytest.raises(RuntimeError):
            await place.submit(
                kernel_id,
                *(f"ran.append({number})" for number in range(3)),
                target=Broken("queued", RuntimeError),
            )
        run = await place.run(kernel_id, "print(ran in ([], [0]))")
        assert place.target.text(run) == "True\n"


async def test_closing_ends_every_run(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(
            kernel_id, "print('x', flush=True); import time; time.sleep(1)", "2", "", "4"
        )
        place.runners.close("the server stopped")  # before the link is up
        assert [run.state for run in runs] == [RunState.LOST] * 4
        assert {run.outcome.reason for run in runs if run.outcome} == {"the server stopped"}

    async with place_with(kernels) as place:
        runs = await place.submit(
            kernel_id, "print('x', flush=True); import time; time.sleep(1)", "2", "", "4"
        )
        await place.target.wait_text(runs[0], "x")
        place.runners.close("the server stopped")  # in the middle of the first
        assert [run.state for run in runs] == [RunState.LOST] * 4
        assert place.target.order("ended") == [run.id for run in runs]


async def test_a_closed_runner_takes_no_run_that_would_never_end(
    kernels: Kernels, kernel_id: KernelId
) -> None:
    async with place_with(kernels) as place:
        runner = await place.runner(kernel_id)
        runner.close("it is over")
        runs = place.runs(kernel_id, "1", "2")
        runner.submit(runs, place.target)
        assert [run.state for run in runs] == [RunState.LOST] * 2


async def test_nothing_of_a_run_that_never_started_is_kept(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        runs = await place.submit(kernel_id, "1 / 0", *["2"] * 50, *[""] * 50)
        await place.target.wait_ended(*runs)
        runner = await place.runner(kernel_id)
        assert runner._executions == {}
        assert len(runner._by_parent) == 1  # the one that the kernel had: it may still print


async def test_work_goes_on_beside_a_flood(kernels: Kernels, kernel_id: KernelId) -> None:
    """Reading a kernel must not keep the server from everything else."""
    async with place_with(kernels) as place:
        [run] = await place.submit(kernel_id, "for i in range(5000): print(i, flush=True)")
        await place.target.wait_text(run, "\n")
        turns = 0
        while not run.state.ended:
            await anyio.lowlevel.checkpoint()
            turns += 1
        assert turns > 100
