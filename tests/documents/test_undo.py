"""Cells that clients of a room bring back or move while the server writes into them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nbformat
import pytest
from pycrdt import Array, Map, UndoManager

from tests.documents.conftest import ROOM, Site, Tab, ab
from tests.documents.runs import a_run, begin, end, ran_and_closed, run_to_its_end, said, target_of
from tests.documents.test_late_output import printed
from tests.notebook.edits import prints, show
from tests.notebook.messages import display_output, stream_output
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.origin import FromClient

pytestmark = pytest.mark.anyio


class User(Tab):
    """A tab whose user removes and moves cells, and undoes that."""

    def __init__(self) -> None:
        super().__init__()
        self.history = UndoManager(scopes=[self.notebook.ycells], capture_timeout_millis=0)
        self.history.include_origin("user")

    def cell(self, cell_id: str = "cell-a") -> dict[str, Any]:
        """What the tab has of it; nothing if it is not there."""
        for cell in self.notebook.ycells:
            if cell["id"] == cell_id:
                found: dict[str, Any] = cell.to_py()
                return found
        return {}

    def remove(self, cell_id: str = "cell-a") -> None:
        with self.doc.transaction(origin="user"):
            del self.notebook.ycells[self.ids.index(cell_id)]

    def move(self, cell_id: str = "cell-a", **other: Any) -> None:
        """To the end, as JupyterLab does it: a copy, which says nothing of its state."""
        copy = {**self.cell(cell_id), **other}
        with self.doc.transaction(origin="user"):
            del self.notebook.ycells[self.ids.index(cell_id)]
            ycell = self.notebook.create_ycell(copy)
            self.notebook.ycells.append(ycell)
            del ycell["execution_state"]


@asynccontextmanager
async def visited(site: Site) -> AsyncIterator[tuple[OpenDocument, User]]:
    async with site.opened(ab()) as document:
        user = User()
        await user.come_to(document)
        yield document, user
        user.leave()


async def test_a_removed_cell_that_is_brought_back(site: Site) -> None:
    async with visited(site) as (document, user):
        run = a_run("one", record_timing=True)
        target = target_of(document)
        target.queued([run])
        said(target, run, prints("1"), show("2"))
        await until(lambda: len(user.cell()["outputs"]) == 2)
        user.remove()
        await user.flush()
        await until(lambda: document.cell_ids() == ["cell-b"])
        run.note_time("shell.execute_reply", "2026-01-02T01:04:05Z")
        end(target, run, prints("3"))
        user.history.undo()
        await user.flush()
        await until(lambda: user.cell()["execution_count"] == 1)
        assert user.cell()["outputs"] == [stream_output("1"), display_output("2"), stream_output("3")]
        assert user.cell()["execution_state"] == "idle"
        assert user.cell()["metadata"]["execution"] == {"shell.execute_reply": "2026-01-02T01:04:05Z"}
        await until(lambda: printed(site) == "13")


async def test_a_cell_that_ran_again_and_whose_move_is_undone(site: Site) -> None:
    async with visited(site) as (document, user):
        target = target_of(document)
        run_to_its_end(target, a_run("one"), prints("one"))
        await until(lambda: user.cell()["outputs"] == [stream_output("one")])
        user.move()
        await user.flush()
        await until(lambda: document.cell_ids() == ["cell-b", "cell-a"])
        run_to_its_end(target, a_run("two"), prints("two"))
        await until(lambda: user.cell()["outputs"] == [stream_output("two")])
        user.history.undo()
        assert user.cell()["outputs"] != [stream_output("two")]
        await user.flush()
        await until(lambda: user.cell()["outputs"] == [stream_output("two")])
        assert user.ids == ["cell-a", "cell-b"]


async def test_a_cell_that_is_moved_while_output_is_being_written(site: Site) -> None:
    async with visited(site) as (document, user):
        run = a_run("one")
        target = target_of(document)
        begin(target, run, prints("1"))
        await until(lambda: user.cell()["outputs"] == [stream_output("1")])
        user.move()
        said(target, run, prints("2"), show("3"))  # it is not there yet that the cell was moved
        await user.flush()
        await until(lambda: document.cell_ids() == ["cell-b", "cell-a"])
        said(target, run, prints("4"))
        await until(lambda: len(user.cell()["outputs"]) == 3)
        assert user.cell()["outputs"] == [stream_output("12"), display_output("3"), stream_output("4")]
        assert user.cell()["execution_state"] == "running"
        assert user.cell()["metadata"] == {"trusted": True}
        assert document.notebook is not None
        assert document.notebook.run(run.cell) == run.entry()
        end(target, run, prints("5"))
        await until(lambda: user.cell()["execution_count"] == 1)
        assert user.cell()["outputs"][-1] == stream_output("45")
        await until(lambda: printed(site, 1) == "1245")


async def test_output_that_comes_right_behind_a_clearing(site: Site) -> None:
    async with visited(site) as (document, user):
        run = a_run("one")
        target = target_of(document)
        target.queued([run])
        said(target, run, prints("1"))
        with document.room.writing(FromClient(1)):
            document.document.ycells[0]["outputs"].clear()  # type: ignore[attr-defined]
        said(target, run, prints("2"))
        await until(lambda: user.cell()["outputs"] == [stream_output("2")])
        user.move(outputs=[])
        await user.flush()
        await until(lambda: user.cell()["outputs"] == [stream_output("2")])


async def test_what_was_restored_is_not_taken_from_the_file(site: Site) -> None:
    async with visited(site) as (document, user):
        target = target_of(document)
        run_to_its_end(target, a_run("one"), prints("1"))
        target.forget_ended()
        assert "cell-a" not in target.live_cells()
        await until(lambda: user.cell()["outputs"] == [stream_output("1")])
        cells = document.document.ycells  # type: ignore[attr-defined]
        with document.room.writing(FromClient(1)):
            del cells[0]
            cells.append(user.notebook.create_ycell({**user.cell(), "outputs": []}))
        target.restore()
        assert "cell-a" in target.live_cells()


async def test_it_is_known_no_more_when_the_document_was_closed(site: Site) -> None:
    """What is in the file by then may be somebody else's."""
    site.write(ab())
    async with site.serving() as life:
        target = await ran_and_closed(life, a_run("one"), prints("one"))
        async with life.documents.open(ROOM) as document:
            assert target_of(document) is target
            user = User()
            await user.come_to(document)
            user.move(outputs=[stream_output("changed")])
            await user.flush()
            await until(lambda: document.cell_ids() == ["cell-b", "cell-a"])
            run_to_its_end(target, a_run("two", "cell-b"), prints("two"))
            await until(lambda: user.cell("cell-b")["outputs"] == [stream_output("two")])
            assert user.cell()["outputs"] == [stream_output("changed")]
            user.leave()


@pytest.mark.parametrize("part", ["execution_count", "metadata", "outputs"])
async def test_a_cell_that_comes_back_without_all_of_its_parts(site: Site, part: str) -> None:
    """Yjs does not bring back what somebody else has set at the moment at which the cell was removed."""
    async with visited(site) as (document, user):
        other = Tab()
        await other.come_to(document)
        anew: dict[str, Any] = {"execution_count": 5.0, "metadata": Map(), "outputs": Array()}
        user.remove()
        other.notebook.ycells[0][part] = anew[part]
        await other.flush()
        await user.flush()
        await until(lambda: user.ids == other.ids == document.cell_ids() == ["cell-b"])
        user.history.undo()
        assert part not in user.cell()
        await user.flush()
        await user.edit(0, "edited")
        await until(lambda: site.on_disk == ["edited", "b"])
        written = json.loads(site.file.read_text())
        nbformat.validate(written)  # type: ignore[no-untyped-call, unused-ignore]
        await until(lambda: not document.mirror.dirty)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert not document.mirror.dirty
        assert [cell["source"] for cell in document.document.get()["cells"]] == ["edited", "b"]
    assert site.copies == []
