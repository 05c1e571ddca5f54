"""Carries the run queue's effects to one kernel, and the kernel's messages back.

It decides nothing: ``execution/run_queue.py`` decides what runs, ``notebook/output_reducer.py`` what a
message does to the outputs. Here are the link, the timers, and who asked for what.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from time import monotonic
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import anyio
import zmq
from anyio import CancelScope, Event, create_task_group, current_time, move_on_after, sleep
from anyio.abc import TaskGroup, TaskStatus
from typing_extensions import TypeVarTuple, Unpack

from ydoc_exec.errors import KernelConnecting, KernelReplaced, KernelUnavailable
from ydoc_exec.execution.effects import AwaitIdle, AwaitReply, Connect, Effect, Execute, Finish
from ydoc_exec.execution.events import (
    Adopted,
    Cancelled,
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
from ydoc_exec.execution.events import Event as QueueEvent
from ydoc_exec.execution.prompts import Answer, Prompt
from ydoc_exec.execution.run_queue import RunQueue
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId, PromptId, RunId, new_prompt_id
from ydoc_exec.kernel.kernel import Channel, Kernel, Link, Message
from ydoc_exec.kernel.kernel_activity import KernelActivity
from ydoc_exec.kernel.large_stream import LargeStream
from ydoc_exec.kernel.run import Run, now
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.kernel.run_target import Ended, RunOutput, RunTarget
from ydoc_exec.measures import Measures
from ydoc_exec.notebook.edits import Edit, replacements
from ydoc_exec.notebook.output_limit import OutputLimit
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.notebook.output_tail import text_size
from ydoc_exec.notebook.payload import Payload
from ydoc_exec.notebook.shareable import shareable_text
from ydoc_exec.settings import Settings

logger = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")

LATE_RUNS = 1000
"""How many ended runs of one kernel may still have output coming (threads, background tasks)."""

INTERRUPTS = ("KeyboardInterrupt", "InterruptException")
"""How kernels name the error of a cell that was interrupted (ipykernel and others in Python, IJulia)."""

WATCH_INTERVAL = 5.0
"""Seconds between two looks whether a kernel that has something to do is still there. One that is not there twice is dead,
unless Jupyter Server's restarter, which looks every 3 seconds, has started it again."""

NEVER_LIVED = (
    "The kernel ended twice before it could run anything. Choose another kernel, or look into the server's log for what it "
    "has said."
)

PROCESS_POLL = 0.05
"""Seconds between two looks whether the process that is being connected to is another one by now."""

END_OF_FILE = "\x04"
"""What ipykernel takes for the end of all input: ``input()`` raises ``EOFError``."""

MARK_PATIENCE = 0.5
MARK_LIMIT = 5.0
"""A question is held back until all that was printed before it is here. Of a kernel that answers nothing while it waits for
input that is so when it has said nothing of the cell for ``MARK_PATIENCE`` seconds. Threads may go on printing for ever, so
it is shown after ``MARK_LIMIT`` seconds in any case."""

BUSY_PAUSE = 4.0
LONGEST_PAUSE = 1.0
"""After writing output, the next is gathered for at least ``BUSY_PAUSE`` times as long as that took, and at
most for ``LONGEST_PAUSE`` seconds."""


