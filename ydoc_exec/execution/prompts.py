"""What kernels ask people for (``input()``, ``getpass()``), as a state machine: asked, answered once, or withdrawn.

Rule 1: whether an answer is the first one, and which question it is for, is decided here and nowhere else.
Rule 2: nothing here waits, reads a clock or knows a socket.

A run asks as often as it likes, one question at a time: its next question, and its end, withdraw the one that waits, because
whoever asked that does not wait for it any more. Each question has an id of its own, so an answer to the first is never
taken for one to the second. What was answered is remembered for those who come a moment too late; the answer to a
password is not, nowhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from ydoc_exec.errors import PromptAnswered, PromptNotFound, PromptWithdrawn
from ydoc_exec.ids import CellId, KernelId, PromptId, RunId
from ydoc_exec.settings import InputPolicy

DOTS: Final = "\N{MIDDLE DOT}" * 8
"""What is shown of a password, however long it is (``Stdin`` in ``@jupyterlab/outputarea``)."""


class PromptState(Enum):
    """Where a question stands."""

    ASKED = "asked"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


class PromptCause(Enum):
    """What moves a question on. The values are what the diagram in the documentation says."""

    ANSWER = "the first answer"
    NEXT = "the run asks something else"
    END = "the run ends"


PROMPT_TRANSITIONS: Final[Mapping[PromptState, Mapping[PromptCause, PromptState]]] = MappingProxyType(
    {
        PromptState.ASKED: {
            PromptCause.ANSWER: PromptState.ANSWERED,
            PromptCause.NEXT: PromptState.WITHDRAWN,
            PromptCause.END: PromptState.WITHDRAWN,
        },
        PromptState.ANSWERED: {},
        PromptState.WITHDRAWN: {},
    }
)
"""Every way a question can go. What is not here changes nothing."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question of a run.

    Args:
        user: who asked for the run.
        header: that of the kernel's message, which the answer names.
    """

    id: PromptId
    run: RunId
    kernel: KernelId
    cell: CellId
    user: str
    text: str
    password: bool
    policy: InputPolicy
    asked_at: str
    header: Mapping[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, object]:
        """The question as every client sees it in the document's ``execution`` map, without what is being typed."""
        return {
            "prompt_id": self.id,
            "run_id": self.run,
            "cell_id": self.cell,
            "prompt": self.text,
            "password": self.password,
            "asked_at": self.asked_at,
            "policy": self.policy,
            "user": self.user,
        }

    def echo(self, value: str) -> str:
        """What is left of question and answer in the cell, as JupyterLab 4.6 writes it, into the stream ``stdin``."""
        return f"{self.text} {DOTS if self.password else value}\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered a question, and what. Of a password ``value`` is None as soon as it was sent: nobody keeps it."""

    user: str
    name: str
    at: str
    value: str | None = field(repr=False)

    def kept(self, prompt: Prompt) -> Answer:
        """What of it may be known afterwards."""
        return replace(self, value=None) if prompt.password else self


@dataclass(slots=True)
class Known:
    """A question, and what became of it."""

    prompt: Prompt
    state: PromptState = PromptState.ASKED
    answer: Answer | None = None

    def move(self, cause: PromptCause) -> bool:
        """Whether that cause means anything for the question; it is where it leads to then."""
        state = PROMPT_TRANSITIONS[self.state].get(cause)
        if state is not None:
            self.state = state
        return state is not None


class Prompts:
    """Every question that waits, and the latest ``remembered`` of those that are over."""

    def __init__(self, remembered: int = 100) -> None:
        self._remembered = remembered
        self._last: dict[RunId, Known] = {}  # of each run whose last question is known
        self._known: OrderedDict[PromptId, Known] = OrderedDict()

    def ask(self, prompt: Prompt) -> Prompt | None:
        """A run asks. The question that this withdraws is returned."""
        withdrawn = self._move(prompt.run, PromptCause.NEXT)
        self._known[prompt.id] = self._last[prompt.run] = Known(prompt)
        self._forget()
        return withdrawn

    def answer(self, run: RunId, prompt: PromptId | None, answer: Answer) -> Prompt:
        """Take an answer, once. Without ``prompt`` it is for the question that waits.

        Raises ``PromptNotFound`` for a question that is not known, ``PromptAnswered`` and ``PromptWithdrawn`` for one that
        is over, and changes nothing then.
        """
        known = self._last.get(run) if prompt is None else self._known.get(prompt)
        if known is None or known.prompt.run != run:
            raise PromptNotFound(run if prompt is None else prompt)
        if not known.move(PromptCause.ANSWER):
            if known.answer is not None:
                raise PromptAnswered(
                    run, known.prompt.id, known.answer.user, known.answer.name, known.answer.value
                )
            raise PromptWithdrawn(known.prompt.id)
        known.answer = answer.kept(known.prompt)
        return known.prompt

    def end(self, run: RunId) -> Prompt | None:
        """The run has ended. The question that this withdraws is returned."""
        return self._move(run, PromptCause.END)

    def pending(self, run: RunId) -> Prompt | None:
        """The question of this run that waits."""
        known = self._last.get(run)
        return known.prompt if known is not None and known.state is PromptState.ASKED else None

    # Private

    def _move(self, run: RunId, cause: PromptCause) -> Prompt | None:
        known = self._last.get(run)
        return known.prompt if known is not None and known.move(cause) else None

    def _forget(self) -> None:
        over = [known for known in self._known.values() if known.state is not PromptState.ASKED]
        for known in over[: max(0, len(over) - self._remembered)]:
            del self._known[known.prompt.id]
            if self._last.get(known.prompt.run) is known:
                del self._last[known.prompt.run]
