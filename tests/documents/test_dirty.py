"""``dirty`` is true from an edit until the file has it, whoever else writes it; and what is no notebook is not saved."""

from __future__ import annotations

import pytest
from anyio import Event, sleep
from pycrdt import Map

from tests.documents.conftest import ROOM, Site, Tab, ab, sources
from tests.room.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


async def test_it_is_true_from_the_first_edit_to_the_last_byte(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        said: list[bool] = []

        def note(event: object) -> None:
            if said[-1:] != [tab.notebook.ystate["dirty"]]:  # other things are said there too
                said.append(tab.notebook.ystate["dirty"])

        await tab.come_to(document)
        subscription = tab.notebook.ystate.observe(note)
        assert tab.state["dirty"] is False
        site.contents.gate = Event()
        await tab.edit(0, "1")
        await until(lambda: tab.state["dirty"])
        assert site.on_disk == ["a", "b"]
        for number in range(10):
            await tab.edit(0, f"{number}")
        await sleep(0.05)
        assert tab.state["dirty"]
        site.contents.gate.set()
        await until(lambda: tab.state["dirty"] is False)
        assert site.on_disk == ["9", "b"]
        tab.notebook.ystate.unobserve(subscription)
        # Two small writes, however many edits.
        assert said.count(True) <= 2


@pytest.mark.parametrize("edited", [True, False])
async def test_what_a_tab_says_of_it_is_put_right(site: Site, edited: bool) -> None:
    """JupyterLab's model says so with every change it sees, and ``context.ts`` says that it is over after a save."""
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        if edited:
            site.contents.gate = Event()
            await tab.edit(0, "edited")
            await until(lambda: tab.state["dirty"])
        with tab.doc.transaction():
            tab.notebook.ystate["dirty"] = not edited
        await tab.flush()
        await until(lambda: tab.state["dirty"] is edited)
        assert document.mirror.dirty is edited
        if site.contents.gate is not None:
            site.contents.gate.set()


@pytest.mark.parametrize("key", ["nbformat", "nbformat_minor"])
async def test_a_document_that_lost_its_format_is_not_saved(site: Site, key: str) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        meta = tab.doc.get("meta", type=Map)
        format = meta[key]
        with tab.doc.transaction():
            del meta[key]
        await tab.edit(0, "edited")
        await until(lambda: sources(document) == ["edited", "b"])
        await sleep(0.1)
        assert site.file.read_bytes() == before
        assert document.mirror.dirty
        with tab.doc.transaction():
            meta[key] = format
        await tab.flush()
        await until(lambda: site.on_disk == ["edited", "b"])
