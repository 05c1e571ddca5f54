"""The order of runs for one kernel, as a state machine.

Rule 1: whatever decides what runs next, and what a kernel's message means for a run, is in this file.
Rule 2: nothing here waits, reads a clock or knows a socket; events come in, effects go out.

The kernel itself has at most one of our runs at a time, so its own queue can never reorder or lose what is
still ours to decide: a batch stays together, a cancelled run is never sent, and a failure aborts exactly
what was queued before it.

A run is over when *both* its reply (shell) and its idle status (iopub) were seen. They travel on different
sockets and come in either order; ending at the first of them would cut off output or lose the count.

An error and an interrupt abort what was queued before them, whoever asked for it and whichever document it is in: so
does the kernel with what it has queued (``stop_on_error`` in the messaging protocol), and what comes behind builds on
what came before. What is submitted afterwards runs. That an error is expected (``stop_on_error``) is no reason to go on
after an interrupt, nor is a cell that catches it: whoever interrupts wants everything to stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from typing_extensions import assert_never

from ydoc_exec.execution.effects import AwaitIdle, AwaitReply, Connect, Effect, Execute, Finish
from ydoc_exec.execution.events import (
    Adopted,
    Cancelled,
    Event,
    IdleOverdue,
    Interrupted,
    KernelLost,
    KernelReady,
    Left,
    Replied,
    ReplyOverdue,
    Request,
    Submitted,
    WentIdle,
)
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import RunId


class Phase(Enum):
    """Where a run stands."""

    WAITING = "waiting"
    SENT = "sent"
    REPLIED = "replied"
    """The reply is here, idle is not."""
    IDLE = "idle"
    """Idle is here, the reply is not."""
    OVER = "over"


class Cause(Enum):
    """What moves a run on. The values are what the diagram in the documentation says."""

    TURN = "its turn"
    ADOPTION = "sent in an earlier life of the server"
    BLANK_TURN = "its turn, nothing to execute"
    REPLY = "reply"
    WENT_IDLE = "idle"
    IDLE_OVERDUE = "idle overdue"
    REPLY_OVERDUE = "reply overdue"
    FAILURE = "an earlier run failed"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    LOSS = "kernel lost"


TRANSITIONS: Final[Mapping[Phase, Mapping[Cause, Phase]]] = MappingProxyType(
    {
        Phase.WAITING: {
            Cause.TURN: Phase.SENT,
            Cause.ADOPTION: Phase.SENT,
            Cause.BLANK_TURN: Phase.OVER,
            Cause.FAILURE: Phase.OVER,
            Cause.INTERRUPT: Phase.OVER,
            Cause.CANCEL: Phase.OVER,
            Cause.LOSS: Phase.OVER,
        },
        Phase.SENT: {Cause.REPLY: Phase.REPLIED, Cause.WENT_IDLE: Phase.IDLE, Cause.LOSS: Phase.OVER},
        Phase.REPLIED: {
            Cause.WENT_IDLE: Phase.OVER,
            Cause.IDLE_OVERDUE: Phase.OVER,
            Cause.LOSS: Phase.OVER,
        },
        Phase.IDLE: {Cause.REPLY: Phase.OVER, Cause.REPLY_OVERDUE: Phase.OVER, Cause.LOSS: Phase.OVER},
        Phase.OVER: {},
    }
)
"""Every way a run can go. What is not here changes nothing."""


class LinkState(Enum):
    """What the queue knows of the link to its kernel."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"


class LinkCause(Enum):
    """What moves the link on. The values are what the diagram in the documentation says."""

    NEED = "a run waits"
    READY = "kernel ready"
    LOSS = "kernel lost"


LINK_TRANSITIONS: Final[Mapping[LinkState, Mapping[LinkCause, LinkState]]] = MappingProxyType(
    {
        LinkState.DOWN: {LinkCause.NEED: LinkState.CONNECTING},
        LinkState.CONNECTING: {LinkCause.READY: LinkState.UP, LinkCause.LOSS: LinkState.DOWN},
        LinkState.UP: {LinkCause.LOSS: LinkState.DOWN},
    }
)
"""Every way the link can go. What is not here changes nothing."""

