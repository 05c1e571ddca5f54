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

from tests.notebook.live_tabs import LiveTabs
from tests.notebook.messages import (
    Message,
    Output,
    clear,
    display,
    display_ids,
    display_output,
    error,
    error_output,
    messages,
    much,
    names,
    result,
    result_output,
    stream,
    stream_output,
    update,
    words,
)
from tests.notebooks import Cell, cell, shared
from ydoc_exec.ids import CellId
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_limit import SMALLEST_LIMIT, OutputLimit
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

    def __init__(self, tabs: LiveTabs, outputs: list[Output] | None = None, limit: int = 0) -> None:
        self.tabs = tabs
        self.limit = limit
        ran: Cell = {"outputs": outputs or [], "execution_count": 7}
        self.document = shared(*(cell(name, "run()", **ran) for name in (A, B)))
        self.notebook = Notebook(self.document)
        self.reducers = {A: OutputReducer(), B: OutputReducer()}
        self.limits = {A: OutputLimit(limit), B: OutputLimit(limit)}
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
        self.limits[cell_id] = OutputLimit(self.limit)
        self.write(lambda: self.notebook.begin(cell_id))

    def say(self, cell_id: CellId, *steps: Message | None) -> None:
        """The kernel says this, and ``FLUSH`` is when it is written."""
        for step in steps:
            if step is None:
                self.flush(cell_id)
            else:
                self.reducers[cell_id].feed(step)

    def flush(self, cell_id: CellId) -> None:
        self.edit(cell_id, self._take(cell_id))

    def flush_all(self) -> None:
        """Everything of all runs, in one transaction."""
        taken = [
            (A, self.earlier[A].take()),
            (A, self._take(A)),
            (B, self.earlier[B].take()),
            (B, self._take(B)),
        ]
        self.write(lambda: [self.notebook.apply(*each) for each in taken])

    def edit(self, cell_id: CellId, edits: list[Edit]) -> None:
        self.write(lambda: self.notebook.apply(cell_id, edits))

    def late(self, cell_id: CellId, msg: Message) -> None:
        """Something still comes from the run before."""
        self.earlier[cell_id].feed(msg)
        self.edit(cell_id, self.earlier[cell_id].take())

    def finish(self, cell_id: CellId, count: int) -> None:
        self.edit(cell_id, self._take(cell_id) + self.limits[cell_id].last())
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

    def _take(self, cell_id: CellId) -> list[Edit]:
        return self.limits[cell_id].pass_on(self.reducers[cell_id].take())


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
    scene.say(A, *steps)
    scene.finish(A, 8)
    assert scene.shown() == outputs


