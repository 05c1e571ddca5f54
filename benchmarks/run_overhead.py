"""What the server adds to running many small cells: through the queue, against the kernel alone."""

from __future__ import annotations

import asyncio
import time

from bench import lab_server, table
from jupyter_client.manager import AsyncKernelManager

from tests.headless.client import RoomClient

CELLS = 200
ROUNDS = 3


async def ours() -> list[float]:
    """One gesture with all cells, until the last of them is idle in a client's document."""
    times: list[float] = []
    with lab_server() as server:
        server.write_notebook("a.ipynb", *(f"x = {n}" for n in range(CELLS)))
        async with RoomClient(server, "a.ipynb") as client:
            kernel = await client.start_kernel()
            await client.execute(kernel, [0])
            await client.wait_ended(0, 1)
            for number in range(ROUNDS):
                began = time.perf_counter()
                await client.execute(kernel, range(CELLS))
                await client.wait_ended(CELLS - 1, 1 + (number + 1) * CELLS)
                times.append(time.perf_counter() - began)
    return times


async def alone(*, one_by_one: bool) -> list[float]:
    """The same cells with jupyter_client; each is over when its reply and its idle status are here."""
    times: list[float] = []
    manager = AsyncKernelManager()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready()

    async def until_over(number: int) -> None:
        async def replies() -> None:
            for _ in range(number):
                await client.get_shell_msg()

        async def idles() -> None:
            left = number
            while left:
                message = await client.get_iopub_msg()
                left -= message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"

        await asyncio.gather(replies(), idles())

    for _ in range(ROUNDS):
        began = time.perf_counter()
        for number in range(CELLS):
            client.execute(f"x = {number}")
            if one_by_one:
                await until_over(1)
        if not one_by_one:
            await until_over(CELLS)
        times.append(time.perf_counter() - began)
    client.stop_channels()
    await manager.shutdown_kernel(now=True)
    return times


def main() -> None:
    single = min(asyncio.run(alone(one_by_one=True)))
    all_at_once = min(asyncio.run(alone(one_by_one=False)))
    server = min(asyncio.run(ours()))
    rows = [
        ("kernel alone, one by one", single, 1000 * single / CELLS, 1.0),
        ("kernel alone, all sent at once", all_at_once, 1000 * all_at_once / CELLS, all_at_once / single),
        ("ydoc_exec, one request", server, 1000 * server / CELLS, server / single),
    ]
    table(f"{CELLS} small cells, best of {ROUNDS}", ["", "s", "ms per cell", "ratio"], rows)


if __name__ == "__main__":
    main()
