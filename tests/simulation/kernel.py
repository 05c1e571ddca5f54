"""Cells that run, with a kernel that says what a seed makes it say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, sleep

from tests.documents.conftest import ROOM
from tests.notebook.messages import Message, clear, display, error, result, stream, update
from tests.notebook.naive_outputs import NaiveOutputs, processed
from ydoc_exec.documents.notebook_target import NotebookTarget
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import CellId, KernelId, RunId
from ydoc_exec.kernel.kernel_runner import Execution
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput
from ydoc_exec.notebook.output_limit import OutputLimit

if TYPE_CHECKING:
    from tests.simulation.tab import Connection
    from tests.simulation.world import World


@dataclass
class Shown:
    """What a cell must show of its last run, unless somebody has meddled with it since."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    count: int | None = None
    sure: bool = True


class Kernel:
    """Runs cells at once, also several at a time: the order of runs is not what is tried here."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs = 0
        self._under_way: dict[RunId, tuple[Execution, CancelScope]] = {}
        self._clearing: dict[str, list[Connection]] = {}
        self.shown: dict[str, Shown] = {}
        """By cell."""

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def meddled(self, cells: list[str]) -> None:
        """Somebody has changed the results of these, or replaced the cells."""
        for cell in cells:
            if cell in self.shown:
                self.shown[cell].sure = False

    def clearing(self, cell: str, connection: Connection) -> None:
        """A tab has cleared this cell, and the server may hear of it only when the cell runs again."""
        self._clearing.setdefault(cell, []).append(connection)

    def meddled_with_all(self) -> None:
        self.meddled(list(self.shown))

    async def run(self, document: OpenDocument, cell: str, seconds: float, messages: int) -> None:
        """Run a cell of an open document, for so long and with so many messages."""
        target = document.target
        assert target is not None
        self._runs += 1
        run = Run(
            id=RunId(f"run-{self._runs}"),
            kernel=KernelId("kernel"),
            room=ROOM,
            cell=CellId(cell),
            source="",
            user="ada",
            seq=self._runs,
            record_timing=self._runs % 4 == 0,
        )
        execution = Execution(run, target, OutputLimit(0))
        self._clearing[cell] = [each for each in self._clearing.get(cell, ()) if not each.idle]
        shown = self.shown[cell] = Shown(sure=not self._clearing[cell])
        target.queued([run])
        with CancelScope() as scope:
            self._under_way[run.id] = execution, scope
            try:
                await sleep(seconds / (messages + 2))
                run.started_at = "2026-01-01T00:00:00Z"
                target.started(run)
                await self._speak(execution, target, shown, seconds, messages)
            finally:
                del self._under_way[run.id]

    def lose(self) -> None:
        """The server is being stopped, and all kernels with it."""
        for execution, scope in list(self._under_way.values()):
            scope.cancel()
            self._end(execution, RunState.LOST)

    def vanish(self) -> None:
        """The server was killed."""
        for _, scope in self._under_way.values():
            scope.cancel()

    # Private

    async def _speak(
        self, execution: Execution, target: NotebookTarget, shown: Shown, seconds: float, messages: int
    ) -> None:
        naive = NaiveOutputs(processed)
        run = execution.run
        for number in range(messages):
            message = self._message(run, number)
            if target.owns(run):
                naive.feed(run.cell, message)
                shown.outputs = naive.outputs(run.cell)
                execution.feed(message)
                if self._world.machine.random.random() < 0.7:
                    target.edit([RunOutput(run, execution.take())])
            await sleep(seconds / (messages + 2))
        self._end(execution, RunState.OK)

    def _end(self, execution: Execution, state: RunState) -> None:
        run = execution.run
        count = run.seq if state is RunState.OK else None
        if execution.target.owns(run):
            self.shown[run.cell].count = count
        run.ended_at = "2026-01-01T00:00:01Z"
        run.note_time("shell.execute_reply", "2026-01-01T00:00:01Z")
        run.outcome = Outcome(state, execution_count=count)
        execution.target.ended([Ended(run, execution.take_last())])

    def _message(self, run: Run, number: int) -> Message:
        random = self._world.machine.random
        text = self._world.outputs.take(3)
        display_id = f"{run.id}-display"
        match random.choice(
            ("print", "print", "print", "line", "display", "shown", "update", "result", "error", "clear")
        ):
            case "print":
                return stream(text, random.choice(("stdout", "stdout", "stderr")))
            case "line":
                return stream(f"{text}\r{self._world.outputs.take(1)}\n")
            case "display":
                return display(text)
            case "shown" if number == 0:
                return display(text, display_id)
            case "update":
                return update(text, display_id)
            case "result":
                return result(text, run.seq)
            case "error":
                return error(text)
            case "clear":
                return clear(random.random() < 0.5)
            case _:
                return stream(text + "\n")
