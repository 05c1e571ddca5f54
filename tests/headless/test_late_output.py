"""Output that comes after its cell has ended, from a real kernel: while other cells run, while nobody is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def talks_when_asked(folder: Path) -> str:
    """A thread of the cell's own, as libraries start them: it prints when a file appears, and says so by another."""
    return f"""
import contextvars, pathlib, threading, time
folder = pathlib.Path({str(folder)!r})
def talk():
    for number in range(3):
        while not (folder / f'go-{{number}}').exists():
            time.sleep(0.01)
        print('late', number, flush=True)
        handle.update({{'text/plain': f'shown {{number}}'}}, raw=True)
        (folder / f'said-{{number}}').touch()
handle = display({{'text/plain': 'shown'}}, raw=True, display_id='shown')
threading.Thread(target=contextvars.copy_context().run, args=(talk,)).start()
print('early')"""


BETWEEN = "display({'text/plain': 'twin'}, raw=True, display_id='shown')\nimport time\nfor i in range(20): print(i); time.sleep(0.05)"


def shown(outputs: list[dict[str, Any]]) -> list[str]:
    return [
        "".join(output["data"]["text/plain"]) for output in outputs if output["output_type"] == "display_data"
    ]


def in_file(server: LabServer, index: int) -> dict[str, Any]:
    """The cell in the file; none of its outputs while the file is being written."""
    try:
        cell: dict[str, Any] = server.read_notebook("a.ipynb")["cells"][index]
    except ValueError:
        return {"outputs": []}
    return cell


async def say(folder: Path, number: int) -> None:
    (folder / f"go-{number}").touch()
    await eventually(lambda: (folder / f"said-{number}").exists())


async def test_while_another_cell_runs_and_while_nobody_is_there(servers: Servers, tmp_path: Path) -> None:
    server = servers("--YdocExec.linger=0.1")
    server.write_notebook("a.ipynb", talks_when_asked(tmp_path), BETWEEN)
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_ended(0, 1)
        await client.execute(kernel, [1])
        await client.wait_lines(1, 3)
        await say(tmp_path, 0)
        await client.wait(lambda: client.lines(0) == ["early", "late 0"])
        await client.wait_ended(1, 2)
        assert client.lines(0) == ["early", "late 0"]
        assert client.lines(1) == [str(i) for i in range(20)]
        await client.wait(
            lambda: [shown(cell["outputs"]) for cell in client.cells] == [["shown 0"], ["shown 0"]]
        )

    # Nobody is there, and the document is closed. It is opened for what comes, and saved.
    await eventually(lambda: stream_text(in_file(server, 0)) == "early\nlate 0\n")
    await say(tmp_path, 1)
    await eventually(lambda: stream_text(in_file(server, 0)) == "early\nlate 0\nlate 1\n")
    await eventually(
        lambda: [shown(in_file(server, index)["outputs"]) for index in (0, 1)] == [["shown 1"], ["shown 1"]]
    )

    async with RoomClient(server, "a.ipynb") as client:
        assert client.lines(0) == ["early", "late 0", "late 1"]
        # The cell is run again: from now on it is the new run's, and the thread has lost it.
        client.set_source(0, "print('new')")
        await client.execute(kernel, [0], after=await client.barrier())
        await client.wait_ended(0, 3)
        await say(tmp_path, 2)
        await client.execute(kernel, [1])
        await client.wait_ended(1, 4)
        assert client.lines(0) == ["new"]


async def test_displays_of_an_earlier_process_are_nobodys(server: LabServer) -> None:
    show = "display({'text/plain': 'first'}, raw=True, display_id='x')"
    change = "display({'text/plain': 'second'}, raw=True, display_id='x')"
    server.write_notebook("a.ipynb", show, change)
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_ended(0, 1)
        answer = await client.request("POST", f"/api/kernels/{kernel}/restart")
        assert answer.status_code == 200
        await client.execute(kernel, [1])
        await client.wait_ended(1, 1)
        assert [shown(cell["outputs"]) for cell in client.cells] == [["first"], ["second"]]
        # Within one process it does reach both.
        await client.execute(kernel, [0])
        await client.wait_ended(0, 2)
        await client.wait(lambda: [shown(cell["outputs"]) for cell in client.cells] == [["first"], ["first"]])
