"""The kernels of this server that run our cells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import anyio
import zmq.asyncio
from anyio import Event, Lock, create_task_group
from anyio.abc import TaskGroup, TaskStatus

from ydoc_exec.errors import KernelNotFound, KernelUnavailable
from ydoc_exec.execution.prompts import Answer, Prompt
from ydoc_exec.ids import KernelId, PromptId, RunId
from ydoc_exec.kernel.gateway import Gateway
from ydoc_exec.kernel.gateway_kernel import GatewayKernel
from ydoc_exec.kernel.kernel import Kernel
from ydoc_exec.kernel.kernel_activity import KernelActivity
from ydoc_exec.kernel.kernel_link import KernelManager
from ydoc_exec.kernel.kernel_runner import KernelRunner
from ydoc_exec.kernel.local_kernel import LocalKernel
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.measures import Measures
from ydoc_exec.settings import InputPolicy, Settings

REPLACED = "the kernel was shut down or restarted"


class KernelManagers(Protocol):
    """What is used of the server's manager of kernels."""

    def __contains__(self, kernel_id: object) -> bool: ...
    def get_kernel(self, kernel_id: str) -> KernelManager: ...
    def kernel_model(self, kernel_id: str) -> dict[str, Any]: ...


class KernelRunners:
    """One runner for each kernel that was ever asked to run something, until the kernel ends."""

    def __init__(
        self,
        tasks: TaskGroup,
        managers: KernelManagers,
        context: zmq.asyncio.Context,
        book: RunBook,
        settings: Settings,
        gateway: Gateway | None = None,
        measures: Measures | None = None,
    ) -> None:
        self._tasks = tasks
        self._managers = managers
        self._context = context
        self._book = book
        self._settings = settings
        self._gateway = gateway
        self._measures = measures or Measures()
        self._runners: dict[KernelId, KernelRunner] = {}
        self._starting = Lock(fast_acquire=True)
        self.left: set[KernelId] = set()
        """The kernels that were left a run when the server stopped."""
        self._adopting: dict[KernelId, Event] = {}
        self._closed = False

    def __contains__(self, kernel_id: object) -> bool:
        """Whether there is such a kernel."""
        return kernel_id in self._managers

    async def get(self, kernel_id: KernelId) -> KernelRunner:
        """The kernel's runner, started if there is none.

        Raises ``KernelNotFound``, or ``KernelUnavailable`` while the server stops.
        """
        if kernel_id in self._adopting:
            # What it has from an earlier life of this server comes first.
            await self._adopting[kernel_id].wait()
        return await self._get(kernel_id)

    @contextmanager
    def adopting(self, kernel_id: KernelId) -> Iterator[Callable[[], Awaitable[KernelRunner]]]:
        """Nobody else gets the kernel's runner inside the block: what it is to adopt must be there first."""
        done = self._adopting[kernel_id] = Event()
        try:
            yield lambda: self._get(kernel_id)
        finally:
            del self._adopting[kernel_id]
            done.set()

    async def _get(self, kernel_id: KernelId) -> KernelRunner:
        if kernel_id not in self._managers:
            raise KernelNotFound(kernel_id)
        runner = self._runners.get(kernel_id)
        if runner is not None and runner.serving and not runner.outdated:
            return runner
        async with self._starting:
            if self._closed:
                raise KernelUnavailable(kernel_id, "the server stops")
            runner = self._runners.get(kernel_id)
            if runner is not None and runner.outdated:
                # Asked for between a restart and the news of it: this run is for the new process.
                runner.close(REPLACED)
            if runner is None or runner.closed:
                if kernel_id not in self._managers:
                    raise KernelNotFound(kernel_id)
                manager = self._managers.get_kernel(kernel_id)
                runner = KernelRunner(
                    kernel_id,
                    self._kernel(kernel_id, manager),
                    self._book,
                    self._settings,
                    KernelActivity(manager, self._managers),
                    self._measures,
                )
                self._runners[kernel_id] = runner
                await self._tasks.start(self._serve, runner)
            return runner

    def cancel(self, kernel_id: KernelId, runs: frozenset[RunId]) -> None:
        """Take queued runs of a kernel out of its queue. Those that have started, or ended, stay as they are."""
        runner = self._runners.get(kernel_id)
        if runner is not None:
            runner.cancel(runs)

    @property
    def input_policy(self) -> InputPolicy:
        """Who may answer what runs ask for."""
        return self._settings.input_policy

    async def answer(
        self, kernel_id: KernelId, run_id: RunId, prompt_id: PromptId | None, answer: Answer
    ) -> Prompt:
        """Bring an answer to the kernel: ``KernelRunner.answer``, and raises what that does."""
        runner = self._runners.get(kernel_id)
        if runner is not None:
            await runner.connected()
        runner = self._runners.get(kernel_id)
        # Without one its runs have ended, and whatever they asked is over.
        return (self._book.prompts if runner is None else runner).answer(run_id, prompt_id, answer)

    def replaced(self, kernel_id: KernelId, *, gone: bool = False) -> None:
        """The kernel was shut down or restarted, or somebody tried. ``gone``: it was shut down.

        The news may come when there is a new process already and runs of ours wait for it or are there: a
        runner that does not belong to an earlier process is left alone.
        """
        runner = self._runners.get(kernel_id)
        if runner is not None:
            runner.restarted()
        gone = gone or kernel_id not in self._managers
        if runner is not None and (gone or runner.outdated):
            runner.close(REPLACED, gone=gone)

    def interrupted(self, kernel_id: KernelId) -> None:
        """Somebody has interrupted the kernel, or tried."""
        runner = self._runners.get(kernel_id)
        if runner is not None:
            runner.interrupted()

    async def leave(self, reason: str) -> None:
        """Take no more, and leave what kernels have that outlive the server to its next life, if that is wanted
        (``leave_kernels``)."""
        self._closed = True
        if not self._settings.leave_kernels:
            return

        async def one(runner: KernelRunner) -> None:
            if await runner.leave(reason):
                self.left.add(runner.kernel_id)

        async with create_task_group() as tasks:
            for runner in list(self._runners.values()):
                tasks.start_soon(one, runner)

    def close(self, reason: str) -> None:
        """End every run of every kernel and take no more."""
        self._closed = True
        for runner in list(self._runners.values()):
            runner.close(reason)

    # Private

    def _kernel(self, kernel_id: KernelId, manager: KernelManager) -> Kernel:
        if self._gateway is not None and self._gateway.has(manager):
            return GatewayKernel(kernel_id, manager, self._gateway)
        return LocalKernel(kernel_id, manager, self._context)

    async def _serve(
        self, runner: KernelRunner, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await runner.run(task_status=task_status)
        finally:
            if self._runners.get(runner.kernel_id) is runner:
                del self._runners[runner.kernel_id]
