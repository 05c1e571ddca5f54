"""Runs of cells in documents, without a kernel: what a runner says of them, said by hand."""

from __future__ import annotations

from typing import Any

from tests.documents.conftest import ROOM, Life
from ydoc_exec.documents.notebook_target import NotebookTarget
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import CellId, KernelId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput
from ydoc_exec.notebook.edits import Edit
from ydoc_exec.notebook.payload import NextInput


def a_run(name: str = "one", cell_id: str = "cell-a", **more: Any) -> Run:
    """A run that somebody has asked for."""
    return Run(
        id=RunId(name),
        kernel=KernelId("kernel"),
        room=ROOM,
        cell=CellId(cell_id),
        source="a",
        user="ada",
        seq=1,
        **more,
    )


def target_of(document: OpenDocument) -> NotebookTarget:
    """Where the runs of a notebook become visible."""
    assert document.target is not None
    return document.target


def begin(target: NotebookTarget, run: Run, *edits: Edit) -> None:
    """It is queued, started, and has said something."""
    target.queued([run])
    target.started(run)
    if edits:
        said(target, run, *edits)


def said(target: NotebookTarget, run: Run, *edits: Edit) -> None:
    """It has said something (more)."""
    target.edit([RunOutput(run, edits)])


def end(
    target: NotebookTarget, run: Run, *edits: Edit, count: int = 1, next_input: NextInput | None = None
) -> None:
    """It went well, and this was the last it said."""
    run.outcome = Outcome(RunState.OK, execution_count=count)
    target.ended([Ended(run, edits, next_input)])


def run_to_its_end(target: NotebookTarget, run: Run, *edits: Edit) -> None:
    """All of it."""
    begin(target, run)
    end(target, run, *edits)


async def ran_and_closed(life: Life, run: Run, *edits: Edit) -> NotebookTarget:
    """All of it in a notebook that is opened for it, and closed then."""
    async with life.documents.open(ROOM) as document:
        target = target_of(document)
        run_to_its_end(target, run, *edits)
    await life.closed()
    return target
