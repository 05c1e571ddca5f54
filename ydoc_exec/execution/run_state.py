"""Where a run stands, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RunState(str, Enum):
    """The states a run is seen in. A run ends in exactly one of the last five, with a reason."""

    QUEUED = "queued"
    RUNNING = "running"
    INPUT = "input"
    """The kernel has it, and waits for what somebody is to type."""
    OK = "ok"
    ERROR = "error"
    ABORTED = "aborted"
    """It never started: a cell before it failed, or the kernel was interrupted."""
    CANCELLED = "cancelled"
    """It never started: somebody took it out of the queue."""
    LOST = "lost"
    """The kernel died, was restarted or could not be reached, or nobody knows how the run ended."""

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to a run in this state."""
        return self is not RunState.QUEUED and not self.started

    @property
    def started(self) -> bool:
        """Whether the kernel has a run in this state."""
        return self in (RunState.RUNNING, RunState.INPUT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``execution_count`` is the kernel's, or None when the run never reached it."""

    state: RunState
    reason: str = ""
    execution_count: int | None = None
