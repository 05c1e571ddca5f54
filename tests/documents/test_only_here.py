"""What is neither in a file nor in a log that lasts is not let go of: it stays open, and at the end it is kept as a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from anyio import Event, sleep

from tests.documents.conftest import ROOM, TEXT, LastingLog, Life, Site, Tab, ab, sources
from tests.documents.test_log_faults import GONE, FaultyLog
from tests.documents.test_wipes import LONG, clear
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents import open_document
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.store.memory_update_log import MemoryUpdateLog

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def in_memory(site: Site) -> None:
    """The store is switched off."""
    site.log = MemoryUpdateLog()


def not_writable(site: Site) -> None:
    site.log = log = FaultyLog()
    log.write_error = GONE


def not_readable(site: Site) -> None:
    site.log = log = FaultyLog()
    log.read_error = GONE


async def no_autosave(site: Site, document: OpenDocument, tab: Tab) -> None:
    await tab.say_here({"autosave": False})
    await until(lambda: not document.may_autosave())


async def no_space(site: Site, document: OpenDocument, tab: Tab) -> None:
    site.contents.broken = OSError("No space left on device")


async def no_file(site: Site, document: OpenDocument, tab: Tab) -> None:
    site.file.unlink()
    await until(lambda: document.mirror.missing)


STORES = [in_memory, not_writable, not_readable]
REASONS = [no_autosave, no_space, no_file]


@asynccontextmanager
async def unsaved(site: Site, why: Callable[..., object]) -> AsyncIterator[tuple[Life, OpenDocument]]:
    """Somebody has typed what cannot be saved, and has left."""
    site.write(ab())
    async with site.serving() as life:
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            await tab.come_to(document)
            await why(site, document, tab)  # type: ignore[misc]
            await tab.edit(0, "typed")
            await until(lambda: sources(document) == tab.sources == ["typed", "b"])
            tab.leave()
            tab.forget()
            await until(lambda: not document.room.clients)
        yield life, document


def kept(site: Site) -> list[list[str]]:
    """The sources in the recovery copies."""
    return [["".join(cell["source"]) for cell in copy["cells"]] for copy in site.copies]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("why", REASONS)
async def test_it_stays_open_and_is_a_copy_when_the_server_ends(
    site: Site, store: Callable[[Site], None], why: Callable[..., object]
) -> None:
    """Whoever opens the document next is told of it, once, and can have it."""
    store(site)
    async with unsaved(site, why) as (life, document):
        await sleep(0.1)  # it is looked at a few times whether it can be closed
        assert life.documents.get(ROOM) is document
        assert kept(site) == []
    assert kept(site) == [["typed", "b"]]
    assert [event.kind for event in life.events if event.copy is not None] == ["unsaved"]

    site.contents.broken = None
    site.log = LastingLog()
    if why is no_file:
        site.write(ab())
    assert site.on_disk == ["a", "b"]
    async with site.serving() as life:
        for _ in range(2):
            async with life.documents.open(ROOM) as document:
                tab = Tab()
                await tab.come_to(document)
                assert tab.sources == ["a", "b"]
                await until(lambda tab=tab: [one["kind"] for one in tab.notices.values()] == ["unsaved"])  # type: ignore[misc]
                tab.leave()
            await life.closed()
        assert [event.kind for event in life.events] == ["unsaved"]
    site.log = LastingLog()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, "seen")
        await until(lambda: site.on_disk == ["seen", "b"])
        assert tab.notices == {}


async def test_a_log_that_works_again_lets_it_go(site: Site) -> None:
    not_writable(site)
    log = site.log
    assert isinstance(log, FaultyLog)
    async with unsaved(site, no_autosave) as (life, document):
        assert life.documents.get(ROOM) is document
        log.write_error = None
        await life.closed()
        assert site.on_disk == ["a", "b"]
        assert kept(site) == []
        async with life.documents.open(ROOM) as document:
            assert sources(document) == ["typed", "b"]
    assert kept(site) == []


async def test_a_save_lets_it_go(site: Site) -> None:
    in_memory(site)
    async with unsaved(site, no_space) as (life, document):
        assert life.documents.get(ROOM) is document
        site.contents.broken = None
        await life.closed()
    assert site.on_disk == ["typed", "b"]
    assert kept(site) == []


async def test_a_save_that_does_not_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_document, "LAST_SAVE_SECONDS", 0.05)
    in_memory(site)
    async with unsaved(site, no_autosave) as (_, document):
        site.contents.gate = Event()
        await document.room.until(lambda: True, 0)
        document._say({"autosave": True})
    assert site.on_disk == ["a", "b"]
    assert kept(site) == [["typed", "b"]]


@pytest.mark.parametrize("store", STORES)
async def test_what_was_not_changed_is_not_kept(site: Site, store: Callable[[Site], None]) -> None:
    store(site)
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            tab.leave()
        await life.closed()
        async with life.documents.open(ROOM) as document:
            site.file.unlink()
            await until(lambda: document.mirror.missing)
    assert kept(site) == []


async def test_who_has_emptied_it_keeps_nobody_waiting(site: Site) -> None:
    """What was there is a copy already, and a blank cell is no loss."""
    in_memory(site)
    site.write(LONG)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            with tab.doc.transaction():
                clear(tab)
            await tab.flush()
            await until(lambda: document.mirror.emptied)
            tab.leave()
        await life.closed()
    assert len(kept(site)) == 1


async def test_what_another_type_takes_the_place_of_is_kept(site: Site) -> None:
    in_memory(site)
    async with unsaved(site, no_autosave) as (life, _):
        async with life.documents.open(TEXT) as text:
            assert "typed" not in str(text.read())
        assert kept(site) == [["typed", "b"]]


async def test_a_tab_that_brings_it_back_is_enough(site: Site) -> None:
    """Nothing is there twice, and the copy stays until somebody drops it."""
    in_memory(site)
    site.write(notebook(cell("cell-a", "a"), cell("cell-b", "b")))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await no_autosave(site, document, tab)
        await tab.edit(0, "typed")
        await until(lambda: sources(document) == ["typed", "b"])
        lineage, state = document.lineage, tab.doc.get_update()
    assert kept(site) == [["typed", "b"]]
    in_memory(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        again = Tab()
        again.doc.apply_update(state)
        again._unsent.clear()
        await again.come_to(document, lineage)
        await again.say_here({"autosave": True})
        await until(lambda: site.on_disk == sources(document) == again.sources == ["typed", "b"])
    assert kept(site) == [["typed", "b"]]


# People are told that the log fails


async def test_people_are_told_that_the_log_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who are here, those who come, and those whose document is opened then; until it works again."""
    monkeypatch.setattr(open_document, "LOG_PATIENCE", 0.01)
    site.log = log = FaultyLog()
    site.write(ab())
    site.paths["b.ipynb"] = "b.ipynb"
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await life.writer.flush()
        log.write_error = GONE
        await tab.edit(0, "typed")
        await until(lambda: [notice["kind"] for notice in tab.notices.values()] == ["log-failed"])
        assert "the disk is gone" in next(iter(tab.notices.values()))["text"]
        late = Tab()
        await late.come_to(document)
        assert late.notices == tab.notices
        # It is saved all the same.
        await until(lambda: site.on_disk == ["typed", "b"])
        tab.leave()
        late.leave()
    # (Closing tries the log once more.)
    assert [(event.kind, event.action) for event in life.events] == [("log-failed", "said")]
    assert kept(site) == []
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await until(lambda: [notice["kind"] for notice in tab.notices.values()] == ["log-failed"])
        log.write_error = None
        await until(lambda: tab.notices == {})
        assert [event.action for event in life.events] == ["said", "cleared"]


async def test_a_log_that_fails_for_a_moment_is_not_worth_a_word(site: Site) -> None:
    site.log = log = FaultyLog()
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await life.writer.flush()
        log.write_error = GONE
        await tab.edit(0, "typed")
        await until(lambda: life.writer.degraded)
        log.write_error = None
        await until(lambda: not life.writer.degraded)
        await tab.edit(0, "typed again")
        await until(lambda: site.on_disk == ["typed again", "b"])
        tab.leave()
    assert life.events == []
