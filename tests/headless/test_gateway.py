"""Kernels behind a real Kernel Gateway (``jupyter_kernel_gateway``), on the same machine."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import psutil
import pytest
from websockets.asyncio.client import connect

from tests.conftest import make_servers
from tests.gateway_process import GatewayProcess, Network
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually, stream_text

pytestmark = pytest.mark.anyio

PATIENCE = 8.0
WAIT = "print('began', flush=True)\nimport time\ntime.sleep(600)"


def count(server: LabServer, name: str, *, at: int, number: int) -> tuple[str, Path, Path]:
    """A cell that prints numbers, and at one of them waits for a file; that file, and the one that it makes at its end."""
    go, over = server.root / f"{name}.go", server.root / f"{name}.over"
    code = f"""
import pathlib, time
for i in range({number}):
    print(i, flush=True)
    while i == {at} and not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)
print('over', flush=True)
pathlib.Path({str(over)!r}).touch()"""
    return code, go, over


@pytest.fixture(scope="module")
def network(gateway: GatewayProcess) -> Iterator[Network]:
    with Network(gateway.port) as network:
        yield network


@pytest.fixture(scope="module")
def server(
    gateway: GatewayProcess, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabServer]:
    """A server whose kernels are all behind the gateway."""
    for make in make_servers(tmp_path_factory.mktemp("server")):
        yield make(
            f"--gateway-url=http://127.0.0.1:{network.port}",
            f"--GatewayClient.auth_token={gateway.token}",
            "--GatewayClient.gateway_retry_max=1",
            f"--YdocExec.kernel_timeout={PATIENCE}",
        )


@pytest.fixture
def notebook(server: LabServer, request: pytest.FixtureRequest) -> str:
    """The name of this test's notebook, with three cells that print and one that has nothing to do."""
    name = f"{request.node.name}.ipynb".replace("[", "-").replace("]", "")
    server.write_notebook(name, "print('one')", "2", "print('three')", "")
    return name


@pytest.fixture
async def tab(server: LabServer, notebook: str) -> AsyncIterator[RoomClient]:
    async with RoomClient(server, notebook) as tab:
        yield tab


async def test_cells_run(tab: RoomClient, server: LabServer, notebook: str) -> None:
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 1, 2, 3])
    await tab.wait(lambda: tab.markers() == ["idle"] * 4 and tab.counts()[:3] == [1, 2, 3])
    assert [tab.printed(0), tab.printed(2)] == ["one\n", "three\n"]
    assert tab.cells[1]["outputs"][0]["data"]["text/plain"] == "2"
    assert [(await tab.run(kernel_id, run))["state"] for run in runs] == ["ok"] * 4
    assert tab.execution["kernel"]["name"] == "python3"
    assert await tab.save() == "success"
    assert stream_text(server.read_notebook(notebook)["cells"][2]) == "three\n"


async def test_a_notebook_that_nobody_has_open(server: LabServer, notebook: str) -> None:
    """Its kernel is started at the gateway, and how that is can be asked."""
    response = server.api("POST", f"/api/collaboration/execute/{notebook}")
    assert response.status_code == 202, response.text
    known = server.api("GET", f"{response.headers['Location']}&wait=60").json()
    assert [run["state"] for run in known["requests"]] == ["ok"] * 4
    path = f"/api/kernels/{response.json()['kernel_id']}"
    state = await eventually(
        lambda: (
            found
            if (found := server.api("GET", f"{path}/state").json())["execution_state"] == "idle"
            else None
        )
    )
    assert (state["lifecycle_state"], state["name"], state["queue_length"]) == ("running", "python3", 0)
    server.api("DELETE", path).raise_for_status()
    state = server.api("GET", f"{path}/state").json()
    assert (state["lifecycle_state"], state["reason"]) == ("dead", "it was shut down")
    server.write_notebook("odd.ipynb", "1")
    refused = server.api("POST", "/api/collaboration/execute/odd.ipynb", {"kernel_name": "nowhere"})
    assert refused.status_code == 409, refused.text


async def test_an_error_stops_the_cells_behind_it(tab: RoomClient) -> None:
    tab.set_source(1, "1 / 0")
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 1, 2], after=await tab.barrier())
    assert await tab.ends(kernel_id, runs) == ["ok", "error", "aborted"]
    assert tab.cells[1]["outputs"][0]["ename"] == "ZeroDivisionError"