_CAUSES: Final[Mapping[type[Event], Cause]] = {
    Replied: Cause.REPLY,
    WentIdle: Cause.WENT_IDLE,
    IdleOverdue: Cause.IDLE_OVERDUE,
    ReplyOverdue: Cause.REPLY_OVERDUE,
}


@dataclass(slots=True)
class Queued:
    """A run that is not over."""

    request: Request
    adopted: bool = False
    phase: Phase = Phase.WAITING
    reply: Replied | None = None
    interrupted: bool = False
    """The kernel was interrupted while it had this run."""

    def move(self, cause: Cause) -> bool:
        """Whether that cause means anything for the run; it is where it leads to then."""
        phase = TRANSITIONS[self.phase].get(cause)
        if phase is not None:
            self.phase = phase
        return phase is not None

    def outcome(self) -> Outcome:
        """How it ended, once its reply was awaited."""
        if self.reply is None:
            return Outcome(RunState.LOST, "the kernel did not say how it ended")
        count = self.reply.execution_count
        if self.reply.status == "ok":
            return Outcome(RunState.OK, "", count)
        if self.reply.status == "error":
            why = "the cell was interrupted" if self.stopped else "the cell raised an error"
            return Outcome(RunState.ERROR, why, count)
        # A kernel aborts what it has queued when another of its clients caused an error just before; and some say so of
        # what was interrupted.
        return Outcome(RunState.ABORTED, "the kernel aborted it")

    @property
    def stopped(self) -> bool:
        """Whether its end is that of an interrupt. Who catches one may fail much later, for another reason."""
        if self.reply is None:
            return False
        return self.reply.interrupted or (self.interrupted and self.reply.status == "aborted")


