"""The server is killed (SIGKILL) while somebody types or a cell runs, and starts again.

Whoever was there must find again what they had seen: with the document they still have, and with a fresh
one. A server that is killed may lose what it did in its last moments; what was seen ``SETTLED`` seconds
before must be there. A client that still has its document loses nothing at all.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from jupyter_ydoc import YNotebook

from tests.conftest import Servers
from tests.headless.client import RoomClient, RoomClosed
from tests.server import LabServer, eventually
from ydoc_exec.ids import RoomId
from ydoc_exec.settings import Settings
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SETTLED = Settings().log_delay + 0.45
PRINTS = "import time\nfor i in range(1000):\n    print('line', i, flush=True)\n    time.sleep(0.05)"
PRINTED = [f"line {i}" for i in range(1000)]

fresh_first = pytest.mark.parametrize("fresh_first", [False, True], ids=["old tab first", "fresh tab first"])


class Sightings:
    """What a client saw and when."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def saw(self, number: int) -> None:
        """So much is seen now."""
        self._seen.append((time.monotonic(), number))

    def settled(self) -> int:
        """How much of it was seen long enough ago."""
        limit = time.monotonic() - SETTLED
        return max((number for when, number in self._seen if when <= limit), default=0)


async def kill_and_start(server: LabServer) -> None:
    """What a power cut does; the other tasks go on meanwhile."""
    server.kill()
    for path in server.root.glob("*.ipynb"):
        server.read_notebook(path.name)  # valid at every moment
    await anyio.to_thread.run_sync(server.start)


def assert_not_doubled(client: RoomClient, number: int) -> None:
    """There are so many cells, each with an id of its own."""
    ids = [cell["id"] for cell in client.cells]
    assert len(ids) == len(set(ids)) == number, client.outline()


async def come_back(server: LabServer, old: RoomClient, fresh_first: bool) -> dict[str, list[dict[str, Any]]]:
    """Let the old document and a fresh one into the room, in one order or the other.

    What the fresh one saw at first and what both have at the end.
    """
    if not fresh_first:
        await old.reconnect()
    async with RoomClient(server, "a.ipynb") as fresh:
        first = fresh.cells
        if fresh_first:
            await old.reconnect()
        await old.barrier()
        await fresh.wait(lambda: fresh.cells == old.cells)
        return {"first": first, "both": fresh.cells}


@fresh_first
@pytest.mark.parametrize("seed", range(2))
async def test_killed_while_somebody_types(server: LabServer, fresh_first: bool, seed: int) -> None:
    server.write_notebook("a.ipynb", "", "x = 1", "y = 2")
    sightings = Sightings()
    words = 0
    until = time.monotonic() + 1.5 + random.Random(seed).uniform(0, 2)
    async with RoomClient(server, "a.ipynb") as old:
        while time.monotonic() < until or sightings.settled() <= 10:
            old.type_into(0, f"word{words} ")
            words += 1
            await old.barrier()
            sightings.saw(words)
            await anyio.sleep(0.02)  # the speed of typing
        old.type_into(0, "unsent ")
        settled = sightings.settled()
        await kill_and_start(server)
        with pytest.raises(RoomClosed):
            await old.barrier()
        typed = old.source(0)

        seen = await come_back(server, old, fresh_first)
        assert [cell["source"] for cell in seen["both"]] == [typed, "x = 1", "y = 2"]
        assert_not_doubled(old, 3)
        found = seen["first"][0]["source"].split()
        assert found[:settled] == [f"word{number}" for number in range(settled)]

        assert await old.save() == "success"
    assert ["".join(c["source"]) for c in server.read_notebook("a.ipynb")["cells"]] == [
        typed,
        "x = 1",
        "y = 2",
    ]


