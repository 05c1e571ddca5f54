"""What a long life leaves in the update log, counted in updates and bytes: opening costs that much, and disks keep it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Text

from tests.documents.conftest import ROOM, Life, Site, ab
from tests.documents.runs import a_run, end, said, target_of
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.notebook.edits import EditTail
from ydoc_exec.origin import FromServer
from ydoc_exec.store.compaction import SLACK_BYTES
from ydoc_exec.store.update_log import History

pytestmark = pytest.mark.anyio

BURST = 200
CONSTANT = 2**18


class Typist:
    """Someone who writes and rewrites a cell: each key is one update, and the text stays short."""

    def __init__(self, document: OpenDocument, seed: int) -> None:
        assert isinstance(document.document, YNotebook)
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
            if self._random.random() < 0.02:
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
        await life.writer.flush()
        assert len((await recorded(site)).updates) <= 1 + 500 + BURST


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
