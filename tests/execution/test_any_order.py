"""The run queue under anything that can happen to it, in any order."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
from ydoc_exec.execution.run_queue import RunQueue
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import RunId

UNDER_WAY = st.integers(0, 7)
"""Which of the runs that are under way, counted from the first; more than there are means one that is over or foreign."""

REPLIES = st.sampled_from(["ok", "ok", "error", "interrupted", "aborted"])


class Queue(RuleBasedStateMachine):
    """What the queue did, written down, and what must be true of it whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = RunQueue()
        self.requests: dict[RunId, Request] = {}
        """All that were submitted, in their order."""
        self.batches: dict[RunId, int] = {}
        """Which of them came together: the same number."""
        self.started: list[RunId] = []
        self.ended: dict[RunId, Outcome] = {}
        self.connecting = self.connected = False
        self.must_not_start: set[RunId] = set()
        self.interrupted_in: RunId | None = None

    # What happens

    @rule(batch=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4))
    def submit(self, batch: list[tuple[bool, bool]]) -> None:
        requests = [
            Request(RunId(str(len(self.requests) + n)), blank, stop) for n, (blank, stop) in enumerate(batch)
        ]
        self.requests |= {request.run: request for request in requests}
        self.batches |= dict.fromkeys((request.run for request in requests), len(self.requests))
        for effect in self.happens(Submitted(tuple(requests))):
            # Nothing of others ends because somebody submits something.
            assert not isinstance(effect, Finish) or effect.outcome == Outcome(RunState.OK)

    @precondition(lambda self: self.queue.idle)
    @rule(stop=st.booleans())
    def the_kernel_has_one_from_an_earlier_life(self, stop: bool) -> None:
        run = RunId(str(len(self.requests)))
        self.requests[run] = Request(run, stop_on_error=stop)
        self.batches[run] = len(self.requests)
        self.started.append(run)
        self.happens(Adopted(self.requests[run]))
        assert self.queue.current == run
        assert self.connecting or self.connected

    @rule()
    def the_server_stops_and_leaves_what_the_kernel_has(self) -> None:
        current, waiting = self.queue.current, self.queue.waiting
        self.happens(Left("the server stopped"))
        assert all(self.ended[run] == Outcome(RunState.LOST, "the server stopped") for run in waiting)
        assert self.queue.idle
        if current is not None:
            # Nothing is said of it any more.
            assert current not in self.ended
            self.ended[current] = Outcome(RunState.LOST, "nobody knows")

    @precondition(lambda self: self.connecting)
    @rule()
    def the_link_is_up(self) -> None:
        self.connecting, self.connected = False, True
        self.happens(KernelReady())

    @rule()
    def the_kernel_is_lost(self) -> None:
        under_way = self.under_way
        self.connecting = self.connected = False
        self.happens(KernelLost("gone"))
        assert all(self.ended[run] == Outcome(RunState.LOST, "gone") for run in under_way)
        assert self.queue.idle

    @rule(index=UNDER_WAY, status=REPLIES)
    def a_reply_comes(self, index: int, status: Any) -> None:
        run = self.run(index)
        interrupt = status == "interrupted"
        self.progress(Replied(run, "error" if interrupt else status, 7, interrupted=interrupt))

    @rule(index=UNDER_WAY)
    def idle_comes(self, index: int) -> None:
        self.progress(WentIdle(self.run(index)))

    @rule(index=UNDER_WAY)
    def idle_does_not_come(self, index: int) -> None:
        self.progress(IdleOverdue(self.run(index)))

    @rule(index=UNDER_WAY)
    def the_reply_does_not_come(self, index: int) -> None:
        self.progress(ReplyOverdue(self.run(index)))

    @rule()
    def the_kernel_is_interrupted(self) -> None:
        current, waiting = self.queue.current, self.queue.waiting
        self.happens(Interrupted())
        assert self.queue.current == current, "the kernel still has it"
        self.must_not_start.update(waiting)
        self.interrupted_in = current
        assert all(self.ended[run].state is RunState.ABORTED for run in waiting)

    @rule(indices=st.sets(UNDER_WAY))
    def some_are_taken_out(self, indices: set[int]) -> None:
        self.cancel({self.run(index) for index in indices})

    @rule(index=UNDER_WAY)
    def a_batch_is_taken_out(self, index: int) -> None:
        batch = self.batches.get(self.run(index))
        self.cancel({run for run, number in self.batches.items() if number == batch})

    # What must be true

    @invariant()
    def it_agrees_with_itself(self) -> None:
        self.queue.check()

    @invariant()
    def all_that_have_not_ended_are_under_way_in_their_order(self) -> None:
        current = [] if self.queue.current is None else [self.queue.current]
        assert [*current, *self.queue.waiting] == self.under_way

    @invariant()
    def runs_start_in_their_order_and_batches_are_not_mixed(self) -> None:
        assert self.started == sorted(self.started, key=int)
        batches = [batch for batch, _ in groupby(self.batches[run] for run in self.started)]
        assert len(batches) == len(set(batches))

    def teardown(self) -> None:
        """However it stands, as soon as the kernel answers (or does not) it has ended everything in a few steps."""
        steps = 3 * len(self.under_way) + 1
        while not self.queue.idle and steps:
            steps -= 1
            if self.connecting:
                self.the_link_is_up()
            elif self.queue.current is not None:
                self.progress(Replied(self.queue.current, "ok", 1))
                if self.queue.current is not None:
                    self.progress(IdleOverdue(self.queue.current))
        assert not self.under_way
        assert self.ended.keys() == self.requests.keys()

    # Private

    @property
    def under_way(self) -> list[RunId]:
        return [run for run in self.requests if run not in self.ended]

    def run(self, index: int) -> RunId:
        under_way = self.under_way
        if index < len(under_way):
            return under_way[index]
        over = list(self.ended)
        return over[index % len(over)] if over and index % 2 else RunId("of somebody else")

    def happens(self, event: Event) -> list[Effect]:
        effects = self.queue.handle(event)
        for effect in effects:
            if isinstance(effect, Connect):
                assert not self.connecting, "it connects already"
                assert not self.connected, "it is connected"
                self.connecting = True
                continue
            assert effect.run in self.requests
            assert effect.run not in self.ended, "nothing comes after the end"
            if isinstance(effect, Execute):
                assert self.connected
                assert not self.requests[effect.run].blank
                assert effect.run not in self.must_not_start
                assert set(self.started) <= self.ended.keys(), "the kernel has one already"
                self.started.append(effect.run)
            elif isinstance(effect, Finish):
                assert effect.outcome.state.ended
                assert effect.outcome.reason or effect.outcome.state is RunState.OK
                self.ended[effect.run] = effect.outcome
            else:
                assert isinstance(effect, (AwaitIdle, AwaitReply))
                assert effect.run == self.queue.current
        return effects

    def progress(self, event: Replied | WentIdle | IdleOverdue | ReplyOverdue) -> None:
        """Something of one run, which may be over, still wait, or be somebody else's."""
        current, waiting = self.queue.current, self.queue.waiting
        effects = self.happens(event)
        if event.run != current:
            assert effects == []
        elif current in self.ended:
            self.has_ended(current, waiting)
        else:
            assert waiting == self.queue.waiting

    def has_ended(self, run: RunId, waiting: tuple[RunId, ...]) -> None:
        """What was queued behind it is aborted, all or nothing."""
        outcome = self.ended[run]
        interrupted = outcome.reason == "the cell was interrupted"
        told = run == self.interrupted_in
        if interrupted or (told and outcome.state is RunState.ABORTED):
            stops = not told
        else:
            stops = outcome.state is not RunState.OK and self.requests[run].stop_on_error
        for other in waiting:
            if stops:
                assert self.ended[other].state is RunState.ABORTED
            elif other in self.ended:
                assert self.requests[other].blank
                assert self.ended[other].state is RunState.OK

    def cancel(self, runs: set[RunId]) -> None:
        waiting = [run for run in self.queue.waiting if run in runs]
        others = [run for run in self.under_way if run not in waiting]
        self.happens(Cancelled(frozenset(runs)))
        assert all(self.ended[run].state is RunState.CANCELLED for run in waiting)
        assert all(run not in self.ended or self.requests[run].blank for run in others)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
