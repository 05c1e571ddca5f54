"""Output without end: what is kept of it, what it costs, and that it can be stopped."""

from __future__ import annotations

import time
from typing import Any

import anyio
import psutil
import pytest

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

MiB = 2**20
LIMIT = MiB

FLOODS = {
    "lines": "i = 0\nwhile True:\n    print('line', i)\n    i += 1",
    "flushed lines": "i = 0\nwhile True:\n    print('line', i, 'x' * 200, flush=True)\n    i += 1",
    "long lines": "i = 0\nwhile True:\n    print('line', i, 'x' * 10_000)\n    i += 1",
    "one line": "while True: print('line xxxxxxxxxxxxxxxx', end='')",
    "displays": "i = 0\nwhile True:\n    display({'text/plain': f'line {i}'}, raw=True)\n    i += 1",
}


def notices(outputs: list[dict[str, Any]]) -> list[int]:
    """The bytes that each notice in the outputs says were cut."""
    return [
        output["metadata"]["ydoc_exec"]["cut_bytes"]
        for output in outputs
        if "ydoc_exec" in output.get("metadata", {})
    ]


def size(outputs: list[dict[str, Any]]) -> int:
    return len(repr(outputs).encode())


async def least_memory(process: psutil.Process, seconds: float) -> int:
    """The least that it had at any moment of this time, in bytes: of a message that a kernel has gathered while the
    last one was read there are a few copies for a moment, and nobody knows how long a message."""
    sizes = []
    with anyio.move_on_after(seconds):
        while True:
            sizes.append(process.memory_info().rss)
            await anyio.sleep(0.05)
    return min(sizes)


@pytest.mark.parametrize("flood", FLOODS)
async def test_an_endless_flood(servers: Servers, flood: str) -> None:
    server = servers(f"--YdocExec.output_limit={LIMIT}")
    server.write_notebook("a.ipynb", FLOODS[flood], "print('afterwards')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        [run] = await client.execute(kernel, [0])
        await client.wait(lambda: notices(client.cells[0]["outputs"]), timeout=60)
        process = psutil.Process(server.pid)
        memory, log = await least_memory(process, 1), server.update_log_size
        cut = notices(client.cells[0]["outputs"])[0]
        # It goes on, and nothing grows with it: what is kept may be there a few times over on its ways.
        assert await least_memory(process, 3) - memory < 256 * MiB
        await client.wait(lambda: notices(client.cells[0]["outputs"])[0] > cut)
        assert server.update_log_size - log < 16 * MiB
        assert size(client.cells[0]["outputs"]) < 1.5 * LIMIT

        began = time.monotonic()
        assert (await client.request("POST", f"/api/kernels/{kernel}/interrupt")).status_code == 204
        interrupted = time.monotonic() - began
        await client.wait(lambda: client.marker(0) == "idle", timeout=60)
        ended = time.monotonic() - began
        print(f"{flood}: interrupted after {interrupted:.2f} s, ended after {ended:.2f} s")
        assert interrupted < 20  # and not when the flood has passed, which it never does
        outputs = client.cells[0]["outputs"]
        assert outputs[0]["output_type"] in ("stream", "display_data")
        assert "line" in str(outputs[0])[:200]
        assert len(notices(outputs)) == 1
        assert outputs[-1]["ename"] == "KeyboardInterrupt"
        assert LIMIT / 10 < size(outputs) < 1.5 * LIMIT
        assert (await client.run(kernel, run))["state"] == "error"

        await client.execute(kernel, [1])
        await client.wait(lambda: client.lines(1) == ["afterwards"])
        await client.save()
    file = server.read_notebook("a.ipynb")  # which validates it
    assert len(notices(file["cells"][0]["outputs"])) == 1
    assert (server.root / "a.ipynb").stat().st_size < 2 * LIMIT


async def test_much_of_it_is_no_more_than_it_is(server: LabServer) -> None:
    """Ten megabytes are under the limit: all of it is there, and it is quickly opened again."""
    code = "for i in range(100_000): print(i, 'x' * 94)"
    server.write_notebook("a.ipynb", code)
    expected = "".join(f"{i} {'x' * 94}\n" for i in range(100_000))
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_ended(0, 1, timeout=60)
        [output] = client.cells[0]["outputs"]
        assert output["text"] == expected
        await client.save()
    began = time.monotonic()
    async with RoomClient(server, "a.ipynb") as client:
        [output] = client.cells[0]["outputs"]
        opened = time.monotonic() - began
        assert output["text"] == expected
    print(f"opened after {opened:.2f} s")
    await eventually(lambda: stream_text(server.read_notebook("a.ipynb")["cells"][0]) == expected)
