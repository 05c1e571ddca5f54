"""Cells on kernels behind a gateway, over the end of the server that runs them, and its next start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from websockets.asyncio.client import connect

from tests.conftest import Servers, make_servers
from tests.gateway_process import GatewayProcess
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually
from ydoc_exec.execution.prompts import DOTS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ASKING = (
    "print('before')\nname = input('Name?')\nprint(f'hello {name}')\nprint('again', input('Again?'))\nname"
)
COUNT = "import time\nfor i in range(60):\n    print(i, flush=True)\n    time.sleep(0.1)\nprint('over')"
SHORT = "import time\nfor i in range(10):\n    print(i, flush=True)\n    time.sleep(0.1)\nprint('over')"


@pytest.fixture(scope="module")
def server(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A server whose kernels are all behind the gateway, and stay there when it is stopped."""
    for make in make_servers(tmp_path_factory.mktemp("server")):
        yield make(
            *gateway.flags,
            "--GatewayClient.gateway_retry_max=1",
            "--YdocExec.kernel_timeout=8",
            "--YdocExec.leave_kernels=True",
        )


@pytest.fixture
async def tab(server: LabServer, request: pytest.FixtureRequest) -> AsyncIterator[RoomClient]:
    name = f"{request.node.name}.ipynb".replace("[", "-").replace("]", "").replace(" ", "-")
    server.write_notebook(
        name, ASKING, COUNT, SHORT, "from getpass import getpass\nlen(getpass('Secret?'))", "5"
    )
    async with RoomClient(server, name) as tab:
        yield tab


async def start_again(server: LabServer, tab: RoomClient, how: str) -> None:
    """The server ends in this way and starts again; the tab comes back."""
    if how == "killed":
        server.kill()
    else:
        server.stop()
    await tab.disconnect()
    server.start()
    await tab.connect()


def record(kernel: str, run: str) -> str:
    """Where the run is told of."""
    return f"/api/kernels/{kernel}/requests/{run}"


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_question(server: LabServer, tab: RoomClient, how: str) -> None:
    kernel = await tab.start_kernel()
    run, behind = await tab.execute(kernel, [0, 4])
    prompt = await tab.wait(lambda: tab.prompts.get(run))
    asked = {key: value for key, value in prompt.items() if key != "value"}
    await server.until_recorded(run, "input")
    await server.until_recorded(behind, "queued", resumes=False)
    await start_again(server, tab, how)
    again = await tab.wait(lambda: tab.prompts.get(run))
    assert {key: value for key, value in again.items() if key != "value"} == asked
    assert tab.live_runs == {tab.cell_id(0): "input"}
    assert tab.marker(0) == "running"
    assert tab.lines(0) == ["before"]
    record = await tab.run(kernel, run)
    assert (record["state"], record["prompt"]) == ("input", asked)
    # The kernel is the notebook's.
    assert await tab.start_kernel() == kernel
    body = {"run_id": run, "prompt_id": asked["prompt_id"], "value": "Ada"}

    async def taken() -> None:
        answer = await tab.request("POST", f"/api/kernels/{kernel}/input", body)
        assert answer.status_code == 200, answer.text

    await taken()
    second = await tab.wait(
        lambda: found if (found := tab.prompts.get(run, {})).get("prompt") == "Again?" else None
    )
    assert tab.lines(0)[-2:] == ["Name? Ada", "hello Ada"]
    body = {"run_id": run, "prompt_id": second["prompt_id"], "value": "Bea"}
    await taken()
    assert await tab.ends(kernel, [run]) == ["ok"]
    assert tab.count(0) == 1
    expected = ["before", "Name? Ada", "hello Ada", "Again? Bea", "again Bea"]
    assert tab.lines(0) == expected
    assert tab.cells[0]["outputs"][-1]["data"]["text/plain"] == "'Ada'"
    assert (await tab.run(kernel, behind))["state"] == "lost"
    # And the kernel runs more.
    assert await tab.ends(kernel, await tab.execute(kernel, [4])) == ["ok"]
    assert await tab.save() == "success"
    assert len(server.read_notebook(tab.path)["cells"][0]["outputs"]) == len(tab.cells[0]["outputs"])


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_password(server: LabServer, tab: RoomClient, how: str) -> None:
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [3])
    await tab.wait(lambda: tab.prompts.get(run))
    await server.until_recorded(run, "input")
    await start_again(server, tab, how)
    prompt = await tab.wait(lambda: tab.prompts.get(run))
    assert (prompt["password"], "value" in prompt) == (True, False)
    secret = "hunter2-hunter2"
    answer = await tab.request("POST", f"/api/kernels/{kernel}/input", {"run_id": run, "value": secret})
    assert answer.status_code == 200, answer.text
    assert await tab.ends(kernel, [run]) == ["ok"]
    assert tab.lines(3) == [f"Secret? {DOTS}"]
    assert tab.cells[3]["outputs"][-1]["data"]["text/plain"] == str(len(secret))
    assert await tab.save() == "success"
    kept = [path for path in server.root.parent.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


async def test_an_interrupt_afterwards(server: LabServer, tab: RoomClient) -> None:
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [0])
    await tab.wait(lambda: tab.prompts.get(run))
    await server.until_recorded(run, "input")
    await start_again(server, tab, "killed")
    await tab.wait(lambda: tab.prompts.get(run))
    (await tab.request("POST", f"/api/kernels/{kernel}/interrupt")).raise_for_status()
    assert await tab.ends(kernel, [run]) == ["error"]
    assert tab.prompts == {}
    assert tab.cells[0]["outputs"][-1]["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_cell_that_prints(server: LabServer, tab: RoomClient, how: str) -> None:
    """Of a server that is killed what it had heard and not written down is missing, and nothing else."""
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [1])
    await tab.wait_lines(1, 20)
    await server.until_recorded(run, "running")
    await start_again(server, tab, how)
    assert await tab.ends(kernel, [run]) == ["ok"]
    lines = tab.lines(1)
    everything = [*map(str, range(60)), "over"]
    assert [line for line in everything if line in lines] == lines, "in order, each once"
    assert lines[-30:] == everything[-30:]
    if how == "stopped":
        assert lines == everything
    else:
        assert len(lines) > 50


