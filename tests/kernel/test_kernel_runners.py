"""Kernels that die, are restarted, interrupted and shut down while cells run."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest
from jupyter_client.kernelspec import KernelSpecManager as Specs
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from tests.kernel.place import Kernels, kernel_of, place_with, telling, until_there
from tests.server import eventually
from ydoc_exec.errors import KernelNotFound, KernelUnavailable
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel import kernel_runner

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

LONG = "import time\nprint('began', flush=True)\ntime.sleep(60)"


async def test_a_kernel_that_is_killed(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = kernels.get_kernel(kernel_id)
        await place.run(kernel_id, "x = 1")
        runs = await place.submit(kernel_id, LONG, "print(2)", "")
        await place.target.wait_text(runs[0], "began")
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        # The restarter looks every ``time_to_dead`` (3) seconds.
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 3
        assert place.target.errors(runs[0]) == ["KernelDied"]
        assert place.target.errors(runs[1]) == []
        assert place.target.statuses[-1] == "restarting"

        again = await place.run(kernel_id, "print('x' in globals())")  # at once: it is not even started
        assert again.state is RunState.OK
        assert place.target.text(again) == "False\n"
        assert place.target.statuses[-1] == "idle"


async def test_a_kernel_that_dies_before_the_link_is_up(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = kernels.get_kernel(kernel_id)
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        [run] = await place.submit(kernel_id, "print('in the next life')")
        await place.target.wait_ended(run, timeout=60)
        # It had not even begun to live, so nothing is lost.
        assert place.target.text(run) == "in the next life\n"
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_a_kernel_that_ends_whenever_it_is_started(tmp_path: Path) -> None:
    """It gets a second chance, and the end of that is not waited for until the restarter looks again."""
    spec = tmp_path / "exits"
    spec.mkdir()
    argv = [sys.executable, "-c", "import sys; sys.exit(3)", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "", "language": ""}))
    manager = AsyncMappingKernelManager(  # type: ignore[no-untyped-call]
        root_dir=str(tmp_path),
        connection_dir=str(tmp_path),
        kernel_spec_manager=Specs(kernel_dirs=[str(tmp_path)]),
    )
    restarts = 0

    def restarted() -> None:
        nonlocal restarts
        restarts += 1

    try:
        async with place_with(manager) as place:
            kernel_id = KernelId(await manager.start_kernel(kernel_name="exits"))
            manager.add_restart_callback(kernel_id, restarted)
            runs = await place.submit(kernel_id, "print(1)", "print(2)")
            await place.target.wait_ended(*runs)
            assert [run.state for run in runs] == [RunState.LOST] * 2
            assert all(run.outcome and "ended twice" in run.outcome.reason for run in runs)
            assert place.target.errors(runs[0]) == ["KernelDied"]
            assert place.target.errors(runs[1]) == []
            assert restarts == 1
            manager.get_kernel(kernel_id).stop_restarter()
    finally:
        await manager.shutdown_all(now=True)
        manager.context.destroy(linger=0)


async def test_a_restart(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        runs = await place.submit(kernel_id, "print(1)", LONG, "print(3)")
        await place.target.wait_text(runs[1], "began")
        await kernels.restart_kernel(kernel_id, now=True)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.OK, RunState.LOST, RunState.LOST]
        assert place.target.errors(runs[1]) == []  # whoever asked for it knows why
        again = await place.run(kernel_id, "print('again')")
        assert place.target.text(again) == "again\n"
        assert again.outcome is not None
        assert again.outcome.execution_count == 1


@pytest.mark.parametrize("now", [True, False])
async def test_what_is_run_while_a_kernel_restarts_runs_on_the_new_one(kernels: Kernels, now: bool) -> None:
    """At every moment of the restart: none of these runs is lost, none is answered by the old kernel."""
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        await place.run(kernel_id, "old = True")
        begun = await place.submit(kernel_id, LONG)
        await place.target.wait_text(begun[0], "began")

        runs = []
        over = anyio.Event()

        async def restart() -> None:
            await kernels.restart_kernel(kernel_id, now=now)
            over.set()

        async with anyio.create_task_group() as group:
            group.start_soon(restart)
            await anyio.sleep(0.01)
            manager = kernels.get_kernel(kernel_id)
            while not over.is_set():
                assert manager is kernels.get_kernel(kernel_id)
                runs += await place.submit(kernel_id, "print('old' in globals())")
                await anyio.sleep(0.02)
        runs += await place.submit(kernel_id, "print('old' in globals())")
        await place.target.wait_ended(*begun, *runs)
        assert begun[0].state is RunState.LOST
        assert len(runs) > 1
        assert {run.state for run in runs} == {RunState.OK}
        assert {place.target.text(run) for run in runs} == {"False\n"}


async def test_a_shutdown(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        runs = await place.submit(kernel_id, LONG, "print(2)")
        await place.target.wait_text(runs[0], "began")
        await kernels.shutdown_kernel(kernel_id, now=True)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 2
        with pytest.raises(KernelNotFound):
            await place.runners.get(kernel_id)
        await eventually(lambda: place.runners._runners == {})  # nothing is kept of a kernel that is gone


CATCHES = """import time
try:
    print('began', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('caught')"""


@pytest.mark.parametrize(
    ("source", "stop_on_error", "by_signal", "ends"),
    [
        (LONG, True, False, RunState.ERROR),
        (LONG, False, False, RunState.ERROR),
        (CATCHES, True, False, RunState.OK),
        (LONG, False, True, RunState.ERROR),
    ],
    ids=["error", "expected error", "caught", "by a signal"],
)
async def test_an_interrupt_aborts_what_was_queued_before(
    kernels: Kernels, kernel_id: KernelId, source: str, stop_on_error: bool, by_signal: bool, ends: RunState
) -> None:
    async with place_with(kernels) as place, telling(kernels, place, kernel_id):
        runs = await place.submit(kernel_id, source, "print(2)", stop_on_error=stop_on_error)
        runs += await place.submit(kernel_id, "print(3)")
        await place.target.wait_text(runs[0], "began")
        if by_signal:
            os.kill(kernels.get_kernel(kernel_id).provisioner.pid, signal.SIGINT)
        else:
            await kernels.interrupt_kernel(kernel_id)
            await place.target.wait(lambda: ("ended", runs[2].id) in place.target.calls)
            runs += await place.submit(kernel_id, "print(4)")
        await place.target.wait_ended(*runs, timeout=30)
        after = [RunState.OK] if not by_signal else []
        assert [run.state for run in runs] == [ends, RunState.ABORTED, RunState.ABORTED, *after]
        assert place.target.errors(runs[0]) == (["KeyboardInterrupt"] if ends is RunState.ERROR else [])
        assert runs[1].started_at is runs[2].started_at is None
        assert runs[1].outcome is not None
        assert runs[1].outcome.reason == "the kernel was interrupted"
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_an_interrupt_while_the_kernel_starts(kernels: Kernels) -> None:
    """Nothing of ours is there yet; what waits is taken back all the same."""
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        runs = await place.submit(kernel_id, "print(1)", "print(2)")
        place.runners.interrupted(kernel_id)
        assert [run.state for run in runs] == [RunState.ABORTED] * 2
        again = await place.run(kernel_id, "print('again')")
        assert again.state is RunState.OK


async def test_runs_right_behind_an_error(kernels: Kernels, kernel_id: KernelId) -> None:
    """The kernel aborts what is queued when a cell fails, for a moment: what comes after that is not what it means."""
    async with place_with(kernels) as place:
        for _ in range(30):
            [bad] = await place.submit(kernel_id, "1 / 0")
            await place.target.wait_ended(bad)
            assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_the_restarters_callbacks_are_taken_back(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        callbacks = kernels.get_kernel(kernel_id)._restarter.callbacks
        others = len(callbacks["restart"])
        for _ in range(3):
            await place.run(kernel_id, "1")
            assert len(callbacks["restart"]) == others + 1
            await kernels.restart_kernel(kernel_id, now=True)
            await eventually(lambda: len(callbacks["restart"]) == others)


async def test_a_kernel_that_cannot_be_started_again(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = kernels.get_kernel(kernel_id)
        runs = await place.submit(kernel_id, LONG, "print(2)")
        await place.target.wait_text(runs[0], "began")
        manager._restarter.restart_limit = 0
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 2
        assert place.target.statuses[-1] == "dead"
        assert place.target.errors(runs[0]) == ["KernelDied"]
        with pytest.raises(KernelNotFound):
            await place.runners.get(kernel_id)
        await eventually(lambda: place.runners._runners == {})
        await manager.shutdown_kernel(now=True)


async def test_a_kernel_without_a_restarter_dies(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_runner, "WATCH_INTERVAL", 0.2)
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = kernels.get_kernel(kernel_id)
        manager.stop_restarter()
        runs = await place.submit(kernel_id, LONG, "print(2)")
        await place.target.wait_text(runs[0], "began")
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 2
        assert place.target.errors(runs[0]) == ["KernelDied"]
        assert place.target.statuses[-1] == "dead"
        # What is asked of the dead one ends as well; and a restart makes a living one of it.
        [again] = await place.submit(kernel_id, "print('again')")
        await place.target.wait_ended(again)
        assert again.state is RunState.LOST
        await kernels.restart_kernel(kernel_id)
        assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_a_kernel_of_which_nobody_can_say_whether_it_is_alive(
    kernels: Kernels, kernel_id: KernelId, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its provisioner may have to ask another machine."""
    asked = anyio.Event()

    async def poll() -> None:
        asked.set()
        raise OSError("it does not answer")

    monkeypatch.setattr(kernel_runner, "WATCH_INTERVAL", 0.05)
    async with place_with(kernels) as place:
        manager = kernels.get_kernel(kernel_id)
        [run] = await place.submit(kernel_id, until_there(tmp_path / "go"))
        await place.target.wait_text(run, "began")
        with monkeypatch.context() as patch:
            patch.setattr(manager.provisioner, "poll", poll)
            await asked.wait()
        (tmp_path / "go").touch()
        await place.target.wait_ended(run)
        assert run.state is RunState.OK


async def test_a_start_that_is_refused(kernels: Kernels, tmp_path: Path) -> None:
    """As one beyond somebody's limit, on a server that answers before a kernel has started (``use_pending_kernels``)."""
    spec = tmp_path / "refused"
    spec.mkdir()
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/nowhere"], "display_name": "", "language": ""}))
    manager = AsyncMappingKernelManager(  # type: ignore[no-untyped-call]
        root_dir=str(tmp_path),
        use_pending_kernels=True,
        kernel_spec_manager=Specs(kernel_dirs=[str(tmp_path)]),
    )
    try:
        async with place_with(manager) as place:
            kernel_id = KernelId(await manager.start_kernel(kernel_name="refused"))
            runs = await place.submit(kernel_id, "print(1)", "print(2)")
            await place.target.wait_ended(*runs)
            assert [run.state for run in runs] == [RunState.LOST] * 2
            assert place.target.errors(runs[0]) == ["KernelDied"]
            assert all(run.outcome and "could not be started" in run.outcome.reason for run in runs)
    finally:
        manager.context.destroy(linger=0)


async def test_no_runner_is_started_while_the_server_stops(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        place.runners.close("the server stopped")
        with pytest.raises(KernelUnavailable):
            await place.runners.get(kernel_id)