@dataclass(slots=True, eq=False)
class Execution:
    """A run together with what its messages add up to."""

    run: Run
    target: RunTarget
    limit: OutputLimit
    reducer: OutputReducer = field(default_factory=OutputReducer)
    payload: Payload = field(default_factory=Payload)
    before_gap: list[Edit] = field(default_factory=list)
    """What is to be written of what came before text that was left unread."""
    heard_at: float = 0.0
    """When the last message of this run came (``monotonic``)."""
    asking: Prompt | None = None
    """What it asks, while what it has printed before may still be on its way."""

    def feed(self, message: Message) -> None:
        """An iopub message of this run."""
        content = message["content"]
        if not isinstance(content, LargeStream):
            self.reducer.feed(message)
            return
        wanted = self.limit.ends
        ends = None if wanted is None else content.read_ends(*wanted)
        if ends is None:
            self.reducer.feed({**message, "content": content.read()})
            return
        self._feed_text(ends.name, ends.head)
        if not self.skip(ends.between, behind=sum(map(text_size, ends.tail))):
            raise AssertionError("what is between the ends is cut, whatever there is")
        self._feed_text(ends.name, ends.tail)

    def skip(self, size: int, *, behind: int = 0) -> bool:
        """Leave out printed text: see ``OutputLimit.skip``. ``False`` if it is wanted."""
        # What was heard before belongs before the gap.
        self.before_gap += self.limit.pass_on(self.reducer.take())
        edits = self.limit.skip(size, behind=behind)
        self.before_gap += edits or ()
        return edits is not None

    def take(self) -> list[Edit]:
        """What is to be written of it. Of a cell that is another run's by now only what it does to displays."""
        return self._since_last() if self.target.owns(self.run) else self._replaced_since_last()

    def take_last(self) -> list[Edit]:
        """What is to be written of it when it ends. Late output may still come."""
        if not self.target.owns(self.run):
            return self._replaced_since_last()
        for page in self.payload.pages:
            self.reducer.feed({"msg_type": "display_data", "content": page})
        self.reducer.end()
        return [*self._since_last(), *self.limit.last()]

    def _feed_text(self, name: str, pieces: Sequence[str]) -> None:
        for piece in pieces:
            self.reducer.feed({"msg_type": "stream", "content": {"name": name, "text": piece}})

    def _since_last(self) -> list[Edit]:
        before, self.before_gap = self.before_gap, []
        return [*before, *self.limit.pass_on(self.reducer.take())]

    def _replaced_since_last(self) -> list[Edit]:
        before, self.before_gap = self.before_gap, []
        return replacements([*before, *self.reducer.take()])


