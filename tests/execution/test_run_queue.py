"""The run queue: events in, effects out, compared as whole lists."""

from __future__ import annotations

from ydoc_exec.execution.effects import AwaitIdle, AwaitReply, Connect, Effect, Execute, Finish
from ydoc_exec.execution.events import (
    Cancelled,
    Event,
    IdleOverdue,
    Interrupted,
    KernelLost,
    KernelReady,
    Replied,
    ReplyOverdue,
    Request,
    Submitted,
    WentIdle,
)
from ydoc_exec.execution.run_queue import RunQueue
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import RunId

A, B, C, D = (RunId(name) for name in "abcd")
ABORTED = Outcome(RunState.ABORTED, "an earlier cell failed")
INTERRUPTED = Outcome(RunState.ABORTED, "the kernel was interrupted")


def batch(*runs: RunId) -> Submitted:
    return Submitted(tuple(Request(run) for run in runs))


def feed(queue: RunQueue, *events: Event) -> list[Effect]:
    """The effects of the last event."""
    effects: list[Effect] = []
    for event in events:
        effects = queue.handle(event)
        queue.check()
    return effects


def ready_queue(*runs: RunId) -> RunQueue:
    queue = RunQueue()
    feed(queue, batch(*runs), KernelReady())
    return queue


def test_the_first_run_waits_for_the_kernel_to_be_heard() -> None:
    queue = RunQueue()
    assert queue.handle(batch(A, B)) == [Connect()]
    assert queue.handle(batch(C)) == []
    assert queue.handle(KernelReady()) == [Execute(A)]
    assert (queue.current, queue.waiting) == (A, (B, C))


def test_a_run_is_over_when_reply_and_idle_were_both_seen_in_either_order() -> None:
    done = Finish(A, Outcome(RunState.OK, "", 1))
    queue = ready_queue(A, B)
    assert queue.handle(Replied(A, "ok", 1)) == [AwaitIdle(A)]
    assert queue.handle(WentIdle(A)) == [done, Execute(B)]
    queue = ready_queue(A, B)
    assert queue.handle(WentIdle(A)) == [AwaitReply(A)]
    assert queue.handle(Replied(A, "ok", 1)) == [done, Execute(B)]


def test_a_lost_idle_message_does_not_hold_the_queue() -> None:
    queue = ready_queue(A, B)
    queue.handle(Replied(A, "ok", 1))
    assert queue.handle(IdleOverdue(A)) == [Finish(A, Outcome(RunState.OK, "", 1)), Execute(B)]
    assert queue.handle(WentIdle(A)) == []


def test_a_reply_that_never_comes_does_not_hold_the_queue_and_nothing_goes_on_as_if_all_were_well() -> None:
    queue = ready_queue(A, B)
    queue.handle(WentIdle(A))
    assert queue.handle(ReplyOverdue(A)) == [
        Finish(A, Outcome(RunState.LOST, "the kernel did not say how it ended")),
        Finish(B, ABORTED),
    ]
    assert queue.handle(Replied(A, "ok", 1)) == []
    assert queue.handle(batch(C)) == [Execute(C)]


def test_nothing_is_overdue_while_it_runs() -> None:
    queue = ready_queue(A)
    assert queue.handle(IdleOverdue(A)) == queue.handle(ReplyOverdue(A)) == []
    queue.handle(WentIdle(A))
    assert queue.handle(IdleOverdue(A)) == []
    assert queue.current == A


def test_an_interrupt_aborts_what_was_queued_before_it_and_not_what_comes_after() -> None:
    """Also if the cell catches it, or its errors are expected."""
    for reply in (
        Replied(A, "ok", 1),
        Replied(A, "error", 1, interrupted=True),
        Replied(A, "aborted"),
    ):
        queue = RunQueue()
        feed(queue, Submitted((Request(A, stop_on_error=False), Request(B))), batch(C), KernelReady())
        assert queue.handle(Interrupted()) == [Finish(B, INTERRUPTED), Finish(C, INTERRUPTED)]
        assert queue.current == A
        assert feed(queue, batch(D), WentIdle(A)) == [AwaitReply(A)]
        assert feed(queue, reply)[1:] == [Execute(D)]


