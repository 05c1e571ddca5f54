"""What others type into a cell that a client moves or removes, and had not seen or do not know yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from anyio import Event, fail_after
from anyio.lowlevel import checkpoint
from pycrdt import UndoManager

from tests.documents.conftest import ROOM, Site, Tab, sources
from tests.documents.test_replaced_cells import AB, BA, add, everywhere, take_up
from tests.documents.test_returning_tabs import come_back, hear
from tests.notebooks import cell, notebook
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


@pytest.mark.parametrize("how", [remove, move])
@pytest.mark.parametrize("hears", ["who types", "who removes"])
@pytest.mark.parametrize("order", ["typed, removed", "removed, typed", "typed, told, removed"])
async def test_what_is_typed_into_a_cell_that_was_made_anew_and_that_somebody_else_removes(
    site: Site, how: Callable[[Tab], None], hears: str, order: str
) -> None:
    """None of the three knows what the others do."""
    async with opened(site) as (document, one, other):
        one.reading, other.reading = Event(), Event()
        await take_up(site, document, BA)
        for what in order.split(", "):
            if what == "typed":
                add(other, "b", "!")
            elif what == "removed":
                how(one)
            else:
                await hear(document, other)
            await one.flush()
            await other.flush()
        for tab in (one, other) if hears == "who removes" else (other, one):
            await hear(document, tab)
        assert sorted(sources(document)) == ["one", "two!"]
        await everywhere(document, sources(document), one, other)
        assert sorted(one.ids) == ["a", "b"]
        assert site.copies == []


async def test_a_cell_that_was_made_anew_goes_when_somebody_types_into_it_and_then_removes_it(
    site: Site,
) -> None:
    async with opened(site) as (document, one, _):
        one.reading = Event()
        await take_up(site, document, BA)
        add(one, "b", "!")
        await one.flush()
        remove(one)
        await one.flush()
        await hear(document, one)
        assert sources(document) == ["one"]


async def test_who_removes_a_cell_that_was_made_anew_and_one_that_they_have_just_inserted(
    site: Site,
) -> None:
    async with opened(site) as (document, one, other):
        one.reading = Event()
        await take_up(site, document, BA)
        remove(one)
        await one.flush()
        one.notebook.append_cell(cell("c", "three"))
        await one.flush()
        remove(one)
        await one.flush()
        await hear(document, one)
        await everywhere(document, ["one"], one, other)


async def test_what_is_typed_into_a_cell_that_is_gone_for_who_comes_first(site: Site) -> None:
    """It repeats that the cell was deleted, as it does of all that ever was."""
    async with opened(site) as (document, one, other):
        other.leave()
        await until(lambda: other.client not in document.room.clients)
        await take_up(site, document, notebook(cell("a", "one")))
        await until(lambda: one.ids == ["a"])
        await everywhere(document, ["one"], one)
        one.leave()
        tabs = []
        for before, text in (one, ""), (other, "!"):
            tab = Tab()
            tab.doc.apply_update(before.doc.get_update())
            if text:
                add(tab, "b", text)
            tab._unsent.clear()
            await come_back(tab, document, document.lineage)
            tabs.append(tab)
        await everywhere(document, ["one", "two!"], *tabs)


async def test_what_somebody_typed_while_away_into_a_cell_that_they_moved_then_is_there_once(
    site: Site,
) -> None:
    """They are asked twice, as the server was started again meanwhile, and the second answer repeats the first."""
    async with site.opened(AB) as document:
        one, other = Tab(), Tab()
        await one.come_to(document)
        await other.come_to(document)
        other.leave()
        await until(lambda: other.client not in document.room.clients)
        add(one, "b", " more")
        await one.flush()
        await until(lambda: site.on_disk == ["one", "two more"])
    async with site.opened() as document:
        again = Tab()
        again.doc.apply_update(other.doc.get_update())
        add(again, "b", "!")
        move(again)
        # It does not run, and the server says so: what it has to be told.
        again.notebook.ycells[0]["execution_state"] = "running"
        again._unsent.clear()
        await come_back(again, document, document.lineage)
        await hear(document, again)
        await everywhere(document, sources(document), again)
        assert sorted(sources(document)) == ["one", "two!"]
        assert site.copies
