"""From a request to execute cells to runs in a kernel's queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.errors import BadRoomId, CellNotFound, NotACodeCell
from ydoc_exec.ids import CellId, KernelId, RoomId, new_batch_id, new_run_id
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.settings import Settings


@dataclass(frozen=True, slots=True)
class ExecuteRequest:
    """The cells of one gesture, in the order they are to run.

    ``after`` names a barrier that the client sends on the room's websocket: what it typed before counts.
    """

    kernel: KernelId
    room: RoomId
    cells: Sequence[CellId]
    user: str
    name: str = ""
    after: str | None = None
    stop_on_error: bool = True
    record_timing: bool = False


class Execution:
    """Takes requests to execute."""

    def __init__(
        self, documents: OpenDocuments, runners: KernelRunners, book: RunBook, settings: Settings
    ) -> None:
        self._documents = documents
        self._runners = runners
        self._book = book
        self._settings = settings

    async def submit(self, request: ExecuteRequest) -> list[Run]:
        """Queue all the cells or none. When it returns they are marked in the document.

        Raises ``KernelNotFound``, ``DocumentNotFound``, ``CellNotFound``, ``NotACodeCell``,
        ``BarrierNotReached``, ``BadRoomId`` or ``LoadFailed``, and has changed nothing then.
        """
        await self._runners.get(request.kernel)  # refuse early
        async with self._documents.open(request.room) as document:
            notebook, target = document.notebook, document.target
            if notebook is None or target is None:
                raise BadRoomId(str(request.room), "it is no notebook and has no cells")
            if request.after is not None:
                await document.room.barrier(request.after, self._settings.barrier_timeout)
            # Again, because the kernel may have been restarted meanwhile, which ends its runner.
            runner = await self._runners.get(request.kernel)
            # From here on nothing waits: the text that is read now is the text that runs.
            runs: list[Run] = []
            batch = new_batch_id()
            for cell_id in request.cells:
                try:
                    cell = notebook.cell(cell_id)
                except CellNotFound:
                    raise CellNotFound(cell_id, document.document.path or str(request.room)) from None
                if cell.cell_type != "code":
                    raise NotACodeCell(cell_id, cell.cell_type)
                runs.append(
                    Run(
                        id=new_run_id(),
                        kernel=request.kernel,
                        room=request.room,
                        cell=cell_id,
                        source=cell.source,
                        user=request.user,
                        name=request.name,
                        seq=self._book.next_seq(),
                        stop_on_error=request.stop_on_error and "raises-exception" not in cell.tags,
                        record_timing=request.record_timing,
                        batch=batch,
                        path=document.document.path,
                    )
                )
            runner.submit(runs, target)
            return runs
