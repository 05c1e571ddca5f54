"""What cells that come back are given, and what of that others have the last word on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycrdt import Array, Map, Text

from tests.notebook.edits import prints, show
from tests.notebook.messages import Output, display_output, stream_output
from tests.notebook.test_notebook import A, Written
from ydoc_exec.notebook.cell_results import CellResults
from ydoc_exec.notebook.edits import AppendOutput, Edit, ReplaceDisplay
from ydoc_exec.notebook.returned_cells import ReturnedCells
from ydoc_exec.origin import FromClient, FromFile, Origin

CLIENT = FromClient(1)
Cell = dict[str, Any]


class Kept(Written):
    """A notebook whose results are remembered, and those who change it."""

    def __init__(self, largest_result: int = 10_000) -> None:
        super().__init__()
        self.results = CellResults(largest_result)
        self.returned = ReturnedCells(self.notebook, self.results)

    def run(self, *edits: Edit, count: int | None = 1) -> None:
        """Cell ``A`` runs; with no count it does not end."""
        self(self.notebook.begin, A)
        self.results.begin(A)
        self.say(*edits)
        if count is not None:
            self(self.notebook.finish, A, count)
            self.results.finish(A, count)

    def say(self, *edits: Edit) -> None:
        self.apply(*edits)
        self.results.apply(A, edits)

    def by(self, origin: Origin, action: Callable[[Array[Any]], object]) -> None:
        def note(target: str, events: Any) -> None:
            if target == "cells":
                self.returned.note(events)

        self.document.observe(note)
        with self.document.ydoc.transaction(origin=origin):
            action(self.document.ycells)
        self.document.unobserve()
        self(self.returned.restore)

    def come_back(self, origin: Origin = CLIENT, **other: Any) -> None:
        """The cell is removed, and then put at the end as another."""
        cell = {**self.saved(), **other}
        self.by(CLIENT, lambda cells: cells.pop(self.notebook.order().index(A)))
        self.by(origin, lambda cells: cells.append(self.document.create_ycell(cell)))

    def saved(self) -> Cell:
        found: Cell = next(cell for cell in self.document.get()["cells"] if cell["id"] == A)
        return found


def foreign(text: str) -> Map[Any]:
    return Map(display_output(text))


OTHER: list[Output] = [stream_output("other")]


def test_it_gets_back_everything_that_was_written() -> None:
    kept = Kept()
    kept.run(prints("1"), show("2", "x"))
    timings = {"shell.execute_reply": "2026-01-02T01:04:05Z"}
    kept(kept.notebook.set_timings, A, timings)
    kept.results.set_timings(A, timings)
    before = kept.saved()
    kept.come_back(outputs=OTHER, execution_count=7, metadata={})
    assert kept.notebook.order()[-1] == A
    assert kept.saved() == before
    assert before["metadata"] == {"trusted": True, "execution": timings}


def test_its_displays_can_be_changed_while_it_is_away_and_when_it_is_back() -> None:
    kept = Kept()
    kept.run(prints("1"), show("2", "x"))
    cell = kept.saved()
    kept.by(CLIENT, lambda cells: cells.pop(0))
    kept.say(ReplaceDisplay("x", {"text/plain": "3"}, {}))
    kept.by(CLIENT, lambda cells: cells.append(kept.document.create_ycell(cell)))
    assert kept.outputs() == [stream_output("1"), display_output("3")]
    kept.say(ReplaceDisplay("x", {"text/plain": "4"}, {}))
    assert kept.outputs() == [stream_output("1"), display_output("4")]


def test_a_copy_that_is_right_is_not_written_but_for_its_displays() -> None:
    kept = Kept()
    kept.run(prints("1"), show("2", "x"))
    cell = kept.saved()
    kept.by(CLIENT, lambda cells: cells.pop(0))
    kept.say(show("3"))
    kept.by(CLIENT, lambda cells: cells.append(kept.document.create_ycell(cell)))
    assert kept.unwritten(lambda: kept.notebook.restore(A, kept.results[A]))
    kept.come_back(outputs=[*cell["outputs"], display_output("3")])
    kept.say(ReplaceDisplay("x", {"text/plain": "4"}, {}))
    assert kept.outputs()[1:] == [display_output("4"), display_output("3")]


def test_a_cell_that_runs_goes_on_where_it_is() -> None:
    kept = Kept()
    kept.run(prints("1"), count=None)
    kept.come_back(outputs=OTHER)
    kept.say(prints("2"))
    assert kept.outputs() == [stream_output("12")]
    assert kept.ycell()["execution_state"] == "running"


def test_outputs_that_a_client_cleared_stay_away() -> None:
    kept = Kept()
    kept.run(prints("1"))

    def clear(cells: Array[Any]) -> None:
        cells[0]["outputs"].clear()
        cells[0]["execution_count"] = None

    kept.by(CLIENT, clear)
    kept.come_back(outputs=OTHER, execution_count=7)
    assert (kept.saved()["outputs"], kept.saved()["execution_count"]) == ([], None)


def test_a_count_that_a_client_cleared_stays_away() -> None:
    kept = Kept()
    kept.run()
    kept.by(CLIENT, lambda cells: cells[0].update({"execution_count": None}))
    kept.come_back(execution_count=7)
    assert kept.saved()["execution_count"] is None


def test_a_cell_that_runs_has_what_came_after_it_was_cleared() -> None:
    kept = Kept()
    kept.run(prints("1"), count=None)
    kept.by(CLIENT, lambda cells: cells[0]["outputs"].clear())
    kept.say(prints("2"))
    kept.come_back(outputs=OTHER)
    assert kept.outputs() == [stream_output("2")]


def test_outputs_that_a_client_made_are_left_alone() -> None:
    kept = Kept()
    kept.run()
    kept.by(CLIENT, lambda cells: cells[0]["outputs"].append(foreign("mine")))
    kept.come_back(outputs=OTHER)
    assert kept.outputs() == OTHER


def test_an_execution_that_a_client_made_is_left_alone() -> None:
    """All at once, as after it was offline: there are as many outputs as before."""
    kept = Kept()
    kept.run(prints("1"))

    def execute(cells: Array[Any]) -> None:
        cells[0]["outputs"].clear()
        cells[0]["outputs"].append(foreign("mine"))
        cells[0]["execution_count"] = 9

    kept.by(CLIENT, execute)
    kept.come_back(outputs=OTHER, execution_count=10)
    assert (kept.saved()["outputs"], kept.saved()["execution_count"]) == (OTHER, 10)


def test_what_a_renderer_made_of_an_output_stays_while_the_cell_does() -> None:
    kept = Kept()
    kept.run(show("1"))

    def render(cells: Array[Any]) -> None:
        cells[0]["outputs"][0] = foreign("1 as a picture")

    kept.by(CLIENT, render)
    assert kept.outputs() == [display_output("1 as a picture")]
    kept.come_back()
    assert kept.outputs() == [display_output("1")]


def test_what_the_file_brings_counts() -> None:
    kept = Kept()
    kept.run(prints("1"))
    kept.by(FromFile(), lambda cells: cells[0]["outputs"].append(foreign("of the file")))
    kept.come_back(outputs=OTHER)
    assert kept.outputs() == OTHER
    kept.run(prints("1"))
    kept.come_back(FromFile(), outputs=OTHER)
    assert kept.outputs() == OTHER


def test_the_file_does_not_change_what_runs() -> None:
    kept = Kept()
    kept.run(prints("1"), count=None)
    kept.come_back(FromFile(), outputs=OTHER)
    assert kept.outputs() == [stream_output("1")]
    assert kept.ycell()["execution_state"] == "running"


def test_a_type_that_is_changed_there_and_back_leaves_nothing() -> None:
    kept = Kept()
    kept.run(prints("1"))
    kept.come_back(cell_type="markdown")
    kept.come_back(cell_type="code", outputs=[], execution_count=None)
    assert kept.outputs() == []
    kept.come_back(outputs=OTHER)
    assert kept.outputs() == OTHER


def test_a_cell_that_was_text_and_comes_back_with_its_outputs() -> None:
    kept = Kept()
    kept.run(prints("1"))
    kept.come_back(cell_type="markdown")
    kept.come_back(cell_type="code", outputs=OTHER, execution_count=None)
    assert kept.outputs() == [stream_output("1")]
    # From now on it is a code cell again.
    kept.come_back(outputs=[], execution_count=None)
    assert kept.outputs() == [stream_output("1")]


def test_a_cell_that_runs_is_not_emptied_by_changing_its_type() -> None:
    kept = Kept()
    kept.run(prints("1"), count=None)
    kept.come_back(cell_type="markdown")
    kept.come_back(cell_type="code", outputs=[], execution_count=None)
    assert kept.outputs() == [stream_output("1")]


def test_of_too_much_output_only_the_state_comes_back() -> None:
    kept = Kept(largest_result=1000)
    kept.run(prints("1" * 2000), count=None)
    kept.come_back(outputs=OTHER, execution_count=7, metadata={"trusted": False})
    assert kept.ycell()["execution_state"] == "running"
    assert (kept.saved()["outputs"], kept.saved()["execution_count"]) == (OTHER, 7)
    assert kept.saved()["metadata"] == {"trusted": False}


def test_what_the_server_writes_itself_leaves_nothing_to_do() -> None:
    kept = Kept()
    kept.run(prints("1"))
    noted: list[bool] = []
    kept.document.observe(lambda target, events: noted.append(kept.returned.note(events)))
    kept.run(prints("2"), show("3"))
    assert noted
    assert not any(noted)


def test_a_cell_that_ran_in_an_earlier_life_is_idle() -> None:
    kept = Kept()
    cell = {**kept.saved(), "outputs": OTHER}
    kept.by(CLIENT, lambda cells: cells.pop(kept.notebook.order().index(A)))

    def bring_back(cells: Array[Any]) -> None:
        cells.append(kept.document.create_ycell(cell))
        cells[-1]["execution_state"] = "running"

    kept.by(CLIENT, bring_back)
    found = kept.document.ycells[-1].to_py()
    assert (found["id"], found["execution_state"], found["outputs"]) == (A, "idle", OTHER)


def test_cells_that_never_ran_are_left_alone() -> None:
    kept = Kept()
    kept.come_back(outputs=OTHER, execution_count=7, metadata={"trusted": False})
    assert (kept.saved()["outputs"], kept.saved()["execution_count"]) == (OTHER, 7)
    assert kept.saved()["metadata"] == {"trusted": False}


def test_nothing_that_clients_put_there_raises() -> None:
    kept = Kept()
    kept.run(prints("1"))

    def nonsense(cells: Array[Any]) -> None:
        del cells[:]
        cells.extend([5, Map(), Array([1]), Text("text")])
        cells.append(Map({"id": A, "cell_type": "code", "outputs": 3, "metadata": 4}))

    kept.by(CLIENT, nonsense)
    result = kept.notebook.result(A)
    assert result is not None
    assert result.outputs == kept.results[A].outputs == (AppendOutput(stream_output("1")),)
    kept.by(CLIENT, lambda cells: cells[2].append(2))
    kept.by(CLIENT, lambda cells: cells[3].insert(0, "a "))
    kept.by(CLIENT, lambda cells: cells[1].update({"execution_count": 2}))
    kept.by(CLIENT, lambda cells: cells[4]["outputs"].insert(0, 7))
    assert kept.document.ycells[4]["outputs"].to_py() == [7, stream_output("1")]
