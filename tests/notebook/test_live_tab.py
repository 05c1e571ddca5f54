"""What an open JupyterLab tab shows while a cell runs: its real models, fed with our updates.

A tab that follows, a tab that lags (several transactions reach it as one update, as after a lost connection)
and a tab that is opened afterwards must show the same: what the document says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_ydoc import YNotebook

from tests.notebook.live_tabs import LiveTabs
from tests.notebook.messages import (
    Message,
    Output,
    clear,
    display,
    display_output,
    error,
    error_output,
    messages,
    result,
    result_output,
    stream,
    stream_output,
    update,
)
from ydoc_exec.ids import CellId
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.origin import FromKernel

A, B = CellId("a"), CellId("b")
FLUSH = None


@pytest.fixture(scope="module")
def tabs() -> Iterator[LiveTabs]:
    tabs = LiveTabs()
    yield tabs
    tabs.stop()


class Scene:
    """A notebook of two cells, the runs of both, and two tabs that look on."""

    def __init__(self, tabs: LiveTabs, outputs: list[Output] | None = None) -> None:
        self.tabs = tabs
        self.document = YNotebook()
        self.document.set(
            {
                "cells": [
                    {
                        "cell_type": "code",
                        "id": cell_id,
                        "source": "run()",
                        "metadata": {},
                        "outputs": outputs or [],
                        "execution_count": 7,
                    }
                    for cell_id in (A, B)
                ],
                "metadata": {},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
        self.notebook = Notebook(self.document)
        self.reducers = {A: OutputReducer(), B: OutputReducer()}
        self.earlier = {A: OutputReducer(), B: OutputReducer()}  # threads of the run before can still print
        for tab in ("following", "lagging"):
            tabs.open(tab, self.document.ydoc.get_update())
        self.seen = self.document.ydoc.get_state()

    def write(self, action: Callable[[], Any]) -> None:
        """One transaction; the following tab gets it at once."""
        before = self.document.ydoc.get_state()
        with self.document.ydoc.transaction(origin=FromKernel()):
            action()
        # Of deletions alone the state vector knows nothing, so the update is always sent.
        self.tabs.apply("following", self.document.ydoc.get_update(before))

    def begin(self, cell_id: CellId) -> None:
        self.earlier[cell_id] = self.reducers[cell_id]
        self.reducers[cell_id] = OutputReducer()
        self.write(lambda: self.notebook.begin(cell_id))

    def flush(self, cell_id: CellId) -> None:
        self._apply(cell_id, self.reducers[cell_id])

    def flush_all(self) -> None:
        """Everything of all runs, in one transaction."""
        runs = [(A, self.earlier[A]), (A, self.reducers[A]), (B, self.earlier[B]), (B, self.reducers[B])]
        taken = [(cell_id, reducer.take()) for cell_id, reducer in runs]
        self.write(lambda: [self.notebook.apply(*each) for each in taken])

    def late(self, cell_id: CellId, msg: Message) -> None:
        """Something still comes from the run before."""
        self.earlier[cell_id].feed(msg)
        self._apply(cell_id, self.earlier[cell_id])

    def finish(self, cell_id: CellId, count: int) -> None:
        self.flush(cell_id)
        self.write(lambda: self.notebook.finish(cell_id, count))

    def clear_by_hand(self, cell_id: CellId) -> None:
        """What "Clear Cell Output" does, in a tab that is not one of ours."""
        outputs = self.document.ycells[self.notebook.order().index(cell_id)]["outputs"]
        self.write(lambda: outputs.clear())

    def catch_up(self) -> None:
        """The lagging tab gets all it has missed as one update."""
        self.tabs.apply("lagging", self.document.ydoc.get_update(self.seen))
        self.seen = self.document.ydoc.get_state()

    def shown(self, cell_id: CellId = A) -> list[Output]:
        """The outputs of the cell, after making sure that everybody agrees on them."""
        self.catch_up()
        self.tabs.open("late", self.document.ydoc.get_update())
        late = self.tabs.report("late")
        self.tabs.close("late")
        expected = {
            cell["id"]: {
                "outputs": cell["outputs"],
                "execution_count": cell["execution_count"],
                "execution_state": ycell["execution_state"],
            }
            for cell, ycell in zip(self.document.get()["cells"], self.document.ycells, strict=True)
        }
        assert late["shared"] == expected
        assert late["cells"] == expected
        for tab in ("following", "lagging"):
            report = self.tabs.report(tab)
            assert report["shared"] == expected, tab
            assert report["cells"] == expected, tab
        outputs: list[Output] = expected[cell_id]["outputs"]
        return outputs

    # Private

    def _apply(self, cell_id: CellId, reducer: OutputReducer) -> None:
        edits = reducer.take()
        self.write(lambda: self.notebook.apply(cell_id, edits))


@pytest.mark.parametrize(
    ("steps", "outputs"),
    [
        ([stream("a"), FLUSH, stream("b\n"), FLUSH, stream("c")], [stream_output("ab\nc")]),
        ([stream("\r1%"), FLUSH, stream("\r2%"), FLUSH, stream("\r30%")], [stream_output("30%")]),
        ([stream("é 1%"), FLUSH, stream("\ré 2%"), FLUSH, stream("\r█ 2%")], [stream_output("█ 2%")]),
        ([stream("😀😀"), FLUSH, stream("\b🚀"), FLUSH, stream("\r🚀")], [stream_output("🚀🚀")]),
        ([stream("abc"), FLUSH, stream("\b\b\b"), FLUSH, stream("d")], [stream_output("d")]),
        (
            [
                stream("1"),
                FLUSH,
                stream("2", "stderr"),
                stream("3"),
                FLUSH,
                stream("4"),
                stream("5", "stderr"),
            ],
            [
                stream_output("1"),
                stream_output("2", "stderr"),
                stream_output("34"),
                stream_output("5", "stderr"),
            ],
        ),
        (
            [step for n in range(5) for step in (clear(wait=True), stream(f"{n}😀\n"), FLUSH)],
            [stream_output("4😀\n")],
        ),
        (
            [step for n in range(5) for step in (clear(wait=True), display(f"{n}"), stream("x"), FLUSH)],
            [display_output("4"), stream_output("x")],
        ),
        (
            [display("1", "x"), stream("é"), display("2"), FLUSH, update("3", "x"), FLUSH, stream("z")],
            [display_output("3", True), stream_output("é"), display_output("2"), stream_output("z")],
        ),
        (
            [
                stream("a"),
                display("1", "x"),
                stream("b"),
                FLUSH,
                stream("c"),
                update("2", "x"),
                stream("d\r"),
            ],
            [stream_output("a"), display_output("2", True), stream_output("bcd")],
        ),
        (
            [display("1", "x"), stream("b"), FLUSH, update("2", "x"), stream("\rc"), display("3", "x")],
            [display_output("3"), stream_output("c"), display_output("3")],
        ),
        (
            [stream("a"), FLUSH, stream("b"), result("1", 8), FLUSH],
            [stream_output("ab"), result_output("1", 8)],
        ),
        ([stream("a"), error("E")], [stream_output("a"), error_output("E")]),
        ([stream("a"), FLUSH, clear(), FLUSH], []),
    ],
)
def test_a_run(tabs: LiveTabs, steps: list[Message | None], outputs: list[Output]) -> None:
    scene = Scene(tabs, outputs=[stream_output("of the last run"), display_output("é")])
    scene.begin(A)
    for step in steps:
        if step is FLUSH:
            scene.flush(A)
        else:
            scene.reducers[A].feed(step)
    scene.finish(A, 8)
    assert scene.shown() == outputs


def test_a_display_is_updated_in_another_cell(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.reducers[A].feed(display("1", "x"))
    scene.reducers[A].feed(stream("é"))
    scene.finish(A, 1)
    scene.begin(B)
    scene.reducers[B].feed(stream("b"))
    scene.flush(B)
    scene.reducers[B].feed(update("2", "x"))
    scene.reducers[B].feed(stream("c"))
    scene.finish(B, 2)
    assert scene.shown(A) == [display_output("2", True), stream_output("é")]
    assert scene.shown(B) == [stream_output("bc")]


def test_outputs_cleared_by_hand_during_a_run(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.reducers[A].feed(stream("10%"))
    scene.flush(A)
    scene.clear_by_hand(A)
    scene.reducers[A].feed(stream("\r20%"))
    scene.flush(A)
    assert scene.shown() == [stream_output("20%")]


def test_the_run_before_goes_on_printing(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.begin(A)
    scene.reducers[A].feed(stream("10%"))
    scene.flush(A)
    scene.late(A, stream("late é"))
    scene.reducers[A].feed(stream("\r20%"))
    scene.flush(A)
    scene.late(A, display("late"))
    scene.reducers[A].feed(stream("\r30%"))
    scene.flush(A)
    # Nothing is lost and tabs agree; that two writers on one line look odd is true of a terminal too.
    assert scene.shown() == [stream_output("10%late é20%"), display_output("late"), stream_output("30%")]


_steps = st.one_of(
    st.tuples(st.just("feed"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.just("feed"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.just("late"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.sampled_from(["flush", "flush", "flush", "begin", "clear"]), st.sampled_from([A, A, B])),
    st.tuples(st.just("late, not yet"), st.sampled_from([A, A, B]), messages),
    st.just(("flush all",)),
    st.just(("catch up",)),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(_steps, max_size=40))
def test_any_runs_flushed_anywhere(tabs: LiveTabs, steps: list[tuple[Any, ...]]) -> None:
    scene = Scene(tabs, outputs=[stream_output("old")])
    for step in steps:
        match step:
            case ("feed", cell_id, msg):
                scene.reducers[cell_id].feed(msg)
            case ("flush", cell_id):
                scene.flush(cell_id)
            case ("late", cell_id, msg):
                scene.late(cell_id, msg)
            case ("late, not yet", cell_id, msg):
                scene.earlier[cell_id].feed(msg)
            case ("flush all",):
                scene.flush_all()
            case ("begin", cell_id):
                scene.begin(cell_id)
            case ("clear", cell_id):
                scene.clear_by_hand(cell_id)
            case _:
                scene.catch_up()
    scene.finish(A, 8)
    scene.shown()
