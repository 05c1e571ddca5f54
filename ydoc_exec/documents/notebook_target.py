"""An open notebook as the place where runs become visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ydoc_exec.ids import RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended
from ydoc_exec.notebook.edits import Edit
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.origin import FromKernel, FromServer
from ydoc_exec.room.room import Room


class NotebookTarget:
    """Implements ``RunTarget``. Once closed it drops everything.

    Args:
        hold, release: keep the document open for a run, and let go of it.
        hurry: have the file saved soon.
    """

    def __init__(
        self,
        room: Room,
        notebook: Notebook,
        *,
        hold: Callable[[], None],
        release: Callable[[], None],
        hurry: Callable[[], None],
    ) -> None:
        self._room = room
        self._notebook = notebook
        self._hold = hold
        self._release = release
        self._hurry = hurry
        self._live: dict[RunId, Run] = {}
        self._ran: set[str] = set()
        self._closed = False

    def close(self) -> None:
        """The document is being closed: nothing is written any more."""
        self._closed = True

    def live_cells(self) -> frozenset[str]:
        """Cells that are queued or running, or ran since ``forget_ended``."""
        return frozenset(self._ran | {run.cell for run in self._live.values()})

    def forget_ended(self) -> None:
        """The file has the results of all runs that have ended."""
        self._ran.clear()

    # RunTarget

    def queued(self, runs: Sequence[Run]) -> None:
        if self._closed:
            return
        with self._room.writing(FromKernel()):
            for run in runs:
                self._notebook.begin(run.cell)
                self._notebook.set_run(run.cell, run.entry())
        for run in runs:
            self._live[run.id] = run
            self._hold()

    def started(self, run: Run) -> None:
        if self._closed or not self._owns(run):
            return
        with self._room.writing(FromKernel(run.id)):
            self._notebook.set_run(run.cell, run.entry())

    def edit(self, run: Run, edits: Sequence[Edit]) -> None:
        if self._closed:
            return
        with self._room.writing(FromKernel(run.id)):
            self._notebook.apply(run.cell, edits)
        self._ran.add(run.cell)

    def ended(self, ended: Sequence[Ended]) -> None:
        if self._closed:
            return
        owned = [item.run for item in ended if self._owns(item.run)]
        with self._room.writing(FromKernel()):
            for item in ended:
                if item.edits:
                    self._notebook.apply(item.run.cell, item.edits)
            for run in owned:
                count = run.outcome.execution_count if run.outcome is not None else None
                self._notebook.finish(run.cell, count)
                self._notebook.set_run(run.cell, run.entry())
        # How it ended was there to be read, for those who wait for it; it is not kept in the document.
        with self._room.writing(FromKernel()):
            for run in owned:
                self._notebook.set_run(run.cell, None)
        self._hurry()
        for item in ended:
            if self._live.pop(item.run.id, None) is not None:
                self._ran.add(item.run.cell)
                self._release()

    def kernel(self, entry: dict[str, object]) -> None:
        if self._closed:
            return
        with self._room.writing(FromServer()):
            self._notebook.set_kernel(entry)

    # Private

    def _owns(self, run: Run) -> bool:
        """Whether the cell's entry is still this run's: the cell may have been run again meanwhile."""
        entry = self._notebook.run(run.cell)
        return entry is not None and entry.get("run_id") == run.id
