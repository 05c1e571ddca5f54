"""Questions under anything that can happen to them, in any order, and who may answer them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ydoc_exec.errors import PromptAnswered, PromptNotFound, PromptWithdrawn
from ydoc_exec.execution.input_policy import may_answer
from ydoc_exec.execution.prompts import (
    DOTS,
    PROMPT_TRANSITIONS,
    Answer,
    Prompt,
    PromptCause,
    Prompts,
    PromptState,
)
from ydoc_exec.ids import CellId, KernelId, PromptId, RunId
from ydoc_exec.settings import InputPolicy

RUNS = st.sampled_from([RunId("a"), RunId("b"), RunId("c")])
VALUES = st.sampled_from(["", "x", "\N{SNOWMAN}", "secret"])


def prompt(run: RunId, number: int, *, password: bool = False, text: str = "Name?") -> Prompt:
    return Prompt(
        id=PromptId(f"{run}-{number}"),
        run=run,
        kernel=KernelId("kernel"),
        cell=CellId(f"cell-{run}"),
        user="ada",
        text=text,
        password=password,
        policy="writers",
        asked_at="2026-01-01T00:00:00Z",
    )


def answer(value: str, user: str = "ada") -> Answer:
    return Answer(user, user.title(), "2026-01-01T00:00:01Z", value)


class Questions(RuleBasedStateMachine):
    """What was accepted, written down, and what must be true of it whatever happens."""

    REMEMBERED = 4

    def __init__(self) -> None:
        super().__init__()
        self.prompts = Prompts(self.REMEMBERED)
        self.asked: list[Prompt] = []
        self.waiting: dict[RunId, Prompt] = {}
        self.accepted: dict[PromptId, str] = {}

    @rule(run=RUNS, password=st.booleans())
    def a_run_asks(self, run: RunId, password: bool) -> None:
        asked = prompt(run, len(self.asked), password=password)
        self.asked.append(asked)
        assert self.prompts.ask(asked) is self.waiting.get(run)
        self.waiting[run] = asked
        assert self.prompts.pending(run) is asked

    @rule(run=RUNS)
    def a_run_ends(self, run: RunId) -> None:
        assert self.prompts.end(run) is self.waiting.pop(run, None)
        assert self.prompts.end(run) is None
        assert self.prompts.pending(run) is None

    @rule(index=st.integers(1, 8), value=VALUES, user=st.sampled_from(["ada", "bob"]))
    def somebody_answers(self, index: int, value: str, user: str) -> None:
        """One of the latest questions, whether it waits or not."""
        if len(self.asked) < index:
            return
        asked = self.asked[-index]
        waits = self.waiting.get(asked.run) is asked
        try:
            taken = self.prompts.answer(asked.run, asked.id, answer(value, user))
        except PromptAnswered as error:
            assert not waits
            secret = asked.password
            assert error.value == (None if secret else self.accepted[asked.id])
            assert error.prompt_id == asked.id
        except PromptWithdrawn:
            assert not waits
            assert asked.id not in self.accepted
        except PromptNotFound:
            assert not waits
        else:
            assert waits
            assert taken is asked
            assert asked.id not in self.accepted, "answered twice"
            self.accepted[asked.id] = value
            del self.waiting[asked.run]

    @rule(run=RUNS, value=VALUES)
    def somebody_answers_whatever_waits(self, run: RunId, value: str) -> None:
        waiting = self.waiting.get(run)
        try:
            taken = self.prompts.answer(run, None, answer(value))
        except (PromptAnswered, PromptWithdrawn, PromptNotFound):
            assert waiting is None
        else:
            assert taken is waiting
            self.accepted[taken.id] = value
            del self.waiting[run]

    @rule(run=RUNS, other=RUNS, value=VALUES)
    def the_run_is_another_one(self, run: RunId, other: RunId, value: str) -> None:
        waiting = self.waiting.get(run)
        if waiting is not None and other != run:
            with pytest.raises(PromptNotFound):
                self.prompts.answer(other, waiting.id, answer(value))
            assert self.prompts.pending(run) is waiting

    def teardown(self) -> None:
        # However many there were, only so many are remembered: those that wait, and the latest of the others.
        over = [asked for asked in self.asked if self.waiting.get(asked.run) is not asked]
        remembered = 0
        for asked in self.asked:
            try:
                self.prompts.answer(asked.run, asked.id, answer("late"))
            except PromptNotFound:
                continue
            except (PromptAnswered, PromptWithdrawn):
                remembered += 1
            else:
                assert self.waiting.get(asked.run) is asked
        assert remembered <= min(len(over), self.REMEMBERED + 3)


Questions.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQuestions = Questions.TestCase


@given(value=st.text(max_size=20), text=st.text(max_size=20))
def test_what_is_left_of_a_password_says_nothing_of_it(value: str, text: str) -> None:
    asked = prompt(RunId("a"), 0, password=True, text=text)
    prompts = Prompts()
    prompts.ask(asked)
    prompts.answer(asked.run, asked.id, answer(value))
    with pytest.raises(PromptAnswered) as late:
        prompts.answer(asked.run, asked.id, answer("other"))
    assert late.value.value is None
    assert repr(answer("my secret")) == repr(answer("another"))
    assert asked.echo(value) == f"{text} {DOTS}\n"
    assert len(DOTS) == 8


@given(value=st.text(max_size=20), text=st.text(max_size=20))
def test_what_is_left_of_others_is_all_of_it(value: str, text: str) -> None:
    assert prompt(RunId("a"), 0, text=text).echo(value) == f"{text} {value}\n"


def test_an_error_does_not_say_what_was_answered() -> None:
    """Errors are logged."""
    asked = prompt(RunId("a"), 0)
    prompts = Prompts()
    prompts.ask(asked)
    prompts.answer(asked.run, None, answer("my words"))
    with pytest.raises(PromptAnswered) as late:
        prompts.answer(asked.run, None, answer("other"))
    assert late.value.value == "my words"
    assert "my words" not in f"{late.value} {late.value!r}"


@pytest.mark.parametrize(
    "policy, user, may_write, allowed",
    [
        ("anyone", "bob", False, True),
        ("anyone", "ada", True, True),
        ("writers", "bob", True, True),
        ("writers", "ada", False, False),
        ("runner", "ada", False, True),
        ("runner", "bob", True, False),
    ],
)
def test_who_may_answer(policy: InputPolicy, user: str, may_write: bool, allowed: bool) -> None:
    assert may_answer(policy, user, runner="ada", may_write=may_write) is allowed


def test_what_is_over_stays_so() -> None:
    assert PROMPT_TRANSITIONS.keys() == set(PromptState)
    assert PROMPT_TRANSITIONS[PromptState.ASKED].keys() == set(PromptCause)
    assert PROMPT_TRANSITIONS[PromptState.ANSWERED] == PROMPT_TRANSITIONS[PromptState.WITHDRAWN] == {}
