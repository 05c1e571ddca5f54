"""What is typed into cells that the server makes anew, by those who do not know it yet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import Event, fail_after
from anyio.lowlevel import checkpoint

from tests.documents.conftest import ROOM, Life, Site, Tab, sources
from tests.documents.test_returning_tabs import come_back
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]

AB = notebook(cell("a", "one"), cell("b", "two"))
BA = notebook(cell("b", "two"), cell("a", "one"))


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[tuple[Life, OpenDocument, Tab]]:
    site.write(AB)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        yield life, document, tab


async def take_up(site: Site, document: OpenDocument, content: dict[str, Any]) -> None:
    """Another program writes the file."""
    site.write(content)
    expected = ["".join(each["source"]) for each in content["cells"]]
    await until(lambda: sources(document) == expected)


def add(tab: Tab, name: str, text: str) -> None:
    """Type at the end of a cell."""
    source = tab.notebook.ycells[tab.ids.index(name)]["source"]
    source += text


async def everywhere(document: OpenDocument, expected: list[str], *tabs: Tab) -> None:
    """Wait until all have these texts; meanwhile the tabs answer what they are asked."""
    with fail_after(10):
        while any(have != expected for have in (sources(document), *(tab.sources for tab in tabs))):
            for tab in tabs:
                await tab.flush()
            await checkpoint()


async def test_what_is_typed_into_a_cell_while_another_program_moves_it_is_in_the_moved_one(
    site: Site,
) -> None:
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, BA)
        add(tab, "b", "!")
        await tab.flush()
        add(tab, "b", "?")
        await tab.flush()
        add(tab, "a", "...")
        await tab.flush()
        tab.reading.set()
        await until(lambda: tab.ids == ["b", "a"])
        await tab.flush()
        await everywhere(document, ["two!?", "one..."], tab)
        await until(lambda: site.on_disk == ["two!?", "one..."])
        assert site.copies == []


async def test_what_is_typed_into_such_a_cell_is_in_the_file_when_the_server_stops(site: Site) -> None:
    """By somebody who has not been told yet: it is brought over when they leave, and only then is the file saved."""
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, BA)
        add(tab, "b", "!")
        await tab.flush()
        await until(lambda: document.room.is_noting(tab.client) and not document.mirror.dirty)
    assert site.on_disk == ["two!", "one"]


async def test_what_others_type_into_the_moved_one_meanwhile_is_there_too(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        other = Tab()
        await other.come_to(document)
        tab.reading = Event()
        await take_up(site, document, BA)
        add(tab, "b", "!")
        await tab.flush()
        await until(lambda: other.ids == ["b", "a"])
        await other.flush()
        add(other, "b", " more")
        await other.flush()
        tab.reading.set()
        await until(lambda: tab.ids == ["b", "a"])
        await tab.flush()
        await until(lambda: sources(document)[0] in ("two more!", "two! more"))
        await everywhere(document, sources(document), tab, other)


async def test_who_leaves_before_they_know_has_not_typed_in_vain(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, BA)
        add(tab, "b", "!")
        await tab.flush()
        tab.leave()
        await everywhere(document, ["two!", "one"])
        tab.reading.set()


async def test_a_cell_stays_that_another_program_deletes_while_somebody_types_into_it(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, notebook(cell("a", "one")))
        add(tab, "b", "!")
        await tab.flush()
        tab.reading.set()
        await until(lambda: tab.ids == ["a"])
        await tab.flush()
        await everywhere(document, ["one", "two!"], tab)


async def test_a_cell_that_somebody_removes_while_it_is_moved_is_removed(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, BA)
        del tab.notebook.ycells[1]
        await tab.flush()
        tab.reading.set()
        await until(lambda: tab.ids == ["b", "a"])
        await tab.flush()
        await everywhere(document, ["one"], tab)


@pytest.mark.parametrize("knows", [False, True])
async def test_a_tab_that_was_away_while_cells_were_moved(site: Site, knows: bool) -> None:
    async with opened(site) as (_, document, tab):
        stays = Tab()
        await stays.come_to(document)
        if knows:
            await take_up(site, document, BA)
            await until(lambda: tab.ids == ["b", "a"])
            await tab.flush()
            tab.leave()
        else:
            tab.leave()
            await until(lambda: tab.client not in document.room.clients)
            await take_up(site, document, BA)
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        add(again, "b", "!")
        again._unsent.clear()
        await come_back(again, document, document.lineage)
        await again.flush()
        await everywhere(document, ["two!", "one"], again, stays)


async def test_a_cell_that_was_removed_by_who_knows_where_it_was_moved_stays_removed(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        await take_up(site, document, BA)
        await until(lambda: tab.ids == ["b", "a"])
        await tab.flush()
        tab.leave()
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        del again.notebook.ycells[0]
        again._unsent.clear()
        await come_back(again, document, document.lineage)
        await again.flush()
        await everywhere(document, ["one"], again)


async def test_a_cell_that_a_program_deletes_and_puts_back_stays_when_a_tab_returns_that_knew_it_was_gone(
    site: Site,
) -> None:
    async with opened(site) as (_, document, tab):
        add(tab, "b", "!")
        await tab.flush()
        await until(lambda: site.on_disk == ["one", "two!"] and not document.mirror.dirty)
        both = json.loads(site.file.read_text())
        # It has all that a document writes besides, so this only deletes.
        await take_up(site, document, {**both, "cells": both["cells"][:1]})
        await until(lambda: tab.ids == ["a"])
        await tab.flush()
        tab.leave()
        await until(lambda: tab.client not in document.room.clients)
        await take_up(site, document, both)
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        again._unsent.clear()
        await come_back(again, document, document.lineage)
        await again.flush()
        await everywhere(document, ["one", "two!"], again)


async def test_a_cell_that_somebody_moves_while_another_program_does_is_there_once(site: Site) -> None:
    async with opened(site) as (_, document, tab):
        tab.reading = Event()
        await take_up(site, document, BA)
        with tab.doc.transaction():
            moved = tab.notebook.get_cell(1)
            del tab.notebook.ycells[1]
            tab.notebook.ycells.insert(0, tab.notebook.create_ycell({**moved, "source": "two!"}))
        await tab.flush()
        tab.reading.set()
        await until(lambda: len(tab.ids) == 3)
        await tab.flush()
        await everywhere(document, ["two!", "one"], tab)


async def test_a_cell_that_was_moved_here_and_by_who_was_away_is_there_once_when_that_one_moved_others_too(
    site: Site,
) -> None:
    """What had been typed into those is brought over, and for that the document is read."""
    async with site.opened(notebook(cell("a", "one"), cell("b", "two"), cell("c", "three"))):
        pass
    async with site.opened() as document:  # with a log, so that who has its history just goes on
        tab = Tab()
        await tab.come_to(document)
        tab.leave()
        await until(lambda: tab.client not in document.room.clients)
        other = Tab()
        await other.come_to(document)
        await take_up(site, document, notebook(cell("a", "one"), cell("c", "three"), cell("b", "two")))
        await until(lambda: other.ids == ["a", "c", "b"])
        add(other, "b", " more")
        add(other, "c", "!")
        await other.flush()
        await until(lambda: sources(document) == ["one", "three!", "two more"])
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        for name in ("b", "c"):
            index = again.ids.index(name)
            with again.doc.transaction():
                moved = again.notebook.get_cell(index)
                del again.notebook.ycells[index]
                again.notebook.ycells.insert(0, again.notebook.create_ycell(moved))
        again._unsent.clear()
        await come_back(again, document, document.lineage)
        await again.flush()
        await until(lambda: sorted(sources(document)) == ["one", "three!", "two more"])
        await everywhere(document, sources(document), again, other)
        assert sorted(again.ids) == ["a", "b", "c"]
