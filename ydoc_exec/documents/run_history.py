"""Runs that are known after the server was started again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    Event,
    create_task_group,
    current_time,
    move_on_after,
    sleep_forever,
)
from anyio.abc import TaskStatus

from ydoc_exec.errors import RunHistoryError, YdocExecError
from ydoc_exec.ids import KernelId, RunId
from ydoc_exec.kernel.run import Run, restorable, restored
from ydoc_exec.kernel.run_book import PromptStep
from ydoc_exec.store.sqlite_run_history import KeptRun, Record, SqliteRunHistory

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""So many runs may wait behind a database that does not take them."""

FIRST_RETRY = 0.5
LAST_RETRY = 30.0
FINAL_FLUSH = 2.0
"""Seconds."""


class RunHistory:
    """Writes down what happens to runs, a while after it did and together; nothing waits for it.

    A database that cannot be written to is said once, and tried again. Runs do not notice.

    Args:
        database: an open one. None: nothing is written down.
        delay: seconds after which a step of a run is written at the latest.
    """

    def __init__(self, database: SqliteRunHistory | None, delay: float) -> None:
        self._database = database
        self._delay = delay
        self._waiting: dict[RunId, Run] = {}
        self._work = Event()
        self._now = Event()
        self._stopping = Event()
        self._failed = False

    def note(self, run: Run) -> None:
        """The run has taken a step (``RunObserver``)."""
        if self._database is None:
            return
        self._waiting[run.id] = run
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._work.set()

    def note_prompt(self, step: PromptStep) -> None:
        """The run asks something, or does not any more (``PromptObserver``)."""
        self.note(step.run)
        if step.run.tether is not None:
            # Nobody tells the next life of this server what was asked, if it was not written down.
            self._now.set()

    async def claim(self, gateway: str) -> list[Run]:
        """The runs of servers that are gone which kernels behind this gateway may still have, to go on with them.

        Raises ``RunHistoryError``.
        """
        if self._database is None:
            return []
        runs: list[Run] = []
        for record, more in await self._database.claim(lambda more: more["tether"]["gateway"] == gateway):
            try:
                runs.append(restored(record, more))
            except (KeyError, TypeError, ValueError, YdocExecError) as error:
                logger.error("Run %s cannot be gone on with: %r", record.get("run_id"), error)
        return runs

    async def get(self, run_id: RunId) -> Record | None:
        """What was written down of a run. Raises ``RunHistoryError``."""
        if self._database is None:
            return None
        waiting = self._waiting.get(run_id)
        return await self._database.get(run_id) if waiting is None else waiting.record()

    async def of(self, kernel_id: KernelId, takes: Callable[[Record], bool], limit: int) -> list[Record]:
        """What was written down of a kernel's runs, the one that was queued last first. Raises ``RunHistoryError``."""
        if self._database is None:
            return []
        waiting = [run.record() for run in reversed(self._waiting.values()) if run.kernel == kernel_id]
        newer = {record["run_id"] for record in waiting}

        def takes_older(record: Record) -> bool:
            return record["run_id"] not in newer and takes(record)

        return [*filter(takes, waiting), *await self._database.of(kernel_id, takes_older, limit)][:limit]

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then for at most two seconds what is still waiting."""
        # Shielded, so that no write is cancelled half-way; ended by its deadline.
        scope = CancelScope(shield=True)
        async with create_task_group() as tasks:
            tasks.start_soon(self._write_in, scope)
            task_status.started()
            try:
                await sleep_forever()
            finally:
                scope.deadline = current_time() + FINAL_FLUSH
                self._stopping.set()
                self._now.set()
                self._work.set()

    # Private

    async def _write_in(self, scope: CancelScope) -> None:
        retry = 0.0
        with scope:
            while True:
                if not self._waiting:
                    if self._stopping.is_set():
                        return
                    self._work = Event()
                    await self._work.wait()
                with move_on_after(retry or self._delay):
                    await self._now.wait()
                if not self._stopping.is_set():
                    self._now = Event()
                if await self._write():
                    retry = 0.0
                elif self._stopping.is_set():
                    break
                else:
                    retry = min(max(FIRST_RETRY, 2 * retry), LAST_RETRY)
        if self._waiting:
            logger.warning("What became of %d runs was not written down", len(self._waiting))

    async def _write(self) -> bool:
        """Write what waits. Whether that went well."""
        waiting, self._waiting = self._waiting, {}
        if self._database is None or not waiting:
            return True
        runs = [
            KeptRun(run.record(), _seconds(run.queued_at), run.state.ended, restorable(run))
            for run in waiting.values()
        ]
        try:
            await self._database.write(runs)
        except RunHistoryError as error:
            if not self._failed:
                logger.error("%s", error)
            self._failed = True
            # What has happened meanwhile is newer.
            self._waiting = waiting | self._waiting
            return False
        if self._failed:
            logger.warning("The run history works again")
            self._failed = False
        return True


def _seconds(iso: str) -> float:
    # Python 3.10 does not know the "Z".
    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()
