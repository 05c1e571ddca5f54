"""What is typed into cells that were moved or removed in an earlier life of the server, by those who were away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from anyio import Event

from tests.documents.conftest import ROOM, LastingLog, Life, Site, Tab, sources
from tests.documents.test_replaced_cells import AB, BA, add, everywhere, take_up
from tests.documents.test_returning_tabs import come_back
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.room import room
from ydoc_exec.room.room_client import EMPTY_STATE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
]

A = notebook(cell("a", "one"))
ASK = sync.step1(EMPTY_STATE)
"""The question for a whole document."""

Change = Callable[[Site, OpenDocument, Tab], Awaitable[None]]


async def moved_by_a_program(site: Site, document: OpenDocument, other: Tab) -> None:
    await take_up(site, document, BA)


async def deleted_by_a_program(site: Site, document: OpenDocument, other: Tab) -> None:
    await take_up(site, document, A)


async def moved_by_a_tab(site: Site, document: OpenDocument, other: Tab) -> None:
    with other.doc.transaction():
        moved = other.notebook.get_cell(1)
        del other.notebook.ycells[1]
        other.notebook.ycells.insert(0, other.notebook.create_ycell(moved))
    await other.flush()
    await until(lambda: sources(document) == ["two", "one"])


async def removed_by_a_tab(site: Site, document: OpenDocument, other: Tab) -> None:
    del other.notebook.ycells[1]
    await other.flush()
    await until(lambda: sources(document) == ["one"])


CHANGES = [
    pytest.param(moved_by_a_program, ["two!", "one"], id="moved by a program"),
    pytest.param(deleted_by_a_program, ["one", "two!"], id="deleted by a program"),
    pytest.param(moved_by_a_tab, ["two!", "one"], id="moved by a tab"),
    pytest.param(removed_by_a_tab, ["one", "two!"], id="removed by a tab"),
]


async def gone_away(life: Life, site: Site, change: Change) -> Tab:
    """A tab that has left before the document was changed."""
    async with life.documents.open(ROOM) as document:
        tab, other = Tab(), Tab()
        await tab.come_to(document)
        await other.come_to(document)
        tab.leave()
        await until(lambda: tab.client not in document.room.clients)
        await change(site, document, other)
        other.leave()
        await until(lambda: not document.mirror.dirty)
    return tab


def again(tab: Tab) -> Tab:
    """The same tab over a new connection."""
    new = Tab()
    new.doc.apply_update(tab.doc.get_update())
    new._unsent.clear()
    return new


@asynccontextmanager
async def after_a_restart(site: Site, change: Change) -> AsyncIterator[tuple[OpenDocument, Tab]]:
    site.write(AB)
    async with site.serving() as life:
        tab = await gone_away(life, site, change)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        yield document, again(tab)


@pytest.mark.parametrize(("change", "expected"), CHANGES)
async def test_what_a_tab_typed_while_it_was_away_is_there(
    site: Site, change: Change, expected: list[str]
) -> None:
    async with after_a_restart(site, change) as (document, tab):
        add(tab, "b", "!")
        tab._unsent.clear()
        await come_back(tab, document, document.lineage)
        await tab.flush()
        await everywhere(document, expected, tab)
        assert site.copies == []


async def type_before_told(document: OpenDocument, tab: Tab) -> None:
    """It comes back, is asked what it has, and its user types: nothing that the server says is read yet."""
    document.admit(tab.client, document.lineage)
    await until(lambda: tab.frames)
    await tab.greet()
    await until(lambda: ASK in tab.frames)
    tab.reading = Event()
    await tab.flush()
    add(tab, "b", "!")
    await tab.flush()


@pytest.mark.parametrize(("change", "expected"), CHANGES)
async def test_what_it_types_before_it_is_told_is_there(
    site: Site, change: Change, expected: list[str]
) -> None:
    async with after_a_restart(site, change) as (document, tab):
        await type_before_told(document, tab)
        tab.reading.set()
        await tab.until_synced()
        await tab.flush()
        await everywhere(document, expected, tab)
        assert site.copies == []


@pytest.mark.parametrize("change", [moved_by_a_program, deleted_by_a_program])
async def test_what_it_typed_over_a_connection_that_was_lost_comes_before_what_it_typed_then(
    site: Site, change: Change
) -> None:
    """The server has not noticed yet that the connection is gone, and waits for an answer on it."""
    async with after_a_restart(site, change) as (document, tab):
        await type_before_told(document, tab)
        await tab.send(b"\x02\x07barrier\x02it")
        await document.room.barrier("it", 5)
        later = again(tab)
        add(later, "b", "?")
        later._unsent.clear()
        await come_back(later, document, document.lineage)
        await later.flush()
        await until(lambda: "two!?" in sources(document))
        tab.reading.set()
        tab.leave()
        await until(lambda: tab.client not in document.room.clients)
        await everywhere(document, sources(document), later)
        assert sorted(later.sources) == ["one", "two!?"]
        assert site.copies == []


@pytest.mark.parametrize("change", [deleted_by_a_program, removed_by_a_tab])
async def test_a_cell_into_which_nothing_was_typed_stays_removed(site: Site, change: Change) -> None:
    async with after_a_restart(site, change) as (document, tab):
        add(tab, "a", "!")
        tab._unsent.clear()
        await come_back(tab, document, document.lineage)
        await tab.flush()
        await everywhere(document, ["one!"], tab)


async def test_a_cell_that_it_moved_too_is_there_once(site: Site) -> None:
    async with after_a_restart(site, moved_by_a_program) as (document, tab):
        with tab.doc.transaction():
            moved = tab.notebook.get_cell(1)
            del tab.notebook.ycells[1]
            tab.notebook.ycells.insert(0, tab.notebook.create_ycell(moved))
        tab._unsent.clear()
        await come_back(tab, document, document.lineage)
        await tab.flush()
        await everywhere(document, ["two", "one"], tab)
        assert tab.ids == ["b", "a"]


async def test_what_it_typed_into_one_that_it_moved_too_is_kept(site: Site) -> None:
    async with after_a_restart(site, moved_by_a_program) as (document, tab):
        with tab.doc.transaction():
            moved = tab.notebook.get_cell(1)
            del tab.notebook.ycells[1]
            tab.notebook.ycells.insert(0, tab.notebook.create_ycell({**moved, "source": "two!"}))
        tab._unsent.clear()
        await come_back(tab, document, document.lineage)
        await tab.flush()
        await until(lambda: tab.sources == sources(document))
        assert len(set(tab.ids)) == len(tab.ids) == 2
        assert "two!" in tab.sources + [each["source"] for copy in site.copies for each in copy["cells"]]


async def test_who_has_all_that_was_there_is_not_asked_for_it(site: Site) -> None:
    site.write(AB)
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
    # It has heard all that the server wrote until then.
    async with site.log:
        history = await site.log.read(ROOM)
    assert history is not None
    for update in history.updates:
        tab.doc.apply_update(update)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        same, other = again(tab), Tab()
        add(same, "b", "!")
        same._unsent.clear()
        for each in (same, other):
            await come_back(each, document, document.lineage)
            await each.flush()
        await everywhere(document, ["one", "two!"], same, other)
        assert ASK not in same.frames + other.frames


async def test_what_is_remembered_no_more_is_found_in_the_tab(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SUPERSEDED_REMEMBERED", 0)
    monkeypatch.setattr(room, "SUPERSEDED_BYTES", 0)
    site.write(AB)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = again(await gone_away(life, site, moved_by_a_program))
        add(tab, "b", "!")
        tab._unsent.clear()
        await come_back(tab, document, document.lineage)
        await tab.flush()
        await everywhere(document, ["two!", "one"], tab)


async def test_a_cell_that_the_server_never_had_and_that_only_one_tab_has_removed(site: Site) -> None:
    """The server was killed and its log is gone, with the cell; one tab comes back without it and the other with it."""
    site.set(save_delay=60.0, save_interval=60.0)
    site.write(AB)
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab, other = Tab(), Tab()
        await tab.come_to(document)
        await other.come_to(document)
        tab.notebook.ycells.append(tab.notebook.create_ycell(cell("c", "three")))
        await tab.flush()
        await until(lambda: other.ids == ["a", "b", "c"])
        lineage = document.lineage
    site.log = LastingLog()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        first, second = again(tab), again(other)
        del first.notebook.ycells[2]
        add(second, "c", "!")
        for each in (first, second):
            each._unsent.clear()
            await come_back(each, document, lineage)
            await each.flush()
        await everywhere(document, ["one", "two", "three!"], first, second)