async def test_large_output_and_pictures(tab: RoomClient) -> None:
    """More than tornado takes by itself in one message (10 MiB); the gateway's limits of the rate are its own."""
    tab.set_source(
        0, "from IPython.display import Image, display\ndisplay(Image(data=b'x' * 9_000_000, format='png'))"
    )
    kernel_id = await tab.start_kernel()
    await tab.execute(kernel_id, [0], after=await tab.barrier())
    await tab.wait_ended(0, 1)
    assert len(tab.cells[0]["outputs"][0]["data"]["image/png"]) >= 12_000_000


async def test_an_interrupt(tab: RoomClient) -> None:
    tab.set_source(0, WAIT)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 1], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    (await tab.request("POST", f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
    assert await tab.ends(kernel_id, runs) == ["error", "aborted"]


async def test_a_page_that_is_opened_while_a_cell_runs(tab: RoomClient, server: LabServer) -> None:
    """It hears at once that the kernel is busy. A gateway says so only to those who were there."""
    tab.set_source(0, WAIT)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    address = f"{server.ws_url}/api/kernels/{kernel_id}/channels?token={server.token}&session_id=page"
    async with connect(address, max_size=None) as page:
        with anyio.fail_after(10):
            first = json.loads(await page.recv())
    assert (first["channel"], first["content"]) == ("iopub", {"execution_state": "busy"})
    (await tab.request("POST", f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
    assert await tab.ends(kernel_id, runs) == ["error"]


async def test_a_restart(tab: RoomClient) -> None:
    tab.set_source(0, WAIT)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    (await tab.request("POST", f"/api/kernels/{kernel_id}/restart")).raise_for_status()
    assert await tab.ends(kernel_id, runs) == ["lost", "lost"]
    assert [output["output_type"] for output in tab.cells[0]["outputs"]] == [
        "stream"
    ]  # no words: it was wanted
    await tab.execute(kernel_id, [2])
    await tab.wait_ended(2, 1)
    assert tab.printed(2) == "three\n"


async def test_new_connections_leave_no_descriptor(tab: RoomClient, server: LabServer) -> None:
    """Each process of a kernel is another connection."""
    kernel_id = await tab.start_kernel()
    process = psutil.Process(server.pid)

    async def restart(times: int) -> None:
        for _ in range(times):
            (await tab.request("POST", f"/api/kernels/{kernel_id}/restart")).raise_for_status()
            assert await tab.ends(kernel_id, await tab.execute(kernel_id, [0])) == ["ok"]

    await restart(2)  # what is kept for the next time is there
    before = process.num_fds()
    await restart(8)
    await eventually(lambda: process.num_fds() < before + 4)


async def test_a_kernel_that_dies(tab: RoomClient) -> None:
    """The gateway starts it again. The cell says in words what happened."""
    tab.set_source(
        0,
        f"import os, time\nprint('began', flush=True)\ntime.sleep(0.5)\nos.kill(os.getpid(), {signal.SIGKILL:d})",
    )
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    assert await tab.ends(kernel_id, runs) == ["lost", "lost"]
    assert "died" in tab.cells[0]["outputs"][-1]["evalue"]
    await tab.execute(kernel_id, [2])
    await tab.wait_ended(2, 1, timeout=60)


async def test_a_kernel_that_the_gateway_ended(tab: RoomClient, gateway: GatewayProcess) -> None:
    """Culled there, or by another of its clients: this server is not told."""
    tab.set_source(0, WAIT)
    kernel_id = await tab.start_kernel()
    [run] = await tab.execute(kernel_id, [0], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    gateway.api("DELETE", f"/api/kernels/{kernel_id}").raise_for_status()
    assert await tab.ends(kernel_id, [run]) == ["lost"]


async def cut(network: Network, gateway: GatewayProcess, kernel_id: str, *, others: int = 0) -> None:
    """Until the gateway has noticed it, what the kernel says goes into the connection that is no more."""
    network.cut()
    path = f"/api/kernels/{kernel_id}"
    await eventually(lambda: gateway.api("GET", path).json()["connections"] == others)


async def test_a_dropped_connection_loses_nothing(
    tab: RoomClient, network: Network, gateway: GatewayProcess, server: LabServer
) -> None:
    code, go, _ = count(server, tab.path, at=5, number=30)
    tab.set_source(0, code)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 5)
    await cut(network, gateway, kernel_id)
    go.touch()
    network.mend()
    assert await tab.ends(kernel_id, runs) == ["ok", "ok"]
    assert tab.lines(0) == [*map(str, range(30)), "over"]


async def test_a_run_that_ends_while_the_connection_is_down(
    tab: RoomClient, network: Network, gateway: GatewayProcess, server: LabServer
) -> None:
    code, go, over = count(server, tab.path, at=2, number=8)
    tab.set_source(0, code)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 3)
    await cut(network, gateway, kernel_id)
    try:
        go.touch()
        await eventually(over.exists)
        await tab.barrier()
        assert len(tab.live_runs) == 2
    finally:
        network.mend()
    assert await tab.ends(kernel_id, runs) == ["ok", "ok"]
    assert tab.lines(0) == [*map(str, range(8)), "over"]


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_somebody_else_is_connected_while_ours_is_down(
    tab: RoomClient, network: Network, gateway: GatewayProcess, server: LabServer, ends_meanwhile: bool
) -> None:
    """Then the gateway keeps nothing: what is missing is said, and a run whose end is missing is lost."""
    code, go, over = count(server, tab.path, at=2, number=8)
    again = server.root / f"{tab.path}.again"
    if not ends_meanwhile:
        code += f"\nwhile not pathlib.Path({str(again)!r}).exists(): time.sleep(0.02)"
    tab.set_source(0, code)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 2)
    address = f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel_id}/channels?token={gateway.token}&session_id=other"
    async with connect(address, max_size=None, close_timeout=0.1):  # it never reads
        await cut(network, gateway, kernel_id, others=1)
        try:
            go.touch()
            await eventually(over.exists)
            if ends_meanwhile:
                path = f"/api/kernels/{kernel_id}"
                await eventually(lambda: gateway.api("GET", path).json()["execution_state"] == "idle")
            await tab.barrier()
            assert len(tab.live_runs) == 2
        finally:
            network.mend()
        await tab.wait(lambda: "may be missing" in tab.printed(0))
        again.touch()
        states = await tab.ends(kernel_id, runs)
    assert states == (["lost", "lost"] if ends_meanwhile else ["ok", "ok"])
    assert "may be missing" in tab.printed(0)
    # The link is mended by itself.
    await tab.execute(kernel_id, [2])
    await tab.wait(lambda: not tab.live_runs and tab.printed(2) == "three\n")


async def test_the_gateway_is_killed_and_comes_back(tab: RoomClient, gateway: GatewayProcess) -> None:
    """Its kernels are gone. The runs end, with words, and the notebook's next kernel runs."""
    tab.set_source(0, WAIT)
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    gateway.kill()
    assert await tab.ends(kernel_id, runs) == ["lost", "lost"]
    assert "gateway" in tab.cells[0]["outputs"][-1]["evalue"]
    assert await tab.save() == "success"
    gateway.start()

    # What the server knew of its old kernel goes when it asks the gateway again.
    (await tab.request("GET", "/api/kernels")).raise_for_status()
    again = await tab.start_kernel()
    assert again != kernel_id
    await tab.execute(again, [2])
    await tab.wait_ended(2, 1, timeout=60)


async def test_input(tab: RoomClient, network: Network) -> None:
    """Also while the connection is down, and over that."""
    tab.set_source(0, "print('before')\nprint('hello', input('Name?'))\nprint('again', input('Again?'))")
    kernel_id = await tab.start_kernel()
    [run] = await tab.execute(kernel_id, [0], after=await tab.barrier())

    async def answer(text: str, value: str) -> None:
        await tab.wait(lambda: tab.prompts.get(run, {}).get("prompt") == text)
        body = {"run_id": run, "value": value}
        response = await tab.request("POST", f"/api/kernels/{kernel_id}/input", body)
        assert response.status_code == 200, response.text

    await tab.wait(lambda: tab.prompts.get(run))
    assert tab.lines(0) == ["before"]
    network.cut()
    try:
        await anyio.sleep(1)  # the server notices
        await answer("Name?", "Ada")
    finally:
        network.mend()
    await answer("Again?", "Bea")
    assert await tab.ends(kernel_id, [run]) == ["ok"]
    assert tab.lines(0) == ["before", "Name? Ada", "hello Ada", "Again? Bea", "again Bea"]
