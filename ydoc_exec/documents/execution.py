"""From a request to execute cells to runs in a kernel's queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ydoc_exec.documents.notebook_target import NotebookTarget
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.documents.request_order import RequestOrder
from ydoc_exec.documents.taken_requests import TakenRequests
from ydoc_exec.errors import (
    BadRoomId,
    CellNotFound,
    NotACodeCell,
    NothingToRun,
    OtherKernel,
    SourceMismatch,
)
from ydoc_exec.ids import CellId, KernelId, RoomId, new_batch_id, new_run_id
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.notebook.cell_view import CellView
from ydoc_exec.notebook.known_source import KnownSource
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.settings import Settings

ChosenFor = Callable[[str], Awaitable["KernelId | None"]]
"""The kernel that people have chosen for the notebook at this path, or None."""

KernelFor = Callable[["str | None", str], Awaitable[KernelId]]
"""Finds or starts the kernel of the notebook that wants a kernel of this name, at this path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteRequest:
    """The cells of one gesture, in the order they are to run.

    Args:
        kernel: the kernel's id, or what finds it when everything else is known to be right.
        cells: None for all cells that can run.
        after: names a barrier that the client sends on the room's websocket: what it typed before counts.
        known: the text of cells as the client has it; nothing else is run.
        request, previous: the client's ids of this request and the one that is to come before it.
        id: the client's id of a request that may come again, and is carried out once.
        form: whose body it was.
    """

    kernel: KernelId | KernelFor
    room: RoomId
    cells: Sequence[CellId] | None
    user: str
    name: str = ""
    after: str | None = None
    stop_on_error: bool = True
    record_timing: bool = False
    allow_stdin: bool = True
    known: Mapping[CellId, KnownSource] = field(default_factory=dict)
    request: str | None = None
    previous: str | None = None
    id: str | None = None
    form: str = "ydoc_exec"


class Execution:
    """Takes requests to execute.

    Args:
        chosen_for: tells which kernel people have chosen for a notebook.
    """

    def __init__(
        self,
        documents: OpenDocuments,
        runners: KernelRunners,
        book: RunBook,
        settings: Settings,
        chosen_for: ChosenFor,
    ) -> None:
        self._documents = documents
        self._runners = runners
        self._book = book
        self._settings = settings
        self._chosen_for = chosen_for
        self._order = RequestOrder()
        self._taken = TakenRequests[list[Run]]()

    async def submit(self, request: ExecuteRequest) -> list[Run]:
        """Queue all the cells or none. When it returns they are marked in the document.

        Raises ``KernelNotFound``, ``DocumentNotFound``, ``CellNotFound``, ``NotACodeCell``, ``NothingToRun``,
        ``BarrierNotReached``, ``PredecessorNotSeen``, ``SourceMismatch``, ``OtherKernel``, ``BadRoomId``, ``LoadFailed``
        or what finding the kernel raises, and has changed nothing then.
        """
        if request.id is None:
            return await self._submit(request)
        # Not by who asks: with a token and no cookie everybody is somebody else on each connection.
        key = (str(request.room), request.id)
        return await self._taken.once(key, partial(self._submit, request))

    # Private

    async def _submit(self, request: ExecuteRequest) -> list[Run]:
        if isinstance(request.kernel, str):
            await self._runners.get(request.kernel)  # refuse early
        if request.previous is not None:
            await self._order.after(request.room, request.previous, self._settings.barrier_timeout)
        async with self._documents.open(request.room) as document:
            notebook, target = document.notebook, document.target
            if notebook is None or target is None:
                raise BadRoomId(str(request.room), "it is no notebook and has no cells")
            if request.after is not None:
                await document.room.barrier(request.after, self._settings.barrier_timeout)
            if request.known:
                await document.room.until(
                    lambda: all(
                        (source := notebook.source(cell)) is not None and known.is_of(source)
                        for cell, known in request.known.items()
                    ),
                    self._settings.barrier_timeout,
                )
            if isinstance(request.kernel, str):
                kernel = request.kernel
            else:
                self._cells(document, notebook, request)  # refuse before a kernel is started
                kernel = await request.kernel(notebook.kernel_name(), document.document.path or "")
            if target.kernel_id != kernel:
                chosen = await self._chosen_for(document.document.path or "")
                if chosen is not None and chosen != kernel:
                    raise OtherKernel(document.document.path or str(request.room), chosen, kernel)
            # Also if it was there before: it may have been restarted meanwhile, which ends its runner.
            runner = await self._runners.get(kernel)
            # From here on nothing waits: the text that is read now is the text that runs.
            cells = self._cells(document, notebook, request)
            self._check_free(target, kernel)
            batch, path = new_batch_id(), document.document.path
            runs = [
                Run(
                    id=new_run_id(),
                    kernel=kernel,
                    room=request.room,
                    cell=cell.cell_id,
                    source=cell.source,
                    user=request.user,
                    name=request.name,
                    seq=self._book.next_seq(),
                    stop_on_error=request.stop_on_error and "raises-exception" not in cell.tags,
                    record_timing=request.record_timing,
                    allow_stdin=request.allow_stdin,
                    batch=batch,
                    path=path,
                    form=request.form,
                )
                for cell in cells
            ]
            runner.submit(runs, target)
            if request.request is not None:
                self._order.taken(request.room, request.request)
            return runs

    def _check_free(self, target: NotebookTarget, kernel: KernelId) -> None:
        """What two kernels write into one notebook at a time is no order that anybody has asked for."""
        last = target.kernel_id
        if last is None or last == kernel:
            return
        if last not in self._runners:
            self._runners.replaced(last)  # its runs end now, if nobody has told us yet
        if target.at_work:
            raise OtherKernel(str(target.room_id), last, kernel)

    def _cells(self, document: OpenDocument, notebook: Notebook, request: ExecuteRequest) -> list[CellView]:
        """The cells as they are now, all of which can run."""
        wanted = notebook.code_cells() if request.cells is None else request.cells
        if not wanted:
            raise NothingToRun(document.document.path or str(request.room))
        cells: list[CellView] = []
        for cell_id in wanted:
            try:
                cell = notebook.cell(cell_id)
            except CellNotFound:
                raise CellNotFound(cell_id, document.document.path or str(request.room)) from None
            if cell.cell_type != "code":
                raise NotACodeCell(cell_id, cell.cell_type)
            known = request.known.get(cell_id)
            if known is not None and not known.is_of(cell.source):
                raise SourceMismatch(cell_id)
            cells.append(cell)
        return cells
