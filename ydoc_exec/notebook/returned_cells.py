"""Cells that clients bring back, and what the server knows of them.

Undoing a removal or a move, or the change of a cell's type, brings a cell back as it was then. JupyterLab moves a
cell by removing it and inserting a copy of what that tab has (``YNotebook.moveCells`` in ``@jupyter/ydoc``), without
its state; what was written into the removed one meanwhile is not in the copy. A code cell that was cut keeps its id
when it is pasted (``NotebookActions.paste`` in ``@jupyterlab/notebook``).
"""

from __future__ import annotations

from typing import Any

from ydoc_exec.ids import CellId
from ydoc_exec.notebook.cell_results import CellResult, CellResults
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.origin import FromClient, FromFile

BLANK = CellResult(outputs=(), execution_count=None, running=False)


class ReturnedCells:
    """Notes which cells come back, and gives them their results.

    Only cells that come back are written to; what clients do to outputs in place stays, and ``results`` follow it:

    * outputs that were cleared stay so when the cell comes back;
    * if a client changed how many outputs a cell has, they are its own from then on, unless the cell runs;
    * if the file brought other outputs, those count, unless the cell runs;
    * a cell that is no code cell for a while and comes back with nothing was emptied on purpose, unless it runs;
    * a cell that never ran here, and says that it is running as it did in an earlier life of the document, is idle.

    Args:
        results: what the server wrote; kept up to date by the caller.
    """

    def __init__(self, notebook: Notebook, results: CellResults) -> None:
        self._notebook = notebook
        self._results = results
        self._returned: dict[CellId, None] = {}
        self._changed: dict[CellId, None] = {}

    @property
    def waiting(self) -> bool:
        """Whether ``restore`` has something to do."""
        return bool(self._returned or self._changed)

    def note(self, events: list[Any]) -> bool:
        """Take note of the events of one transaction on the cells, from inside their observer.

        Whether ``restore`` has something to do. It must be called before anybody else writes to the notebook.
        """
        origin = events[0].transaction.origin
        if isinstance(origin, (FromClient, FromFile)):
            inserted, changed = self._notebook.touched(events)
            self._note(inserted, self._returned, origin)
            self._note(changed, self._changed, origin)
        return self.waiting

    def restore(self) -> list[CellId]:
        """Write the results of the cells that came back, in the open transaction. Which were written."""
        returned, self._returned = self._returned, {}
        changed, self._changed = self._changed, {}
        for cell_id in changed.keys() - returned.keys():
            self._follow(cell_id)
        return [cell_id for cell_id in returned if self._restore(cell_id)]

    # Private

    def _note(self, cell_ids: list[CellId], notes: dict[CellId, None], origin: FromClient | FromFile) -> None:
        for cell_id in cell_ids:
            if cell_id not in self._results:
                if notes is self._returned and self._notebook.says_it_runs(cell_id):
                    notes[cell_id] = None
                continue
            if isinstance(origin, FromFile) and not self._results.is_running(cell_id):
                self._results.forget_outputs(cell_id)
            else:
                notes[cell_id] = None

    def _follow(self, cell_id: CellId) -> None:
        """Somebody changed the cell's outputs or its count in place."""
        now = self._notebook.result(cell_id)
        if now is None or cell_id not in self._results:
            return
        known = self._results[cell_id]
        count = None if known.outputs is None else len(known.outputs)
        if known.running:
            if count != len(now.outputs or ()):
                self._results.replace(cell_id, now)
        elif not now.outputs:
            self._results.replace(cell_id, now)
        elif (count, known.execution_count) != (len(now.outputs), now.execution_count):
            self._results.forget_outputs(cell_id)

    def _restore(self, cell_id: CellId) -> bool:
        if cell_id not in self._results:
            self._notebook.set_state(cell_id, "idle")
            return False
        now = self._notebook.result(cell_id)
        if now is None:
            if self._notebook.has(cell_id):
                self._results.note_text(cell_id, True)
            return False
        known = self._results[cell_id]
        if self._results.is_text(cell_id) and not known.running and now == BLANK:
            self._results.forget_outputs(cell_id)
            known = self._results[cell_id]
        self._results.note_text(cell_id, False)
        return self._notebook.restore(cell_id, known)
