"""What users may do is asked of the server's authorizer, and it is so."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from httpx import AsyncClient, HTTPStatusError, Response
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
        return (action, resource) not in {denied!r}

c.ServerApp.authorizer_class = Denying
"""


def denying(servers: Servers, tmp_path: Path, *denied: tuple[str, str]) -> LabServer:
    """A server where nobody may do that: actions, each with its resource."""
    config = tmp_path / "denying.py"
    config.write_text(CONFIG.format(denied=denied))
    return servers(f"--config={config}")


async def test_who_may_not_execute_may_still_edit(servers: Servers, tmp_path: Path) -> None:
    # To interrupt is Jupyter Server's own request, and is "write" there.
    server = denying(servers, tmp_path, ("execute", "kernels"), ("write", "kernels"))
    server.write_notebook("a.ipynb", "print('never')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        body = {"document_id": client.document_id, "cell_id": client.cell_id(0)}
        response = await client.request("POST", f"/api/kernels/{kernel}/execute", body)
        assert response.status_code == 403
        assert (await client.request("POST", f"/api/kernels/{kernel}/interrupt")).status_code == 403
        client.set_source(0, "edited")
        assert await client.save() == "success"
        assert client.live_runs == {}
        assert client.cells[0]["outputs"] == []
    assert "".join(server.read_notebook("a.ipynb")["cells"][0]["source"]) == "edited"


async def test_who_may_not_write_changes_nothing(servers: Servers, tmp_path: Path) -> None:
    server = denying(servers, tmp_path, ("write", "contents"))
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
    server = denying(servers, tmp_path, ("read", "contents"))
    server.write_notebook("a.ipynb", "print(1)")
    assert server.api("PUT", "/api/collaboration/session/a.ipynb", NOTEBOOK).status_code == 403
    for room in ("json:notebook:x", "JupyterLab:globalAwareness"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{server.ws_url}/api/collaboration/room/{room}?token={server.token}"):
                pass
        assert refused.value.response.status_code == 403


REVOKING = """
from pathlib import Path
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.identity import PasswordIdentityProvider

FOLDER = Path({folder!r})

class Revoking(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return not (FOLDER / (action + "-" + resource)).exists()

class Expiring(PasswordIdentityProvider):
    async def get_user(self, handler):
        return None if (FOLDER / "login").exists() else await super().get_user(handler)

c.ServerApp.authorizer_class = Revoking
c.ServerApp.identity_provider_class = Expiring
c.YdocExec.access_interval = 0.1
"""


@pytest.mark.parametrize("withdrawn", ["read-contents", "write-contents", "login"])
async def test_what_is_withdrawn_while_a_client_is_connected(
    servers: Servers, tmp_path: Path, withdrawn: str
) -> None:
    config = tmp_path / "revoking.py"
    config.write_text(REVOKING.format(folder=str(tmp_path)))
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", "print(1)", "x = 2")
    async with RoomClient(server, "a.ipynb") as client:
        client.set_source(0, "before")
        await client.barrier()
        (tmp_path / withdrawn).touch()
        with pytest.raises(RoomClosed) as closed:
            await client.wait(lambda: None)
        assert closed.value.code == 1008
        client.set_source(0, "after")
        if withdrawn == "write-contents":
            await client.reconnect()  # as a reader
            with suppress(RoomClosed):
                await client.barrier()
        else:
            with pytest.raises((InvalidStatus, HTTPStatusError)):
                await client.reconnect()
        async with (
            RoomClient(server, "a.ipynb") if withdrawn == "write-contents" else nullcontext() as reader
        ):
            assert reader is None or reader.sources()[0] == "before"
        # With the right come back, so does what was typed: nothing is lost.
        (tmp_path / withdrawn).unlink()
        await client.disconnect()
        await client.connect()
        await client.barrier()
        async with RoomClient(server, "a.ipynb") as fresh:
            assert fresh.sources() == ["after", "x = 2"]


FRIEND = "https://friend.example"
STRANGER = "https://stranger.example"


async def test_which_sites_may_open_a_room(servers: Servers) -> None:
    """As for Jupyter Server's own websockets: its own, those that are configured, and whoever knows the token."""
    server = servers(f"--ServerApp.allow_origin={FRIEND}")
    server.write_notebook("a.ipynb", "print(1)")
    body = {"format": "json", "type": "notebook"}
    file_id = server.api("PUT", "/api/collaboration/session/a.ipynb", body).json()["fileId"]
    async with AsyncClient(base_url=server.url, follow_redirects=True) as browser:
        await browser.get(f"/lab?token={server.token}")
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    token = {"Authorization": f"token {server.token}"}
    for room in (f"json:notebook:{file_id}", "JupyterLab:globalAwareness"):
        url = f"{server.ws_url}/api/collaboration/room/{room}"
        # Behind a proxy the server knows another host than the browser, as with ``FRIEND`` here.
        for headers, origin, allowed in (
            (cookies, server.url, True),
            (cookies, FRIEND, True),
            (cookies, STRANGER, False),
            (cookies, None, True),  # no browser
            (token, STRANGER, True),
            (token, FRIEND, True),
            ({}, FRIEND, False),
        ):
            opening = connect(url, additional_headers=headers, origin=origin)  # type: ignore[arg-type]
            if allowed:
                async with opening as socket:
                    assert await socket.recv()
            else:
                with pytest.raises(InvalidStatus) as refused:
                    await opening.__aenter__()
                assert refused.value.response.status_code in (401, 403)


PEOPLE = """
from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.identity import PasswordIdentityProvider, User

DENIED = {
    "reader": [("execute", "kernels"), ("write", "contents")],
    "executor": [("write", "contents")],
    "blind": [("read", "contents"), ("write", "contents")],
}

class ByHeader(PasswordIdentityProvider):
    async def get_user(self, handler):
        user = await super().get_user(handler)
        name = handler.request.headers.get("X-User")
        return User(name, name=name.title()) if user and name else user

class ByName(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return (action, resource) not in DENIED.get(user.username, [])

c.ServerApp.authorizer_class = ByName
c.ServerApp.identity_provider_class = ByHeader
"""


@pytest.mark.parametrize(
    "policy, allowed",
    [
        ("anyone", {"executor", "writer", "ada", "blind"}),
        ("writers", {"writer", "ada"}),
        ("runner", {"ada"}),
    ],
)
def test_who_may_answer_what_a_cell_asks(
    servers: Servers, tmp_path: Path, policy: str, allowed: set[str]
) -> None:
    """The server refuses, whatever a client shows. Ada has run the cell."""
    config = tmp_path / "people.py"
    config.write_text(PEOPLE)
    server = servers(f"--config={config}", f"--YdocExec.input_policy={policy}")
    server.write_notebook("a.ipynb", "while True: print(input('Next?'))")

    def ask(user: str, method: str, path: str, body: object = None) -> Response:
        return server.api(method, path, body, headers={"X-User": user})

    started = ask("ada", "POST", "/api/collaboration/execute/a.ipynb").json()
    kernel, run = started["kernel_id"], started["request_id"]
    path = f"/api/kernels/{kernel}"

    def until_it_asks() -> None:
        for known in ("queued", "running"):
            server.api("GET", f"{path}/requests/{run}?wait=30&known={known}")

    for user in ("reader", "executor", "writer", "blind", "ada"):
        until_it_asks()
        [prompt] = ask(user, "GET", f"{path}/input").json()["prompts"]
        assert (prompt["policy"], prompt["user"]) == (policy, "ada")
        # The text is the document's.
        assert prompt["prompt"] == (None if user == "blind" else "Next?")
        record = ask(user, "GET", f"{path}/requests/{run}").json()
        assert (record["prompt"] is None) == (user == "blind")
        for body in ({"run_id": run, "value": user}, {"input": user}):
            until_it_asks()
            answer = ask(user, "POST", f"{path}/input", body)
            assert (answer.status_code < 300) == (user in allowed), answer.text
            if user not in allowed:
                assert answer.status_code == 403
                assert answer.json()["message"]
    nobody = server.api("POST", f"{path}/input", {"input": "x"}, headers={"Authorization": "token wrong"})
    assert nobody.status_code == 403
    server.api("POST", f"{path}/interrupt").raise_for_status()
    server.api("GET", f"{path}/requests/{run}?wait=30")
    server.api("POST", "/api/collaboration/save/a.ipynb").raise_for_status()
    contents = server.read_notebook("a.ipynb")["cells"][0]["outputs"]
    echoed = [
        line.removeprefix("Next? ")
        for output in contents
        if output.get("name") == "stdin"
        for line in "".join(output["text"]).splitlines()
    ]
    assert sorted(echoed) == sorted([*allowed, *allowed])
