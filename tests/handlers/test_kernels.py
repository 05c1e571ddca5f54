"""Kernels as REST and their websockets show them, with our server behind."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.headless.client import RoomClient
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

V1 = "v1.kernel.websocket.jupyter.org"


def read(frame: str | bytes) -> dict[str, Any]:
    """A message of either protocol: its channel, its type and its content."""
    if isinstance(frame, str):
        message = json.loads(frame)
        kind, content = message["header"]["msg_type"], message["content"]
        return {"channel": message["channel"], "type": kind, "content": content}
    channel, parts = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]
    return {
        "channel": channel,
        "type": json.loads(parts[0])["msg_type"],
        "content": json.loads(parts[3]),
    }


async def ended(client: RoomClient, kernel: str, *runs: str) -> list[dict[str, Any]]:
    """What the server knows of these runs when all have ended."""
    with anyio.fail_after(30):
        while True:
            records = [await client.run(kernel, run) for run in runs]
            if all(record["ended_at"] for record in records):
                return records
            await anyio.sleep(0.05)


@pytest.mark.parametrize("protocol", [None, V1])
async def test_a_busy_kernel_says_so_to_whoever_connects(
    shared_server: LabServer, protocol: str | None
) -> None:
    name = f"busy-{protocol is None}.ipynb"
    shared_server.write_notebook(name, "import time\nprint('x', flush=True)\ntime.sleep(60)")
    async with RoomClient(shared_server, name) as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_lines(0, 1)
        url = f"{shared_server.ws_url}/api/kernels/{kernel}/channels?token={shared_server.token}"
        subprotocols = [Subprotocol(protocol)] if protocol else None
        async with connect(url, subprotocols=subprotocols) as socket:
            assert socket.subprotocol == protocol
            with anyio.fail_after(30):
                message = read(await socket.recv())
                while message["type"] != "status":
                    message = read(await socket.recv())
        assert message["channel"] == "iopub"
        assert message["content"] == {"execution_state": "busy"}
        assert await client.kernel_status(kernel) == "busy"
        await client.request("DELETE", f"/api/kernels/{kernel}")
        await client.wait(lambda: client.marker(0) == "idle")


async def test_a_run_right_after_a_restart_is_not_lost(shared_server: LabServer) -> None:
    shared_server.write_notebook(
        "restart.ipynb", "import time\nprint('x', flush=True)\ntime.sleep(60)", "print(1)"
    )
    async with RoomClient(shared_server, "restart.ipynb") as client:
        kernel = await client.start_kernel()
        for _ in range(10):
            [long] = await client.execute(kernel, [0])
            await client.wait_lines(0, 1)
            assert (await client.request("POST", f"/api/kernels/{kernel}/restart")).status_code == 200
            [run] = await client.execute(kernel, [1])
            lost, record = await ended(client, kernel, long, run)
            # Told to end, it may have had the time to say that the cell was interrupted.
            assert lost["state"] in ("lost", "error"), lost
            assert (record["state"], record["execution_count"]) == ("ok", 1), record
            await client.wait(lambda: client.markers() == ["idle"] * 2 and client.lines(1) == ["1"])


async def test_a_run_while_a_kernel_restarts_is_not_lost(shared_server: LabServer) -> None:
    shared_server.write_notebook("during.ipynb", "old = True", "print('old' in globals())")
    async with RoomClient(shared_server, "during.ipynb") as client:
        kernel = await client.start_kernel()
        for _ in range(3):
            await ended(client, kernel, *await client.execute(kernel, [0]))
            before: list[str] = []
            during: list[str] = []
            over = anyio.Event()

            async def restart(over: anyio.Event = over) -> None:
                assert (await client.request("POST", f"/api/kernels/{kernel}/restart")).status_code == 200
                over.set()

            async with anyio.create_task_group() as group:
                group.start_soon(restart)
                while not over.is_set():
                    state = (await client.request("GET", f"/api/kernels/{kernel}/state")).json()
                    began = bool(during) or state["lifecycle_state"] == "restarting"
                    (during if began else before).extend(await client.execute(kernel, [1]))
                    await anyio.sleep(0.05)
            # Those of the first moments were at the old process.
            states = {record["state"] for record in await ended(client, kernel, *before)}
            assert states <= {"ok", "lost"}
            assert {record["state"] for record in await ended(client, kernel, *during)} == {"ok"}
            await client.wait(lambda: client.lines(1) == ["False"])
