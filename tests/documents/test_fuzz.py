"""Frames of every kind, broken in every way, from clients that may write: only their senders notice."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, UndoManager

from tests.documents.conftest import ROOM, Site, Tab, ab, sources
from tests.notebooks import cell
from tests.room.conftest import Peer, Reader
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import SaveFailed
from ydoc_exec.room.room_client import RoomClient

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell)"),
]

FRAMES = 400


def good_frames(random: Random) -> list[bytes]:
    """One frame of each kind, all of them fine."""
    doc: Doc[Any] = Doc()
    doc.get("elsewhere", type=Text).insert(0, "text 📊")
    presence = sync.AwarenessState(random.getrandbits(32), 1, {"user": {"name": "Ada"}})
    return [
        sync.step1(doc.get_state()),
        sync.step2(doc.get_update()),
        sync.update(doc.get_update()),
        sync.awareness([presence]),
        b"\x03",
        b"\x02\x04save\x01",
        b"\x02\x07barrier\x02it",
        b"\x02\x07execute\x02it\x02{}",
    ]


def broken(frame: bytes, random: Random) -> bytes:
    """The frame with something done to it."""
    data = bytearray(frame)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0:
                data[place:] = b""
            case 1:
                data[place:place] = random.randbytes(random.randint(1, 9))
            case 2 if place < len(data):
                data[place] = random.randrange(256)
            case 3:
                del data[place : place + random.randint(1, 9)]
            case _:
                data += data[place:]
    return bytes(data)


def nonsense(document: OpenDocument, random: Random) -> bytes:
    """An update that every document takes, and that makes no notebook."""
    doc: Doc[Any] = Doc()
    doc.apply_update(document.room.doc.get_update())
    state = doc.get_state()
    cells: Array[Any] = doc.get("cells", type=Array)
    values: list[Callable[[], Any]] = [
        lambda: None,
        lambda: 1.5,
        lambda: "text",
        lambda: [[], {}],
        lambda: Map({"id": random.random()}),
        lambda: Text("x"),
        lambda: Array([1]),
    ]
    value = random.choice(values)()
    match random.randrange(4):
        case 0:
            cells.append(value)
        case 1:
            doc.get(random.choice(["state", "meta", "execution", "base", "lineage", "new"]), type=Map)[
                random.choice(["dirty", "path", "nbformat", "metadata", "now", "runs", "id", "", "cell-a"])
            ] = value
        case 2 if len(cells) and isinstance(cells[0], Map):
            cells[0][random.choice(["id", "source", "outputs", "metadata", "cell_type", "new"])] = value
        case _:
            doc.get("elsewhere", type=Array).append(value)
    return sync.update(doc.get_update(state))


def no_mistakes(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether nothing went wrong that nobody had thought of."""
    return not any(record.exc_info and record.levelno >= logging.ERROR for record in caplog.records)


def clocks(doc: Doc[Any]) -> dict[int, int]:
    """The state vector."""
    reader = Reader(doc.get_state())
    return {reader.number(): reader.number() for _ in range(reader.number())}


async def told(tab: Tab, other: Tab, text: str) -> None:
    """What one writes where only text can be, the other sees."""
    tab.text += text
    await tab.flush()
    await until(lambda: str(other.text).endswith(text))


def alive(clients: list[weakref.ref[RoomClient]]) -> list[RoomClient]:
    """Those that somebody still holds."""
    gc.collect()
    return [client for one in clients if (client := one()) is not None]


