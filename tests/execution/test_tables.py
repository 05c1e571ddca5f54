"""The tables of transitions, and their pictures in the documentation."""

from __future__ import annotations

from tests.execution.diagram import diagrams, written
from ydoc_exec.execution.run_queue import LINK_TRANSITIONS, TRANSITIONS, Cause, LinkCause, LinkState, Phase


def test_the_documentation_shows_the_tables() -> None:
    assert written() == diagrams(), "python -m tests.execution.diagram writes it"


def test_a_run_comes_to_an_end_from_everywhere() -> None:
    for phase in Phase:
        ends = {phase}
        while following := {to for state in ends for to in TRANSITIONS[state].values()} - ends:
            ends |= following
        assert Phase.OVER in ends
    assert TRANSITIONS[Phase.OVER] == {}


def test_a_lost_kernel_ends_a_run_wherever_it_stands() -> None:
    assert {TRANSITIONS[phase][Cause.LOSS] for phase in Phase if phase is not Phase.OVER} == {Phase.OVER}


def test_every_state_and_every_cause_is_in_the_tables() -> None:
    assert TRANSITIONS.keys() == set(Phase)
    assert {cause for ways in TRANSITIONS.values() for cause in ways} == set(Cause)
    assert LINK_TRANSITIONS.keys() == set(LinkState)
    assert {cause for ways in LINK_TRANSITIONS.values() for cause in ways} == set(LinkCause)
