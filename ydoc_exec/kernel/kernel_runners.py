"""The kernels of this server that run our cells."""

from __future__ import annotations

from typing import Any, Protocol

import zmq.asyncio
from anyio import Lock
from anyio.abc import TaskGroup

from ydoc_exec.errors import KernelNotFound
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.kernel_link import KernelManager
from ydoc_exec.kernel.kernel_runner import KernelRunner
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.settings import Settings


class KernelManagers(Protocol):
    """What is used of the server's manager of kernels."""

    def __contains__(self, kernel_id: object) -> bool: ...
    def get_kernel(self, kernel_id: str) -> KernelManager: ...
    def add_restart_callback(self, kernel_id: str, callback: Any, event: str = ...) -> None: ...


class KernelRunners:
    """One runner for each kernel that was ever asked to run something, until the kernel ends."""

    def __init__(
        self,
        tasks: TaskGroup,
        managers: KernelManagers,
        context: zmq.asyncio.Context,
        book: RunBook,
        settings: Settings,
    ) -> None:
        self._tasks = tasks
        self._managers = managers
        self._context = context
        self._book = book
        self._settings = settings
        self._runners: dict[KernelId, KernelRunner] = {}
        self._watched: set[KernelId] = set()
        self._starting = Lock()

    async def get(self, kernel_id: KernelId) -> KernelRunner:
        """The kernel's runner, started if there is none. Raises ``KernelNotFound``."""
        if kernel_id not in self._managers:
            raise KernelNotFound(kernel_id)
        async with self._starting:
            runner = self._runners.get(kernel_id)
            if runner is None:
                manager = self._managers.get_kernel(kernel_id)
                runner = KernelRunner(kernel_id, manager, self._context, self._book, self._settings)
                await self._tasks.start(runner.run)
                self._runners[kernel_id] = runner
                self._watch(kernel_id)
            return runner

    def died(self, kernel_id: KernelId, reason: str) -> None:
        """The kernel's process ended and nobody wanted it."""
        runner = self._runners.get(kernel_id)
        if runner is not None:
            runner.lose(reason, died=True)

    def replaced(self, kernel_id: KernelId, reason: str) -> None:
        """The kernel's process was ended on purpose; there may be a new one."""
        runner = self._runners.pop(kernel_id, None)
        if runner is not None:
            runner.close(reason)

    def close(self, reason: str) -> None:
        """End every run of every kernel."""
        for kernel_id in list(self._runners):
            self.replaced(kernel_id, reason)

    # Private

    def _watch(self, kernel_id: KernelId) -> None:
        """Have the kernel manager's restarter tell of the death of the kernel (once for its life)."""
        if kernel_id in self._watched:
            return
        self._watched.add(kernel_id)
        self._managers.add_restart_callback(
            kernel_id,
            lambda: self.died(
                kernel_id, "The kernel died and was started again. What it knew is lost; run again."
            ),
            "restart",
        )
        self._managers.add_restart_callback(
            kernel_id,
            lambda: self.died(
                kernel_id, "The kernel died and could not be started again. Choose another kernel."
            ),
            "dead",
        )
