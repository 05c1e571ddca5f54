"""The seven things that the product is for, without a browser: what the document and REST say.

``tests/browser/test_seven.py`` has the same seven as a person sees them.
"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

TWENTY_SECONDS = "import time\nfor i in range(40):\n    print('line', i)\n    time.sleep(0.5)"
TWENTY_SECONDS_LINES = [f"line {i}" for i in range(40)]


def slow(name: int, seconds: float) -> str:
    """A cell that takes its time and says which cells came before it."""
    return f"import time\norder = [*globals().get('order', []), {name}]\ntime.sleep({seconds})\nprint(order)"


def gated(name: int) -> str:
    """One that takes until it is let go (``go``)."""
    return (
        f"import os, time\norder = [*globals().get('order', []), {name}]\n"
        f"while not os.path.exists('go-{name}'): time.sleep(0.02)\nprint(order)"
    )


def go(server: LabServer, *names: int) -> None:
    """Let these cells end."""
    for name in names:
        (server.root / f"go-{name}").touch()


async def test_1_coming_back_in_the_middle_of_a_run(server: LabServer) -> None:
    server.write_notebook("a.ipynb", TWENTY_SECONDS)
    async with RoomClient(server, "a.ipynb") as first:
        kernel = await first.start_kernel()
        [run] = await first.execute(kernel, [0])
        await first.wait_lines(0, 6)
        seen = first.lines(0)

    async with RoomClient(server, "a.ipynb") as second:
        await second.wait(lambda: second.marker(0) == "running" and len(second.lines(0)) >= len(seen))
        assert await second.kernel_status(kernel) == "busy"
        await second.wait(lambda: second.execution["kernel"]["status"] == "busy")
        assert second.execution["kernel"]["id"] == kernel
        assert second.execution["runs"][second.cell_id(0)]["run_id"] == run
        assert second.count(0) is None

        for more in range(1, 6):  # live: each in its turn, not all at the end
            await second.wait_lines(0, len(seen) + more)
            assert second.marker(0) == "running"
        await second.wait(lambda: second.marker(0) == "idle")
        assert second.lines(0) == TWENTY_SECONDS_LINES
        assert second.count(0) == 1
        await second.wait(lambda: second.execution["runs"] == {})
        assert (await second.run(kernel, run))["state"] == "ok"


async def test_2_everything_is_in_the_file_before_anybody_comes_back(servers: Servers) -> None:
    server = servers("--YdocExec.linger=1")
    server.write_notebook(
        "a.ipynb", "import time\nfor i in range(20):\n    print('line', i)\n    time.sleep(0.2)\n42"
    )
    async with RoomClient(server, "a.ipynb") as first:
        kernel = await first.start_kernel()
        await first.execute(kernel, [0])
        await first.wait_lines(0, 3)

    cell = await eventually(
        lambda: next((c for c in server.read_notebook("a.ipynb")["cells"] if c["execution_count"]), None)
    )
    assert stream_text(cell).splitlines() == [f"line {i}" for i in range(20)]
    assert cell["outputs"][-1]["data"] == {"text/plain": ["42"]}
    assert cell["execution_count"] == 1
    assert server.kernel_status(kernel) == "idle"

    async with RoomClient(server, "a.ipynb") as second:
        assert len(second.cells) == 1
        assert second.lines(0) == [f"line {i}" for i in range(20)]
        assert second.ended(0, 1)


async def test_3_the_cells_of_one_gesture_run_in_its_order(server: LabServer) -> None:
    """Of five cells three run while nobody is there."""
    server.write_notebook("a.ipynb", *map(gated, range(5)))
    expected = [[str(list(range(n + 1)))] for n in range(5)]

    def in_file() -> list[dict[str, Any]]:
        return list(server.read_notebook("a.ipynb")["cells"])

    async with RoomClient(server, "a.ipynb") as first:
        kernel = await first.start_kernel()
        await first.execute(kernel, range(5))
        await first.wait(lambda: first.markers() == ["running"] * 5)
        states = ["running", *["queued"] * 4]
        await first.wait(
            lambda: first.live_runs == {first.cell_id(n): state for n, state in enumerate(states)}
        )
        go(server, 0)
        await first.wait(lambda: first.ended(0, 1))

    go(server, 1, 2, 3)
    await eventually(lambda: [cell["execution_count"] for cell in in_file()] == [1, 2, 3, 4, None])
    assert [stream_text(cell).splitlines() for cell in in_file()] == [*expected[:4], []]
    async with RoomClient(server, "a.ipynb") as second:
        assert second.markers() == ["idle"] * 4 + ["running"]
        assert second.live_runs == {second.cell_id(4): "running"}
        assert second.counts() == [1, 2, 3, 4, None]
        assert [second.lines(n) for n in range(5)] == [*expected[:4], []]
        assert second.execution["kernel"]["status"] == "busy"
        assert await second.kernel_status(kernel) == "busy"

    go(server, 4)  # nobody comes back for it
    await eventually(lambda: in_file()[4]["execution_count"] == 5)
    assert [stream_text(cell).splitlines() for cell in in_file()] == expected


async def test_3_requests_that_are_made_one_by_one_run_in_their_order(server: LabServer) -> None:
    """In that in which the server took them; and who was answered was before all that was asked for then."""
    server.write_notebook("a.ipynb", *(slow(n, 0.1) for n in range(5)))
    delays = random.Random(3)
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        taken: dict[int, int] = {}
        before: dict[int, set[int]] = {}
        answered = anyio.Event()

        async def run_later(index: int) -> None:
            await anyio.sleep(delays.uniform(0, 0.5))
            if index == 4:
                await answered.wait()  # however slow the machine is, one comes after another was answered
            before[index] = set(taken)
            run = await client.execute_stock(kernel, index)
            taken[index] = (await client.run(kernel, run))["seq"]
            answered.set()

        async with anyio.create_task_group() as group:
            for index in range(5):
                group.start_soon(run_later, index)
        await client.wait(lambda: None not in client.counts() and "running" not in client.markers())
        counts = {index: client.count(index) or 0 for index in range(5)}
        assert sorted(counts, key=counts.__getitem__) == sorted(taken, key=taken.__getitem__)
        assert all(counts[index] > counts[other] for index in before for other in before[index])
        assert any(before.values())


async def test_4_two_clients_see_the_same(server: LabServer) -> None:
    server.write_notebook(
        "a.ipynb", "import time\nfor i in range(20):\n    print('line', i)\n    time.sleep(0.2)"
    )
    async with RoomClient(server, "a.ipynb") as active, RoomClient(server, "a.ipynb") as passive:
        kernel = await active.start_kernel()
        await active.execute(kernel, [0])
        await passive.wait(lambda: passive.marker(0) == "running")
        await passive.wait(lambda: 3 <= len(passive.lines(0)) < 20)
        assert passive.marker(0) == "running"
        await passive.wait_ended(0, 1)
        await active.wait_ended(0, 1)
        for client in (passive, active):  # the run's entry goes a moment after the cell is idle
            await client.wait(lambda client=client: client.execution["runs"] == {})  # type: ignore[misc]
        assert passive.lines(0) == [f"line {i}" for i in range(20)]
        assert passive.cells == active.cells
        assert passive.execution == active.execution


@pytest.mark.parametrize("hold", [0.0, 0.005], ids=["fast network", "slow websocket"])
async def test_5_what_was_typed_before_the_request_is_what_runs(server: LabServer, hold: float) -> None:
    server.write_notebook("a.ipynb", "print('not typed')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        client.hold = hold
        ran: list[str] = []
        for number in range(50):
            client.set_source(0, "")
            client.type_into(0, f"print({number})")
            client.send_barrier(f"after {number}")  # its reply is not awaited: the request may overtake it
            await client.execute(kernel, [0], after=f"after {number}")
            await client.wait_ended(0, number + 1)
            ran += client.lines(0)
        assert ran == [str(number) for number in range(50)]


@pytest.mark.timeout(240)
async def test_6_nobody_is_there_for_most_of_a_long_run(servers: Servers) -> None:
    """For longer than a document lingers; the test in the browser does it for 75 seconds."""
    server = servers("--YdocExec.linger=2")
    server.write_notebook(
        "a.ipynb",
        "import os, time\nfor i in range(90):\n    print('line', i, flush=True)\n    time.sleep(0.1)\n"
        "    while i == 60 and not os.path.exists('go'): time.sleep(0.05)",
    )
    async with RoomClient(server, "a.ipynb") as first:
        kernel = await first.start_kernel()
        await first.execute(kernel, [0])
        await first.wait_lines(0, 2)

    await anyio.sleep(8)  # the claim itself

    async with RoomClient(server, "a.ipynb") as second:
        assert second.marker(0) == "running"
        await second.wait_lines(0, 61)
        assert second.lines(0) == [f"line {i}" for i in range(61)]
        (server.root / "go").touch()
        await second.wait(lambda: second.marker(0) == "idle")
        assert second.lines(0) == [f"line {i}" for i in range(90)]
        assert second.count(0) == 1
        assert await second.save() == "success"
    [cell] = server.read_notebook("a.ipynb")["cells"]
    assert stream_text(cell).splitlines() == [f"line {i}" for i in range(90)]


async def test_7_an_error_stops_the_cells_after_it(server: LabServer) -> None:
    server.write_notebook("a.ipynb", "print('one')", "1 / 0", "print('three')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        runs = await client.execute(kernel, [0, 1, 2])
        await client.wait(lambda: client.count(1) is not None and "running" not in client.markers())
        assert client.counts() == [1, 2, None]
        assert client.lines(0) == ["one"]
        [error] = client.cells[1]["outputs"]
        assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")
        assert client.cells[2]["outputs"] == []
        await client.wait(lambda: client.execution["runs"] == {})
        states = [(await client.run(kernel, run))["state"] for run in runs]
        assert states == ["ok", "error", "aborted"]

        await client.execute(kernel, [2])
        await client.wait_ended(2, 3)
        assert client.lines(2) == ["three"]
