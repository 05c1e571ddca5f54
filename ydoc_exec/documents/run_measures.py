"""How long runs wait, how long they run, and how long they wait for people."""

from __future__ import annotations

from time import perf_counter

from ydoc_exec.execution.prompts import PromptState
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import PromptId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import PromptStep
from ydoc_exec.measures import Measures


class RunMeasures:
    """Told of every step of every run (``RunBook.observe``), it adds up the time between them."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._since: dict[RunId, float] = {}
        self._asked: dict[PromptId, float] = {}

    def note(self, run: Run) -> None:
        """This run has taken a step."""
        state, now = run.state, perf_counter()
        if state is RunState.QUEUED:
            self._since[run.id] = now
            return
        since = self._since.pop(run.id, None)
        if state.started:
            if since is not None:  # not of a run that was started in an earlier life of the server
                self._measures.waiting.note(now - since)
            self._since[run.id] = now
            return
        self._measures.ended[state.value] += 1
        if run.started_at is not None:
            self._measures.running[state.value].note(now - (now if since is None else since))

    def note_prompt(self, step: PromptStep) -> None:
        """This has happened to what a run asks for (``RunBook.observe_prompts``)."""
        now = perf_counter()
        if step.state is PromptState.ASKED:
            self._asked[step.prompt.id] = now
        elif (asked := self._asked.pop(step.prompt.id, None)) is not None:
            self._measures.prompts[step.state.value].note(now - asked)
