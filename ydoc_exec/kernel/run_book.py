"""The runs that can be asked about by their id, and the one place that sees every step of every run."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ydoc_exec.errors import RunNotFound, TooManyWait
from ydoc_exec.execution.prompts import Answer, Prompt, Prompts, PromptState
from ydoc_exec.ids import BatchId, KernelId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_watch import RunWatch

logger = logging.getLogger(__name__)

WATCHES = 1000
"""So many requests may wait for runs at the same time."""

RunObserver = Callable[[Run], None]
"""Told of a run that has taken a step: its ``state`` says which. It must return at once, and not wait."""


@dataclass(frozen=True, slots=True)
class PromptStep:
    """What has happened to a question of a run."""

    state: PromptState
    run: Run
    prompt: Prompt
    answer: Answer | None = None


PromptObserver = Callable[[PromptStep], None]
"""Told of a question that was asked, answered or withdrawn. It must return at once, and not wait."""


class RunBook:
    """Every run under way, and the latest ``remembered`` of those that ended.

    A kernel's runner says here what happens to its runs, in the order in which it does, and everybody else hears of it
    from here: ``observe`` is for what lives as long as the server (events, metrics, what is written down), ``watch``
    for a request that waits.
    """

    def __init__(self, remembered: int) -> None:
        self.prompts = Prompts()
        """What the runs ask for."""
        self._remembered = remembered
        self._live: dict[KernelId, dict[RunId, Run]] = {}
        self._ended: OrderedDict[RunId, Run] = OrderedDict()
        self._count = 0
        self._observers: list[RunObserver] = []
        self._prompt_observers: list[PromptObserver] = []
        self._watches: dict[str, list[RunWatch]] = {}
        self._watching = 0
        self._closed = False

    def next_seq(self) -> int:
        """A number for the next run: runs of one server are ordered by it."""
        self._count += 1
        return self._count

    # What happens to runs

    def queued(self, runs: Sequence[Run]) -> None:
        """These runs of one batch have their place in their kernel's queue."""
        for run in runs:
            self._live.setdefault(run.kernel, {})[run.id] = run
        for run in runs:
            self._tell(run)

    def adopted(self, run: Run) -> None:
        """The kernel has this run from an earlier life of the server."""
        self._live.setdefault(run.kernel, {})[run.id] = run
        if run.prompt is not None:
            self.prompts.ask(run.prompt)
        self._tell(run)

    def started(self, run: Run) -> None:
        """The kernel has this run."""
        self._tell(run)

    def asked(self, run: Run, prompt: Prompt) -> None:
        """The run waits for an answer."""
        self._tell_prompt(PromptStep(PromptState.ASKED, run, prompt))

    def answered(self, run: Run, prompt: Prompt, answer: Answer) -> None:
        """The run goes on."""
        self._tell_prompt(PromptStep(PromptState.ANSWERED, run, prompt, answer))

    def withdrawn(self, run: Run, prompt: Prompt) -> None:
        """The run does not wait for this answer any more: it ends, or asks something else."""
        self._tell_prompt(PromptStep(PromptState.WITHDRAWN, run, prompt))

    def ended(self, run: Run) -> None:
        """A run has its outcome. The oldest ended ones are forgotten."""
        live = self._live.get(run.kernel, {})
        live.pop(run.id, None)
        if not live:
            self._live.pop(run.kernel, None)
        self._ended[run.id] = run
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)
        self._tell(run)

    # Who wants to know

    def observe(self, observer: RunObserver) -> None:
        """Have every step of every run told to ``observer``, from now on: queued, started, ended."""
        self._observers.append(observer)

    def observe_prompts(self, observer: PromptObserver) -> None:
        """Have what happens to every question of every run told to ``observer``, from now on."""
        self._prompt_observers.append(observer)

    @contextmanager
    def watch(self, *which: RunId | BatchId | KernelId) -> Iterator[RunWatch]:
        """Watch the run, the batch or the kernel with one of these ids, which need not be known.

        Raises ``TooManyWait``.
        """
        if self._watching >= WATCHES:
            raise TooManyWait(WATCHES)
        watch = RunWatch()
        if self._closed:
            watch.end()
        self._watching += 1
        for key in which:
            self._watches.setdefault(key, []).append(watch)
        try:
            yield watch
        finally:
            self._watching -= 1
            for key in which:
                self._watches[key].remove(watch)
                if not self._watches[key]:
                    del self._watches[key]

    def close(self) -> None:
        """The server stops: nobody is kept waiting."""
        self._closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.end()

    # What is known

    def get(self, run_id: RunId) -> Run:
        """Raises ``RunNotFound``."""
        run = self._ended.get(run_id)
        if run is not None:
            return run
        for live in self._live.values():
            if run_id in live:
                return live[run_id]
        raise RunNotFound(run_id)

    def live(self, kernel_id: KernelId) -> list[Run]:
        """The kernel's runs under way: the one that it has, then those that wait, in their order."""
        return list(self._live.get(kernel_id, {}).values())

    def by_kernel(self) -> dict[KernelId, list[Run]]:
        """The same for every kernel that has any."""
        return {kernel_id: list(live.values()) for kernel_id, live in self._live.items()}

    def all_live(self) -> list[Run]:
        """Every run under way."""
        return [run for live in self._live.values() for run in live.values()]

    def recent(self, kernel_id: KernelId) -> list[Run]:
        """The runs of the kernel that have ended and are remembered, the last one first."""
        return [run for run in reversed(self._ended.values()) if run.kernel == kernel_id]

    def place(self, run: Run) -> int | None:
        """How many runs come before this one at its kernel: 0 for the one that it has. None when it has ended."""
        live = self._live.get(run.kernel, {})
        return next((place for place, run_id in enumerate(live) if run_id == run.id), None)

    # Private

    def _tell(self, run: Run) -> None:
        for observer in self._observers:
            with self._guarded(run):
                observer(run)
        self._tell_watches(run)

    def _tell_prompt(self, step: PromptStep) -> None:
        for observer in self._prompt_observers:
            with self._guarded(step.run):
                observer(step)
        self._tell_watches(step.run)

    @contextmanager
    def _guarded(self, run: Run) -> Iterator[None]:
        try:
            yield
        except Exception:
            # Who only looks on must not stop a kernel.
            logger.exception("A step of run %s was not noted by everybody", run.id)

    def _tell_watches(self, run: Run) -> None:
        for key in (run.id, run.batch, run.kernel):
            for watch in self._watches.get(key, ()):
                watch.note(run)
