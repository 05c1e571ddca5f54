"""What others type into a cell that a client moves or removes, and had not seen or do not know yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from anyio import Event, fail_after
from anyio.lowlevel import checkpoint
from pycrdt import UndoManager

from tests.documents.conftest import ROOM, Site, Tab, sources
from tests.documents.test_replaced_cells import AB, add
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[tuple[OpenDocument, Tab, Tab]]:
    site.write(AB)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        one, other = Tab(), Tab()
        await one.come_to(document)
        await other.come_to(document)
        yield document, one, other


async def everywhere(document: OpenDocument, expected: list[str], *tabs: Tab) -> None:
    """Wait until all have these texts; meanwhile the tabs answer what they are asked."""
    with fail_after(10):
        while not all(each == expected for each in (sources(document), *(tab.sources for tab in tabs))):
            for tab in tabs:
                await tab.flush()
            await checkpoint()


def move(tab: Tab, kind: str = "code") -> None:
    """Move the second cell to the top as JupyterLab does: remove it, and insert a copy of what this tab has."""
    with tab.doc.transaction():
        copy = tab.notebook.get_cell(1) | {"cell_type": kind}
        copy["id"] = tab.ids[1]
        if kind != "code":
            copy.pop("outputs", None), copy.pop("execution_count", None)
        del tab.notebook.ycells[1]
        tab.notebook.ycells.insert(0, tab.notebook.create_ycell(copy))


def remove(tab: Tab) -> None:
    del tab.notebook.ycells[1]


@pytest.mark.parametrize("kind", ["code", "markdown"])
async def test_what_had_not_arrived_is_in_the_moved_cell(site: Site, kind: str) -> None:
    async with opened(site) as (document, one, other):
        one.reading = Event()
        add(other, "b", "!")
        await other.flush()
        await until(lambda: sources(document) == ["one", "two!"])
        move(one, kind)
        await one.flush()
        one.reading.set()
        await everywhere(document, ["two!", "one"], one, other)
        assert [each["cell_type"] for each in one.notebook.ycells] == [kind, "code"]


async def test_text_of_any_script_and_what_both_typed(site: Site) -> None:
    async with opened(site) as (document, one, other):
        add(one, "b", " 가🌁")
        await one.flush()
        await everywhere(document, ["one", "two 가🌁"], one, other)
        one.reading = Event()
        add(other, "b", "𠀀万")
        await other.flush()
        await until(lambda: sources(document)[1].endswith("万"))
        add(one, "b", "Ж")
        move(one)
        await one.flush()
        one.reading.set()
        await until(lambda: sources(document)[0] in ("two 가🌁𠀀万Ж", "two 가🌁Ж𠀀万"))
        await everywhere(document, sources(document), one, other)


@pytest.mark.parametrize(
    ("act", "expected"), [(move, ["two!", "one"]), (remove, ["one", "two!"])], ids=["moved", "removed"]
)
async def test_what_is_typed_by_who_does_not_know_yet(
    site: Site, act: Callable[[Tab], None], expected: list[str]
) -> None:
    async with opened(site) as (document, one, other):
        other.reading = Event()
        before = sources(document)
        act(one)
        await one.flush()
        await until(lambda: sources(document) != before)
        add(other, "b", "!")
        await other.flush()
        other.reading.set()
        await everywhere(document, expected, one, other)


async def test_a_cell_stays_into_which_something_was_typed_that_had_not_arrived(site: Site) -> None:
    async with opened(site) as (document, one, other):
        one.reading = Event()
        add(other, "b", "!")
        await other.flush()
        await until(lambda: sources(document) == ["one", "two!"])
        remove(one)
        await one.flush()
        one.reading.set()
        await until(lambda: len(one.ids) == 2)
        await everywhere(document, ["one", "two!"], one, other)


@pytest.mark.parametrize("more", ["", "?"])
async def test_a_cell_is_there_once_that_stays_and_is_brought_back_by_undoing(site: Site, more: str) -> None:
    """Who undoes has not seen that it is there, and may type into what they have brought back."""
    async with opened(site) as (document, one, other):
        undo = UndoManager(scopes=[one.notebook.ycells], capture_timeout_millis=0)
        one.reading = Event()
        add(other, "b", "!")
        await other.flush()
        await until(lambda: sources(document) == ["one", "two!"])
        remove(one)
        await one.flush()
        undo.undo()
        await one.flush()
        if more:
            add(one, "b", more)
            await one.flush()
        one.reading.set()
        with fail_after(10):
            while sources(document)[1] not in (f"two{more}!", f"two!{more}"):
                await one.flush()  # it answers what it is asked, whenever that comes
                await checkpoint()
        await everywhere(document, sources(document), one, other)
        assert one.ids == ["a", "b"]


async def test_a_cell_goes_of_which_everything_was_seen(site: Site) -> None:
    async with opened(site) as (document, one, other):
        add(other, "b", "!")
        await other.flush()
        await everywhere(document, ["one", "two!"], one, other)
        remove(one)
        await one.flush()
        await everywhere(document, ["one"], one, other)
        add(other, "a", "!")
        await other.flush()
        await everywhere(document, ["one!"], one, other)
        await until(lambda: site.on_disk == ["one!"])


async def test_a_cell_that_is_moved_twice_is_there_once(site: Site) -> None:
    async with opened(site) as (document, one, other):
        move(one)
        await one.flush()
        move(one)
        await one.flush()
        await until(lambda: other.ids == one.ids == ["a", "b"])
        add(other, "b", "!")
        await other.flush()
        await everywhere(document, ["one", "two!"], one, other)
