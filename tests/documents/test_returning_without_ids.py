"""Tabs that come back with a notebook whose file has no cell ids, to a server that has given its cells others."""

from __future__ import annotations

import pytest

from tests.documents.conftest import ROOM, Site, Tab
from tests.documents.test_returning_tabs import Away, come_back, everywhere, forget, meet, retype
from tests.notebooks import cell, notebook

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObjectSendStream:ResourceWarning"),  # YRoom's
]


async def old_format(site: Site) -> Away:
    site.write(notebook(cell(None, "a"), cell(None, "b"), cell(None, "c"), minor=4))
    async with site.serving() as life:
        away = await meet(life, retype(0, "edited"))
    forget(site)
    return away


@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
async def test_nothing_was_changed(site: Site, alone: bool) -> None:
    away = await old_format(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        if not alone:
            await Tab().come_to(document)
        tab = away.again()
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "b", "c"])
        assert not site.copies


async def test_both_were_changed_in_other_cells(site: Site) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "edited"), cell(None, "b"), cell(None, "changed elsewhere"), minor=4))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(1, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "typed while away", "changed elsewhere"])
        assert not site.copies


async def test_cells_were_added_and_deleted(site: Site) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "new in the file"), cell(None, "edited"), cell(None, "c"), minor=4))

    def change(tab: Tab) -> None:
        tab.notebook.append_cell(cell("new", "new in the tab"))

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(change)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["new in the file", "edited", "c", "new in the tab"])
        assert not site.copies


async def test_a_cell_that_was_added_before_one_that_was_changed(site: Site) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "changed elsewhere"), cell(None, "b"), cell(None, "c"), minor=4))

    def change(tab: Tab) -> None:
        tab.notebook.ycells.insert(2, tab.notebook.create_ycell(cell("new", "")))
        retype(3, "typed while away")(tab)

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(change)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["changed elsewhere", "b", "", "typed while away"])
        assert not site.copies
