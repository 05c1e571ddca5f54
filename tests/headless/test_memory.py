"""Whatever is sent to a server, it does not grow with it."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.documents.test_fuzz import broken, good_frames
from tests.headless.client import RoomClient
from tests.server import LabServer
from ydoc_exec import sync

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ROUNDS = 80
FRAMES = 10
MOST = 2 * 2**20
"""Bytes that a server may have more after three times as many rounds. What a connection leaves for half a minute
(its timers, as Jupyter Server makes them) would be six times that."""

BODIES = (
    b"",
    b"{",
    b"[" * 10_000,
    b'{"document_id": 3}',
    b'{"cell_ids": ["' + b"x" * 100_000 + b'"]}',
    b"\xff" * 5000,
)


async def rounds(client: RoomClient, random: Random) -> None:
    """Connections that send nonsense and leave, and requests that make none."""
    for number in range(ROUNDS):
        with suppress(ConnectionClosed):
            async with connect(
                client.room_url(client.document_id, random.choice([client.session_id, "another"]))
            ) as socket:
                for _ in range(FRAMES):
                    frame = random.choice(good_frames(random))
                    # What makes sense would be kept, and rightly so.
                    if sync.is_update(frame) or sync.is_step2(frame) or random.randrange(3):
                        frame = broken(frame, random)
                    await socket.send(frame if not adds(frame) else b"\x03")
                await socket.recv()
        content = random.choice(BODIES)
        answer = await client._http.post(f"/api/kernels/{random.randrange(9)}/execute", content=content)
        assert 400 <= answer.status_code < 500
        answer = await client._http.put("/api/collaboration/session/nothing.ipynb", content=content)
        assert 400 <= answer.status_code < 500
        if number % 20 == 0:
            await client.barrier()


def adds(frame: bytes) -> bool:
    """Whether a document would take it up."""
    return sync.is_update(frame) or sync.is_step2(frame)


async def test_it_does_not_grow_with_what_makes_no_sense(server: LabServer) -> None:
    server.write_notebook("a.ipynb", "print(1)")
    process, random = psutil.Process(server.pid), Random(1)
    async with RoomClient(server, "a.ipynb") as client:
        sizes = []
        for _ in range(6):
            await rounds(client, random)
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[1] < MOST, sizes
        client.set_source(0, "print(2)")
        assert await client.save() == "success"
