"""The runs that can be asked about by their id."""

from __future__ import annotations

from collections import OrderedDict

from ydoc_exec.errors import RunNotFound
from ydoc_exec.ids import RunId
from ydoc_exec.kernel.run import Run


class RunBook:
    """Every run under way, and the latest ``remembered`` of those that ended."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._live: dict[RunId, Run] = {}
        self._ended: OrderedDict[RunId, Run] = OrderedDict()
        self._count = 0

    def next_seq(self) -> int:
        """A number for the next run: runs of one server are ordered by it."""
        self._count += 1
        return self._count

    def add(self, run: Run) -> None:
        """A run was submitted."""
        self._live[run.id] = run

    def end(self, run: Run) -> None:
        """A run has its outcome. The oldest ended ones are forgotten."""
        self._live.pop(run.id, None)
        self._ended[run.id] = run
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)

    def get(self, run_id: RunId) -> Run:
        """Raises ``RunNotFound``."""
        run = self._live.get(run_id) or self._ended.get(run_id)
        if run is None:
            raise RunNotFound(run_id)
        return run
