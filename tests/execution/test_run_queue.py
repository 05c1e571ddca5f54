"""The run queue: events in, effects out, compared as whole lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
from ydoc_exec.execution.run_queue import RunQueue
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import RunId

A, B, C, D = (RunId(name) for name in "abcd")
ABORTED = Outcome(RunState.ABORTED, "an earlier cell failed")


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
    assert queue.handle(WentIdle(A)) == []
    assert queue.handle(Replied(A, "ok", 1)) == [done, Execute(B)]


def test_a_lost_idle_message_does_not_hold_the_queue() -> None:
    queue = ready_queue(A, B)
    queue.handle(Replied(A, "ok", 1))
    assert queue.handle(IdleOverdue(A)) == [Finish(A, Outcome(RunState.OK, "", 1)), Execute(B)]
    assert queue.handle(WentIdle(A)) == []


def test_idle_cannot_be_overdue_before_the_reply() -> None:
    queue = ready_queue(A)
    assert queue.handle(IdleOverdue(A)) == []
    assert queue.current == A


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


runs = st.integers(0, 12).map(lambda n: RunId(str(n)))
events: st.SearchStrategy[Event] = st.one_of(
    st.just(KernelReady()),
    st.builds(KernelLost, st.just("gone")),
    st.builds(Replied, runs, st.sampled_from(["ok", "error", "aborted"]), st.integers(1, 9)),
    st.builds(WentIdle, runs),
    st.builds(IdleOverdue, runs),
    st.builds(Cancelled, st.frozensets(runs)),
    st.just(Submitted(())),
)


@given(
    st.lists(st.one_of(events, st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3)), max_size=60)
)
def test_every_run_ends_once_in_order_with_one_at_a_time(
    script: list[Event | list[tuple[bool, bool]]],
) -> None:
    queue = RunQueue()
    submitted: list[RunId] = []
    started: list[RunId] = []
    ended: list[RunId] = []
    connecting = False
    for step in [*script, KernelLost("the end")]:
        if isinstance(step, list):
            requests = []
            for blank, stop in step:
                submitted.append(RunId(str(len(submitted))))
                requests.append(Request(submitted[-1], blank, stop))
            step = Submitted(tuple(requests))
        if isinstance(step, KernelReady) and not connecting:
            continue  # the link says so only when asked to connect
        for effect in queue.handle(step):
            if isinstance(effect, Connect):
                connecting = True
            elif isinstance(effect, Execute):
                assert not set(started) - set(ended), "two at a time"
                started.append(effect.run)
            elif isinstance(effect, Finish):
                ended.append(effect.run)
        if isinstance(step, KernelLost):
            connecting = False
        queue.check()
    assert sorted(ended, key=int) == submitted
    assert started == sorted(started, key=int)
