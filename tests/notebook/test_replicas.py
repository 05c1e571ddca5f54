"""Whatever is said, however it is cut and whenever it is written, everybody shows the same.

Messages of a real kernel (``tests/corpus``) and any others, of several cells at once, in new runs and after their
end. Streams reach the reducer cut anew, outputs are written at any moment. Judges: the document; open tabs, real
Yjs replicas with JupyterLab's models; and a naive model, which gets the messages as they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_ydoc import YNotebook

from tests.corpus.cases import CASES
from tests.corpus.recording import Recording
from tests.notebook.live_tabs import LiveTabs
from tests.notebook.messages import (
    Message,
    Output,
    clear,
    display,
    error,
    message,
    result,
    stream,
    stream_output,
    update,
)
from tests.notebook.naive_outputs import NaiveOutputs, processed
from tests.notebook.test_terminal import Screen
from ydoc_exec.ids import CellId
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.origin import FromKernel

CELLS = [CellId("a"), CellId("b"), CellId("c")]


@pytest.fixture(scope="module")
def tabs() -> Iterator[LiveTabs]:
    tabs = LiveTabs()
    yield tabs
    tabs.stop()


# What happens, as values


@dataclass(frozen=True)
class Say:
    """The kernel says something of a cell."""

    cell: CellId
    message: Message


@dataclass(frozen=True)
class Begin:
    """The cell is run (again): what still comes of the run before is nobody's."""

    cell: CellId


@dataclass(frozen=True)
class End:
    """The cell's run ends. More of it may come."""

    cell: CellId


Happening = Say | Begin | End


