from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.documents.run_measures import RunMeasures
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import CellId, KernelId, RoomId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.measures import BOUNDS, Durations, Measures


@given(st.lists(st.floats(0, 100_000)))
def test_a_histogram(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.note(each)
    assert durations.up_to() == [(bound, sum(each <= bound for each in seconds)) for bound in BOUNDS]
    assert durations.count == len(seconds)
    assert durations.total == pytest.approx(sum(seconds))


def test_what_fails_is_timed_too() -> None:
    durations = Durations()
    with pytest.raises(ZeroDivisionError), durations.timed():
        1 / 0  # noqa: B018
    assert durations.count == 1


def run() -> Run:
    room = RoomId("json", "notebook", "file")
    return Run(RunId("r"), KernelId("k"), room, CellId("c"), "1", "ada", 1)


def test_a_run_waits_and_runs() -> None:
    measures = Measures()
    noted, a_run = RunMeasures(measures), run()
    noted.note(a_run)
    a_run.started_at = "2026-01-01T00:00:00Z"
    noted.note(a_run)
    assert (measures.waiting.count, dict(measures.running)) == (1, {})
    a_run.outcome = Outcome(RunState.ERROR)
    noted.note(a_run)
    assert {name: each.count for name, each in measures.running.items()} == {"error": 1}
    assert dict(measures.ended) == {"error": 1}


def test_a_run_that_never_started() -> None:
    measures = Measures()
    noted, a_run = RunMeasures(measures), run()
    noted.note(a_run)
    a_run.outcome = Outcome(RunState.CANCELLED)
    noted.note(a_run)
    assert (measures.waiting.count, dict(measures.running), dict(measures.ended)) == (0, {}, {"cancelled": 1})
