"""Where a run's results go. The runner knows no document; it knows this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ydoc_exec.kernel.run import Run
from ydoc_exec.notebook.edits import Edit


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has its outcome, and the last of its output."""

    run: Run
    edits: Sequence[Edit]


class RunTarget(Protocol):
    """A document in which runs become visible. Every method returns at once and writes before it returns.

    A cell or a whole document that is gone is an ordinary event: the run goes on at the kernel and what it
    says is dropped. No method raises for it.
    """

    def queued(self, runs: Sequence[Run]) -> None:
        """These runs have their place: their cells are cleared and marked, in one transaction."""
        ...

    def started(self, run: Run) -> None:
        """The kernel has this run now."""
        ...

    def edit(self, run: Run, edits: Sequence[Edit]) -> None:
        """Output of this run, also after it ended."""
        ...

    def ended(self, ended: Sequence[Ended]) -> None:
        """These runs are over: last output, count and idle marker come in one transaction."""
        ...

    def kernel(self, entry: dict[str, object]) -> None:
        """The kernel's state, for the document's ``execution`` map."""
        ...
