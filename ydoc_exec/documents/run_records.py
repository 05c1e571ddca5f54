"""What can be asked about runs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.documents.run_history import RunHistory
from ydoc_exec.errors import BatchNotFound, RunEnded, RunHistoryError, RunNotFound, RunStarted, YdocExecError
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import BatchId, KernelId, RunId
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import RunBook

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""``Run.record`` with ``place``, the number of runs that come before it, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which runs of a kernel are wanted. None: all."""

    states: Collection[str] | None = None
    batch: str | None = None
    cell: str | None = None
    document: str | None = None

    def takes(self, record: Record) -> bool:
        """Whether this run is among them."""
        return self._takes(record["state"], record["batch_id"], record["cell_id"], record["document_id"])

    def takes_run(self, run: Run) -> bool:
        """The same, without a record."""
        return self._takes(run.state.value, run.batch, run.cell, str(run.room))

    def _takes(self, state: str, batch: str, cell: str, document: str) -> bool:
        return (
            (self.states is None or state in self.states)
            and self.batch in (None, batch)
            and self.cell in (None, cell)
            and self.document in (None, document)
        )


class RunRecords:
    """Tells of runs by kernel and id, and takes those that wait out of their queue."""

    def __init__(
        self, book: RunBook, history: RunHistory, runners: KernelRunners, documents: OpenDocuments
    ) -> None:
        self._book = book
        self._history = history
        self._documents = documents
        self._runners = runners

    def record(self, run: Run) -> Record:
        """A run as it is now."""
        return {**run.record(), "place": self._book.place(run)}

    async def get(self, kernel_id: KernelId, run_id: RunId) -> Record:
        """Raises ``RunNotFound`` for a run that is unknown, forgotten, or of another kernel."""
        run = self._find(kernel_id, run_id)
        return await self._kept(kernel_id, run_id) if run is None else self.record(run)

    def under_way(self, kernel_id: KernelId, wanted: Filter) -> bool:
        """Whether one of these runs has not ended."""
        return any(map(wanted.takes_run, self._book.live(kernel_id)))

    def live(self, kernel_id: KernelId, wanted: Filter) -> Iterator[Record]:
        """Those of the kernel's runs under way that are wanted, in their order."""
        for place, run in enumerate(self._book.live(kernel_id)):
            if wanted.takes_run(run):
                yield {**run.record(), "place": place}

    async def of(self, kernel_id: KernelId, wanted: Filter, limit: int) -> list[Record]:
        """The run that the kernel has, those that wait in their order, then those that ended, the last one first."""
        live = self.live(kernel_id, wanted)
        ended = filter(wanted.takes_run, self._book.recent(kernel_id))
        found = [*islice(live, limit), *({**run.record(), "place": None} for run in islice(ended, limit))][
            :limit
        ]
        if len(found) < limit:
            found += await self._earlier(kernel_id, wanted, limit - len(found))
        return found

    async def outputs(self, record: Record) -> list[dict[str, Any]] | None:
        """What the run left in its cell; None if it has not ended, or the cell is gone or was run again since."""
        try:
            run = self._book.get(RunId(record["run_id"]))
        except RunNotFound:
            return None
        if not run.state.ended:
            return None
        try:
            async with self._documents.open(run.room) as document:
                if document.notebook is None or document.target is None or not document.target.owns(run):
                    return None
                result = document.notebook.result(run.cell)
        except YdocExecError as error:
            logger.warning("The outputs of run %s cannot be read: %s", run.id, error)
            return None
        return None if result is None else [output.output for output in result.outputs or ()]

    async def cancel(self, kernel_id: KernelId, run_id: RunId) -> None:
        """Take a run out of its queue. Raises ``RunNotFound``, ``RunStarted`` or ``RunEnded``."""
        run = self._find(kernel_id, run_id)
        if run is None:
            raise RunEnded(run_id, (await self._kept(kernel_id, run_id))["state"])
        if run.state.started:
            raise RunStarted(run_id)
        if run.state is not RunState.QUEUED:
            raise RunEnded(run_id, run.state.value)
        self._runners.cancel(kernel_id, frozenset({run_id}))

    async def cancel_batch(self, kernel_id: KernelId, batch: BatchId) -> list[Run]:
        """Take those runs of a batch that wait out of the queue; none of them has been started.

        Raises ``BatchNotFound`` if no run of it is known, ``RunStarted`` or ``RunEnded`` if none waits.
        """
        runs = [run for run in self._book.live(kernel_id) if run.batch == batch]
        ended = [run for run in self._book.recent(kernel_id) if run.batch == batch]
        waiting = [run for run in runs if run.state is RunState.QUEUED]
        if not waiting:
            if runs:
                raise RunStarted(runs[0].id)
            if ended:
                raise RunEnded(ended[0].id, ended[0].state.value)
            for record in await self._earlier(kernel_id, Filter(batch=batch), 1):
                raise RunEnded(record["run_id"], record["state"])
            raise BatchNotFound(batch)
        self._runners.cancel(kernel_id, frozenset(run.id for run in waiting))
        return waiting

    # Private

    def _find(self, kernel_id: KernelId, run_id: RunId) -> Run | None:
        """The run if it is in memory. Raises ``RunNotFound`` for one of another kernel."""
        try:
            run = self._book.get(run_id)
        except RunNotFound:
            return None
        if run.kernel != kernel_id:
            raise RunNotFound(run_id)
        return run

    async def _kept(self, kernel_id: KernelId, run_id: RunId) -> Record:
        """The record of a run that was forgotten, or is of an earlier life of the server."""
        record = await self._history.get(run_id)
        if record is None or record["kernel_id"] != kernel_id:
            raise RunNotFound(run_id)
        return {"prompt": None, **record, "place": None}

    async def _earlier(self, kernel_id: KernelId, wanted: Filter, limit: int) -> list[Record]:
        """Such runs that are not in memory. None while they cannot be read, which the log says."""
        known = {run.id for run in (*self._book.live(kernel_id), *self._book.recent(kernel_id))}

        def takes(record: Record) -> bool:
            return record["run_id"] not in known and wanted.takes(record)

        try:
            return [
                {"prompt": None, **record, "place": None}
                for record in await self._history.of(kernel_id, takes, limit)
            ]
        except RunHistoryError as error:
            logger.warning("%s", error)
            return []
