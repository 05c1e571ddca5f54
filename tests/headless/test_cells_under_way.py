"""What people do to cells that wait or run: outputs follow the cell or go with it, and the queue goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from pycrdt import UndoManager

from tests.headless.client import RoomClient
from tests.headless.test_kernel_life import is_quiet, states
from tests.headless.test_runs import gate
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

NEXT = "print('next')"

_numbers = count()


@pytest.fixture(scope="module")
def server(shared_server: LabServer) -> Iterator[LabServer]:
    """Its log has no traceback of ours in the end."""
    yield shared_server
    ours = [line for line in shared_server.log.splitlines() if "/ydoc_exec/" in line and "File" in line]
    assert ours == []


@pytest.fixture(scope="module")
def kernel(server: LabServer) -> str:
    """One for all notebooks here, which have no sessions."""
    return str(server.api("POST", "/api/kernels", {"name": "python3"}).json()["id"])


def index_of(client: RoomClient, cell_id: str) -> int | None:
    """Where the cell is, if it is there."""
    ids = [cell["id"] for cell in client.cells]
    return ids.index(cell_id) if cell_id in ids else None


def put(client: RoomClient, index: int, cell: dict[str, Any]) -> None:
    """Insert a cell, which says nothing of its state, as JupyterLab's cells do that are made of others."""
    ycell = client.notebook.create_ycell(cell)
    client.ycells.insert(index, ycell)
    if "execution_state" in ycell:
        del ycell["execution_state"]


# What they do with the cell "cell-1", as JupyterLab does it


def move(client: RoomClient) -> None:
    """To the end."""
    with client.doc.transaction():
        cell = client.cells[1]
        del client.ycells[1]
        put(client, len(client.ycells), cell)


def split(client: RoomClient) -> None:
    """The lower part keeps the id."""
    with client.doc.transaction():
        cell = client.cells[1]
        del client.ycells[1]
        put(client, 1, {**cell, "source": "# lower"})
        put(client, 1, {**cell, "id": "upper", "source": "# upper", "outputs": [], "execution_count": None})


def merge(client: RoomClient) -> None:
    """With the one above, which stays."""
    with client.doc.transaction():
        source = client.ycells[0]["source"]
        source += "\n" + client.source(1)
        del client.ycells[1]


def to_markdown(client: RoomClient) -> None:
    """Another cell under the same id."""
    with client.doc.transaction():
        cell = {"id": "cell-1", "cell_type": "markdown", "metadata": {}, "source": client.source(1)}
        del client.ycells[1]
        put(client, 1, cell)


def delete(client: RoomClient) -> None:
    """It is gone."""
    with client.doc.transaction():
        del client.ycells[1]


def cut_and_paste(client: RoomClient) -> None:
    """What is pasted is another cell, with what the first one had until then."""
    cell = client.cells[1]
    delete(client)
    with client.doc.transaction():
        put(client, len(client.ycells), {**cell, "id": "pasted"})


FOLLOW = [move, split]
GO = [merge, to_markdown, delete, cut_and_paste]


@pytest.mark.parametrize("when", ["queued", "running"])
@pytest.mark.parametrize("act", [*FOLLOW, *GO], ids=lambda act: str(act.__name__))
async def test_a_cell_that_is_changed(
    server: LabServer, kernel: str, act: Callable[[RoomClient], None], when: str
) -> None:
    number = next(_numbers)
    first, second = f"first-{number}", f"second-{number}"
    server.write_notebook(f"{number}.ipynb", gate(first), gate(second) + "\nprint('end')", NEXT)
    async with RoomClient(server, f"{number}.ipynb") as client:
        runs = await client.execute(kernel, range(3))
        await client.wait_lines(0, 1)
        if when == "running":
            (server.root / first).touch()
            await client.wait_lines(1, 1)
        act(client)
        await client.barrier()
        (server.root / first).touch()
        (server.root / second).touch()
        assert await states(client, kernel, runs) == ["ok"] * 3
        await client.wait(lambda: is_quiet(client))
        last = index_of(client, "cell-2")
        assert last is not None
        assert client.lines(last) == ["next"]
        here = index_of(client, "cell-1")
        if act in FOLLOW:
            assert here is not None
            assert client.lines(here) == ["began", "end"]
            assert client.count(here) == (client.count(last) or 0) - 1
        else:
            assert here is None or client.cells[here]["cell_type"] == "markdown"
            assert not any("end" in stream_text(cell) for cell in client.cells if cell.get("outputs"))
        assert await client.save() == "success"
    for cell in server.read_notebook(f"{number}.ipynb")["cells"]:
        assert "execution_state" not in cell


@pytest.mark.parametrize("back", ["queued", "running", "ended"])
async def test_a_deletion_that_is_undone(server: LabServer, kernel: str, back: str) -> None:
    """The cell says what is true by then."""
    number = next(_numbers)
    first, second = f"first-{number}", f"second-{number}"
    server.write_notebook(f"{number}.ipynb", gate(first), gate(second) + "\nprint('end')", NEXT)
    async with RoomClient(server, f"{number}.ipynb") as client:
        history = UndoManager(scopes=[client.ycells], capture_timeout_millis=0)
        history.include_origin("user")
        runs = await client.execute(kernel, range(3))
        await client.wait_lines(0, 1)
        with client.doc.transaction(origin="user"):
            del client.ycells[1]
        await client.barrier()
        if back != "queued":
            (server.root / first).touch()
            await client.wait(lambda: client.live_runs.get("cell-1") == "running")
        if back == "ended":
            (server.root / second).touch()
            assert await states(client, kernel, runs) == ["ok"] * 3
            await client.wait(lambda: not client.live_runs)
        assert history.undo()
        await client.barrier()
        marker = "idle" if back == "ended" else "running"
        await client.wait(lambda: client.marker(1) == marker)
        for name in (first, second):
            (server.root / name).touch()
        assert await states(client, kernel, runs) == ["ok"] * 3
        await client.wait(lambda: is_quiet(client) and client.lines(1) == ["began", "end"])
        assert client.count(1) == (client.count(2) or 0) - 1
        assert client.lines(2) == ["next"]


async def test_a_notebook_that_is_renamed(server: LabServer, kernel: str) -> None:
    server.write_notebook("old name.ipynb", gate("renamed") + "\nprint('end')", NEXT)
    async with RoomClient(server, "old name.ipynb") as client:
        runs = await client.execute(kernel, range(2))
        await client.wait_lines(0, 1)
        server.rename("old name.ipynb", "new name.ipynb")
        (server.root / "renamed").touch()
        assert await states(client, kernel, runs) == ["ok"] * 2
        await client.wait(lambda: is_quiet(client))
        assert client.lines(0) == ["began", "end"]
        assert client.lines(1) == ["next"]

    def saved() -> bool:
        cells = server.read_notebook("new name.ipynb")["cells"]
        return [stream_text(cell) for cell in cells] == ["began\nend\n", "next\n"]

    await eventually(saved)
    assert not (server.root / "old name.ipynb").exists()
