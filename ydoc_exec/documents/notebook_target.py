"""A notebook as the place where runs become visible, whether its document is open or not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from ydoc_exec.documents.seen import known_results
from ydoc_exec.errors import ProtocolError
from ydoc_exec.ids import CellId, KernelId, RoomId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput
from ydoc_exec.notebook.cell_results import CellResult, CellResults
from ydoc_exec.notebook.edits import Edit, replacements
from ydoc_exec.notebook.notebook import Displays, Notebook
from ydoc_exec.notebook.payload import NextInput
from ydoc_exec.notebook.returned_cells import BLANK, ReturnedCells
from ydoc_exec.origin import FromKernel, FromServer
from ydoc_exec.room.room import Room, guarded
from ydoc_exec.room.state_vector import clocks

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A notebook that is open.

    Args:
        hold, release: keep the document open for a run, and let go of it.
        expect_change: say that the file has not what is about to be written.
        hurry: have the file saved soon.
        tidy_soon: have ``tidy`` called in a moment.
    """

    room: Room
    notebook: Notebook
    hold: Callable[[], None]
    release: Callable[[], None]
    expect_change: Callable[[], None]
    hurry: Callable[[], None]
    tidy_soon: Callable[[], None]


class NotebookTarget:
    """Implements ``RunTarget`` for one room.

    It outlives the open document: a thread that a cell has started may print when everybody has left and the
    document was closed, and what is displayed under an id is still known when it is opened again. While a run
    is under way the document is held open; what comes at another time opens it.

    What it writes it also remembers, for cells that clients remove and bring back: their own copies of what
    it wrote are old by then. While the document is closed only the cells that run are remembered.

    Args:
        reopen: start opening the document, which ends in ``attach`` or ``unreachable``. Returns at once.
    """

    def __init__(self, room_id: RoomId, reopen: Callable[[], None]) -> None:
        self.room_id = room_id
        self._reopen = reopen
        self._place: Place | None = None
        self._live: dict[RunId, Run] = {}
        self._ran: set[str] = set()
        self._owners: dict[CellId, RunId] = {}
        self._displays: Displays = {}
        self._results = CellResults()
        self._returned: ReturnedCells | None = None
        self._inherited: Mapping[int, int] = {}  # the state vector that the document had when it was opened
        self._written: dict[CellId, int] = {}  # the server's clock when it wrote into a cell last
        self._later: list[Callable[[Place], None]] = []
        self._in_transaction = False
        self._over: list[CellId] = []  # whose runs have ended, and how they did is still to be read
        self._out_of_reach = False
        self._kernel_id: KernelId | None = (
            None  # whose runs came last: the notebook may have had another before
        )

    # The document's side

    def attach(self, place: Place) -> None:
        """The document is open: what came while it was not is written now."""
        self._place = place
        self._returned = ReturnedCells(place.notebook, self._results)
        self._inherited = clocks(place.room.doc.get_state())
        self._out_of_reach = False
        with place.room.writing(FromServer()):
            place.notebook.restore_displays(self._displays)
        if self._live:  # only if the document was closed by a failure
            with place.room.writing(FromKernel()):
                for run in self._live.values():
                    place.hold()
                    place.notebook.set_state(run.cell, "running")
                place.notebook.queue_runs({run.cell: run.entry() for run in self._live.values()})
                for run in self._live.values():
                    place.notebook.set_prompt(run.id, None if run.prompt is None else run.prompt.entry())
        later, self._later = self._later, []
        for write in later:
            try:
                with guarded("late output could not be written"):
                    write(place)
            except ProtocolError:
                logger.exception("Output of %s is lost", self.room_id)

    def detach(self) -> None:
        """The document is being closed: nothing more is written into it."""
        if self._place is not None:
            self.restore()
            self.tidy()
            self._displays = self._place.notebook.displays()
            self._place = self._returned = None
            self._written.clear()
            self._results.forget_ended()

    def note(self, events: list[Any]) -> bool:
        """Take note of what others did to the cells (``ReturnedCells.note``), from inside their observer.

        Whether ``restore`` is to be called, soon.
        """
        return self._returned is not None and self._returned.note(events)

    def restore(self) -> None:
        """Give cells that a client has brought back what they had to show, and let what it changed be so.

        Everything else that writes here does this first, so that it finds the cells as they should be.
        """
        place, returned = self._place, self._returned
        if place is None or returned is None or not returned.waiting:
            return
        try:
            with guarded("cells that came back are left as they are"), place.room.writing(FromKernel()):
                self._ran.update(returned.restore())
        except ProtocolError:
            logger.exception("What %s had to show is lost", self.room_id)

    def tidy(self) -> None:
        """Take away what is said of runs that have ended: it was there to be read, for those who wait for it.

        That takes a transaction of its own, so it happens a moment after the end, when everybody has been told of that,
        or in the next transaction if that comes first: between two cells of a batch nothing else is written.
        """
        if self._place is not None and self._over:
            with self._writing(self._place):
                pass

    def hear(self, seen: bytes, apply: Callable[[], None]) -> None:
        """Have ``apply`` take up what a client has that connects, and had this state vector when it did.

        Its word about the results of a run counts if it had seen them: it may have cleared those of the run before, or
        have some that a server wrote which was killed then. Called inside a transaction.
        """
        place, returned = self._place, self._returned
        if place is None or returned is None:
            apply()
            return
        if returned.waiting:
            # Somebody else has changed results meanwhile, and had seen them.
            self._ran.update(returned.restore())
        clock = clocks(seen).get(place.room.doc.client_id, 0)
        unseen = [cell_id for cell_id, written in self._written.items() if written > clock]
        before = [place.notebook.result(cell_id) for cell_id in unseen]
        of_before = self._unseen_of_before(place, clocks(seen))
        apply()
        for cell_id, result in zip(unseen, before, strict=True):
            if cell_id in self._results and place.notebook.result(cell_id) != result:
                place.notebook.restore(cell_id, self._results[cell_id])
        for cell_id, shown, timings, trusted in of_before:
            if place.notebook.result(cell_id) not in (None, shown):
                place.notebook.restore(cell_id, replace(shown, timings=timings), trusted=trusted)

    def unreachable(self) -> None:
        """The document could not be opened, so what there is for it is lost, until somebody opens it."""
        if self._place is None:
            self._later.clear()
            self._out_of_reach = True

    def live_cells(self) -> frozenset[str]:
        """Cells that are queued or running, or ran since ``forget_ended``."""
        return frozenset(self._ran | {run.cell for run in self._live.values()})

    @property
    def kernel_id(self) -> KernelId | None:
        """The kernel that this notebook's last runs were for."""
        return self._kernel_id

    @property
    def at_work(self) -> bool:
        """Whether any of its runs is queued or running."""
        return bool(self._live)

    def forget_ended(self) -> None:
        """The file has the results of all runs that have ended."""
        self._ran.clear()

    # RunTarget

    @contextmanager
    def together(self) -> Iterator[None]:
        place = self._place
        if place is None:
            yield
            return
        # What others brought back is put right before anything of this is there.
        self.restore()
        with self._writing(place):
            yield

    def queued(self, runs: Sequence[Run]) -> None:
        place = self._place
        assert place is not None, "runs are queued while the document is open"
        self.restore()
        with self._writing(place):
            place.expect_change()
            for run in runs:
                place.notebook.begin(run.cell)
                self._results.begin(run.cell)
            place.notebook.queue_runs({run.cell: run.entry() for run in runs})
        for run in runs:
            self._note_written(place, run.cell)
            self._take(place, run)

    def adopted(self, run: Run) -> None:
        place = self._place
        assert place is not None, "runs are adopted while the document is open"
        self.restore()
        with self._writing(place):
            result = place.notebook.result(run.cell)
            if result is not None:
                self._results.begin(run.cell)
                self._results.apply(run.cell, list(result.outputs or ()))
            place.notebook.set_state(run.cell, "running")
            place.notebook.queue_runs({run.cell: run.entry()})
            place.notebook.set_prompt(run.id, None if run.prompt is None else run.prompt.entry())
        # Not noted as written: a tab may bring more of what the cell had put out than a server that was killed has written
        # down.
        self._take(place, run)

    def left(self, run: Run) -> None:
        if self._live.pop(run.id, None) is not None and self._place is not None:
            self._place.release()

    def owns(self, run: Run) -> bool:
        return self._owners.get(run.cell) == run.id

    def started(self, run: Run) -> None:
        if self._place is None or not self.owns(run):
            return
        with self._place.room.writing(FromKernel()):
            self._place.notebook.set_run(run.cell, run.entry())

    def waits(self, output: RunOutput) -> None:
        place, run = self._place, output.run
        if place is None:
            return  # closed by a failure; ``attach`` says it
        self.restore()
        with self._writing(place):
            if self.owns(run):
                self._write(place, run, output.edits)
                place.notebook.set_run(run.cell, run.entry())
            else:
                self._apply(place, run, replacements(output.edits))
            # Also if the cell is another run's by now, or gone: the kernel waits all the same.
            place.notebook.set_prompt(run.id, None if run.prompt is None else run.prompt.entry())
        self._note_written(place, run.cell)

    def edit(self, outputs: Sequence[RunOutput]) -> None:
        def write(place: Place) -> None:
            with self._writing(place):
                for output in outputs:
                    if self.owns(output.run):
                        self._write(place, output.run, output.edits)
                    else:
                        self._apply(place, output.run, replacements(output.edits))
            self._note_written(place, *(output.run.cell for output in outputs if self.owns(output.run)))

        self._when_open(write)

    def ended(self, ended: Sequence[Ended]) -> None:
        def write(place: Place) -> None:
            with self._writing(place):
                for item in ended:
                    run = item.run
                    place.notebook.set_prompt(run.id, None)
                    if not self.owns(run):
                        self._apply(place, run, replacements(item.edits))
                        continue
                    count = run.outcome.execution_count if run.outcome is not None else None
                    self._write(place, run, item.edits)
                    # Right behind the output: what is left of both when they are gone is one.
                    place.notebook.set_run(run.cell, run.entry())
                    self._over.append(run.cell)
                    place.notebook.finish(run.cell, count)
                    self._results.finish(run.cell, count)
                for item in ended:
                    if item.next_input is not None:
                        self._set_next_input(place, item.run, item.next_input)
            self._note_written(place, *(item.run.cell for item in ended if self.owns(item.run)))
            place.tidy_soon()
            place.hurry()

        place = self._place
        try:
            self._when_open(write)
        finally:
            for item in ended:
                if self._live.pop(item.run.id, None) is not None:
                    self._ran.add(item.run.cell)
                    if place is not None:
                        place.release()

    def kernel(self, entry: dict[str, object]) -> None:
        if self._place is None or entry["id"] != self._kernel_id:
            return
        with self._place.room.writing(FromServer()):
            self._place.notebook.set_kernel(entry)

    # Private

    def _take(self, place: Place, run: Run) -> None:
        self._kernel_id = run.kernel
        self._owners[run.cell] = run.id
        self._live[run.id] = run
        place.hold()

    def _when_open(self, write: Callable[[Place], None]) -> None:
        if self._place is not None:
            self.restore()
            write(self._place)
        elif not self._out_of_reach:
            self._later.append(write)
            self._reopen()

    @contextmanager
    def _writing(self, place: Place) -> Iterator[None]:
        """A transaction, in which what was over before it goes first."""
        if self._in_transaction:
            yield
            return
        self._in_transaction = True
        try:
            with place.room.writing(FromKernel()):
                self._tidy(place)
                yield
        finally:
            self._in_transaction = False

    def _tidy(self, place: Place) -> None:
        over, self._over = self._over, []
        for cell in over:
            place.notebook.set_run(cell, None)

    def _unseen_of_before(
        self, place: Place, seen: Mapping[int, int]
    ) -> list[tuple[CellId, CellResult, Mapping[str, str], bool]]:
        """What cells show of runs in an earlier life of the document, and the client with this state vector had not seen:
        with its timings, and whether it is trusted.

        It brings a copy without that if it has moved the cell before, and nobody remembers what was written there.
        """
        if not seen or all(seen.get(author, 0) >= clock for author, clock in self._inherited.items()):
            return []
        notebook = place.notebook
        shown = {
            cell_id: result
            for cell_id in notebook.code_cells()
            if cell_id not in self._results and (result := notebook.result(cell_id)) not in (None, BLANK)
        }
        if not shown:
            return []
        known = known_results(self.room_id, place.room.doc.get_update(), seen)
        return [
            (cell_id, result, *notebook.provenance(cell_id))
            for cell_id, result in shown.items()
            if known.get(cell_id) != result
        ]

    def _note_written(self, place: Place, *cell_ids: CellId) -> None:
        doc = place.room.doc
        self._written |= dict.fromkeys(cell_ids, clocks(doc.get_state()).get(doc.client_id, 0))

    def _write(self, place: Place, run: Run, edits: Sequence[Edit]) -> None:
        if edits:
            self._apply(place, run, edits)
            self._ran.add(run.cell)
        if run.timings:
            place.notebook.set_timings(run.cell, run.timings)
            self._results.set_timings(run.cell, run.timings)

    def _apply(self, place: Place, run: Run, edits: Sequence[Edit]) -> None:
        place.notebook.apply(run.cell, edits)
        self._results.apply(run.cell, edits)

    def _set_next_input(self, place: Place, run: Run, next_input: NextInput) -> None:
        """As JupyterLab does, but what somebody has typed since the cell was sent is not replaced."""
        if next_input.replace and place.notebook.source(run.cell) == run.source:
            place.notebook.set_source(run.cell, next_input.text)
        else:
            place.notebook.insert_below(run.cell, CellId(str(uuid4())), next_input.text)
