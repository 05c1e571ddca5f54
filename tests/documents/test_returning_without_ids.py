"""Tabs that come back with a notebook whose file has no cell ids, to a server that has given its cells others."""

from __future__ import annotations

import pytest
from pycrdt import UndoManager

from tests.documents.conftest import ROOM, Site, Tab, sources
from tests.documents.test_returning_tabs import (
    Away,
    come_back,
    everywhere,
    forget,
    meet,
    move_and_type,
    retype,
    unanswered,
)
from tests.notebooks import cell, notebook
from tests.room.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
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


async def test_a_cell_that_was_removed_while_another_was_changed(site: Site) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "edited"), cell(None, "b"), cell(None, "changed elsewhere"), minor=4))

    def change(tab: Tab) -> None:
        del tab.notebook.ycells[1]

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(change)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "changed elsewhere"])
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


@pytest.mark.parametrize("text", ["a", "a, changed"], ids=["a copy", "not quite a copy"])
async def test_two_cells_with_one_id(site: Site, text: str) -> None:
    """Two who move a cell at once leave two of it; where files have ids, jupyter_ydoc tells them apart."""
    site.write(notebook(cell(None, "a"), cell(None, "b"), cell(None, "c"), minor=4))

    def double(tab: Tab) -> None:
        tab.notebook.append_cell(tab.notebook.get_cell(0) | {"id": tab.ids[0], "source": text})

    async with site.serving() as life:
        away = await meet(life)
    forget(site)
    site.write(notebook(cell(None, "a"), cell(None, "b, too"), cell(None, "c"), minor=4))
    expected = ["a", "b, too", "c"] if text == "a" else ["a", "b, too", "c", text]
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        await other.come_to(document)
        with other.doc.transaction():
            double(other)
        await other.flush()
        await until(lambda: site.on_disk == expected)
        tab = away.again()
        await come_back(tab, document, away.lineage)
        assert tab.closed is None
        await everywhere(site, document, tab, expected)
        assert not site.copies


async def test_the_cell_that_is_typed_in_is_moved_elsewhere(site: Site) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "b"), cell(None, "c and more"), cell(None, "edited"), minor=4))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(0, "edited while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["b", "c and more", "edited while away"])


async def test_a_new_cell_of_which_the_tab_did_not_hear_that_it_was_saved(site: Site) -> None:
    site.write(notebook(cell(None, "a"), cell(None, "b"), minor=4))

    def change(tab: Tab) -> None:
        tab.notebook.ycells.insert(0, tab.notebook.create_ycell(cell("new", "new")))

    async with site.serving() as life:
        away = await meet(life, change, save=False)
    await until(lambda: site.on_disk == ["new", "a", "b"])
    forget(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(1, "a, and more"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["new", "a, and more", "b"])
        assert not site.copies


async def test_a_copy_of_a_cell_that_was_made_while_away(site: Site) -> None:
    away = await old_format(site)

    def change(tab: Tab) -> None:
        tab.notebook.ycells.insert(0, tab.notebook.create_ycell(cell("copy", "edited")))

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(change)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "edited", "b", "c"])


@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
@pytest.mark.parametrize("both", [True, False], ids=["both had changed it", "only the tab"])
async def test_a_cell_is_moved_before_the_answer_is_there(site: Site, alone: bool, both: bool) -> None:
    """The tab does not know yet what the cell is called here."""
    away = await old_format(site)
    if both:
        site.write(notebook(cell(None, "edited elsewhere"), cell(None, "b"), cell(None, "c"), minor=4))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        if not alone:
            await other.come_to(document)
        tab = away.again(retype(0, "edited while away"))
        async with unanswered(tab, document, away.lineage):
            with tab.doc.transaction():
                moved = {**tab.notebook.get_cell(0), "id": tab.ids[0]}
                del tab.notebook.ycells[0]
                tab.notebook.append_cell({**moved, "source": "edited while away, and moved"})
                tab.notebook.append_cell(cell("new", "new"))
        text = "edited elsewhere" if both else "edited while away, and moved"
        await until(lambda: sorted(sources(document)) == sorted([text, "b", "c", "new"]))
        await everywhere(site, document, tab, sources(document))
        if both:
            assert site.copies[-1]["cells"][2]["source"] == "edited while away, and moved"
        if not alone:
            await until(lambda: other.sources == tab.sources)


async def test_what_is_typed_into_a_cell_that_was_moved_before_the_answer_was_there_is_in_the_one_that_stays(
    site: Site,
) -> None:
    away = await old_format(site)
    site.write(notebook(cell(None, "changed elsewhere"), cell(None, "b"), cell(None, "c"), minor=4))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        await Tab().come_to(document)
        tab = away.again()
        await move_and_type(tab, document, away.lineage)
        await until(lambda: sorted(sources(document)) == ["b", "c", "changed elsewhere, and more"])
        await everywhere(site, document, tab, sources(document))


async def test_a_cell_is_brought_back_before_the_answer_is_there(site: Site) -> None:
    """By undoing that it was removed while the tab was away."""
    away = await old_format(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again()
        undo = UndoManager(scopes=[tab.notebook.ycells], capture_timeout_millis=0)
        del tab.notebook.ycells[0]
        tab._unsent.clear()
        async with unanswered(tab, document, away.lineage):
            undo.undo()
            assert tab.sources == ["edited", "b", "c"]
        await everywhere(site, document, tab, ["edited", "b", "c"])
