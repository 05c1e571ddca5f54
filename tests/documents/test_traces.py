"""What runs leave in a document when their output is gone, and when it says that its file is behind."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import lowlevel
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from tests.documents.conftest import ROOM, Site, ab
from tests.documents.runs import a_run, end, said, target_of
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.past import SLACK_BYTES
from ydoc_exec.notebook.edits import EditTail

pytestmark = pytest.mark.anyio

LINE = "\r100%|████████████████████| 2000/2000 [00:01<00:00, 1234.56it/s]"
TRACE_BYTES = 85


def busy(document: OpenDocument, status: str) -> None:
    since = "2026-01-02T01:04:05.678901Z"
    target_of(document).kernel({"id": "kernel", "name": "python3", "status": status, "since": since})


async def ran(document: OpenDocument, name: str, cells: tuple[str, ...] = ("cell-a",)) -> int:
    """The bytes of the document when these cells were run, as by one gesture, and saved."""
    target = target_of(document)
    runs = [a_run(f"{name} in {cell}", cell) for cell in cells]
    target.queued(runs)
    for run in runs:
        target.started(run)
        busy(document, "busy")
        for number in range(5):
            said(target, run, EditTail("stderr", LINE if number else "", LINE))
        busy(document, "idle")
        end(target, run)
    await document.mirror.save()
    return len(document.room.doc.get_update())


@pytest.mark.parametrize("cells", [("cell-a",), ("cell-a", "cell-b")])
async def test_a_run_leaves_little(site: Site, cells: tuple[str, ...]) -> None:
    async with site.opened(ab()) as document:
        sizes = [await ran(document, f"run {number}", cells) for number in range(10)]
        assert sizes[9] < sizes[0] + 9 * len(cells) * TRACE_BYTES


async def test_a_thousand_silent_runs(site: Site) -> None:
    """Each leaves its trace, but not for ever, and nothing is left to be saved."""
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            before = len(document.room.doc.get_update())
            target = target_of(document)
            for number in range(1000):
                run = a_run(f"run {number}")
                target.queued([run])
                target.started(run)
                busy(document, "busy")
                busy(document, "idle")
                end(target, run, count=number + 1)
                await lowlevel.checkpoint()
            await until(lambda: document.document.ystate["dirty"] is False)
            assert len(document.room.doc.get_update()) < before + 1000 * TRACE_BYTES
        await life.closed()
        assert await site.log.size(ROOM) < before + SLACK_BYTES
        async with life.documents.open(ROOM) as document:
            cell = document.document.get()["cells"][0]
            assert (cell["execution_count"], cell["outputs"]) == (1000, [])
            assert not document.mirror.dirty


async def test_that_the_file_is_behind_is_said_with_the_first_change(site: Site) -> None:
    async with site.opened(ab()) as document:
        replica: Doc[Any] = Doc()
        replica.apply_update(document.room.doc.get_update())
        updates: list[bytes] = []
        document.room.add_sink(lambda update, origin: updates.append(update))
        run = a_run("one")
        target_of(document).queued([run])
        seen = []
        for update in updates:
            replica.apply_update(update)
            seen.append((YNotebook(replica).dirty, YNotebook(replica).ycells[0]["execution_state"]))
        assert seen == [(True, "running")]
        end(target_of(document), run)


async def test_it_is_taken_back_when_nothing_changes(site: Site) -> None:
    async with site.opened(ab()) as document:
        run = a_run("one", "gone")
        target_of(document).queued([run])
        assert document.document.ystate["dirty"] is True
        await until(lambda: document.document.ystate["dirty"] is False)
        end(target_of(document), run)
