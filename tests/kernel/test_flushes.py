"""When output is written: by time, less often when that costs much, at once when a run ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kernel.place import Kernels, place_with
from tests.kernel.recorder import Recorder
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.run_target import Ended, RunOutput

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


class Counting(Recorder):
    """Knows when it was written to, and may take its time."""

    def __init__(self, takes: float = 0.0) -> None:
        super().__init__()
        self.takes = takes
        self.batches: list[int] = []
        self.busy = 0.0

    def edit(self, outputs: Sequence[RunOutput]) -> None:
        began = time.perf_counter()
        self.batches.append(len(outputs))
        time.sleep(self.takes)
        super().edit(outputs)
        self.busy += time.perf_counter() - began

    def ended(self, ended: Sequence[Ended]) -> None:
        super().ended(ended)
        self.ended_with = [len(item.edits) for item in ended]


async def test_a_flood_is_written_by_time(kernels: Kernels, kernel_id: KernelId, tmp_path: Path) -> None:
    """The kernel goes on with the next third when it sees that this one was written."""
    code = f"""
import os, time
for i in range(900):
    print(i, flush=True)
    while i in (299, 599) and not os.path.exists(os.path.join({str(tmp_path)!r}, str(i))):
        time.sleep(0.005)"""
    async with place_with(kernels, flush_interval=0.05) as place:
        target = Counting()
        began = time.perf_counter()
        [run] = await place.submit(kernel_id, code, target=target)
        for last in ("299", "599"):
            await target.wait_text(run, f"\n{last}\n")
            (tmp_path / last).touch()
        await target.wait_ended(run)
        passed = time.perf_counter() - began
        assert target.text(run).split() == [str(i) for i in range(900)]
        assert len(target.batches) <= passed / 0.05


async def test_the_more_it_costs_the_less_often(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels, flush_interval=0.01) as place:
        target = Counting(takes=0.05)
        began = time.perf_counter()
        [run] = await place.submit(
            kernel_id,
            "import time\nfor i in range(150): print(i, flush=True); time.sleep(0.01)",
            target=target,
        )
        await target.wait_ended(run)
        passed = time.perf_counter() - began
        assert target.text(run).split() == [str(i) for i in range(150)]
        assert target.busy < 0.4 * passed  # nothing but waiting between would make it five sixths


async def test_the_end_is_written_at_once(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels, flush_interval=60.0) as place:
        target = Counting()
        [run] = await place.submit(kernel_id, "print('all of it')", target=target)
        await target.wait_ended(run)
        assert target.batches == []
        assert target.ended_with == [1]
        assert target.text(run) == "all of it\n"


async def test_what_several_runs_put_out_is_written_together(
    kernels: Kernels, kernel_id: KernelId, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    talk = f"""
import contextvars, os, threading, time
def talk(word):
    while not os.path.exists({str(enough)!r}):
        print(word, flush=True)
        time.sleep(0.02)
threading.Thread(target=contextvars.copy_context().run, args=(talk, 'late')).start()"""
    async with place_with(kernels, flush_interval=0.1) as place:
        target = Counting()
        [first] = await place.submit(kernel_id, talk, target=target)
        await target.wait_ended(first)
        [second] = await place.submit(kernel_id, "talk('now')", target=target)
        await target.wait(lambda: 2 in target.batches)
        enough.touch()
        await target.wait_ended(second)
        assert set(target.text(first).split()) == {"late"}
        assert set(target.text(second).split()) == {"now"}
