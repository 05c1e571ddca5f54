"""A document that is gone is freed, whatever ended it.

What is looked at are the document, its shared document, its room and its mirror. pycrdt keeps observers where no
garbage collection finds them, so each observer that is forgotten keeps all of it.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, create_task_group
from anyio.lowlevel import checkpoint
from pycrdt import Text

from tests.documents.conftest import ROOM, TEXT, LastingLog, Life, Site, Tab, ab, sources
from tests.documents.runs import a_run, run_to_its_end, target_of
from tests.documents.test_returning_tabs import come_back
from tests.documents.test_wipes import LONG, clear
from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.ownership import Ownership
from ydoc_exec.errors import DocumentNotFound, LoadFailed, OpenAsOtherType, OpenElsewhere, UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.update_log import History

pytestmark = pytest.mark.anyio

PANIC = bytes.fromhex("01010100040103000000")
"""An update at which yrs panics, which is no ``Exception``."""


class FailingLog(LastingLog):
    """Raises at reading, at writing, or at both."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = True

    async def read(self, room: RoomId) -> History | None:
        if not self.reads:
            raise UpdateLogError("read", "the disk is gone")
        return await super().read(room)

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        if not self.writes:
            raise UpdateLogError("write", "the disk is gone")
        await super().begin(room, lineage, snapshot, base)

    async def append(self, batch: Any) -> None:
        if not self.writes:
            raise UpdateLogError("write", "the disk is gone")
        await super().append(batch)


async def use(life: Life) -> None:
    """A tab comes, types and leaves; a cell runs."""
    async with life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, "typed")
        await until(lambda: document.document.get()["cells"][0]["source"] == "typed")
        run_to_its_end(target_of(document), a_run())
        tab.leave()
        tab.forget()


async def until_closed(tab: Tab) -> None:
    await until(lambda: tab.closed)


async def closed(life: Life) -> None:
    await use(life)


async def text_closed(life: Life) -> None:
    async with life.documents.open(TEXT) as document:
        peer = Peer()
        document.admit(peer.client)
        await peer.greet()
        await until(lambda: peer.synced)
        peer.doc.get("source", type=Text).insert(0, "typed ")
        await peer.flush()
        await until(lambda: str(document.read()).startswith("typed "))
        peer.leave()
        peer.forget()


async def closed_twice(life: Life) -> None:
    await use(life)
    await life.closed()
    await use(life)


async def load_failed(life: Life) -> None:
    life.site.file.write_text("{")
    for _ in range(2):
        with pytest.raises(LoadFailed):
            await use(life)


async def not_found(life: Life) -> None:
    life.site.file.unlink()
    with pytest.raises(DocumentNotFound):
        await use(life)


async def log_unreadable(life: Life) -> None:
    log = life.site.log
    assert isinstance(log, FailingLog)
    await use(life)
    await life.closed()
    log.reads = False
    await use(life)


async def log_unwritable(life: Life) -> None:
    log = life.site.log
    assert isinstance(log, FailingLog)
    log.writes = False
    await use(life)
    await life.closed()
    assert life.site.on_disk == ["typed", "b"], "it is saved all the same"


async def history_unreadable(life: Life) -> None:
    await use(life)
    await life.closed()
    await life.site.log.begin(ROOM, Lineage("broken"), b"no update", None)
    await use(life)


async def owned_elsewhere(life: Life) -> None:
    folder = life.site.root.parent / "owners"
    life.documents._ownership = Ownership(folder)
    async with Ownership(folder).of(ROOM.file_id):
        with pytest.raises(OpenElsewhere):
            await use(life)
    assert life.documents.all() == []
    await use(life)


async def open_as_another_type(life: Life) -> None:
    async with life.documents.open(ROOM):
        with pytest.raises(OpenAsOtherType):
            async with life.documents.open(TEXT):
                pass


async def caller_gave_up(life: Life) -> None:
    life.site.contents.gate = Event()
    async with create_task_group() as tasks:
        tasks.start_soon(use, life)
        await checkpoint()
        tasks.cancel_scope.cancel()
    life.site.contents.gate = None


