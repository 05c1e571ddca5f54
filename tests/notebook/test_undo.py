"""Undoing in a tab takes back what its user did, and nothing that the server wrote.

Real tabs with Yjs's own history of undoing, as JupyterLab sets it up: one for the cells and one in each, or one for all
(its setting ``documentWideUndoRedo``). Clearing outputs is no part of it in JupyterLab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.notebook.live_tabs import LiveTabs
from tests.notebook.messages import Message, Output, display, display_output, stream, stream_output
from tests.notebooks import Cell, cell, shared
from ydoc_exec.documents.notebook_target import NotebookTarget, Place
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import CellId, KernelId, RoomId, RunId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.origin import FromClient, Origin
from ydoc_exec.room.room import Room

ROOM = RoomId("json", "notebook", "a.ipynb")
A, B, NEW = CellId("a"), CellId("b"), CellId("new")
OLD = [stream_output("old")]

in_both_ways = pytest.mark.parametrize(
    "document_wide", [True, False], ids=["one history", "a history in each cell"]
)


@pytest.fixture(scope="module")
def tabs() -> Iterator[LiveTabs]:
    tabs = LiveTabs()
    yield tabs
    tabs.stop()


class Scene:
    """A notebook of two cells that were run once, a tab whose user acts, and one that looks on."""

    def __init__(self, tabs: LiveTabs, document_wide: bool) -> None:
        self.tabs = tabs
        ran: Cell = {"metadata": {"trusted": True}, "outputs": OLD, "execution_count": 7}
        self.document = shared(*(cell(name, f"{name}()", **ran) for name in (A, B)))
        self.room = Room("a notebook", self.document.ydoc, backlog=2**20)
        self.target = NotebookTarget(ROOM, lambda: None)
        self.target.attach(Place(self.room, Notebook(self.document), *[lambda: None] * 5))
        self.count = 7
        self.runs: dict[CellId, Run] = {}
        self.reducer = OutputReducer()
        self.came: dict[CellId, dict[str, Any]] = {}
        tabs.open("acting", self.document.ydoc.get_update(), document_wide)
        tabs.open("watching", self.document.ydoc.get_update())

    def act(self, *action: str | int) -> None:
        """The user does something, and everybody gets it. ``came`` is what the server got to see."""
        update = self.tabs.act("acting", *action)
        if update is not None:
            self.change(FromClient(1), lambda: self.document.ydoc.apply_update(update))

    def change(self, origin: Origin, action: Callable[[], object]) -> None:
        """Somebody else changes the document, and everybody gets it."""

        def note(target: str, event: Any) -> None:
            if target == "cells":
                self.target.note(event)

        def write() -> None:
            with self.room.writing(origin):
                action()

        self.document.observe(note)
        self._write(write)
        self.document.unobserve()
        self.came = {
            CellId(one["id"]): {**one, "state": ycell.get("execution_state") or "idle"}
            for one, ycell in zip(self.document.get()["cells"], self.document.ycells, strict=True)
        }
        self._write(self.target.restore)

    def begin(self, cell: CellId) -> None:
        self.reducer = OutputReducer()
        run = self.runs[cell] = Run(
            id=RunId(f"run {self.count}"),
            kernel=KernelId("kernel"),
            room=ROOM,
            cell=cell,
            source="",
            user="ada",
            seq=self.count,
        )
        self._write(lambda: self.target.queued([run]))

    def say(self, cell: CellId, message: Message) -> None:
        self.reducer.feed(message)
        output = RunOutput(self.runs[cell], self.reducer.take())
        self._write(lambda: self.target.edit([output]))

    def finish(self, cell: CellId) -> None:
        self.count += 1
        self.runs[cell].outcome = Outcome(RunState.OK, execution_count=self.count)
        self._write(lambda: self.target.ended([Ended(self.runs[cell], [])]))

    def run(self, cell: CellId, text: str) -> None:
        """A whole run that prints and displays."""
        self.begin(cell)
        self.say(cell, stream(f"{text[0]}\n"))
        self.say(cell, stream(f"{text}"))
        self.say(cell, display(text))
        self.finish(cell)

    def cells(self) -> dict[CellId, dict[str, Any]]:
        """The cells from top to bottom. Everybody agrees on them."""
        saved = self.document.get()["cells"]
        for tab in ("acting", "watching"):
            report = self.tabs.report(tab)
            assert report["order"] == [cell["id"] for cell in saved], tab
            for one in saved:
                if one["cell_type"] == "code":
                    for side in ("shared", "cells"):
                        shown = report[side][one["id"]]
                        assert shown["outputs"] == one["outputs"], (tab, side)
                        assert shown["execution_count"] == one["execution_count"], (tab, side)
        return {
            CellId(one["id"]): {**one, "state": ycell.get("execution_state") or "idle"}
            for one, ycell in zip(saved, self.document.ycells, strict=True)
        }

    def cell(self, cell: CellId) -> tuple[str, list[Output], int | None, str | None]:
        """What it says: source, outputs, count and state."""
        found = self.cells()[cell]
        return found["source"], found["outputs"], found["execution_count"], found["state"]

    # Private

    def _write(self, action: Callable[[], object]) -> None:
        before = self.document.ydoc.get_state()
        action()
        for tab in ("acting", "watching"):
            self.tabs.apply(tab, self.document.ydoc.get_update(before))


def shown(text: str) -> list[Output]:
    """What ``Scene.run`` puts out."""
    return [stream_output(f"{text[0]}\n{text}"), display_output(text)]


@in_both_ways
def test_typing_in_a_cell_that_ran(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.act("type", A, 0, 0, "x")
    scene.run(A, "one")
    scene.act("type", A, 0, 1, "yz")
    assert scene.cell(A) == ("yza()", shown("one"), 8, "idle")
    scene.act("undoTyping", A)
    scene.act("undoTyping", A)
    assert scene.cell(A) == ("a()", shown("one"), 8, "idle")
    scene.act("redoTyping", A)
    scene.act("redoTyping", A)
    assert scene.cell(A) == ("yza()", shown("one"), 8, "idle")


@in_both_ways
def test_typing_before_and_between_two_runs(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.act("type", A, 0, 0, "x")
    scene.run(A, "one")
    scene.act("type", A, 0, 0, "y")
    scene.run(A, "two")
    for _ in range(3):
        scene.act("undoTyping", A)
    assert scene.cell(A) == ("a()", shown("two"), 9, "idle")
    for _ in range(3):
        scene.act("redoTyping", A)
    assert scene.cell(A) == ("yxa()", shown("two"), 9, "idle")


@in_both_ways
def test_typing_while_the_cell_runs(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.begin(A)
    scene.act("type", A, 0, 0, "x")
    scene.say(A, stream("1%"))
    scene.act("undoTyping", A)
    scene.say(A, stream("\r2%"))
    scene.act("redoTyping", A)
    scene.say(A, stream("\r3%"))
    assert scene.cell(A) == ("xa()", [stream_output("3%")], None, "running")
    scene.act("undoTyping", A)
    scene.finish(A)
    assert scene.cell(A) == ("a()", [stream_output("3%")], 8, "idle")


@in_both_ways
def test_outputs_cleared_before_a_run_stay_away(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.act("type", A, 0, 0, "x")
    scene.act("clear", A)
    assert scene.cell(A) == ("xa()", [], None, "idle")
    scene.act("type", A, 0, 0, "y")
    scene.run(A, "one")
    for action in ("undoTyping", "undoTyping", "undoTyping"):
        scene.act(action, A)
    scene.act("undo")
    assert scene.cell(A) == ("a()", shown("one"), 8, "idle")


@in_both_ways
def test_adding_a_cell_that_ran(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.act("insert", 1, NEW, "new()")
    scene.run(NEW, "one")
    scene.run(NEW, "two")
    scene.act("undo")
    assert list(scene.cells()) == [A, B]
    scene.act("redo")
    assert list(scene.cells()) == [A, NEW, B]
    assert scene.cell(NEW) == ("new()", shown("two"), 9, "idle")
    scene.run(NEW, "three")
    assert scene.cell(NEW) == ("new()", shown("three"), 10, "idle")


@in_both_ways
def test_removing_a_cell_that_ran(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.run(A, "one")
    scene.act("remove", A)
    scene.run(B, "two")
    scene.act("undo")
    assert scene.cell(A) == ("a()", shown("one"), 8, "idle")
    scene.run(A, "three")
    scene.act("redo")
    scene.act("undo")
    assert scene.cell(A) == ("a()", shown("three"), 10, "idle")
    assert scene.cell(B) == ("b()", shown("two"), 9, "idle")


# Cells that come back


@in_both_ways
def test_moving_back_a_cell_that_ran_again(tabs: LiveTabs, document_wide: bool) -> None:
    """A move is a removal and a copy, in JupyterLab; undoing it brings back the original."""
    scene = Scene(tabs, document_wide)
    scene.run(A, "one")
    scene.act("move", A, 1)
    scene.run(A, "two")
    scene.act("undo")
    assert scene.cell(A) == ("a()", shown("two"), 9, "idle")


@in_both_ways
def test_changing_back_the_type_of_a_cell_that_ran_again(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.run(A, "one")
    scene.act("setType", A, "markdown")
    scene.act("setType", A, "code")
    scene.run(A, "two")
    scene.act("undo")
    scene.act("undo")
    assert scene.cell(A) == ("a()", shown("two"), 9, "idle")


@in_both_ways
def test_a_removed_cell_that_ended_meanwhile(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.begin(A)
    scene.say(A, stream("1"))
    scene.act("remove", A)
    scene.say(A, stream("2"))
    scene.finish(A)
    scene.act("undo")
    assert scene.cell(A) == ("a()", [stream_output("12")], 8, "idle")


@in_both_ways
def test_a_removed_cell_that_comes_back_while_it_runs(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.begin(A)
    scene.say(A, stream("1"))
    scene.act("remove", A)
    scene.say(A, stream("2"))
    scene.act("undo")
    scene.say(A, stream("3"))
    scene.finish(A)
    assert scene.cell(A) == ("a()", [stream_output("123")], 8, "idle")


@in_both_ways
def test_a_cell_that_is_moved_while_output_is_on_its_way(tabs: LiveTabs, document_wide: bool) -> None:
    """The tab copies what it has, which is not all there is."""
    scene = Scene(tabs, document_wide)
    scene.begin(A)
    scene.say(A, stream("1"))
    moved = tabs.act("acting", "move", A, 1)
    assert moved is not None
    scene.say(A, stream("2"))
    scene.say(A, display("3"))
    scene.change(FromClient(1), lambda: scene.document.ydoc.apply_update(moved))
    scene.say(A, stream("4"))
    everything = [stream_output("12"), display_output("3"), stream_output("4")]
    assert list(scene.cells()) == [B, A]
    assert scene.cell(A) == ("a()", everything, None, "running")
    scene.finish(A)
    assert scene.cell(A) == ("a()", everything, 8, "idle")


@in_both_ways
def test_outputs_cleared_after_a_move_stay_away(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.run(A, "one")
    scene.act("move", A, 1)
    scene.act("clear", A)
    scene.act("undo")
    assert list(scene.cells()) == [A, B]
    assert scene.cell(A) == ("a()", [], None, "idle")


@in_both_ways
def test_changing_the_type_there_and_back_empties_a_cell(tabs: LiveTabs, document_wide: bool) -> None:
    scene = Scene(tabs, document_wide)
    scene.run(A, "one")
    scene.act("setType", A, "markdown")
    scene.act("setType", A, "code")
    assert scene.cell(A) == ("a()", [], None, "idle")
    scene.act("move", A, 1)
    assert scene.cell(A) == ("a()", [], None, "idle")


@in_both_ways
def test_undoing_a_change_of_type_that_was_made_while_the_cell_ran(
    tabs: LiveTabs, document_wide: bool
) -> None:
    scene = Scene(tabs, document_wide)
    scene.begin(A)
    scene.act("setType", A, "markdown")
    scene.finish(A)
    scene.act("undo")
    assert scene.cell(A) == ("a()", [], 8, "idle")


_cells = st.integers(0, 4)
_acts = st.one_of(
    st.tuples(st.sampled_from(["run", "begin", "say", "finish"]), _cells),
    st.tuples(st.sampled_from(["remove", "move", "setType", "clear"]), _cells),
    st.tuples(st.sampled_from(["type", "undoTyping", "redoTyping"]), _cells),
    st.tuples(st.sampled_from(["undo", "redo", "insert"]), _cells),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(_acts, max_size=25), document_wide=st.booleans())
def test_whatever_is_undone_outputs_are_as_the_server_wrote_them(
    tabs: LiveTabs, acts: list[tuple[str, int]], document_wide: bool
) -> None:
    """Cells are moved, removed and made text, and come back, while they run and after."""
    scene = Scene(tabs, document_wide)
    # What each cell has to show, of those of which the server can know it.
    results: dict[CellId, tuple[list[Output], int | None]] = {A: (OLD, 7), B: (OLD, 7)}
    types: dict[CellId, str] = {}
    running: CellId | None = None

    def finish() -> None:
        nonlocal running
        if running is not None:
            scene.finish(running)
            results[running] = (results[running][0], scene.count)
            running = None

    for number, (act, which) in enumerate(acts):
        found = scene.cells()
        ids = list(found)
        types.update({cell: found[cell]["cell_type"] for cell in found})
        cell = ids[which % len(ids)]
        is_code = types[cell] == "code"
        match act:
            case "begin" if is_code:
                finish()
                scene.begin(cell)
                running, results[cell] = cell, ([], None)
            case "say" if running is not None:
                scene.say(running, display(f"{number}"))
                results[running][0].append(display_output(f"{number}"))
            case "finish":
                finish()
            case "run" if is_code:
                finish()
                scene.run(cell, f"{number}")
                results[cell] = (shown(f"{number}"), scene.count)
            case "clear" if is_code:
                finish()  # JupyterLab makes the cell idle
                scene.act("clear", cell)
                if cell in scene.runs:
                    if cell in results:
                        results[cell] = ([], None)
                else:
                    results.pop(cell, None)
            case "type":
                scene.act("type", cell, 0, 0, f"{number} ")
            case "undoTyping" | "redoTyping" if not document_wide:
                scene.act(act, cell)
            case "insert":
                scene.act("insert", which % len(ids), f"cell-{number}", "")
                results[CellId(f"cell-{number}")] = ([], None)
            case "remove" if len(ids) > 1:
                scene.act("remove", cell)
            case "move":
                scene.act("move", cell, (number + which) % len(ids))
            case "setType":
                scene.act("setType", cell, "markdown" if is_code else "code")
            case "undo" | "redo":
                scene.act(act)
        for cell, now in scene.cells().items():
            if now["cell_type"] != "code":
                continue
            came = scene.came.get(cell, {})
            was_text = types.get(cell) == "markdown" and cell != running
            is_blank = not came.get("outputs") and came.get("execution_count") is None
            if was_text and is_blank and came["state"] == "idle":
                # As when its type is changed back by hand. One that says that it runs was brought back by an undo.
                results.pop(cell, None)
                assert (now["outputs"], now["execution_count"]) == ([], None)
            if cell in results:
                assert (now["outputs"], now["execution_count"]) == results[cell]
            assert now["state"] == ("running" if cell == running else "idle"), cell