class KernelRunner:
    """Runs cells on one kernel, one after the other, whoever watches.

    A kernel that is restarted keeps its id and is another process. ``jupyter_client`` makes a new future
    (``ready``) for each, which tells them apart: what was sent to one process never ends in another, and what
    was asked for while a new one was starting runs there.
    """

    def __init__(
        self,
        kernel_id: KernelId,
        kernel: Kernel,
        book: RunBook,
        settings: Settings,
        activity: KernelActivity,
        measures: Measures,
    ) -> None:
        self.kernel_id = kernel_id
        self._kernel = kernel
        self._book = book
        self._settings = settings
        self._activity = activity
        self._measures = measures
        self._queue = RunQueue()
        self._inbox: deque[tuple[QueueEvent, Callable[[], None]]] = deque()
        self._handling = False
        self._executions: dict[RunId, Execution] = {}
        self._by_parent: OrderedDict[str, Execution] = OrderedDict()
        self._dirty: dict[RunId, Execution] = {}
        self._told: WeakSet[RunTarget] = WeakSet()  # of the kernel's state
        self._wake = Event()
        self._closed = Event()
        self._tasks: TaskGroup | None = None
        self._link: Link | None = None
        self._link_scope: CancelScope | None = None
        self._attempt: CancelScope | None = None
        self._process: object | None = None
        self._process_name = ""
        self._watched = False
        self._why_closed = ""
        self._status = "starting"
        self._status_since = now()
        self._heard_status = ""
        self._false_start = False
        self._dead: object | None = None  # a process after which there will be another one
        # The run whose other half (reply or idle) is waited for, and what it means if that does not come.
        self._awaited: tuple[Execution, QueueEvent] | None = None
        self._awaiting = False
        self._linked = Event()  # set when the link is up, or is not waited for any more
        self._refused: list[Message] = []  # what was asked behind the end of its cell, before the link was up
        self._marks: dict[
            str, Prompt
        ] = {}  # ids of messages (``Link.mark``), and what is shown when they are heard

    @property
    def closed(self) -> bool:
        """Whether it runs nothing any more."""
        return self._closed.is_set()

    @property
    def serving(self) -> bool:
        """Whether it has begun, and has not been closed."""
        return self._tasks is not None and not self.closed

    @property
    def outdated(self) -> bool:
        """Whether the kernel has become another process since this runner connected to it."""
        return self._process is not None and self._process is not self._kernel.ready

    def restarted(self) -> None:
        """The server has said that somebody had the kernel restarted, or tried."""
        self._kernel.restarted()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until ``close``. Runs that are then under way end as lost."""
        try:
            async with create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._flush_regularly)
                tasks.start_soon(self._watch_regularly)
                task_status.started()
                await self._closed.wait()
                tasks.cancel_scope.cancel()
        finally:
            if self._watched:
                self._kernel.remove_restart_callback(self._on_restart, "restart")
                self._kernel.remove_restart_callback(self._on_dead, "dead")

    def submit(self, runs: Sequence[Run], target: RunTarget) -> None:
        """Take the runs of one gesture; they stay together and in order.

        When it returns the runs are in the document, marked, and the first may have been sent: a kernel that has nothing to
        do gets it first of all, and works while the document is written. What the document raises is for the caller. The
        runs are withdrawn then, and what such a kernel says is for nobody.
        """
        failed: BaseException | None = None

        def show() -> None:
            nonlocal failed
            try:
                target.queued(runs)
                self._told.add(target)
            except BaseException as error:
                failed = error
            self._book.queued(runs)

        with self._together(target):
            for run in runs:
                self._executions[run.id] = Execution(run, target, OutputLimit(self._settings.output_limit))
            requests = tuple(Request(run.id, not run.source.strip(), run.stop_on_error) for run in runs)
            self._post(Submitted(requests), show)
            if failed is not None:
                self.cancel(frozenset(run.id for run in runs))
                raise failed
            with self._guarded():
                target.kernel(self._kernel_entry())

    def adopt(self, run: Run, target: RunTarget) -> None:
        """Go on with a run that the kernel has from an earlier life of this server. It has nothing else of ours.

        What the document raises is for the caller, and nothing is done then.
        """
        assert run.tether is not None, "nobody knows how to find it"
        with self._together(target):
            target.adopted(run)
            self._told.add(target)
            execution = Execution(run, target, OutputLimit(self._settings.output_limit), self._reducer())
            execution.heard_at = monotonic()
            self._executions[run.id] = self._by_parent[run.tether.parent] = execution
            self._kernel.tethered(run.tether)
            self._book.adopted(run)
            self._post(Adopted(Request(run.id, stop_on_error=run.stop_on_error)))
            self._set_status("busy")

    async def leave(self, reason: str) -> bool:
        """Stop serving, and leave the run that the kernel has to the next life of this server; what waits ends as lost.

        ``False``, and nothing is done, if there is none that could be found again.
        """
        if self._left_over() is None:
            return False
        if self._link is not None:
            await self._link.leave()
        execution = self._left_over()
        if execution is None:
            return False
        self._flush()
        self._post(Left(reason))
        del self._executions[execution.run.id]
        self._book.prompts.end(execution.run.id)  # nothing is sent any more; the run still says what it asks
        with self._guarded():
            execution.target.left(execution.run)
        self.close(reason)
        return True

    def cancel(self, runs: frozenset[RunId]) -> None:
        """Take queued runs out of the queue. Those that have started go on."""
        self._post(Cancelled(runs))

    async def connected(self) -> None:
        """Return when the kernel can be answered, or nobody need wait for that: it may have a run that was adopted."""
        if self._link is None and self._queue.current is not None:
            with move_on_after(self._settings.kernel_timeout):
                await self._linked.wait()

    def answer(self, run_id: RunId, prompt_id: PromptId | None, answer: Answer) -> Prompt:
        """Send the kernel what somebody has typed, if nobody was faster. Without ``prompt_id`` it is for what waits.

        When it returns the answer is in the document, and nobody waits for one any more. Raises ``PromptNotFound``,
        ``PromptAnswered``, ``PromptWithdrawn`` or ``KernelUnavailable``, and nothing was sent then.
        """
        execution = self._executions.get(run_id)
        if execution is not None and execution.asking is not None:
            self._show_prompt(execution.asking)
        if self._link is None and execution is not None:
            raise KernelConnecting(self.kernel_id)
        prompt = self._book.prompts.answer(run_id, prompt_id, answer)
        assert execution is not None, "what waits is withdrawn when its run ends"
        value = answer.value or ""
        if not self._reply(value, prompt.header):
            raise KernelUnavailable(self.kernel_id, "its connection failed")
        if execution.target.owns(execution.run):
            echo = {"name": "stdin", "text": prompt.echo(value)}
            execution.feed({"msg_type": "stream", "content": echo})
        execution.run.prompt = None
        self._book.answered(execution.run, prompt, answer.kept(prompt))
        self._show_waiting(execution)
        return prompt

    def interrupted(self) -> None:
        """Somebody has interrupted the kernel: what was submitted before does not run any more."""
        self._post(Interrupted())

    def lose(self, reason: str, *, said: bool) -> None:
        """The kernel's process is gone; another one may take later runs.

        ``reason`` is for people. ``said``: it is shown in the cell that somebody will look at and wonder about;
        a restart that was asked for needs no words.
        """
        if said:
            self._say(reason)
        self._drop_link()
        self._post(KernelLost(reason))

    def close(self, reason: str, *, gone: bool = False) -> None:
        """End every run and stop serving. ``gone``: the kernel will not come back."""
        if self.closed:
            return
        self._why_closed = reason
        self._closed.set()
        self._set_status("restarting" if self.outdated and not gone else "dead", for_good=gone)
        self._drop_link()
        self._post(KernelLost(reason))

    # Private: the kernel's life

    def _on_restart(self) -> None:
        """The restarter is about to start a kernel again that died."""
        self._set_status("restarting")
        self._dead = self._process or self._dead
        if self._link is None and self._kernel.execution_state == "starting" and not self._false_start:
            # It has never said anything (somebody had taken its port, or it was killed then): nothing is lost, and what
            # waits for it waits for the next one. But not for ever, as it may be that it cannot live.
            self._false_start = True
            self._process = None
            if self._attempt is not None:
                self._attempt.cancel()
            return
        if self._link is None and self._kernel.execution_state == "starting":
            self.lose(NEVER_LIVED, said=True)
            return
        self.lose("The kernel died and was started again. What it knew is lost; run again.", said=True)

    def _on_dead(self) -> None:
        """The restarter has given up."""
        self._set_status("dead", for_good=True)
        reason = "The kernel died and could not be started again. Choose another kernel."
        self._say(reason)
        self.close(reason)

    def _say(self, reason: str) -> None:
        """Show why the kernel is lost, in the cell that it had or was to have next."""
        run = self._queue.current or next(iter(self._queue.waiting), None)
        if run is not None:
            content = {"ename": "KernelDied", "evalue": reason, "traceback": [f"KernelDied: {reason}"]}
            self._executions[run].reducer.feed({"msg_type": "error", "content": content})

    # Private: events and effects

    def _post(self, event: QueueEvent, show: Callable[[], None] = lambda: None) -> None:
        """Handle an event, and those that handling it causes, strictly one after the other.

        ``show`` is called before anything is shown of what is done about it.
        """
        self._inbox.append((event, show))
        if self._handling:
            return
        self._handling = True
        try:
            while self._inbox:
                event, show = self._inbox.popleft()
                self._perform(self._queue.handle(event), show)
        finally:
            self._handling = False

    def _perform(self, effects: list[Effect], show: Callable[[], None]) -> None:
        # Before anything else, so that the kernel works while what came before is written into the document. What it
        # says is read later, whatever it is.
        sent = {
            effect.run
            for effect in effects
            if isinstance(effect, Execute) and self._send(self._executions[effect.run])
        }
        show()
        for finishing, group in groupby(effects, key=lambda effect: isinstance(effect, Finish)):
            if finishing:
                self._finish([effect for effect in group if isinstance(effect, Finish)])
                continue
            for effect in group:
                if isinstance(effect, Execute):
                    if effect.run in sent:
                        self._show_started(self._executions[effect.run])
                elif isinstance(effect, Connect):
                    if self.closed:
                        self._post(KernelLost(self._why_closed))
                    self._start_task(self._keep_link)
                elif isinstance(effect, AwaitIdle):
                    self._await_end(self._executions[effect.run], IdleOverdue(effect.run))
                elif isinstance(effect, AwaitReply):
                    self._await_end(self._executions[effect.run], ReplyOverdue(effect.run))
                else:
                    assert isinstance(effect, Finish)

    def _send(self, execution: Execution) -> bool:
        """Let the kernel have a run; ``False`` if it cannot be reached, which is handled next."""
        assert self._link is not None, "the queue sends nothing while the link is down"
        run = execution.run
        try:
            parent = self._link.execute(
                run.source, stop_on_error=run.stop_on_error, allow_stdin=run.allow_stdin
            )
        except (OSError, zmq.ZMQError) as error:
            self._drop_link()
            self._post(KernelLost(f"its connection failed: {error}"))
            return False
        # Noted in the same step as the send: no message can arrive before we know whose it is.
        self._by_parent[parent] = execution
        run.tether = self._link.tether(parent)
        execution.reducer = self._reducer()
        return True

    def _show_started(self, execution: Execution) -> None:
        execution.run.started_at = now()
        self._book.started(execution.run)
        # It is, with whatever it does before this; and what it says itself would be a transaction of its own.
        self._set_status("busy")
        with self._guarded():
            execution.target.started(execution.run)

    def _finish(self, effects: list[Finish]) -> None:
        ended: list[Execution] = []
        for effect in effects:
            execution = self._executions.pop(effect.run)
            execution.run.outcome = effect.outcome
            execution.run.ended_at = now()
            if effect.outcome.state is RunState.LOST and execution.run.started_at is not None:
                execution.run.note_time("execution_failed", None)
            self._dirty.pop(effect.run, None)
            self._withdraw(execution, self._book.prompts.end(effect.run))
            self._book.ended(execution.run)
            ended.append(execution)
        for target, group in groupby(ended, key=lambda execution: execution.target):
            with self._guarded():
                target.ended(
                    [
                        Ended(execution.run, execution.take_last(), execution.payload.next_input)
                        for execution in group
                    ]
                )
        while len(self._by_parent) > LATE_RUNS:
            self._by_parent.popitem(last=False)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A bug of one document must not stop the kernel for the others."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # Not only ``Exception``: what Rust code raises (``pyo3_runtime.PanicException``) is none. Nothing
            # waits inside such a block, so no cancellation can be among it.
            logger.exception("A document failed to take what kernel %s said", self.kernel_id)

    @contextmanager
    def _together(self, target: RunTarget) -> Iterator[None]:
        """``RunTarget.together``; what is done inside is done even if that fails."""
        stack = ExitStack()
        with self._guarded():
            stack.enter_context(target.together())
        try:
            yield
        finally:
            with self._guarded():
                stack.close()

    def _end_of(self, execution: Execution) -> AbstractContextManager[None]:
        """``_together`` if this can be the end of the run. What comes before mostly writes nothing, and a transaction
        costs as much as reading the message."""
        return self._together(execution.target) if self._queue.half_over else nullcontext()

    # Private: what the kernel says

    def _deliver(self, channel: Channel, message: Message) -> None:
        """One message of the kernel. Messages of other clients' requests are none of our business."""
        if channel == "iopub":
            self._activity.note(message)
        kind, parent = message["msg_type"], message["parent_header"].get("msg_id", "")
        execution = self._by_parent.get(parent)
        if execution is not None:
            execution.heard_at = monotonic()
        if channel == "stdin":
            if kind == "input_request":
                self._asked(execution, message)
            return
        if channel == "iopub" and parent in self._marks:
            self._show_prompt(self._marks.pop(parent))
        if channel == "shell":
            if kind == "execute_reply" and execution is not None:
                self._replied(execution, message)
            return
        if kind == "status":
            self._said_status(execution, message)
            return
        if execution is None:
            return
        if kind != "update_display_data" and not execution.target.owns(execution.run):
            return
        if kind == "execute_input":
            execution.run.note_time("iopub.execute_input", message["header"].get("date"))
        else:
            if any(
                other is not execution and other.reducer.replaces(message) for other in self._dirty.values()
            ):
                self._flush()  # two runs show other data in one display: in their order
            execution.feed(message)
        if execution.reducer.pending or execution.run.record_timing:
            self._has_output(execution)

    def _skip(self, parent: str, size: int) -> bool:
        """Whether printed text, of so many bytes, is cut away before anybody has read it."""
        execution = self._by_parent.get(parent)
        if execution is None or not execution.target.owns(execution.run):
            return True
        return execution.skip(size)

    def _replied(self, execution: Execution, message: Message) -> None:
        content, run = message["content"], execution.run
        status = content.get("status")
        if status == "ok":
            execution.payload = Payload.read(content)
        started = message["metadata"].get("started")
        if started is not None:
            run.note_time("shell.execute_reply.started", started)
        run.note_time("shell.execute_reply", message["header"].get("date"))
        with self._end_of(execution):
            self._post(
                Replied(
                    run.id,
                    status if status in ("ok", "error") else "aborted",
                    content.get("execution_count"),
                    interrupted=content.get("ename") in INTERRUPTS,
                )
            )
            self._settle_status(execution.target)

    def _said_status(self, execution: Execution | None, message: Message) -> None:
        state = message["content"].get("execution_state")
        # A kernel is also "busy" with telling its version: nobody means that.
        meant = isinstance(state, str) and message["parent_header"].get("msg_type") == "execute_request"
        if meant:
            self._heard_status = state
        if execution is None:
            self._settle_status()
            return
        with self._end_of(execution):
            if state in ("busy", "idle"):
                execution.run.note_time(f"iopub.status.{state}", message["header"].get("date"))
            if state == "idle":
                self._post(WentIdle(execution.run.id))
            self._settle_status(execution.target)

    def _settle_status(self, ended: RunTarget | None = None) -> None:
        """The kernel is what it has said, but idle only when it has none of our runs: it may be about to get the next."""
        if self._heard_status and (self._heard_status != "idle" or self._queue.current is None):
            self._set_status(self._heard_status, ended)

    def _set_status(self, status: str, ended: RunTarget | None = None, *, for_good: bool = False) -> None:
        """Tell those that have runs under way, or just had one; of what is for good, all that ever had some."""
        if status == self._status:
            return
        self._status, self._status_since = status, now()
        targets = {id(execution.target): execution.target for execution in self._executions.values()}
        if ended is not None:
            targets[id(ended)] = ended
        if for_good:
            targets |= {id(target): target for target in self._told}
        for target in targets.values():
            with self._guarded():
                target.kernel(self._kernel_entry())

    def _kernel_entry(self) -> dict[str, object]:
        return {
            "id": self.kernel_id,
            "name": self._kernel.kernel_name,
            "status": self._status,
            "since": self._status_since,
        }

    # Private: input

    def _asked(self, execution: Execution | None, message: Message) -> None:
        """The kernel asks for input, and waits. What others have asked it to run is answered by them."""
        if execution is None or execution.run.state.ended:
            # A thread or a task that goes on behind its cell. No cell shows that it waits, and if it holds up the kernel
            # nothing would ever run there again.
            logger.warning(
                "Kernel %s asks for input behind the end of its cell, and is refused", self.kernel_id
            )
            if self._link is None:
                self._refused.append(message["header"])
            else:
                self._reply(END_OF_FILE, message["header"])
            return
        run, content = execution.run, message["content"]
        prompt = Prompt(
            id=new_prompt_id(),
            run=run.id,
            kernel=self.kernel_id,
            cell=run.cell,
            user=run.user,
            text=shareable_text(str(content.get("prompt") or "")),
            password=bool(content.get("password")),
            policy=self._settings.input_policy,
            asked_at=now(),
            header=message["header"],
        )
        # At once, so that an answer to what it asked before is too late from now on.
        self._withdraw(execution, self._book.prompts.ask(prompt))
        execution.asking = prompt
        if self._link is not None:
            try:
                self._marks[self._link.mark()] = prompt
            except (OSError, zmq.ZMQError) as error:
                logger.info("Kernel %s cannot be asked what it has said: %s", self.kernel_id, error)
        self._start_task(self._show_prompt_in_time, prompt)

    async def _show_prompt_in_time(self, prompt: Prompt) -> None:
        execution, limit = self._executions.get(prompt.run), monotonic() + MARK_LIMIT
        while execution is not None and execution.asking is prompt:
            rest = min(execution.heard_at + MARK_PATIENCE, limit) - monotonic()
            if rest <= 0:
                break
            await sleep(rest)
        self._marks = {mark: other for mark, other in self._marks.items() if other is not prompt}
        self._show_prompt(prompt)

    def _show_prompt(self, prompt: Prompt) -> None:
        """All that was printed before the question is here."""
        execution = self._executions.get(prompt.run)
        if execution is None or execution.asking is not prompt:
            return
        execution.asking = None
        execution.run.prompt = prompt
        self._book.asked(execution.run, prompt)
        self._show_waiting(execution)

    def _withdraw(self, execution: Execution, prompt: Prompt | None) -> None:
        execution.asking = execution.run.prompt = None
        if prompt is not None:
            self._book.withdrawn(execution.run, prompt)

    def _show_waiting(self, execution: Execution) -> None:
        """In one transaction with what was printed before."""
        self._dirty.pop(execution.run.id, None)
        with self._guarded():
            execution.target.waits(RunOutput(execution.run, execution.take()))

    def _reply(self, value: str, question: Message) -> bool:
        """Let the kernel have what it asked for; ``False`` if it cannot be reached, and is lost."""
        try:
            if self._link is None:
                raise ConnectionError("there is none")
            self._link.answer(value, question)
        except (OSError, zmq.ZMQError) as error:
            self._drop_link()
            self._post(KernelLost(f"its connection failed: {error}"))
            return False
        return True

    # Private: output

    def _reducer(self) -> OutputReducer:
        return OutputReducer(self._process_name, cursor_movement=self._settings.cursor_movement)

    def _has_output(self, execution: Execution) -> None:
        self._dirty[execution.run.id] = execution
        if not self._wake.is_set():
            self._wake.set()

    async def _flush_regularly(self) -> None:
        """Write by time, not by message: a kernel can send thousands of them in a second."""
        pause = self._settings.flush_interval
        while True:
            await self._wake.wait()
            self._wake = Event()
            asked = current_time()
            await sleep(pause)
            self._flush()
            # The more writing costs (large outputs, many clients), and the later a busy server gets to it, the
            # more of it is done at once: all this takes at most a share of the time.
            busy = current_time() - asked - pause
            pause = min(max(self._settings.flush_interval, busy * BUSY_PAUSE), LONGEST_PAUSE)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, {}
        by_target: dict[int, list[Execution]] = {}
        for execution in dirty.values():
            by_target.setdefault(id(execution.target), []).append(execution)
        for executions in by_target.values():
            with self._guarded():
                outputs = [RunOutput(execution.run, execution.take()) for execution in executions]
                outputs = [output for output in outputs if output.edits or output.run.timings]
                if outputs:
                    with self._measures.flushes.timed():
                        executions[0].target.edit(outputs)

    # Private: tasks

    async def _watch_regularly(self) -> None:
        """While the kernel has something to do: say that it goes on, and notice its death if nobody else does.

        Kernels need not have a restarter (``KernelManager.autorestart``).
        """
        missing: object = None
        while True:
            await sleep(WATCH_INTERVAL)
            if self._queue.idle and self._status != "busy":
                missing = None
                continue
            if self._settings.prompts_keep_alive or not self._waits_for_input():
                self._activity.goes_on()
            process = self._process
            if process is None or self.outdated or await self._kernel.is_alive():
                missing = None
            elif process is missing and process is self._process and not self.outdated:
                self._set_status("dead")
                self.lose("The kernel died. Restart it and run again.", said=True)
            else:
                missing = process

    def _waits_for_input(self) -> bool:
        current = self._queue.current
        return current is not None and self._executions[current].run.state is RunState.INPUT

    def _start_task(self, task: Callable[[Unpack[Ts]], Coroutine[Any, Any, None]], *args: Unpack[Ts]) -> None:
        if self._tasks is not None and not self._closed.is_set():
            self._tasks.start_soon(task, *args)

    async def _keep_link(self) -> None:
        """Connect, and stay connected until ``_drop_link``."""
        with CancelScope() as scope:
            self._link_scope = scope
            try:
                while True:
                    await self._process_started()
                    with CancelScope() as attempt:
                        self._start_task(self._end_if_gone, attempt)
                        await self._stay_connected(attempt)
            except Exception as error:
                if self._link_scope is not scope:
                    return  # dropped already: what it had was ended then
                if not isinstance(error, KernelUnavailable):
                    logger.exception("The link to kernel %s broke", self.kernel_id)
                self.lose(str(error), said=not isinstance(error, KernelReplaced))

    async def _stay_connected(self, attempt: CancelScope) -> None:
        self._attempt = attempt
        try:
            async with self._kernel.connect(
                self._deliver, timeout=self._settings.kernel_timeout, skip=self._skip
            ) as link:
                with self._activity.instead_of_server():
                    self._link = link
                    self._linked.set()
                    self._false_start = False
                    if self._queue.current is None:
                        self._set_status(self._kernel.execution_state or "idle")
                    self._post(KernelReady())
                    refused, self._refused = self._refused, []
                    for question in refused:
                        self._reply(END_OF_FILE, question)
                    await anyio.sleep_forever()
        finally:
            self._attempt = None

    async def _end_if_gone(self, attempt: CancelScope) -> None:
        """Between a kernel's death and its next start ``ready`` is still the dead process's, and who connects then hears
        nothing: the next one may have other ports. If it has had its second chance, there is no next one to wait for."""
        dead = False
        while self._link is None and self._attempt is attempt:
            if self.outdated:
                attempt.cancel()
            elif dead:
                self.lose(NEVER_LIVED, said=True)
                return
            dead = self._false_start and not await self._kernel.is_alive()
            await sleep(PROCESS_POLL)

    def _left_over(self) -> Execution | None:
        """What the next life of this server can go on with."""
        current = self._queue.current
        execution = None if current is None else self._executions[current]
        return None if self.closed or execution is None or execution.run.tether is None else execution

    async def _process_started(self) -> None:
        """Wait until the kernel has a process, and take note which."""
        process: Any = None
        with move_on_after(self._settings.kernel_timeout):
            while process is not self._kernel.ready or process is self._dead:
                process = self._kernel.ready
                if process is self._dead:
                    await sleep(PROCESS_POLL)
                    continue
                # Only waited for, so neither its failure nor our being cancelled gets from one to the other.
                if not process.done():
                    await asyncio.wait([asyncio.wrap_future(process)])
        if process is not self._kernel.ready or process is self._dead or not process.done():
            raise KernelUnavailable(
                self.kernel_id, f"it did not start in {self._settings.kernel_timeout:g} seconds"
            )
        if process.cancelled() or process.exception() is not None:
            raise KernelUnavailable(self.kernel_id, "it could not be started")
        self._process = process
        self._process_name = uuid4().hex
        if not self._watched:  # only now: a kernel that has never started has no restarter
            self._watched = True
            self._kernel.add_restart_callback(self._on_restart, "restart")
            self._kernel.add_restart_callback(self._on_dead, "dead")

    def _drop_link(self) -> None:
        self._link = None
        self._linked.set()
        self._linked = Event()
        self._heard_status = ""
        self._process = None
        if self._link_scope is not None:
            self._link_scope.cancel()
            self._link_scope = None

    def _await_end(self, execution: Execution, overdue: QueueEvent) -> None:
        """The kernel has one run at a time, and almost every one waits here for less than a millisecond: one task does
        for all of them."""
        self._awaited = execution, overdue
        if not self._awaiting:
            self._awaiting = True
            self._start_task(self._await_ends)

    async def _await_ends(self) -> None:
        """It is overdue when nothing of the run was heard for a while: a flood takes its time to pass.

        A run that comes later is overdue later, so this is awake in time for it.
        """
        while self._awaited is not None:
            execution, overdue = self._awaited
            rest = execution.heard_at + self._settings.idle_timeout - monotonic()
            if execution.run.state.ended:
                self._awaited = None
            elif rest > 0:
                await sleep(rest)
            else:
                self._awaited = None
                self._heard_status = "idle"
                self._post(overdue)
                self._settle_status(execution.target)
        self._awaiting = False