@dataclass
class Performance:
    """The server's part: reducers, the document, and what is sent to two of the tabs."""

    tabs: LiveTabs
    dice: random.Random
    cursor_movement: bool
    document: YNotebook = field(default_factory=YNotebook)
    counts: int = 0

    def __post_init__(self) -> None:
        empty: dict[str, Any] = {"cell_type": "code", "source": "", "metadata": {}, "outputs": []}
        self.document.set(
            {
                "cells": [{**empty, "id": cell, "execution_count": None} for cell in CELLS],
                "metadata": {},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
        self.notebook = Notebook(self.document)
        self.reducers = {cell: self.reducer() for cell in CELLS}
        self.changed: list[CellId] = []
        for tab in ("following", "lagging"):
            self.tabs.open(tab, self.document.ydoc.get_update())
        self.seen = self.document.ydoc.get_state()

    def reducer(self) -> OutputReducer:
        return OutputReducer(cursor_movement=self.cursor_movement)

    def play(self, happening: Happening) -> None:
        cell = happening.cell
        match happening:
            case Begin():
                self.flush(self.changed)
                self.reducers[cell] = self.reducer()
                self.write(lambda: self.notebook.begin(cell))
            case End():
                self.counts += 1
                self.reducers[cell].end()
                self.flush([cell])
                self.write(lambda: self.notebook.finish(cell, self.counts))
            case Say(message=said):
                if "display_id" in (said["content"].get("transient") or {}):
                    # It may be of an output that another run has not written yet.
                    self.flush([other for other in self.changed if other != cell])
                for piece in cut(said, self.dice):
                    self.reducers[cell].feed(piece)
                    if cell not in self.changed:
                        self.changed.append(cell)
                    if self.dice.random() < 0.2:
                        self.flush(self.changed)
        if self.dice.random() < 0.05:
            self.catch_up()

    def flush(self, cells: list[CellId]) -> None:
        edits = [(cell, self.reducers[cell].take()) for cell in cells]
        self.changed = [cell for cell in self.changed if cell not in cells]
        if edits:
            self.write(lambda: [self.notebook.apply(*each) for each in edits])

    def write(self, action: Callable[[], object]) -> None:
        """One transaction. The tab that follows gets it at once."""
        before = self.document.ydoc.get_state()
        with self.document.ydoc.transaction(origin=FromKernel()):
            action()
        self.tabs.apply("following", self.document.ydoc.get_update(before))

    def catch_up(self) -> None:
        """The tab that lags gets all it has missed as one update."""
        self.tabs.apply("lagging", self.document.ydoc.get_update(self.seen))
        self.seen = self.document.ydoc.get_state()

    def outputs(self) -> dict[CellId, list[Output]]:
        """The outputs in the end. Everybody agrees on them, and the notebook is a valid one."""
        for reducer in self.reducers.values():
            reducer.end()
        self.flush(CELLS)
        self.catch_up()
        saved = self.document.get()
        nbformat.validate(saved)
        outputs = {CellId(cell["id"]): cell["outputs"] for cell in saved["cells"]}
        self.tabs.open("late", self.document.ydoc.get_update())
        for tab in ("following", "lagging", "late"):
            report = self.tabs.report(tab)
            for side in ("shared", "cells"):
                shown = {cell: report[side][cell]["outputs"] for cell in CELLS}
                assert shown == outputs, (tab, side)
            self.tabs.close(tab)
        return outputs


def cut(said: Message, dice: random.Random) -> list[Message]:
    """A stream in any number of pieces. Nothing else can be cut."""
    if said["msg_type"] != "stream":
        return [said]
    name, text = said["content"]["name"], said["content"]["text"]
    # Places anywhere, and around the first character that is no plain text, where mistakes would be.
    places = {dice.randint(0, len(text)) for _ in range(dice.choice([0, 0, 1, 2, 5]))}
    special = next((place for place, char in enumerate(text) if not " " <= char <= "~"), None)
    if special is not None and dice.random() < 0.5:
        places |= {special, special + 1}
    edges = [0, *sorted(places), len(text)]
    return [stream(text[a:b], name) for a, b in pairwise(edges)]


# Any of them

# Not those with data that no notebook or no browser can have. What they show is tested with the corpus.
_RECORDINGS = [
    Recording.load(case.name)
    for case in CASES
    if case.name not in ("display_values_that_are_no_text", "display_json_with_unusual_numbers")
]

_TOKENS = ["a", "bc ", "é", "█", "😀", "👩\u200d👧", "e\u0301", "\n", "\n", "\r", "\b", "\r\n", "\x00"]
_SEQUENCES = [
    "\x1b[31m",
    "\x1b[0m",
    "\x1b[A",
    "\x1b[2A",
    "\x1b[B",
    "\x1b[K",
    "\x1b[2K",
    "\x1b[3G",
    "\x1b[",
    "\x1b",
]
_texts = st.lists(st.sampled_from(_TOKENS + _SEQUENCES), max_size=8).map("".join)
_words = st.sampled_from(["one", "zwei é", "😀"])
_ids = st.sampled_from(["x", "y"])
_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(stream, _texts, st.sampled_from(["stdout", "stdout", "stderr"])),
    st.builds(stream, _texts, st.sampled_from(["stdout", "stdout", "stderr"])),
    st.builds(display, _words, st.none() | _ids),
    st.builds(update, _words, _ids),
    st.builds(result, _words),
    st.builds(error, _words),
    st.builds(clear, st.booleans()),
    st.builds(lambda text: message("comm_msg", comm_id="c", data={"text": text}), _words),
)
_cells = st.sampled_from(CELLS)


def _played(recording: Recording, shift: int) -> list[Happening]:
    """A recording, its first cell being the one of that number."""
    happenings: list[Happening] = []
    for number, said in recording.messages():
        cell = CELLS[(number + shift) % len(CELLS)]
        if said["msg_type"] == "execute_input":
            happenings.append(Begin(cell))
        happenings.append(Say(cell, said))
        if said["content"].get("execution_state") == "idle":
            happenings.append(End(cell))
    return happenings


_happenings: st.SearchStrategy[list[Happening]] = st.one_of(
    st.builds(Say, _cells, _messages).map(lambda happening: [happening]),
    st.builds(Say, _cells, _messages).map(lambda happening: [happening]),
    st.one_of(st.builds(Begin, _cells), st.builds(End, _cells)).map(lambda happening: [happening]),
    st.builds(_played, st.sampled_from(_RECORDINGS), st.integers(0, 2)),
)


@st.composite
def _performances(draw: st.DrawFn) -> list[Happening]:
    """Two at a time: each in its order, both in any."""
    sides = [[each for part in draw(st.lists(_happenings, max_size=6)) for each in part] for _ in range(2)]
    dice = random.Random(draw(st.integers(0, 999)))
    merged: list[Happening] = []
    while any(sides):
        side = dice.choice([side for side in sides if side])
        merged.append(side.pop(0))
    return merged


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(happenings=_performances(), seed=st.integers(0, 999), cursor_movement=st.booleans())
def test_everybody_shows_the_same(
    tabs: LiveTabs, happenings: list[Happening], seed: int, cursor_movement: bool
) -> None:
    performance = Performance(tabs, random.Random(seed), cursor_movement)
    naive = NaiveOutputs((lambda raw: Screen(raw).text) if cursor_movement else processed)
    for happening in happenings:
        performance.play(happening)
        match happening:
            case Begin(cell):
                naive.begin(cell)
            case Say(cell, said):
                naive.feed(cell, said)
    assert performance.outputs() == {cell: naive.outputs(cell) for cell in CELLS}


@pytest.mark.parametrize("cursor_movement", [False, True])
def test_characters_of_any_size_split_at_every_place(tabs: LiveTabs, cursor_movement: bool) -> None:
    """Each piece is written by itself: places in a shared text are counted otherwise in Python than in a browser."""
    text = "a📊b日本e\u0301👩‍👧c\n🎉\r🎈d\b📊"
    naive = Screen(text).text if cursor_movement else processed(text)
    for place in range(len(text) + 1):
        performance = Performance(tabs, random.Random(place), cursor_movement)
        for piece in (text[:place], text[place:]):
            performance.reducers[CELLS[0]].feed(stream(piece))
            performance.flush([CELLS[0]])
        assert performance.outputs()[CELLS[0]] == [stream_output(naive)]