async def test_a_cell_that_ends_meanwhile(server: LabServer, tab: RoomClient) -> None:
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [2])
    await tab.wait_lines(2, 2)
    await server.until_recorded(run, "running")
    server.stop()
    await tab.disconnect()
    await anyio.sleep(2)  # it ends
    server.start()
    await tab.connect()
    assert await tab.ends(kernel, [run]) == ["ok"]
    assert tab.lines(2) == [*map(str, range(10)), "over"]
    assert tab.count(2) == 1


async def test_a_kernel_that_ends_meanwhile(
    server: LabServer, tab: RoomClient, gateway: GatewayProcess
) -> None:
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [0])
    await tab.wait(lambda: tab.prompts.get(run))
    await server.until_recorded(run, "input")
    server.kill()
    await tab.disconnect()
    gateway.api("DELETE", f"/api/kernels/{kernel}").raise_for_status()
    server.start()
    await tab.connect()
    known = await eventually(
        lambda: found if (found := server.api("GET", record(kernel, run)).json())["state"] == "lost" else None
    )
    assert known["reason"] == "the server stopped, and then the kernel ended"
    assert not tab.prompts
    assert not tab.live_runs
    assert await tab.start_kernel() != kernel


async def test_somebody_else_is_connected_meanwhile(
    server: LabServer, tab: RoomClient, gateway: GatewayProcess
) -> None:
    """Then the gateway keeps nothing. What waits for input says nothing, so it goes on."""
    kernel = await tab.start_kernel()
    [run] = await tab.execute(kernel, [0])
    await tab.wait(lambda: tab.prompts.get(run))
    await server.until_recorded(run, "input")
    address = (
        f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel}/channels?token={gateway.token}&session_id=other"
    )
    async with connect(address, max_size=None, close_timeout=0.1):
        await start_again(server, tab, "killed")
        for text, value in (("Name?", "Ada"), ("Again?", "Bea")):
            await tab.wait(lambda text=text: tab.prompts.get(run, {}).get("prompt") == text)  # type: ignore[misc]
            answer = await tab.request(
                "POST", f"/api/kernels/{kernel}/input", {"run_id": run, "value": value}
            )
            assert answer.status_code == 200, answer.text
        assert await tab.ends(kernel, [run]) == ["ok"]
    assert "may be missing" in tab.printed(0)
    assert tab.lines(0)[-1] == "again Bea"


async def test_a_server_that_is_stopped_ends_its_kernels_unless_it_is_told(
    gateway: GatewayProcess, servers: Servers
) -> None:
    server = servers(*gateway.flags)
    server.write_notebook("a.ipynb", ASKING)
    async with RoomClient(server, "a.ipynb") as tab:
        kernel = await tab.start_kernel()
        [run] = await tab.execute(kernel, [0])
        await tab.wait(lambda: tab.prompts.get(run))
        await start_again(server, tab, "stopped")
        assert gateway.api("GET", f"/api/kernels/{kernel}").status_code == 404
        known = await tab.run(kernel, run)
        assert (known["state"], known["reason"]) == ("lost", "the server stopped")
        assert not tab.prompts
        assert not tab.live_runs
