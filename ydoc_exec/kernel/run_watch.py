"""Waiting for what becomes of runs, without asking again and again."""

from __future__ import annotations

from anyio import Event

from ydoc_exec.ids import RunId
from ydoc_exec.kernel.run import Run


class RunWatch:
    """Those of the runs that somebody watches which have taken a step since he looked last.

    It keeps each run once, however many steps it takes, so that one who is slow has no more to catch up with than there
    are runs.
    """

    def __init__(self) -> None:
        self.over = False
        """Whether nothing more will come, because the server stops."""
        self._stepped: dict[RunId, Run] = {}
        self._news = Event()

    def note(self, run: Run) -> None:
        """The run was queued, was started or has ended."""
        self._stepped[run.id] = run
        self._news.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.over = True
        self._news.set()

    async def wait(self) -> None:
        """Return when there is something to take, or nothing more will come."""
        if not self._stepped and not self.over:
            await self._news.wait()

    def take(self) -> list[Run]:
        """The runs that have taken a step since this was called last, in the order of their first one."""
        stepped, self._stepped = list(self._stepped.values()), {}
        if not self.over:
            self._news = Event()
        return stepped