@fresh_first
@pytest.mark.parametrize("seed", range(2))
async def test_killed_while_a_cell_runs(server: LabServer, fresh_first: bool, seed: int) -> None:
    server.write_notebook("a.ipynb", PRINTS, "print('waits')", "z = 3")
    sightings = Sightings()
    seconds = 2 + random.Random(seed).uniform(0, 2)
    async with RoomClient(server, "a.ipynb") as old:
        kernel = await old.start_kernel()
        await old.execute(kernel, [0, 1])
        await old.wait_lines(0, 1)
        until = time.monotonic() + seconds
        while time.monotonic() < until or sightings.settled() <= 10:
            known = len(old.lines(0))
            await old.wait_lines(0, known + 1)
            sightings.saw(len(old.lines(0)))
        settled = sightings.settled()
        await kill_and_start(server)
        await eventually(lambda: old.closed)
        had = old.lines(0)

        seen = await come_back(server, old, fresh_first)
        await old.wait(lambda: old.markers() == ["idle"] * 3)  # the kernel died with the server
        assert old.live_runs == {}
        assert_not_doubled(old, 3)
        assert old.sources() == [PRINTS, "print('waits')", "z = 3"]
        lines = old.lines(0)
        assert lines == PRINTED[: len(lines)]
        assert len(lines) >= len(had)
        assert [output["output_type"] for output in seen["first"][0]["outputs"]][:1] == ["stream"]
        first = "".join(str(output["text"]) for output in seen["first"][0]["outputs"] if "text" in output)
        assert first.splitlines()[:settled] == PRINTED[:settled]

        assert await old.save() == "success"
        assert len(server.read_notebook("a.ipynb")["cells"]) == 3

        kernel = await old.start_kernel()  # and it goes on
        await old.execute(kernel, [1])
        await old.wait(lambda: old.marker(1) == "idle" and old.lines(1) == ["waits"])


async def test_killed_and_only_a_fresh_tab_comes_back(server: LabServer) -> None:
    """Nobody kept a document: everything is in the server's log and in the file."""
    server.write_notebook("a.ipynb", PRINTS, "")
    async with RoomClient(server, "a.ipynb") as old:
        kernel = await old.start_kernel()
        await old.execute(kernel, [0])
        old.type_into(1, "typed")
        await old.barrier()
        await old.wait_lines(0, 40)
        settled = 40
        later = len(old.lines(0)) + int(SETTLED / 0.05) + 5
        await old.wait_lines(0, later)  # the kernel's own clock has gone on
        await kill_and_start(server)

    async with RoomClient(server, "a.ipynb") as fresh:
        assert_not_doubled(fresh, 2)
        lines = fresh.lines(0)
        assert len(lines) >= settled
        assert lines == PRINTED[: len(lines)]
        assert fresh.source(1) == "typed"
        assert fresh.markers() == ["idle"] * 2
        assert await fresh.save() == "success"
    assert len(server.read_notebook("a.ipynb")["cells"]) == 2


async def test_stopped_as_a_person_stops_it(server: LabServer) -> None:
    """SIGTERM right after the last key: the file and the log both have it."""
    server.write_notebook("a.ipynb", "", "x = 1")
    async with RoomClient(server, "a.ipynb") as old:
        old.type_into(0, "the last words")
        await old.barrier()
        await anyio.to_thread.run_sync(server.stop)
        cells = server.read_notebook("a.ipynb")["cells"]
        assert ["".join(cell["source"]) for cell in cells] == ["the last words", "x = 1"]
        await anyio.to_thread.run_sync(server.start)
        seen = await come_back(server, old, True)
        assert [cell["source"] for cell in seen["first"]] == ["the last words", "x = 1"]
        assert seen["both"] == seen["first"]


async def test_stopped_right_after_everybody_has_left(tmp_path: Path, servers: Servers) -> None:
    """Documents that nobody needs any more are being closed when the server is stopped: file and log have everything."""
    log = tmp_path / "log.db"
    server = servers("--YdocExec.linger=0", f"--YdocExec.log_path={log}")
    rooms: dict[str, RoomId] = {}
    for number in range(4):
        name = f"{number}.ipynb"
        server.write_notebook(name, "", "x = 1")
        async with RoomClient(server, name) as client:
            rooms[name] = RoomId.parse(client.document_id)
            client.type_into(0, f"the last words of {number}")
            await client.barrier()
    await anyio.to_thread.run_sync(server.stop)
    for number, (name, room) in enumerate(rooms.items()):
        expected = [f"the last words of {number}", "x = 1"]
        assert ["".join(cell["source"]) for cell in server.read_notebook(name)["cells"]] == expected
        async with SqliteUpdateLog(log) as stored:
            history = await stored.read(room)
        assert history is not None
        document = YNotebook()
        for update in history.updates:
            document.ydoc.apply_update(update)
        assert [cell["source"] for cell in document.get()["cells"]] == expected
