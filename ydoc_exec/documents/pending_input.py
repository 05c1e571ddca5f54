"""What runs wait for people to type, and answering it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ydoc_exec.errors import InputForbidden, KernelNotFound, PromptNotFound, RunNotFound
from ydoc_exec.execution.input_policy import may_answer
from ydoc_exec.execution.prompts import Answer, Prompt
from ydoc_exec.ids import KernelId, PromptId, RunId
from ydoc_exec.kernel.kernel_runners import KernelRunners
from ydoc_exec.kernel.run import Run, now
from ydoc_exec.kernel.run_book import RunBook


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answers. That they may execute is known already."""

    user: str
    name: str
    may_write: bool


class PendingInput:
    """Tells of what is asked by kernel and run, and brings the answers there."""

    def __init__(self, book: RunBook, runners: KernelRunners) -> None:
        self._book = book
        self._runners = runners

    def of(self, kernel_id: KernelId) -> list[dict[str, Any]]:
        """What the kernel's runs wait for. Raises ``KernelNotFound``."""
        if kernel_id not in self._runners:
            raise KernelNotFound(kernel_id)
        return [
            {**prompt.entry(), "document_id": str(run.room), "path": run.path}
            for run, prompt in self._pending(kernel_id)
        ]

    def header(self, run_id: RunId) -> Mapping[str, Any]:
        """The header of the kernel's message with which the run asked for what it waits for; empty if it does not."""
        prompt = self._book.prompts.pending(run_id)
        return {} if prompt is None else prompt.header

    async def answer(
        self,
        kernel_id: KernelId,
        run_id: RunId | None,
        prompt_id: PromptId | None,
        value: str,
        who: Answerer,
    ) -> Prompt:
        """Answer this question; or that for which the run waits; or that for which the kernel does.

        When it returns the kernel has been sent the value, and the question is gone from the document. Raises
        ``KernelNotFound``, ``RunNotFound``, ``PromptNotFound``, ``PromptAnswered``, ``PromptWithdrawn``,
        ``InputForbidden`` or ``KernelUnavailable``, and nothing was sent then.
        """
        run = self._run(kernel_id, run_id)
        policy = self._runners.input_policy
        if not may_answer(policy, who.user, runner=run.user, may_write=who.may_write):
            raise InputForbidden(policy)
        return await self._runners.answer(
            kernel_id, run.id, prompt_id, Answer(who.user, who.name, now(), value)
        )

    # Private

    def _pending(self, kernel_id: KernelId) -> Iterator[tuple[Run, Prompt]]:
        for run in self._book.live(kernel_id):
            if run.prompt is not None:
                yield run, run.prompt

    def _run(self, kernel_id: KernelId, run_id: RunId | None) -> Run:
        if run_id is not None:
            run = self._book.get(run_id)
            if run.kernel != kernel_id:
                raise RunNotFound(run_id)
            return run
        if kernel_id not in self._runners:
            raise KernelNotFound(kernel_id)
        for run in self._book.live(kernel_id):
            if run.state.started:
                return run
        raise PromptNotFound(kernel_id)
