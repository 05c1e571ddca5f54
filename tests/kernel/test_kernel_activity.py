"""What Jupyter Server says of a kernel is the same, whoever notes it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kernel.place import Kernels, kernel_of, place_with, somebody, until_there
from tests.room.waiting import until
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel import kernel_runner
from ydoc_exec.kernel.kernel_activity import KernelActivity

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

LONG_AGO = datetime.now(timezone.utc) - timedelta(hours=2)


def manager_of(kernels: Kernels, kernel_id: KernelId) -> Any:
    return kernels.get_kernel(kernel_id)


async def answered(kernels: Kernels, kernel_id: KernelId) -> None:
    """Come back when the kernel has answered a question that is put now, and all that it said before has come."""
    async with somebody(kernels, kernel_id) as client:
        await client.wait_for_ready(timeout=30)
        question = client.kernel_info()
        while (await client.get_iopub_msg(timeout=30))["parent_header"].get("msg_id") != question:
            pass
    await anyio.sleep(0.05)  # one socket has heard it, and the others have it too


async def test_busy_and_idle_and_when(kernels: Kernels, kernel_id: KernelId, tmp_path: Path) -> None:
    async with place_with(kernels) as place:
        await place.run(kernel_id, "1")
        manager = manager_of(kernels, kernel_id)
        await until(lambda: manager.execution_state == "idle")
        before = datetime.now(timezone.utc)
        [run] = await place.submit(kernel_id, until_there(tmp_path / "go"))
        await place.target.wait_text(run, "began")
        await until(lambda: manager.execution_state == "busy")
        (tmp_path / "go").touch()
        await place.target.wait_ended(run)
        await until(lambda: manager.execution_state == "idle")
        assert before < manager.last_activity <= datetime.now(timezone.utc)
        assert kernels.last_kernel_activity == manager.last_activity
        model = kernels.kernel_model(kernel_id)
        assert model["execution_state"] == "idle"
        assert model["last_activity"].endswith("Z")


async def test_asking_for_its_info_is_no_activity(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        await place.run(kernel_id, "1")
        manager = manager_of(kernels, kernel_id)
        await until(lambda: manager.execution_state == "idle")
        before = manager.last_activity
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=30)
            await answered(kernels, kernel_id)
            assert manager.last_activity == before
            assert manager.execution_state == "idle"
            # What others run is activity.
            await client.execute_interactive("1", timeout=30)
            await until(lambda: manager.last_activity > before and manager.execution_state == "idle")
        finally:
            client.stop_channels()


async def test_a_kernel_that_is_restarted_is_watched_on(kernels: Kernels, tmp_path: Path) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        await place.run(kernel_id, "1")
        manager = manager_of(kernels, kernel_id)
        for number in range(2):
            await (await kernels.restart_kernel(kernel_id))
            before = manager.last_activity
            # The server's own socket takes a moment to find the new process, and misses what is said till then.
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready(timeout=30)
            client.stop_channels()
            go = tmp_path / f"go-{number}"
            [run] = await place.submit(kernel_id, until_there(go))
            await place.target.wait_text(run, "began")
            await until(lambda: manager.execution_state == "busy")
            go.touch()
            await place.target.wait_ended(run)
            await until(lambda: manager.execution_state == "idle")
            assert manager.last_activity > before


async def test_a_silent_cell_goes_on_and_then_the_kernel_ages(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The culler of Jupyter Server itself is asked."""
    monkeypatch.setattr(kernel_runner, "WATCH_INTERVAL", 0.05)
    monkeypatch.setattr(kernels, "cull_idle_timeout", 60)
    monkeypatch.setattr(kernels, "cull_connected", True)
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = manager_of(kernels, kernel_id)
        go = tmp_path / "go"
        [run] = await place.submit(kernel_id, until_there(go))
        await place.target.wait_text(run, "began")
        await until(lambda: manager.execution_state == "busy")
        for _ in range(3):
            manager.last_activity = kernels.last_kernel_activity = LONG_AGO
            await until(lambda: manager.last_activity > LONG_AGO)
            assert kernels.last_kernel_activity == manager.last_activity
        manager.last_activity = LONG_AGO
        await kernels.cull_kernel_if_idle(kernel_id)
        assert kernel_id in kernels
        go.touch()
        await place.target.wait_ended(run)
        await until(lambda: manager.execution_state == "idle")
        await answered(kernels, kernel_id)  # so that the last word about the run has been read
        last = manager.last_activity
        await anyio.sleep(0.5)  # the claim itself, with the link up
        assert manager.last_activity == last
        assert (await place.runner(kernel_id))._link is not None
        manager.last_activity = LONG_AGO
        await kernels.cull_kernel_if_idle(kernel_id)
        assert kernel_id not in kernels
        await until(lambda: place.runners._runners == {})


async def test_busy_kernels_are_culled_if_that_is_wanted(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_runner, "WATCH_INTERVAL", 0.05)
    monkeypatch.setattr(kernels, "cull_idle_timeout", 60)
    monkeypatch.setattr(kernels, "cull_busy", True)
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        manager = manager_of(kernels, kernel_id)
        runs = await place.submit(kernel_id, "print('began', flush=True)\nimport time; time.sleep(60)", "2")
        await place.target.wait_text(runs[0], "began")
        await until(lambda: manager.execution_state == "busy")
        manager.last_activity = LONG_AGO
        await anyio.sleep(0.3)  # the claim itself
        assert manager.last_activity == LONG_AGO
        await kernels.cull_kernel_if_idle(kernel_id)
        assert kernel_id not in kernels
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 2


async def test_when_the_link_is_gone_the_server_listens_itself(
    kernels: Kernels, kernel_id: KernelId, tmp_path: Path
) -> None:
    manager = manager_of(kernels, kernel_id)
    async with place_with(kernels) as place:
        await place.run(kernel_id, "1")
        assert not manager._activity_stream.closed()
    before = manager.last_activity
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        client.execute(until_there(tmp_path / "go"))
        await until(lambda: manager.execution_state == "busy")
        (tmp_path / "go").touch()
        await until(lambda: manager.execution_state == "idle")
        assert manager.last_activity > before
    finally:
        client.stop_channels()


async def test_what_the_server_was_behind_with_does_not_count_any_more(
    kernels: Kernels, kernel_id: KernelId
) -> None:
    manager = manager_of(kernels, kernel_id)
    activity = KernelActivity(manager, kernels)
    parent = {"msg_type": "execute_request"}
    for state in ("busy", "idle"):
        activity.note({"msg_type": "status", "parent_header": parent, "content": {"execution_state": state}})
    manager.execution_state = "busy"
    with activity.instead_of_server():
        assert manager.execution_state == "idle"


async def test_what_is_malformed_changes_no_state(kernels: Kernels, kernel_id: KernelId) -> None:
    manager = manager_of(kernels, kernel_id)
    activity = KernelActivity(manager, kernels)
    await until(lambda: manager.execution_state == "idle")
    for content in ({}, {"execution_state": 1}):
        activity.note({"msg_type": "status", "parent_header": {}, "content": content})
    assert manager.execution_state == "idle"


async def test_another_manager_of_kernels_is_left_alone() -> None:
    activity = KernelActivity(object(), object())
    with activity.instead_of_server():
        activity.note({"msg_type": "status", "parent_header": {}, "content": {"execution_state": "busy"}})
        activity.goes_on()
