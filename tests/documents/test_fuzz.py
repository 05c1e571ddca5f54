"""Frames of every kind, broken in every way, from clients that may write: only their senders notice."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from tests.documents.conftest import ROOM, Site, Tab, ab, sources
from tests.room.conftest import Peer, Reader
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.room.room_client import RoomClient

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell)"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObjectSendStream:ResourceWarning"),  # YRoom's
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
