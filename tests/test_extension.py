"""The extension in a real server: starting, not starting, ending."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

NOTEBOOK = {"format": "json", "type": "notebook"}

OTHER = """
def _jupyter_server_extension_points():
    return [{"module": "jupyter_server_ydoc"}]

def _load_jupyter_server_extension(serverapp):
    serverapp.log.warning("the other one is here")
"""


def test_it_does_not_start_beside_the_other_one(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "jupyter_server_ydoc.py").write_text(OTHER)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    config = tmp_path / "config.py"
    config.write_text("c.ServerApp.jpserver_extensions = {'jupyter_server_ydoc': True}\n")
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", "1")
    assert server.api("PUT", "/api/collaboration/session/a.ipynb", NOTEBOOK).status_code == 404
    assert server.api("GET", "/api/contents/a.ipynb").status_code == 200
    assert "the other one is here" in server.log
    said = [line for line in server.log.splitlines() if "ydoc_exec does not start" in line]
    assert len(said) == 1
    assert "jupyter server extension disable jupyter_server_ydoc" in said[0]
    assert "Traceback" not in server.log
    server.stop()
    assert "Traceback" not in server.log


def test_the_front_end_is_told_who_executes(shared_server: LabServer) -> None:
    page = shared_server.api("GET", "/lab").text
    config = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert config is not None
    assert json.loads(config[1])["serverSideExecution"] is True


async def test_it_ends_in_time_and_saves_with_a_run_under_way(server: LabServer) -> None:
    server.write_notebook(
        "a.ipynb", "import time\nfor i in range(10**6): print(i, flush=True); time.sleep(.01)"
    )
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_lines(0, 20)
        began = time.monotonic()
        await anyio.to_thread.run_sync(server.stop)
        assert time.monotonic() - began < 15
    lines = stream_text(server.read_notebook("a.ipynb")["cells"][0]).splitlines()
    assert len(lines) >= 20
    assert lines == [str(i) for i in range(len(lines))]


def test_a_log_that_cannot_be_written_hangs_nobody(servers: Servers, tmp_path: Path) -> None:
    """Whether the log is set aside or the extension gives up: there is an answer, and the server ends."""
    (tmp_path / "a-file").write_text("")
    server = servers(f"--YdocExec.log_path={tmp_path}/a-file/updates.db")
    server.write_notebook("a.ipynb", "1")
    response = server.api("PUT", "/api/collaboration/session/a.ipynb", NOTEBOOK)
    assert response.status_code in (200, 201), response.text
    server.stop()


async def test_a_failure_while_starting_hangs_nobody(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        "import ydoc_exec.extension as extension\n"
        "def read_settings(self):\n    raise OSError('a disk on fire')\n"
        "extension.YdocExec.read_settings = read_settings\n"
    )
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", "1")
    response = server.api("PUT", "/api/collaboration/session/a.ipynb", NOTEBOOK)
    assert response.status_code == 503
    assert "ydoc_exec" in response.json()["message"]
    assert "Traceback" not in response.text
    assert "a disk on fire" in server.log
    async with connect(
        f"{server.ws_url}/api/collaboration/room/json:notebook:x?token={server.token}"
    ) as socket:
        with anyio.fail_after(10), pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()
        assert socket.close_code == 4500
    assert server.api("GET", "/api/contents/a.ipynb").status_code == 200
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 15


SAYING = """
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter

class Saying(AsyncIOLoopKernelRestarter):
    def start(self):
        self.log.warning("It looks every %g seconds", self.time_to_dead)
        super().start()

c.AsyncIOLoopKernelManager.restarter_class = Saying
"""


@pytest.mark.parametrize(
    ("said", "looks"),
    [
        ("", 1),
        ("c.KernelRestarter.time_to_dead = 7", 7),
        ("c.AsyncIOLoopKernelRestarter.time_to_dead = 7", 7),
    ],
)
def test_deaths_of_kernels_are_noticed_soon(servers: Servers, tmp_path: Path, said: str, looks: int) -> None:
    """Unless somebody has said how often Jupyter's restarter is to look."""
    config = tmp_path / "config.py"
    config.write_text(SAYING + said)
    server = servers(f"--config={config}")
    server.api("POST", "/api/kernels", {"name": "python3"}).raise_for_status()
    assert f"It looks every {looks} seconds" in server.log