@pytest.mark.parametrize("seed", range(8))
async def test_bad_frames_hurt_only_their_senders(
    site: Site, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(seed)
    # What is logged holds on to errors, and these to whoever made them.
    caplog.set_level(logging.ERROR, logger="ydoc_exec.room")
    site.write(ab())
    clients: list[weakref.ref[RoomClient]] = []
    async with site.serving() as life, life.documents.open(ROOM) as document:
        one, other = Tab(), Tab()
        await one.come_to(document)
        await other.come_to(document)
        bad: Peer | None = None
        for number in range(FRAMES):
            if bad is None or bad.closed is not None:
                if bad is not None:
                    bad.leave()
                    bad.forget()
                bad = Peer()
                clients.append(weakref.ref(bad.client))
                document.admit(bad.client, random.choice([document.lineage, "another", None]))
            frame = random.choice(good_frames(random))
            kind = random.randrange(10)
            if kind < 6:
                frame = broken(frame, random)
            elif kind < 7:
                frame = random.randbytes(random.randint(0, 40))
            await bad.send(frame)
            if number % 40 == 0:
                writer, reader = random.sample([one, other], 2)
                await told(writer, reader, f"<{number}>")
        assert bad is not None
        bad.leave()
        bad.forget()
        bad = None
        await until(lambda: document.room.clients == {one.client, other.client})
        assert sources(document) == one.sources == other.sources == ["a", "b"]
        await one.edit(0, "and all goes on")
        await until(lambda: other.sources == ["and all goes on", "b"])
        await until(lambda: site.on_disk == ["and all goes on", "b"])
        # The room itself is among those present.
        await until(lambda: set(document.room.awareness.states) == {document.room.doc.client_id})
        assert len(clients) > FRAMES / 20
        # The last of them may not have been let in yet.
        await until(lambda: not alive(clients))
    assert no_mistakes(caplog)


@pytest.mark.parametrize("seed", range(8))
async def test_a_document_that_is_made_nonsense_goes_on_for_all(
    site: Site, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(seed)
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            one, other, bad = Tab(), Tab(), Peer()
            await one.come_to(document)
            await other.come_to(document)
            document.admit(bad.client)
            for number in range(60):
                await bad.send(nonsense(document, random))
                if number % 10 == 0:
                    writer, reader = random.sample([one, other], 2)
                    await told(writer, reader, f"<{number}>")
            await told(one, other, "the end")
            assert bad.closed is None
            # Who comes now brings something too.
            late = Tab()
            late.doc.get("elsewhere of its own", type=Text).insert(0, "of its own")
            await late.come_to(document)
            await until(lambda: str(document.room.doc.get("elsewhere of its own", type=Text)) == "of its own")
            assert late.closed is None
            late.leave()
            await until(lambda: clocks(one.doc) == clocks(other.doc) == clocks(document.room.doc))
            one.leave()
            other.leave()
            bad.leave()
        life.documents.all()[0].stop()
        await life.closed()
        # What cannot be read as a notebook is not saved, and what can be is; either way it opens again.
        async with life.documents.open(ROOM) as document:
            assert document.document.ystate["path"] == ROOM.file_id
    assert no_mistakes(caplog)


STRANGE: list[Callable[[], Any]] = [
    lambda: None,
    lambda: True,
    lambda: 1.5,
    lambda: "text",
    lambda: [[], {}],
    lambda: {"trusted": []},
    lambda: Map({"text": 1}),
    lambda: Text("x"),
    lambda: Array([1]),
    lambda: Array([Map({"output_type": "stream", "text": 1})]),
]


@pytest.mark.parametrize(
    "key", ["id", "source", "outputs", "metadata", "cell_type", "execution_count", "execution_state", "new"]
)
async def test_a_cell_that_is_made_nonsense_is_saved_or_cannot_be(
    site: Site, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in whichever of its places; and when it is well again it is saved."""
    caplog.set_level(logging.ERROR)
    site.write(ab())
    site.set(save_delay=60.0, save_interval=60.0)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        for number, make in enumerate(STRANGE):
            tab.notebook.append_cell(cell(f"new-{number}", "new"))
            tab.notebook.ycells[2][key] = make()
            await tab.flush()
            await until(lambda: len(document.document.ycells) == 3)  # type: ignore[attr-defined]
            with suppress(SaveFailed):
                await document.mirror.save()
            del tab.notebook.ycells[2]
            await tab.edit(0, f"well again {number}")
            await until(lambda number=number: sources(document) == [f"well again {number}", "b"])  # type: ignore[misc]
            await document.mirror.save()
            assert site.on_disk == [f"well again {number}", "b"]
    # The contents manager says much of what it refuses.
    assert [record for record in caplog.records if record.name.startswith("ydoc_exec")] == []


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_reader_sends_changes_nothing(
    site: Site, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames of every kind, good and broken, and presence and its own undoing; those who may write go on."""
    random = Random(seed)
    site.write(ab())
    file = site.file.read_bytes()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        writer, reader = Tab(), None
        await writer.come_to(document)
        await writer.say_here({"user": {"name": "writer"}})
        await until(lambda: writer.doc.client_id in document.room.awareness.states)
        await until(lambda: "hash" in document.document.ystate)
        before = document.room.doc.get_update()
        for _ in range(200):
            if reader is None or reader.closed is not None:
                reader = Tab(may_write=False)
                await reader.come_to(document)
                undo = UndoManager(scopes=[reader.notebook.ycells], capture_timeout_millis=0)
            match random.randrange(5):
                case 0:
                    await reader.send(nonsense(document, random))
                case 1:
                    await reader.send(broken(random.choice(good_frames(random)), random))
                case 2:
                    await reader.say_here(None, random.randint(1, 9), number=writer.doc.client_id)
                case 3:
                    await reader.edit(random.randrange(2), "by a reader")
                    undo.undo()
                    await reader.flush()
                case _:
                    await reader.send(random.choice(good_frames(random)))
        assert reader is not None
        waiting = reader.client._receiver.statistics
        await until(lambda: reader.closed or not waiting().current_buffer_used)
        assert document.room.doc.get_update() == before
        assert site.file.read_bytes() == file
        assert document.room.awareness.states[writer.doc.client_id] == {"user": {"name": "writer"}}
        await writer.edit(0, "and all goes on")
        await until(lambda: site.on_disk == ["and all goes on", "b"])
    assert no_mistakes(caplog)
