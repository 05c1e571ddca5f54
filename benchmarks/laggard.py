"""One client stops reading while a cell produces 20 MB: what that costs the server and the others."""

from __future__ import annotations

import asyncio
import statistics
import time

import psutil
from bench import lab_server, table
from pycrdt import create_sync_message
from websockets.asyncio.client import connect

from tests.headless.client import RoomClient

MEGABYTES = 20
CODE = f"""
import os, time
from IPython.display import display
for _ in range({MEGABYTES * 10}):
    display({{"text/plain": os.urandom(50_000).hex()}}, raw=True)
    time.sleep(0.02)
"""


async def produce(*, laggard: bool) -> tuple[float, float, float]:
    """Seconds until a client has everything, median ms of a keystroke meanwhile, megabytes the server grew."""
    with lab_server() as server:
        server.write_notebook("a.ipynb", "", CODE)
        assert server._process is not None
        process = psutil.Process(server._process.pid)
        async with RoomClient(server, "a.ipynb") as one, RoomClient(server, "a.ipynb") as two:
            kernel = await one.start_kernel()
            url = one.room_url(one.document_id, one.session_id)
            deaf = await connect(url, max_size=None, max_queue=1) if laggard else None
            if deaf is not None:
                await deaf.send(create_sync_message(one.doc))
                await deaf.recv()  # the first frame, and no other
            before = process.memory_info().rss
            grown = 0
            keys: list[float] = []
            began = time.perf_counter()
            await one.execute(kernel, [1])
            while not two.ended(1, 1):
                pressed = time.perf_counter()
                one.type_into(0, "x")
                await two.wait(lambda: len(two.source(0)) > len(keys))
                keys.append(1000 * (time.perf_counter() - pressed))
                grown = max(grown, process.memory_info().rss - before)
                await asyncio.sleep(0.05)
            seconds = time.perf_counter() - began
            if deaf is not None:
                deaf.transport.abort()
        return seconds, statistics.median(keys), grown / 2**20


async def main() -> None:
    without, with_it = await produce(laggard=False), await produce(laggard=True)
    rows = [
        ("all clients read", *without),
        ("one does not", *with_it),
        ("ratio", *(b / a for a, b in zip(without, with_it, strict=True))),
    ]
    head = ["", "s", "ms a keystroke, median", "MB the server grew at most"]
    table(f"{MEGABYTES} MB of output and a client that does not read", head, rows)


if __name__ == "__main__":
    asyncio.run(main())
