"""What users may do is asked of the server's authorizer, and it is so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import Servers
from tests.headless.client import RoomClient, RoomClosed
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

NOTEBOOK = {"format": "json", "type": "notebook"}

CONFIG = """
from jupyter_server.auth.authorizer import Authorizer

class Denying(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return (action, resource) != {denied!r}

c.ServerApp.authorizer_class = Denying
"""


def denying(servers: Servers, tmp_path: Path, action: str, resource: str) -> LabServer:
    """A server where nobody may do that."""
    config = tmp_path / "denying.py"
    config.write_text(CONFIG.format(denied=(action, resource)))
    return servers(f"--config={config}")


async def test_who_may_not_execute_may_still_edit(servers: Servers, tmp_path: Path) -> None:
    server = denying(servers, tmp_path, "execute", "kernels")
    server.write_notebook("a.ipynb", "print('never')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        body = {"document_id": client.document_id, "cell_id": client.cell_id(0)}
        response = await client.request("POST", f"/api/kernels/{kernel}/execute", body)
        assert response.status_code == 403
        client.set_source(0, "edited")
        assert await client.save() == "success"
        assert client.live_runs == {}
        assert client.cells[0]["outputs"] == []
    assert "".join(server.read_notebook("a.ipynb")["cells"][0]["source"]) == "edited"


async def test_who_may_not_write_changes_nothing(servers: Servers, tmp_path: Path) -> None:
    server = denying(servers, tmp_path, "write", "contents")
    before = server.write_notebook("a.ipynb", "print(1)", "x = 2").read_bytes()
    async with RoomClient(server, "a.ipynb") as client:  # an update
        client.set_source(0, "changed")
        with suppress(RoomClosed):
            await client.barrier()
        with suppress(RoomClosed):
            await client.save()
        await client.disconnect()
        # the answer to the server's question, with what was done offline
        client.doc.get("cells", type=type(client.ycells)).pop(1)
        with suppress(RoomClosed, TimeoutError):
            await client.connect()
            await client.barrier()
    async with RoomClient(server, "a.ipynb") as fresh:
        assert fresh.sources() == ["print(1)", "x = 2"]
    assert (server.root / "a.ipynb").read_bytes() == before


async def test_who_may_not_read_sees_nothing(servers: Servers, tmp_path: Path) -> None:
    server = denying(servers, tmp_path, "read", "contents")
    server.write_notebook("a.ipynb", "print(1)")
    assert server.api("PUT", "/api/collaboration/session/a.ipynb", NOTEBOOK).status_code == 403
    for room in ("json:notebook:x", "JupyterLab:globalAwareness"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{server.ws_url}/api/collaboration/room/{room}?token={server.token}"):
                pass
        assert refused.value.response.status_code == 403
