"""A flood of output: how long it takes, what it costs on the wire and in the log."""

from __future__ import annotations

import asyncio
import time

import zmq
from bench import lab_server, table
from jupyter_client.manager import AsyncKernelManager

from tests.headless.client import RoomClient
from tests.server import LabServer

CASES = {
    "20,000 prints, each flushed": "for i in range(20000): print(i, flush=True)",
    "100,000 plain prints": "for i in range(100000): print(i)",
}


async def kernel_alone(code: str) -> tuple[float, int, int]:
    """Seconds, messages with text, and bytes on the wire that a client of the kernel itself gets."""
    manager = AsyncKernelManager()
    await manager.start_kernel()
    client = manager.client()
    client.context.setsockopt(zmq.RCVHWM, 0)
    client.start_channels()
    await client.wait_for_ready()
    began = time.perf_counter()
    client.execute(code)
    messages = size = 0
    while True:
        message = await client.get_iopub_msg()
        if message["msg_type"] == "stream":
            messages += 1
            size += sum(len(frame) for frame in client.session.serialize(message))
        elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    seconds = time.perf_counter() - began
    client.stop_channels()
    await manager.shutdown_kernel(now=True)
    return seconds, messages, size


def log_size(server: LabServer) -> int:
    """Bytes of the update log of a server that has ended."""
    return sum(path.stat().st_size for path in server._data.rglob("updates.db*"))


async def through_server(code: str) -> tuple[float, int, int, int, int]:
    """Seconds, frames, bytes of frames, bytes of text, bytes of the log."""
    with lab_server() as server:
        server.write_notebook("a.ipynb", "1", code)
        async with RoomClient(server, "a.ipynb") as client:
            kernel = await client.start_kernel()
            await client.execute(kernel, [0])
            await client.wait_ended(0, 1)
            before = len(client.received)
            began = time.perf_counter()
            await client.execute(kernel, [1])
            await client.wait_ended(1, 2, timeout=100)
            seconds = time.perf_counter() - began
            frames = [frame for _, frame in client.received[before:] if frame[0] == 0]
            text = len(client.printed(1).encode())
        server.stop()
        log = log_size(server)
    return seconds, len(frames), sum(map(len, frames)), text, log


async def main() -> None:
    rows: list[tuple[object, ...]] = []
    for name, code in CASES.items():
        alone, messages, raw = await kernel_alone(code)
        seconds, frames, size, text, log = await through_server(code)
        rows.append(
            (
                name,
                alone,
                seconds,
                seconds / alone,
                messages,
                frames,
                text,
                raw / text,
                size / text,
                log / text,
            )
        )
    table(
        "Floods of output",
        [
            "",
            "s, kernel alone",
            "s, ydoc_exec",
            "ratio",
            "kernel's messages",
            "frames to a client",
            "bytes of text",
            "kernel's bytes / text",
            "client's bytes / text",
            "log / text",
        ],
        rows,
    )


if __name__ == "__main__":
    asyncio.run(main())
