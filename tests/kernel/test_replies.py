"""What the kernel says beside its output: when it did what, and what it asks for in its reply."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.kernel.place import Kernels, kernel_of, place_with, until_there
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.run import Run
from ydoc_exec.notebook.payload import NextInput, Payload

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

IN_ORDER = (
    "iopub.status.busy",
    "iopub.execute_input",
    "shell.execute_reply.started",
    "shell.execute_reply",
)


def times(run: Run) -> dict[str, datetime]:
    """The run's timings; they must be in UTC and say so as browsers do."""
    assert all(text.endswith("Z") for text in run.timings.values())
    return {key: datetime.fromisoformat(text.replace("Z", "+00:00")) for key, text in run.timings.items()}


async def test_timings(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        before = datetime.now(timezone.utc)
        [run] = await place.submit(kernel_id, "import time; time.sleep(0.2)", record_timing=True)
        await place.target.wait_ended(run)
        said = times(run)
        assert set(said) == {*IN_ORDER, "iopub.status.idle"}
        assert before <= said["iopub.status.busy"] <= said["iopub.status.idle"] <= datetime.now(timezone.utc)
        assert said["iopub.status.busy"] <= said["iopub.execute_input"] <= said["shell.execute_reply"]
        took = said["shell.execute_reply"] - said["shell.execute_reply.started"]
        assert timedelta(seconds=0.2) <= took < timedelta(seconds=30)
        assert (await place.run(kernel_id, "1")).timings == {}


async def test_timings_are_there_while_it_runs(kernels: Kernels, kernel_id: KernelId, tmp_path: Path) -> None:
    async with place_with(kernels) as place:
        [run] = await place.submit(kernel_id, until_there(tmp_path / "go"), record_timing=True)
        await place.target.wait(lambda: ("edit", run.id) in place.target.calls)
        assert "iopub.execute_input" in run.timings or "iopub.status.busy" in run.timings
        assert not run.state.ended
        (tmp_path / "go").touch()
        await place.target.wait_ended(run)


async def test_timings_of_an_error(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        [run] = await place.submit(kernel_id, "1 / 0", record_timing=True)
        await place.target.wait_ended(run)
        assert set(times(run)) == {*IN_ORDER, "iopub.status.idle"}


async def test_timings_of_a_run_that_was_lost(kernels: Kernels) -> None:
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        runs = await place.submit(kernel_id, "import time; time.sleep(60)", "2", record_timing=True)
        await place.target.wait(lambda: "iopub.execute_input" in runs[0].timings)
        await kernels.shutdown_kernel(kernel_id, now=True)
        await place.target.wait_ended(*runs)
        assert [run.state for run in runs] == [RunState.LOST] * 2
        said = times(runs[0])
        assert set(said) == {"iopub.status.busy", "iopub.execute_input", "execution_failed"}
        assert said["execution_failed"] >= said["iopub.execute_input"]
        assert runs[1].timings == {}  # it never began


async def test_pages_are_outputs(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        run = await place.run(kernel_id, "print('before')\nlen?")
        first, page = place.target.outputs[run.id]
        assert first["text"] == "before\n"
        assert page["output_type"] == "display_data"
        assert "Return the number of items" in page["data"]["text/plain"]
        assert page["metadata"] == {}
        assert run.id not in place.target.next_inputs


async def test_load_replaces_the_source(kernels: Kernels, kernel_id: KernelId, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("answer = 42\n")
    async with place_with(kernels) as place:
        run = await place.run(kernel_id, f"%load {file}")
        assert place.target.next_inputs[run.id] == NextInput(f"# %load {file}\nanswer = 42\n", replace=True)


async def test_a_next_input_is_no_replacement(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        run = await place.run(kernel_id, "get_ipython().set_next_input('1 + 1')")
        assert place.target.next_inputs[run.id] == NextInput("1 + 1", replace=False)
        failed = await place.run(kernel_id, "get_ipython().set_next_input('1 + 1')\n1 / 0")
        assert failed.id not in place.target.next_inputs  # as in JupyterLab: only what went well asks


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"payload": None},
        {"payload": "page"},
        {"payload": [None, 3, {}, {"source": "page"}, {"source": "page", "data": "text"}]},
        {"payload": [{"source": "set_next_input"}, {"source": "set_next_input", "text": 3}]},
        {"payload": [{"source": "ask_exit", "keepkernel": False}, {"source": "edit_magic", "filename": "x"}]},
    ],
)
def test_payloads_that_ask_for_nothing(reply: dict[str, object]) -> None:
    assert Payload.read(reply) == Payload()