class RunQueue:
    """Decides what runs next. See the module's head for the rules."""

    def __init__(self) -> None:
        self._link = LinkState.DOWN
        self._waiting: deque[Queued] = deque()
        self._current: Queued | None = None

    @property
    def waiting(self) -> tuple[RunId, ...]:
        """Runs that have not started, in their order."""
        return tuple(queued.request.run for queued in self._waiting)

    @property
    def current(self) -> RunId | None:
        """The run that the kernel has."""
        return None if self._current is None else self._current.request.run

    @property
    def half_over(self) -> bool:
        """Whether the run that the kernel has lacks only one of its reply and its idle status."""
        return self._current is not None and self._current.phase in (Phase.REPLIED, Phase.IDLE)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._current is None and not self._waiting

    def handle(self, event: Event) -> list[Effect]:
        """Take one event and answer what must be done, in that order. Late and foreign events do nothing."""
        if isinstance(event, Submitted):
            self._waiting.extend(map(Queued, event.batch))
            return self._advance()
        if isinstance(event, Adopted):
            return self._adopt(event)
        if isinstance(event, KernelReady):
            self._move_link(LinkCause.READY)
            return self._advance()
        if isinstance(event, KernelLost):
            return self._lose(event)
        if isinstance(event, Left):
            self._current = None
            return self._end_waiting(Cause.LOSS, event.reason, RunState.LOST)
        if isinstance(event, Interrupted):
            return self._interrupt()
        if isinstance(event, Cancelled):
            return self._cancel(event)
        if isinstance(event, (Replied, WentIdle, IdleOverdue, ReplyOverdue)):
            return self._progress(event)
        assert_never(event)

    def check(self) -> None:
        """Raise ``AssertionError`` unless the invariants hold (for tests)."""
        runs = [*self.waiting, *([self.current] if self.current else [])]
        assert len(runs) == len(set(runs)), "a run is in two places"
        assert all(queued.phase is Phase.WAITING for queued in self._waiting), "it waits and does not"
        assert (
            self._current is None
            or self._link is LinkState.UP
            or (self._current.adopted and self._link is LinkState.CONNECTING)
        ), "a run is at a kernel we cannot hear"
        assert self._current is None or self._current.phase in (Phase.SENT, Phase.REPLIED, Phase.IDLE), (
            "the kernel has a run that it cannot have"
        )
        assert not (self._waiting and self._current is None and self._link is LinkState.UP), "stuck"
        assert not (self._waiting and self._link is LinkState.DOWN), "nobody connects"

    # Private

    def _advance(self) -> list[Effect]:
        """Start the next run if the kernel is free."""
        effects: list[Effect] = []
        while self._waiting and self._current is None:
            first = self._waiting[0]
            if first.request.blank:
                # Nothing for the kernel in it: its turn is all it waited for.
                effects += self._end([self._waiting.popleft()], Cause.BLANK_TURN, Outcome(RunState.OK))
            elif self._link is LinkState.UP:
                self._current = self._waiting.popleft()
                self._current.move(Cause.TURN)
                effects.append(Execute(self._current.request.run))
            else:
                if self._move_link(LinkCause.NEED):
                    effects.append(Connect())
                break
        return effects

    def _adopt(self, event: Adopted) -> list[Effect]:
        """What it has said meanwhile may be heard before the link is up."""
        assert self.idle, "it has the kernel to itself"
        self._current = Queued(event.request, adopted=True)
        self._current.move(Cause.ADOPTION)
        return [Connect()] if self._move_link(LinkCause.NEED) else []

    def _progress(self, event: Replied | WentIdle | IdleOverdue | ReplyOverdue) -> list[Effect]:
        current = self._current
        if current is None or current.request.run != event.run or not current.move(_CAUSES[type(event)]):
            return []
        if isinstance(event, Replied):
            current.reply = event
        if current.phase is Phase.REPLIED:
            return [AwaitIdle(event.run)]
        if current.phase is Phase.IDLE:
            return [AwaitReply(event.run)]
        self._current = None
        outcome = current.outcome()
        effects: list[Effect] = [Finish(event.run, outcome)]
        if current.stopped:
            if (
                not current.interrupted
            ):  # or else that was done then, and what waits now was submitted after it
                effects += self._end_waiting(Cause.INTERRUPT, "the kernel was interrupted")
        elif outcome.state is not RunState.OK and current.request.stop_on_error:
            effects += self._end_waiting(Cause.FAILURE, "an earlier cell failed")
        return effects + self._advance()

    def _interrupt(self) -> list[Effect]:
        if self._current is not None:
            self._current.interrupted = True
        return self._end_waiting(Cause.INTERRUPT, "the kernel was interrupted")

    def _lose(self, event: KernelLost) -> list[Effect]:
        self._move_link(LinkCause.LOSS)
        under_way = [*([] if self._current is None else [self._current]), *self._waiting]
        self._current = None
        self._waiting.clear()
        return self._end(under_way, Cause.LOSS, Outcome(RunState.LOST, event.reason))

    def _cancel(self, event: Cancelled) -> list[Effect]:
        taken = [queued for queued in self._waiting if queued.request.run in event.runs]
        self._waiting = deque(queued for queued in self._waiting if queued.request.run not in event.runs)
        outcome = Outcome(RunState.CANCELLED, "it was taken out of the queue")
        return self._end(taken, Cause.CANCEL, outcome) + self._advance()

    def _end_waiting(self, cause: Cause, reason: str, state: RunState = RunState.ABORTED) -> list[Effect]:
        waiting, self._waiting = self._waiting, deque()
        return self._end(waiting, cause, Outcome(state, reason))

    def _end(self, runs: Iterable[Queued], cause: Cause, outcome: Outcome) -> list[Effect]:
        return [Finish(queued.request.run, outcome) for queued in runs if queued.move(cause)]

    def _move_link(self, cause: LinkCause) -> bool:
        state = LINK_TRANSITIONS[self._link].get(cause)
        if state is not None:
            self._link = state
        return state is not None
