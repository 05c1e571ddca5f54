"""Whose output may run scripts: what an authorised user ran here, and what the contents manager vouches for.

The contents manager signs a notebook when it saves it and all rich output is trusted, and says of every cell that
it reads whether the notebook has a signature (``check_and_sign`` and ``mark_trusted_cells`` of Jupyter
Server). A ``trusted`` in the file itself means nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conftest import Servers
from tests.headless.client import LIVE, RoomClient
from tests.server import LabServer, code_cell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SCRIPT = "<script>window.forged = true</script>"
RICH = """
from IPython.display import HTML, JSON, Javascript
display(HTML('<b>ü 🙂</b>\\n<script>1</script>\\n'), JSON({'a': [1, 2.0, 2.5, 'x'], 'b': ['p', 'q']}))
display(Javascript('window.ran = true'), metadata={'x': {'y': 1.0}})
print('printed')
6 * 7
"""
"""What is signed is what is read again only if every value comes back as it was written."""


def forged(source: str = "", html: str = SCRIPT, count: int = 1) -> dict[str, Any]:
    """A cell as it comes with somebody else's notebook, which claims to be trusted."""
    output = {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}}
    return code_cell(source) | {
        "execution_count": count,
        "metadata": {"trusted": True},
        "outputs": [output],
    }


def flags(client: RoomClient) -> list[object]:
    """What the document says of each cell."""
    return [cell["metadata"].get("trusted") for cell in client.cells]


async def run(client: RoomClient, *indices: int) -> None:
    """Run cells to their end. Their counts do not tell when that is: the file may have the same already."""
    kernel = await client.start_kernel()
    for run_id in await client.execute(kernel, indices):
        while (known := await client.run(kernel, run_id))["state"] in LIVE:  # noqa: ASYNC110 - answers announce nothing
            await anyio.sleep(0.05)
        assert known["state"] == "ok", known
    await client.barrier()


def change(path: Path, *cells: dict[str, Any]) -> None:
    """Another program rewrites cells, and claims that they are trusted."""
    notebook = json.loads(path.read_text())
    for cell in cells:
        [old] = [old for old in notebook["cells"] if old["id"] == cell["id"]]
        old.update(cell)
    for cell in notebook["cells"]:
        cell["metadata"]["trusted"] = True
    path.write_text(json.dumps(notebook))


def assert_not_in_file(server: LabServer, name: str = "a.ipynb") -> None:
    """No file says of itself that it is trusted."""
    assert all("trusted" not in cell["metadata"] for cell in server.read_notebook(name)["cells"])


@pytest.mark.parametrize("log", ["memory", ""], ids=["without a log", "with the log"])
async def test_what_was_run_here_stays_trusted(servers: Servers, log: str) -> None:
    server = servers(f"--YdocExec.log_path={log}")
    server.write_notebook("a.ipynb", RICH, "'not run'")
    async with RoomClient(server, "a.ipynb") as client:
        assert flags(client) == [False, False]
        await run(client, 0)
        assert flags(client) == [True, False]
        assert len(client.cells[0]["outputs"]) == 5
        assert await client.save() == "success"
    assert_not_in_file(server)
    server.restart()
    async with RoomClient(server, "a.ipynb") as client:
        assert flags(client)[0] is True
        assert len(client.cells[0]["outputs"]) == 5


@pytest.mark.parametrize("log", ["memory", ""], ids=["without a log", "with the log"])
async def test_a_file_that_says_that_it_is_trusted(servers: Servers, log: str) -> None:
    server = servers(f"--YdocExec.log_path={log}")
    server.write_notebook("a.ipynb", forged(), forged())
    async with RoomClient(server, "a.ipynb") as client:
        assert flags(client) == [False, False]
        client.type_into(0, "1")
        assert await client.save() == "success"
    assert_not_in_file(server)
    server.restart()
    async with RoomClient(server, "a.ipynb") as client:
        assert client.source(0) == "1"
        assert flags(client) == [False, False]


async def test_running_one_cell_says_nothing_of_the_others(servers: Servers) -> None:
    server = servers("--YdocExec.log_path=memory")
    server.write_notebook("a.ipynb", forged(RICH), forged("2"))
    async with RoomClient(server, "a.ipynb") as client:
        await run(client, 0)
        assert flags(client) == [True, False]
        assert SCRIPT not in str(client.cells[0]["outputs"])
        assert await client.save() == "success"
    server.restart()
    async with RoomClient(server, "a.ipynb") as client:
        # One signature is for all cells or none.
        assert flags(client) == [False, False]


async def test_a_change_of_the_file_of_an_open_notebook(servers: Servers) -> None:
    server = servers("--YdocExec.poll_interval=0.1")
    path = server.write_notebook("a.ipynb", RICH, RICH, "3")
    async with RoomClient(server, "a.ipynb") as client:
        await run(client, 0, 1)
        assert await client.save() == "success"
        mine = client.cells[0]["outputs"]
        change(path, {"id": "cell-1"} | forged(RICH, count=2), {"id": "cell-2"} | forged("3"))
        await client.wait(lambda: SCRIPT in str(client.cells[2]["outputs"]))
        assert SCRIPT in str(client.cells[1]["outputs"])
        assert client.cells[0]["outputs"] == mine
        assert flags(client) == [True, False, False]
        # The same again in a cell that nobody has run since, with something typed here at the same time.
        client.type_into(2, "+1")
        change(path, {"id": "cell-0"} | forged(RICH, html=f"{SCRIPT}2"))
        await client.wait(lambda: f"{SCRIPT}2" in str(client.cells[0]["outputs"]))
        assert client.source(2) == "3+1"
        assert flags(client) == [False, False, False]


@pytest.mark.parametrize("log", ["memory", ""], ids=["without a log", "with the log"])
async def test_a_change_of_the_file_while_the_server_was_away(servers: Servers, log: str) -> None:
    server = servers(f"--YdocExec.log_path={log}")
    path = server.write_notebook("a.ipynb", RICH, "2")
    async with RoomClient(server, "a.ipynb") as client:
        await run(client, 0)
        assert await client.save() == "success"
    server.stop()
    change(path, {"id": "cell-0"} | forged(RICH))
    server.start()
    async with RoomClient(server, "a.ipynb") as client:
        assert SCRIPT in str(client.cells[0]["outputs"])
        assert flags(client) == [False, False]


async def test_the_same_results_as_in_the_file_are_signed_too(servers: Servers) -> None:
    """Who gets a notebook and runs it all may get just what is in it: then nothing in the file changes."""
    server = servers("--YdocExec.log_path=memory")
    path = server.write_notebook("a.ipynb", RICH)
    async with RoomClient(server, "a.ipynb") as client:
        await run(client, 0)
        assert await client.save() == "success"
    server.stop()
    copy = path.read_text()
    server = servers("--YdocExec.log_path=memory", "--YdocExec.save_delay=5")
    path = server.root / "a.ipynb"
    path.write_text(copy)
    async with RoomClient(server, "a.ipynb") as client:
        assert flags(client) == [False]
        await run(client, 0)
        assert flags(client) == [True]
        assert await client.save() == "success"
    assert json.loads(path.read_text()) == json.loads(copy)
    server.restart()
    async with RoomClient(server, "a.ipynb") as client:
        assert flags(client) == [True]
