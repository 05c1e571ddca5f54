"""Where a run's results go. The runner knows no document; it knows this."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ydoc_exec.kernel.run import Run
from ydoc_exec.notebook.edits import Edit
from ydoc_exec.notebook.payload import NextInput


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a run has put out since the last time."""

    run: Run
    edits: Sequence[Edit]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has its outcome, the last of its output, and the source it leaves for a next run."""

    run: Run
    edits: Sequence[Edit]
    next_input: NextInput | None = None


class RunTarget(Protocol):
    """A document in which runs become visible. Every method returns at once.

    A cell that is gone is an ordinary event: the run goes on at the kernel and what it says is dropped. No
    method but ``queued`` and ``adopted`` raises for anything that clients, kernels or files do.
    """

    def together(self) -> AbstractContextManager[None]:
        """What it is told inside comes in one transaction, but for what must be seen before it goes. No ``await`` inside."""
        ...

    def queued(self, runs: Sequence[Run]) -> None:
        """These runs have their place: their cells are cleared and marked, in one transaction."""
        ...

    def adopted(self, run: Run) -> None:
        """The kernel has this run from an earlier life of the server: its cell is marked, and keeps what it has put out."""
        ...

    def left(self, run: Run) -> None:
        """The server stops, and the kernel goes on with this run. Nothing more is heard of it."""
        ...

    def owns(self, run: Run) -> bool:
        """Whether the run's cell is still its own. It is another's when it was queued again meanwhile."""
        ...

    def started(self, run: Run) -> None:
        """The kernel has this run now."""
        ...

    def waits(self, output: RunOutput) -> None:
        """The run waits for input (``Run.prompt``), or does not any more. It comes in one transaction with its output."""
        ...

    def edit(self, outputs: Sequence[RunOutput]) -> None:
        """Output and timings of these runs, also after they ended, in one transaction."""
        ...

    def ended(self, ended: Sequence[Ended]) -> None:
        """These runs are over: last output, timings, count and idle marker come in one transaction."""
        ...

    def kernel(self, entry: dict[str, object]) -> None:
        """The kernel's state, for the document's ``execution`` map, unless later runs were another kernel's."""
        ...
