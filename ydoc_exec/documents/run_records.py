"""What can be asked about runs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.errors import BatchNotFound, RunEnded, RunNotFound, RunStarted, YdocExecError
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
        return (
            (self.states is None or record["state"] in self.states)
            and self.batch in (None, record["batch_id"])
            and self.cell in (None, record["cell_id"])
            and self.document in (None, record["document_id"])
        )


class RunRecords:
    """Tells of runs by kernel and id, and takes those that wait out of their queue."""

    def __init__(self, book: RunBook, runners: KernelRunners, documents: OpenDocuments) -> None:
        self._book = book
        self._documents = documents
        self._runners = runners

    def record(self, run: Run) -> Record:
        """A run as it is now."""
        return {**run.record(), "place": self._book.place(run)}

    async def get(self, kernel_id: KernelId, run_id: RunId) -> Record:
        """Raises ``RunNotFound`` for a run that is unknown, forgotten, or of another kernel."""
        return self.record(self._find(kernel_id, run_id))

    async def of(self, kernel_id: KernelId, wanted: Filter, limit: int) -> list[Record]:
        """The run that the kernel has, those that wait in their order, then those that ended, the last one first."""
        live = ({**run.record(), "place": place} for place, run in enumerate(self._book.live(kernel_id)))
        ended = ({**run.record(), "place": None} for run in self._book.recent(kernel_id))
        return [*_first(live, wanted, limit), *_first(ended, wanted, limit)][:limit]

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

    def cancel(self, kernel_id: KernelId, run_id: RunId) -> None:
        """Take a run out of its queue. Raises ``RunNotFound``, ``RunStarted`` or ``RunEnded``."""
        run = self._find(kernel_id, run_id)
        if run.state is RunState.RUNNING:
            raise RunStarted(run_id)
        if run.state is not RunState.QUEUED:
            raise RunEnded(run_id, run.state.value)
        self._runners.cancel(kernel_id, frozenset({run_id}))

    def cancel_batch(self, kernel_id: KernelId, batch: BatchId) -> list[Run]:
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
            raise BatchNotFound(batch)
        self._runners.cancel(kernel_id, frozenset(run.id for run in waiting))
        return waiting

    # Private

    def _find(self, kernel_id: KernelId, run_id: RunId) -> Run:
        run = self._book.get(run_id)
        if run.kernel != kernel_id:
            raise RunNotFound(run_id)
        return run


def _first(records: Iterable[Record], wanted: Filter, limit: int) -> list[Record]:
    found: list[Record] = []
    for record in records:
        if len(found) == limit:
            break
        if wanted.takes(record):
            found.append(record)
    return found
