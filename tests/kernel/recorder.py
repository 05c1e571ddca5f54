"""A place for results that is no document: what a runner tells its targets, written down as it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

from ydoc_exec.execution.prompts import Prompt
from ydoc_exec.ids import CellId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput
from ydoc_exec.notebook.edits import AppendOutput, ClearOutputs, Edit, EditTail
from ydoc_exec.notebook.payload import NextInput

T = TypeVar("T")


class Recorder:
    """Implements ``RunTarget``. ``calls`` has every call in order; ``outputs`` what the edits add up to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, RunId]] = []
        self.outputs: dict[RunId, list[dict[str, Any]]] = defaultdict(list)
        self.edits: list[Edit] = []
        self.statuses: list[str] = []
        self.prompts: list[tuple[RunId, Prompt | None]] = []
        """What runs wait for, each time that it is another."""
        self.next_inputs: dict[RunId, NextInput] = {}
        self._owners: dict[CellId, RunId] = {}
        self._changed = anyio.Event()

    # RunTarget

    @contextmanager
    def together(self) -> Iterator[None]:
        yield

    def queued(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._owners[run.cell] = run.id
            self._note("queued", run)

    def adopted(self, run: Run) -> None:
        self._owners[run.cell] = run.id
        self._note("adopted", run)

    def left(self, run: Run) -> None:
        self._note("left", run)

    def owns(self, run: Run) -> bool:
        return self._owners.get(run.cell) == run.id

    def started(self, run: Run) -> None:
        self._note("started", run)

    def waits(self, output: RunOutput) -> None:
        self._apply(output.run, output.edits)
        self.prompts.append((output.run.id, output.run.prompt))
        self._note("waits", output.run)

    def edit(self, outputs: Sequence[RunOutput]) -> None:
        for output in outputs:
            self._apply(output.run, output.edits)
            self._note("edit", output.run)

    def ended(self, ended: Sequence[Ended]) -> None:
        for item in ended:
            self._apply(item.run, item.edits)
            if item.next_input is not None:
                self.next_inputs[item.run.id] = item.next_input
            self._note("ended", item.run)

    def kernel(self, entry: dict[str, object]) -> None:
        self.statuses.append(str(entry["status"]))
        self._notify()

    # What there is to see

    async def wait(self, what: Callable[[], T | None], timeout: float = 30.0) -> T:
        """The first true value of ``what``, looked at after every call."""
        try:
            with anyio.fail_after(timeout):
                while not (value := what()):
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"It did not come to that in {timeout:g} s: {self.calls[-20:]}") from None
        return value

    async def wait_ended(self, *runs: Run, timeout: float = 30.0) -> None:
        """Wait until these runs have ended."""
        await self.wait(lambda: all(("ended", run.id) in self.calls for run in runs), timeout)

    async def wait_text(self, run: Run, text: str, timeout: float = 30.0) -> None:
        """Wait until a run has printed that."""
        await self.wait(lambda: text in self.text(run), timeout)

    def text(self, run: Run) -> str:
        """What a run has printed."""
        return "".join(output.get("text", "") for output in self.outputs[run.id])

    def errors(self, run: Run) -> list[str]:
        """The names of the errors among a run's outputs."""
        return [output["ename"] for output in self.outputs[run.id] if output["output_type"] == "error"]

    def order(self, what: str) -> list[RunId]:
        """The runs of which that was said, in order."""
        return [run for kind, run in self.calls if kind == what]

    # Private

    def _apply(self, run: Run, edits: Sequence[Edit]) -> None:
        outputs = self.outputs[run.id]
        self.edits += edits
        for edit in edits:
            if isinstance(edit, ClearOutputs):
                outputs.clear()
            elif isinstance(edit, AppendOutput):
                outputs.append(dict(edit.output))
            elif isinstance(edit, EditTail):
                assert outputs[-1]["name"] == edit.name
                assert outputs[-1]["text"].endswith(edit.erase)
                outputs[-1]["text"] = outputs[-1]["text"].removesuffix(edit.erase) + edit.append

    def _note(self, what: str, run: Run) -> None:
        self.calls.append((what, run.id))
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
