"""What a long life leaves in the update log, counted in updates and bytes: opening costs that much, and disks keep it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio import sleep
from jupyter_ydoc import YNotebook
from pycrdt import Map, Text

from tests.documents.conftest import ROOM, Life, Site, Tab, ab, sources
from tests.documents.runs import a_run, end, run_to_its_end, said, target_of
from tests.documents.test_returning_tabs import come_back
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.notebook.edits import EditTail
from ydoc_exec.origin import FromServer
from ydoc_exec.store.compaction import SLACK_BYTES
from ydoc_exec.store.update_log import History

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

BURST = 200
CONSTANT = 2**18


class Typist:
    """Someone who writes and rewrites a cell: each key is one update, and the text stays short."""

    def __init__(self, document: OpenDocument, seed: int, moves: float = 0.02) -> None:
        assert isinstance(document.document, YNotebook)
        self._moves = moves
        self._document = document
        self._text: Text = document.document.ycells[0]["source"]
        self._random = random.Random(seed)
        self._place = len(self._text)

    def press(self, keys: int) -> None:
        for _ in range(keys):
            with self._document.room.writing(FromServer()):
                if len(self._text) > 300:
                    del self._text[100:250]
                    self._place = 100
                elif self._place and self._random.random() < 0.1:
                    self._place -= 1
                    del self._text[self._place : self._place + 1]
                else:
                    self._text.insert(self._place, "x")
                    self._place += 1
            if self._random.random() < self._moves:
                self._place = self._random.randint(0, len(self._text))


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[tuple[Life, OpenDocument]]:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        yield life, document


async def recorded(site: Site) -> History:
    history = await site.log.read(ROOM)
    assert history is not None
    return history


async def test_the_log_of_an_open_document_has_few_updates(site: Site) -> None:
    async with opened(site) as (life, document):
        typist = Typist(document, 1)
        for _ in range(20):
            typist.press(BURST)
            await document.mirror.save()
        limit = 1 + 500 + BURST
        while len((await recorded(site)).updates) > limit:  # what came at once is compacted at once
            await sleep(0.05)
            await life.writer.flush()


@pytest.mark.parametrize("edits", [10, 4000])
async def test_a_closed_document_leaves_a_snapshot(site: Site, edits: int) -> None:
    """However many edits there were: the log is about as large as the document, and is replayed in a few steps."""
    async with site.serving() as life:
        site.write(ab())
        async with life.documents.open(ROOM) as document:
            Typist(document, 2).press(edits)
        await life.closed()
        history = await recorded(site)
        assert len(history.updates) <= 51
        async with life.documents.open(ROOM) as document:
            state = len(document.room.doc.get_update())
            assert sum(map(len, history.updates)) <= 2 * state + SLACK_BYTES
            content = len(site.file.read_bytes())
            assert state <= 20 * content, "the document itself has little of what was deleted"


async def test_prints_and_keystrokes_leave_little_more_than_the_document(site: Site) -> None:
    """Ten thousand updates of output in four runs, each of which clears the one before, while somebody types."""
    async with opened(site) as (life, document):
        typist = Typist(document, 3)
        largest = 0
        for number in range(4):
            run = a_run(f"run {number}", "cell-b")
            target_of(document).queued([run])
            target_of(document).started(run)
            for printed in range(2500):
                said(target_of(document), run, EditTail("stdout", "", f"line {printed}\n"))
                if printed % 10 == 0:
                    typist.press(1)
                if printed % 500 == 0:
                    await document.mirror.save()
                    largest = max(largest, len(document.room.doc.get_update()))
                    await life.writer.flush()
                    assert await site.log.size(ROOM) <= 3 * largest + CONSTANT
            end(target_of(document), run)
        await document.mirror.save()
        await until(lambda: not document.mirror.dirty)
        await life.writer.flush()
        assert await site.log.size(ROOM) <= 3 * len(site.file.read_bytes()) + CONSTANT


# A document that is mostly past


async def grown(life: Life, site: Site, *, stop: bool = False) -> tuple[Tab, str, int]:
    """A tab that looks on while someone deletes and types here and there; all is saved, and it goes away.

    The tab, the lineage and the size of the document.
    """
    tab = Tab()
    async with life.documents.open(ROOM) as document:
        await tab.come_to(document)
        await tab.say_here({"autosave": True})
        document.notices.say("conflict", "Look at the copy.", "copy")
        run_to_its_end(target_of(document), a_run("run", "cell-b"), EditTail("stdout", "", "said\n"))
        # Enough for any author: with an id of three bytes (one in 128) what it deletes takes a seventh less.
        Typist(document, 4, moves=0.5).press(12_000)
        await until(lambda: not document.mirror.dirty)
        await until(lambda: tab.state["dirty"] is False and tab.sources == sources(document))
        lineage, size = document.lineage, len(document.room.doc.get_update())
        tab.leave()
        if stop:
            document.stop()
    await life.closed()
    assert size > 5 * site.file.stat().st_size + 2**16
    return tab, lineage, size


def trust(document: OpenDocument) -> list[bool]:
    assert isinstance(document.document, YNotebook)
    return [one["metadata"].get("trusted", False) for one in document.document.get()["cells"]]


@pytest.mark.parametrize("minor", [4, 5])
async def test_a_document_that_is_mostly_past_begins_anew_when_nobody_needs_it(
    site: Site, minor: int
) -> None:
    site.write({**ab(), "nbformat_minor": minor})
    async with site.serving() as life:
        _, lineage, size = await grown(life, site)
        file = site.file.read_bytes()
        assert await site.log.size(ROOM) < size / 5
        async with life.documents.open(ROOM) as document:
            assert sources(document) == site.on_disk
            assert document.lineage != lineage
            assert len(document.room.doc.get_update()) < size / 5
            assert not document.mirror.dirty
            assert trust(document)[1]
            said = document.room.doc.get("execution", type=Map).to_py() or {}
            assert [notice["copy"] for notice in said["notices"].values()] == ["copy"]
            again = document.lineage
        await life.closed()
        async with life.documents.open(ROOM) as document:
            assert document.lineage == again
        assert site.file.read_bytes() == file


async def test_a_tab_that_was_away_meanwhile_loses_and_doubles_nothing(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        tab, lineage, _ = await grown(life, site)
        again = Tab()
        again.doc.apply_update(tab.doc.get_update())
        again._unsent.clear()
        source = again.notebook.ycells[1]["source"]
        source += ", typed while away"
        async with life.documents.open(ROOM) as document:
            before = sources(document)
            await come_back(again, document, lineage)
            await until(lambda: sources(document) == [before[0], before[1] + ", typed while away"])
            await until(lambda: again.sources == sources(document))
            await until(lambda: site.on_disk == again.sources)
            again.leave()


async def test_a_document_keeps_its_past_when_the_server_is_stopped(site: Site) -> None:
    """Tabs come back when it is there again, and go on."""
    site.write(ab())
    async with site.serving() as life:
        _, lineage, size = await grown(life, site, stop=True)
        async with life.documents.open(ROOM) as document:
            assert document.lineage == lineage
            assert len(document.room.doc.get_update()) > size / 2
