"""How a kernel is, asked by REST: right whether a client ever connects or not."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import Servers, make_servers
from tests.headless.client import RoomClient
from tests.headless.test_runs import gate
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """One that notices soon that a kernel has died, and soon gives up."""
    for servers in make_servers(tmp_path_factory.mktemp("state")):
        yield servers("--AsyncIOLoopKernelRestarter.time_to_dead=0.2", "--KernelRestarter.time_to_dead=0.2")


def state(server: LabServer, kernel: str) -> dict[str, Any]:
    """What is answered."""
    response = server.api("GET", f"/api/kernels/{kernel}/state")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def until(
    server: LabServer, kernel: str, what: Callable[[dict[str, Any]], bool], seconds: float = 30
) -> dict[str, Any]:
    """The first state that is so."""
    return await eventually(lambda: found if what(found := state(server, kernel)) else None, timeout=seconds)


def is_idle(state: dict[str, Any]) -> bool:
    return (state["execution_state"], state["lifecycle_state"]) == ("idle", "running")


def process_of(server: LabServer, kernel: str) -> psutil.Process:
    """The kernel's process."""

    def is_it(child: psutil.Process) -> bool:
        try:
            return any(f"kernel-{kernel}" in word for word in child.cmdline())
        except psutil.Error:  # another one, which has just ended
            return False

    [process] = filter(is_it, psutil.Process(server.pid).children(recursive=True))
    return process


async def test_with_no_client_ever(server: LabServer) -> None:
    kernel = server.api("POST", "/api/kernels", {"name": "python3"}).json()["id"]
    first = state(server, kernel)
    assert (first["kernel_id"], first["name"], first["connections"]) == (kernel, "python3", 0)
    assert (first["queue_length"], first["current_run"], first["reason"]) == (0, None, "")
    assert (first["execution_state"], first["lifecycle_state"]) in [
        ("starting", "starting"),
        ("idle", "running"),
    ]
    idle = await until(server, kernel, is_idle)
    assert first["execution_since"] <= idle["execution_since"] <= idle["lifecycle_since"]
    assert state(server, kernel) == idle  # to ask changes nothing
    # Nobody has asked it anything, so a culler counts from when it was started.
    assert idle["last_activity"].endswith("Z")

    process_of(server, kernel).send_signal(signal.SIGKILL)
    died = await until(server, kernel, lambda now: now["lifecycle_state"] == "restarting")
    assert died["execution_state"] == "starting"
    again = await until(server, kernel, is_idle)
    assert again["lifecycle_since"] > died["lifecycle_since"] >= idle["lifecycle_since"]

    server.api("POST", f"/api/kernels/{kernel}/restart").raise_for_status()
    restarted = await until(server, kernel, is_idle)
    assert restarted["lifecycle_since"] > again["lifecycle_since"]

    server.api("DELETE", f"/api/kernels/{kernel}").raise_for_status()
    gone = state(server, kernel)
    assert (gone["execution_state"], gone["lifecycle_state"]) == ("dead", "dead")
    assert gone["reason"] == "it was shut down"
    assert state(server, kernel) == gone


async def test_a_kernel_that_nobody_starts_again(servers: Servers) -> None:
    """Jupyter Server goes on saying that it is idle."""
    server = servers("--KernelManager.autorestart=False")
    kernel = server.api("POST", "/api/kernels", {"name": "python3"}).json()["id"]
    await until(server, kernel, is_idle)
    process = process_of(server, kernel)
    process.send_signal(signal.SIGKILL)
    dead = await until(server, kernel, lambda now: now["lifecycle_state"] == "dead")
    assert (dead["execution_state"], dead["reason"]) == ("dead", "it died")
    server.api("POST", f"/api/kernels/{kernel}/restart").raise_for_status()
    again = await until(server, kernel, is_idle)
    assert again["lifecycle_since"] > dead["lifecycle_since"]
    assert again["reason"] == ""


async def test_a_kernel_that_cannot_live(server: LabServer) -> None:
    """Its process ends at once, whenever it is started."""
    spec = server.root.parent / "data" / "kernels" / "broken"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-c", "import sys; sys.exit(3)", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Broken", "language": "python"})
    )
    kernel = server.api("POST", "/api/kernels", {"name": "broken"}).json()["id"]
    dead = await until(server, kernel, lambda now: now["lifecycle_state"] == "dead")
    assert dead["execution_state"] == "dead"
    assert dead["reason"] == "it died and could not be started again"


async def test_while_it_runs_cells(server: LabServer) -> None:
    server.write_notebook("a.ipynb", gate("go"), "2", "3")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        [first, *_] = await client.execute(kernel, [0, 1, 2])
        await client.wait_lines(0, 1)
    # Whoever asked for it has left.
    busy = await until(server, kernel, lambda now: now["execution_state"] == "busy")
    assert busy["queue_length"] == 2
    assert busy["current_run"]["run_id"] == first
    assert (busy["current_run"]["state"], busy["current_run"]["place"]) == ("running", 0)
    assert busy["connections"] == 0
    (server.root / "go").touch()
    idle = await until(server, kernel, lambda now: is_idle(now) and not now["queue_length"])
    assert idle["current_run"] is None
    assert idle["execution_since"] > busy["execution_since"]
    assert idle["last_activity"] >= busy["last_activity"]


async def test_no_such_kernel(server: LabServer) -> None:
    response = server.api("GET", "/api/kernels/none/state")
    assert response.status_code == 404
    assert "none" in response.json()["message"]
