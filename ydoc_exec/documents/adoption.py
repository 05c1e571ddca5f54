"""Runs that kernels behind a gateway have from an earlier life of this server.

The gateway keeps its kernels when this server is gone, whether that was stopped (``Settings.leave_kernels``) or killed. What
the kernel says meanwhile the gateway keeps too, for whoever comes back with the session id of the link. A cell that waits
for input says nothing more, so what it asked was written down with the run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from anyio import create_task_group, current_time, sleep

from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.documents.run_history import RunHistory
from ydoc_exec.errors import RunHistoryError, YdocExecError
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.gateway import Gateway
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run, now
from ydoc_exec.kernel.run_book import RunBook

logger = logging.getLogger(__name__)

FindKernel = Callable[[KernelId, "str | None"], Awaitable[bool]]
"""Have the server know a kernel that its gateway has, and the notebook at this path have it; whether there is such a
kernel. Raises ``ConnectionError`` when the gateway does not answer."""

STOPPED = "the server stopped"
GONE = "the server stopped, and then the kernel ended"

PAUSE = 1.0
"""Seconds between two questions to a gateway that does not answer."""


class Adoption:
    """Goes on with them when the server starts. Those of which nothing is left end as lost.

    Args:
        patience: seconds for which a gateway is asked that does not answer.
    """

    def __init__(
        self,
        gateway: Gateway,
        find: FindKernel,
        history: RunHistory,
        documents: OpenDocuments,
        runners: KernelRunners,
        book: RunBook,
        patience: float,
    ) -> None:
        self._gateway = gateway
        self._find = find
        self._history = history
        self._documents = documents
        self._runners = runners
        self._book = book
        self._patience = patience

    async def run(self) -> None:
        """Find all that there are."""
        try:
            runs = await self._history.claim(self._gateway.address)
        except RunHistoryError as error:
            logger.error("Whether kernels still run cells of an earlier start is not known: %s", error)
            return
        # A kernel has one run at a time: of an earlier one the end was not written down.
        latest = {run.kernel: run for run in runs}
        async with create_task_group() as tasks:
            for run in runs:
                run.seq = self._book.next_seq()
                if latest[run.kernel] is run:
                    tasks.start_soon(self._adopt, run)
                else:
                    self._lose(run, STOPPED)

    # Private

    async def _adopt(self, run: Run) -> None:
        try:
            with self._runners.adopting(run.kernel) as runner:
                async with self._documents.open(run.room) as document:
                    if document.target is None or not await self._found(run, document.path):
                        self._lose(run, GONE)
                        return
                    (await runner()).adopt(run, document.target)
            logger.info("Kernel %s goes on with a cell of %s", run.kernel, run.path)
        except (YdocExecError, ConnectionError) as error:
            logger.warning("A cell of %s that kernel %s has is lost: %s", run.path, run.kernel, error)
            self._lose(run, STOPPED)
        except Exception:
            # A mistake of ours; the others go on.
            logger.exception("A cell of %s that kernel %s has is lost", run.path, run.kernel)
            self._lose(run, STOPPED)

    async def _found(self, run: Run, path: str) -> bool:
        deadline = current_time() + self._patience
        while True:
            try:
                return await self._find(run.kernel, path)
            except ConnectionError as error:
                if current_time() > deadline:
                    raise
                logger.info("The gateway does not say whether it has kernel %s: %s", run.kernel, error)
            await sleep(PAUSE)

    def _lose(self, run: Run, reason: str) -> None:
        run.outcome, run.ended_at, run.prompt = Outcome(RunState.LOST, reason), now(), None
        self._book.ended(run)
