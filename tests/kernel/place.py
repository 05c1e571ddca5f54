"""Runners on real kernels: Jupyter Server's kernel manager, without the server around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from jupyter_client.asynchronous.client import AsyncKernelClient

from tests.kernel.recorder import Recorder
from ydoc_exec.ids import CellId, KernelId, RoomId, new_run_id
from ydoc_exec.kernel.kernel_link import open_context
from ydoc_exec.kernel.kernel_runner import KernelRunner
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.settings import Settings

Kernels = Any
"""Jupyter Server's ``AsyncMappingKernelManager``, which is mostly untyped."""

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
ROOM = RoomId("json", "notebook", "file")


@dataclass
class Place:
    """Runners, and a target for what they run."""

    kernels: Kernels
    runners: KernelRunners
    book: RunBook
    target: Recorder = field(default_factory=Recorder)
    _numbers: Any = field(default_factory=lambda: count())

    def runs(self, kernel_id: KernelId, *sources: str, cell: str = "", **options: Any) -> list[Run]:
        """One run for each source, each in a cell of its own unless a cell is named."""
        return [
            Run(
                id=new_run_id(),
                kernel=kernel_id,
                room=ROOM,
                cell=CellId(cell or f"cell-{next(self._numbers)}"),
                source=source,
                user="ada",
                seq=self.book.next_seq(),
                **options,
            )
            for source in sources
        ]

    async def submit(
        self,
        kernel_id: KernelId,
        *sources: str,
        cell: str = "",
        target: Recorder | None = None,
        **options: Any,
    ) -> list[Run]:
        """Have the kernel's runner take these as one gesture."""
        runner = await self.runners.get(kernel_id)
        runs = self.runs(kernel_id, *sources, cell=cell, **options)
        runner.submit(runs, target or self.target)
        return runs

    async def run(self, kernel_id: KernelId, source: str) -> Run:
        """Run one cell to its end."""
        [run] = await self.submit(kernel_id, source)
        await self.target.wait_ended(run)
        return run

    async def runner(self, kernel_id: KernelId) -> KernelRunner:
        """The kernel's runner."""
        return await self.runners.get(kernel_id)


def until_there(file: Path) -> str:
    """A cell that says that it has begun and goes on until there is such a file."""
    wait = f"while not os.path.exists({str(file)!r}): time.sleep(0.02)"
    return f"import os, time\nprint('began', flush=True)\n{wait}"


@asynccontextmanager
async def place_with(kernels: Kernels, **settings: Any) -> AsyncIterator[Place]:
    """Runners that last as long as the block."""
    all_settings = replace(Settings(), **settings)
    book = RunBook(all_settings.runs_remembered)
    context = open_context()
    try:
        async with anyio.create_task_group() as tasks:
            runners = KernelRunners(tasks, kernels, context, book, all_settings)
            yield Place(kernels, runners, book)
            runners.close("the test is over")
            tasks.cancel_scope.cancel()
    finally:
        context.destroy(linger=0)


@asynccontextmanager
async def telling(kernels: Kernels, place: Place, kernel_id: KernelId) -> AsyncIterator[None]:
    """What is done to a kernel is told as the extension does."""
    logger = kernels.get_kernel(kernel_id).event_logger

    async def told(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        if data["action"] in ("shutdown", "restart"):
            place.runners.replaced(kernel_id, gone=data["action"] == "shutdown")
        elif data["action"] == "interrupt":
            place.runners.interrupted(kernel_id)

    logger.add_listener(schema_id=KERNEL_ACTIONS, listener=told)
    try:
        yield
    finally:
        logger.remove_listener(listener=told)


@asynccontextmanager
async def somebody(kernels: Kernels, kernel_id: KernelId) -> AsyncIterator[AsyncKernelClient]:
    """Another client of the kernel, such as a console. It has no heartbeat: one that comes late on a busy machine makes it
    believe that the kernel has died."""
    client = kernels.get_kernel(kernel_id).client_factory()
    client.load_connection_info(kernels.get_kernel(kernel_id).get_connection_info(session=False))
    client.start_channels(hb=False)
    try:
        yield client
    finally:
        client.stop_channels()


@asynccontextmanager
async def kernel_of(kernels: Kernels, place: Place) -> AsyncIterator[KernelId]:
    """A kernel for one test that does something to it."""
    kernel_id = KernelId(await kernels.start_kernel(kernel_name="python3"))
    async with telling(kernels, place, kernel_id):
        try:
            yield kernel_id
        finally:
            if kernel_id in kernels:
                await kernels.shutdown_kernel(kernel_id, now=True)
