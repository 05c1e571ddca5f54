"""The order of runs for one kernel, as a state machine.

Rule 1: whatever decides what runs next, and what a kernel's message means for a run, is in this file.
Rule 2: nothing here waits, reads a clock or knows a socket; events come in, effects go out.

The kernel itself has at most one of our runs at a time, so its own queue can never reorder or lose what is
still ours to decide: a batch stays together, a cancelled run is never sent, and a failure aborts exactly
what was queued before it.

A run is over when *both* its reply (shell) and its idle status (iopub) were seen. They travel on different
sockets and come in either order; ending at the first of them would cut off output or lose the count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from typing_extensions import assert_never

from ydoc_exec.execution.effects import AwaitIdle, Connect, Effect, Execute, Finish
from ydoc_exec.execution.events import (
    Cancelled,
    Event,
    IdleOverdue,
    KernelLost,
    KernelReady,
    Replied,
    Request,
    Submitted,
    WentIdle,
)
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import RunId


class Phase(Enum):
    """Where the run at the kernel stands."""

    SENT = auto()
    REPLIED = auto()
    """The reply is here, idle is not."""
    IDLE = auto()
    """Idle is here, the reply is not."""
    OVER = auto()


TRANSITIONS: Final[Mapping[Phase, Mapping[type[Event], Phase]]] = MappingProxyType(
    {
        Phase.SENT: {Replied: Phase.REPLIED, WentIdle: Phase.IDLE, KernelLost: Phase.OVER},
        Phase.REPLIED: {WentIdle: Phase.OVER, IdleOverdue: Phase.OVER, KernelLost: Phase.OVER},
        Phase.IDLE: {Replied: Phase.OVER, KernelLost: Phase.OVER},
        Phase.OVER: {},
    }
)
"""Every way a run at the kernel can go. What is not here changes nothing."""


class LinkState(Enum):
    """What the queue knows of the link to its kernel."""

    DOWN = auto()
    CONNECTING = auto()
    UP = auto()


@dataclass(slots=True)
class Current:
    """The one run that the kernel has."""

    request: Request
    phase: Phase = Phase.SENT
    outcome: Outcome = field(default=Outcome(RunState.LOST))


class RunQueue:
    """Decides what runs next. See the module's head for the rules."""

    def __init__(self) -> None:
        self._link = LinkState.DOWN
        self._waiting: deque[Request] = deque()
        self._current: Current | None = None

    @property
    def waiting(self) -> tuple[RunId, ...]:
        """Runs that have not started, in their order."""
        return tuple(request.run for request in self._waiting)

    @property
    def current(self) -> RunId | None:
        """The run that the kernel has."""
        return None if self._current is None else self._current.request.run

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._current is None and not self._waiting

    def handle(self, event: Event) -> list[Effect]:
        """Take one event and answer what must be done, in that order. Late and foreign events do nothing."""
        if isinstance(event, Submitted):
            self._waiting.extend(event.batch)
            return self._advance()
        if isinstance(event, KernelReady):
            self._link = LinkState.UP
            return self._advance()
        if isinstance(event, KernelLost):
            return self._lose(event)
        if isinstance(event, Cancelled):
            return self._cancel(event)
        if isinstance(event, (Replied, WentIdle, IdleOverdue)):
            return self._progress(event)
        assert_never(event)

    def check(self) -> None:
        """Raise ``AssertionError`` unless the invariants hold (for tests)."""
        runs = [*self.waiting, *([self.current] if self.current else [])]
        assert len(runs) == len(set(runs)), "a run is in two places"
        assert self._current is None or self._link is LinkState.UP, "a run is at a kernel we cannot hear"
        assert self._current is None or self._current.phase is not Phase.OVER, "an ended run was kept"
        assert not (self._waiting and self._current is None and self._link is LinkState.UP), "stuck"
        assert not (self._waiting and self._link is LinkState.DOWN), "nobody connects"

    # Private

    def _advance(self) -> list[Effect]:
        """Start the next run if the kernel is free."""
        effects: list[Effect] = []
        while self._waiting and self._current is None:
            if self._waiting[0].blank:
                # Nothing for the kernel in it: its turn is all it waited for.
                effects.append(Finish(self._waiting.popleft().run, Outcome(RunState.OK)))
            elif self._link is LinkState.UP:
                self._current = Current(self._waiting.popleft())
                effects.append(Execute(self._current.request.run))
            else:
                if self._link is LinkState.DOWN:
                    self._link = LinkState.CONNECTING
                    effects.append(Connect())
                break
        return effects

    def _progress(self, event: Replied | WentIdle | IdleOverdue) -> list[Effect]:
        current = self._current
        if current is None or current.request.run != event.run:
            return []
        phase = TRANSITIONS[current.phase].get(type(event))
        if phase is None:
            return []
        effects: list[Effect] = []
        if isinstance(event, Replied):
            current.outcome = _outcome(event)
            if phase is Phase.REPLIED:
                effects.append(AwaitIdle(event.run))
        current.phase = phase
        if phase is not Phase.OVER:
            return effects
        self._current = None
        effects.append(Finish(event.run, current.outcome))
        if current.outcome.state is not RunState.OK and current.request.stop_on_error:
            effects.extend(self._end_waiting(Outcome(RunState.ABORTED, "an earlier cell failed")))
        return effects + self._advance()

    def _lose(self, event: KernelLost) -> list[Effect]:
        self._link = LinkState.DOWN
        outcome = Outcome(RunState.LOST, event.reason)
        effects: list[Effect] = []
        if self._current is not None:
            effects.append(Finish(self._current.request.run, outcome))
            self._current = None
        return effects + self._end_waiting(outcome)

    def _cancel(self, event: Cancelled) -> list[Effect]:
        taken = [request for request in self._waiting if request.run in event.runs]
        self._waiting = deque(request for request in self._waiting if request.run not in event.runs)
        effects: list[Effect] = [
            Finish(request.run, Outcome(RunState.CANCELLED, "it was taken out of the queue"))
            for request in taken
        ]
        return effects + self._advance()

    def _end_waiting(self, outcome: Outcome) -> list[Effect]:
        effects: list[Effect] = [Finish(request.run, outcome) for request in self._waiting]
        self._waiting.clear()
        return effects


def _outcome(reply: Replied) -> Outcome:
    """What the kernel's reply says about the run."""
    if reply.status == "ok":
        return Outcome(RunState.OK, "", reply.execution_count)
    if reply.status == "error":
        return Outcome(RunState.ERROR, "the cell raised an error", reply.execution_count)
    # A kernel aborts what it has queued when another of its clients caused an error just before.
    return Outcome(RunState.ABORTED, "the kernel aborted it", None)