def test_a_display_is_updated_in_another_cell(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.say(A, display("1", "x"), stream("é"))
    scene.finish(A, 1)
    scene.begin(B)
    scene.say(B, stream("b"), FLUSH, update("2", "x"), stream("c"))
    scene.finish(B, 2)
    assert scene.shown(A) == [display_output("2", True), stream_output("é")]
    assert scene.shown(B) == [stream_output("bc")]


def test_outputs_cleared_by_hand_during_a_run(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.say(A, stream("10%"), FLUSH)
    scene.clear_by_hand(A)
    scene.say(A, stream("\r20%"), FLUSH)
    assert scene.shown() == [stream_output("20%")]


def test_the_run_before_goes_on_printing(tabs: LiveTabs) -> None:
    scene = Scene(tabs)
    scene.begin(A)
    scene.begin(A)
    scene.say(A, stream("10%"), FLUSH)
    scene.late(A, stream("late é"))
    scene.say(A, stream("\r20%"), FLUSH)
    scene.late(A, display("late"))
    scene.say(A, stream("\r30%"), FLUSH)
    # Nothing is lost and tabs agree; that two writers on one line look odd is true of a terminal too.
    assert scene.shown() == [stream_output("10%late é20%"), display_output("late"), stream_output("30%")]


@pytest.mark.parametrize(
    ("before", "edits", "outputs"),
    [
        (
            [display_output("n"), stream_output("old")],
            [ReplaceLast(2, (AppendOutput(display_output("m")), AppendOutput(stream_output("new"))))],
            [display_output("m"), stream_output("new")],
        ),
        (
            [stream_output("a"), display_output("n"), stream_output("old")],
            [ReplaceLast(2, (AppendOutput(display_output("m")), AppendOutput(stream_output("new"))))],
            [stream_output("a"), display_output("m"), stream_output("new")],
        ),
        (
            [stream_output("ab"), display_output("n"), stream_output("old")],
            [ReplaceLast(2, ()), EditTail("stdout", "b", "cd")],
            [stream_output("acd")],
        ),
        (
            [display_output("n"), stream_output("old")],
            [ReplaceLast(1, (AppendOutput(stream_output("new")),))],
            [display_output("n"), stream_output("new")],
        ),
        (
            [stream_output("ab"), display_output("n")],
            [EditTail("stdout", "", "c"), ReplaceLast(2, (AppendOutput(stream_output("d")),))],
            [stream_output("abd")],
        ),
    ],
)
def test_the_last_outputs_are_replaced(
    tabs: LiveTabs, before: list[Output], edits: list[Edit], outputs: list[Output]
) -> None:
    scene = Scene(tabs)
    scene.edit(A, [AppendOutput(output) for output in before])
    scene.edit(A, edits)
    assert scene.shown() == outputs
    # A stream that comes now is for whatever is the last, not for one that is gone.
    scene.edit(A, [AppendOutput(stream_output("z")), AppendOutput(stream_output("z", "stderr"))])
    assert scene.shown()[-1] == stream_output("z", "stderr")


@pytest.mark.parametrize(
    "missed",
    [
        [ReplaceLast(1, ())],
        [AppendOutput(display_output("m")), ReplaceLast(2, ())],
        [ReplaceLast(1, (AppendOutput(stream_output("no", "stderr")),)), ReplaceLast(1, ())],
        [ReplaceLast(1, (AppendOutput(display_output("m")),)), ReplaceLast(1, ())],
    ],
)
def test_a_tab_that_missed_how_a_stream_went(tabs: LiveTabs, missed: list[Edit]) -> None:
    scene = Scene(tabs)
    scene.edit(A, [AppendOutput(display_output("n")), AppendOutput(stream_output("gone"))])
    scene.catch_up()
    for edit in missed:
        scene.edit(A, [edit])
    scene.edit(A, [AppendOutput(stream_output("new"))])
    assert scene.shown() == [display_output("n"), stream_output("new")]


_texts = st.text(alphabet="ab😀\n", max_size=3)
_appended = st.one_of(
    st.builds(lambda text, name: AppendOutput(stream_output(text, name)), _texts, names),
    st.builds(lambda text, display_id: AppendOutput(display_output(text), display_id), words, display_ids),
)
_edits = st.one_of(
    _appended,
    st.builds(EditTail, names, _texts, _texts),
    st.builds(ReplaceLast, st.integers(0, 4), st.lists(_appended, max_size=3).map(tuple)),
    st.builds(ReplaceLast, st.integers(0, 4), st.just(())),
    st.builds(ReplaceDisplay, display_ids, st.fixed_dictionaries({"text/plain": words}), st.just({})),
    st.just(ClearOutputs()),
)

_steps = st.one_of(
    st.tuples(st.just("feed"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.just("feed"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.just("late"), st.sampled_from([A, A, B]), messages),
    st.tuples(st.sampled_from(["flush", "flush", "flush", "begin", "clear"]), st.sampled_from([A, A, B])),
    st.tuples(st.just("late, not yet"), st.sampled_from([A, A, B]), messages),
    st.just(("flush all",)),
    st.just(("catch up",)),
    st.tuples(st.just("edit"), st.sampled_from([A, A, B]), st.lists(_edits, max_size=4)),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(_steps, max_size=40))
def test_any_runs_flushed_anywhere(tabs: LiveTabs, steps: list[tuple[Any, ...]]) -> None:
    play(Scene(tabs, outputs=[stream_output("old")]), steps)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(transactions=st.lists(st.tuples(st.lists(_edits, min_size=1, max_size=4), st.booleans()), max_size=20))
def test_any_edits(tabs: LiveTabs, transactions: list[tuple[list[Edit], bool]]) -> None:
    scene = Scene(tabs)
    for edits, seen_by_all in transactions:
        scene.edit(A, edits)
        if seen_by_all:
            scene.catch_up()
    scene.shown()


_steps_with_much = st.one_of(
    _steps,
    st.tuples(st.just("feed"), st.sampled_from([A, A, B]), much),
    st.tuples(st.just("feed"), st.just(A), much),
    st.just(("flush", A)),
    st.just(("flush", A)),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(_steps_with_much, min_size=10, max_size=40))
def test_any_runs_cut_anywhere(tabs: LiveTabs, steps: list[tuple[Any, ...]]) -> None:
    play(Scene(tabs, limit=SMALLEST_LIMIT), steps)


def play(scene: Scene, steps: list[tuple[Any, ...]]) -> None:
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
            case ("edit", cell_id, edits):
                scene.edit(cell_id, edits)
            case ("begin", cell_id):
                scene.begin(cell_id)
            case ("clear", cell_id):
                scene.clear_by_hand(cell_id)
            case _:
                scene.catch_up()
    scene.finish(A, 8)
    scene.shown()