async def save_failed(life: Life) -> None:
    life.site.contents.broken = OSError("No space left on device")
    async with life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.say_here({"autosave": False})
        await tab.edit(0, "typed")
        document.stop()
        await document.closed.wait()
        tab.forget()


async def client_sends_garbage(life: Life) -> None:
    for garbage in (b"\x00", b"\xff" * 10, sync.update(b"no update"), sync.update(PANIC)):
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.send(garbage)
            await until_closed(tab)
            tab.forget()


async def client_cannot_be_written_to(life: Life) -> None:
    async with life.documents.open(ROOM) as document:
        tab, other = Tab(), Tab()
        await tab.come_to(document)
        await other.come_to(document)
        tab.write_error = RuntimeError("a mistake")
        await other.edit(0, "typed")
        await until_closed(tab)
        tab.forget()
        other.leave()
        other.forget()


async def own_mistake(life: Life) -> None:
    async with life.documents.open(ROOM) as document:
        assert document._tasks is not None

        async def fail() -> None:
            raise RuntimeError("a mistake")

        document._tasks.start_soon(fail)
        await document.closed.wait()


async def of_another_lineage(life: Life) -> None:
    tab = Tab()
    async with life.documents.open(ROOM) as document:
        await tab.come_to(document)
        await tab.edit(0, "typed")
        await until(lambda: sources(document)[0] == "typed")
        await document.mirror.save()
        lineage, state = document.lineage, tab.doc.get_update()
        tab.leave()
        tab.forget()
    await life.closed()
    await life.writer.flush()
    await life.site.log.forget(ROOM)
    life.site.write(ab("typed", "changed outside"))
    for may_write in (False, True):
        async with life.documents.open(ROOM) as document:
            again = Tab(may_write=may_write)
            again.doc.apply_update(state)
            again._unsent.clear()
            await come_back(again, document, lineage)
            assert (again.closed is None) is may_write
            again.leave()
            again.forget()


async def changed_outside(life: Life) -> None:
    async with life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        life.site.write(notebook(cell("cell-b", "b"), cell("cell-a", "moved, and changed outside")))
        await until(lambda: tab.ids == ["cell-b", "cell-a"])
        tab.leave()
        tab.forget()


async def deleted_outside(life: Life) -> None:
    async with life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        life.site.file.unlink()
        await until(lambda: document.mirror.missing)
        await tab.edit(0, "typed")
        await until(lambda: sources(document)[0] == "typed")
        tab.leave()
        tab.forget()


async def wiped(life: Life) -> None:
    life.site.write(LONG)
    async with life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        with tab.doc.transaction():
            clear(tab)
        await tab.flush()
        await until(lambda: document.mirror.emptied)
        tab.leave()
        tab.forget()


ENDS: list[Callable[[Life], Awaitable[None]]] = [
    closed,
    text_closed,
    closed_twice,
    load_failed,
    not_found,
    log_unreadable,
    log_unwritable,
    history_unreadable,
    owned_elsewhere,
    open_as_another_type,
    caller_gave_up,
    save_failed,
    client_sends_garbage,
    client_cannot_be_written_to,
    own_mistake,
    of_another_lineage,
    changed_outside,
    deleted_outside,
    wiped,
]


@pytest.fixture(autouse=True)
def nothing_is_logged() -> Iterator[None]:
    """pytest keeps what is logged, and with an error what was on the stack."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("end", ENDS)
async def test_it_is_freed(
    end: Callable[[Life], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    site.log = FailingLog()
    site.write(ab())
    made: list[weakref.ref[Any]] = []
    async with site.serving() as life:
        make = life.documents._make

        def remember(room: RoomId) -> OpenDocument:
            document = make(room)
            made.extend(map(weakref.ref, (document, document.room.doc, document.room, document.mirror)))
            return document

        monkeypatch.setattr(life.documents, "_make", remember)
        await end(life)
        await until(lambda: life.documents.all() == [])
        await checkpoint()
        gc.collect()
        assert made
        assert [ref() for ref in made if ref() is not None] == []
        assert life.documents._turns == {}