def test_a_cell_that_catches_an_interrupt_and_fails_for_another_reason() -> None:
    queue = ready_queue(A)
    feed(queue, Interrupted(), batch(B), WentIdle(A))
    assert feed(queue, Replied(A, "error", 1)) == [
        Finish(A, Outcome(RunState.ERROR, "the cell raised an error", 1)),
        Finish(B, ABORTED),
    ]


def test_an_interrupt_that_nobody_told_us_of() -> None:
    """A signal: the error says what it is, and it is none that was expected."""
    queue = RunQueue()
    feed(queue, Submitted((Request(A, stop_on_error=False), Request(B))), KernelReady(), WentIdle(A))
    assert feed(queue, Replied(A, "error", 1, interrupted=True)) == [
        Finish(A, Outcome(RunState.ERROR, "the cell was interrupted", 1)),
        Finish(B, INTERRUPTED),
    ]
    assert feed(queue, batch(C)) == [Execute(C)]


def test_an_interrupt_while_the_kernel_starts() -> None:
    queue = RunQueue()
    feed(queue, batch(A, B))
    assert feed(queue, Interrupted()) == [Finish(A, INTERRUPTED), Finish(B, INTERRUPTED)]
    assert feed(queue, batch(C)) == []  # it connects already
    assert feed(queue, KernelReady()) == [Execute(C)]
    queue = RunQueue()
    assert feed(queue, Interrupted()) == []
    assert feed(queue, batch(A)) == [Connect()]


def test_an_error_aborts_what_was_queued_before_it_and_not_what_comes_after() -> None:
    queue = ready_queue(A, B, C)
    queue.handle(WentIdle(A))
    assert queue.handle(Replied(A, "error", 1)) == [
        Finish(A, Outcome(RunState.ERROR, "the cell raised an error", 1)),
        Finish(B, ABORTED),
        Finish(C, ABORTED),
    ]
    assert queue.handle(batch(D)) == [Execute(D)]


def test_an_error_that_is_expected_aborts_nothing() -> None:
    queue = RunQueue()
    feed(queue, Submitted((Request(A, stop_on_error=False), Request(B))), KernelReady(), WentIdle(A))
    assert queue.handle(Replied(A, "error", 1))[1:] == [Execute(B)]


def test_a_blank_run_keeps_its_place_and_never_reaches_the_kernel() -> None:
    queue = RunQueue()
    assert queue.handle(Submitted((Request(A, blank=True),))) == [Finish(A, Outcome(RunState.OK))]
    feed(queue, Submitted((Request(B), Request(C, blank=True), Request(D))), KernelReady(), WentIdle(B))
    assert queue.handle(Replied(B, "ok", 1)) == [
        Finish(B, Outcome(RunState.OK, "", 1)),
        Finish(C, Outcome(RunState.OK)),
        Execute(D),
    ]


def test_a_lost_kernel_ends_everything_and_the_next_run_connects_again() -> None:
    queue = ready_queue(A, B)
    lost = Outcome(RunState.LOST, "it died")
    assert queue.handle(KernelLost("it died")) == [Finish(A, lost), Finish(B, lost)]
    assert queue.handle(batch(C)) == [Connect()]
    assert queue.handle(Replied(A, "ok", 1)) == []


def test_a_queued_run_can_be_cancelled_and_a_started_one_goes_on() -> None:
    queue = ready_queue(A, B, C)
    assert queue.handle(Cancelled(frozenset({A, B}))) == [
        Finish(B, Outcome(RunState.CANCELLED, "it was taken out of the queue"))
    ]
    assert (queue.current, queue.waiting) == (A, (C,))
