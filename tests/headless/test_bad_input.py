"""Whatever makes no sense is refused with a reason a person understands, and changes nothing.

Each test sends something bad and then looks: the document and the file are as before, and the next good
run has the next number, so no refused request got as far as the kernel.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import Servers, make_servers
from tests.headless.client import RoomClient
from tests.server import LabServer, markdown_cell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

NAME = "a.ipynb"
UNKNOWN = str(uuid.UUID(int=7))
UNKNOWN_RUN = UNKNOWN.replace("-", "")
EVIL = "http://evil.example"
CODE, MARKDOWN, OTHER = "cell-0", "cell-1", "cell-2"


@dataclass(frozen=True)
class Place:
    """A server with one notebook that is open and has a kernel."""

    server: LabServer
    client: RoomClient
    kernel: str

    async def post(self, body: object = None, *, kernel: str | None = None, **options: Any) -> httpx.Response:
        """Ask to execute."""
        path = f"/api/kernels/{self.kernel if kernel is None else kernel}/execute"
        if "content" not in options:
            options["json"] = body
        headers = {"Authorization": f"token {self.server.token}"} | options.pop("headers", {})
        async with httpx.AsyncClient(base_url=self.server.url) as http:
            return await http.post(path, headers=headers, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """One server for all of this; it waits for a barrier only a second."""
    servers: Servers
    for servers in make_servers(tmp_path_factory.mktemp("bad_input")):
        server = servers("--YdocExec.barrier_timeout=1")
        server.write_notebook(NAME, "print('fine')", markdown_cell("# text"), "print('other')")
        yield server


@asynccontextmanager
async def place_in(server: LabServer) -> AsyncIterator[Place]:
    """Open the notebook; at the end look whether anything has changed."""
    async with RoomClient(server, NAME) as client:
        kernel = await client.start_kernel()
        await run_well(client, kernel)
        assert await client.save() == "success"
        document, file = client.cells, (server.root / NAME).read_bytes()
        count = client.count(0) or 0

        yield Place(server, client, kernel)

        await client.barrier()
        assert client.cells == document
        assert client.live_runs == {}
        assert (server.root / NAME).read_bytes() == file
        await run_well(client, kernel)
        assert client.count(0) == count + 1
        assert client.count(2) is None


async def run_well(client: RoomClient, kernel: str) -> None:
    """A run that is as it should be."""
    before = client.count(0)
    await client.execute(kernel, [0])
    await client.wait(lambda: client.count(0) != before and client.marker(0) == "idle")
    assert client.lines(0) == ["fine"]


def assert_refused(response: httpx.Response, status: int, *words: str) -> None:
    """The status, and a sentence that names what was wrong."""
    assert response.status_code == status, response.text
    message = response.json()["message"]
    assert re.search(r"\w+ \w+", message), f"{message!r} is no sentence"
    assert "Traceback" not in response.text
    for word in words:
        assert word in message, f"{message!r} does not say {word!r}"


WRONG_BODIES: dict[str, object] = {
    "a list": [],
    "a text": "cell-0",
    "a number": 3,
    "nothing": {},
    "null": None,
    "no document": {"cell_id": CODE},
    "no cell": {"document_id": "DOCUMENT"},
    "document is a number": {"document_id": 3, "cell_id": CODE},
    "document is no name of one": {"document_id": "a.ipynb", "cell_id": CODE},
    "document of an unknown format": {"document_id": f"yaml:notebook:{UNKNOWN}", "cell_id": CODE},
    "cell is a number": {"document_id": "DOCUMENT", "cell_id": 3},
    "cell is a list": {"document_id": "DOCUMENT", "cell_id": [CODE]},
    "cells is a text": {"document_id": "DOCUMENT", "cell_ids": CODE},
    "cells is an object": {"document_id": "DOCUMENT", "cell_ids": {CODE: True}},
    "cells are numbers": {"document_id": "DOCUMENT", "cell_ids": [1, 2]},
    "one of the cells is null": {"document_id": "DOCUMENT", "cell_ids": [CODE, None]},
    "no cells": {"document_id": "DOCUMENT", "cell_ids": []},
    "barrier is a number": {"document_id": "DOCUMENT", "cell_ids": [CODE], "after": 3},
}


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
async def test_a_body_that_makes_no_sense(server: LabServer, body: object) -> None:
    async with place_in(server) as place:
        if isinstance(body, dict) and body.get("document_id") == "DOCUMENT":
            body = body | {"document_id": place.client.document_id}
        assert_refused(await place.post(body), 400)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"cell_id": "cell-0",}', b"[" * 100_000, b"document_id=1"],
    ids=["empty", "cut off", "no UTF-8", "a comma too many", "very deep", "a form"],
)
async def test_a_body_that_is_no_json(server: LabServer, content: bytes) -> None:
    async with place_in(server) as place:
        assert_refused(await place.post(content=content), 400, "JSON")


async def test_an_unknown_kernel(server: LabServer) -> None:
    async with place_in(server) as place:
        body = {"document_id": place.client.document_id, "cell_id": CODE}
        assert_refused(await place.post(body, kernel=UNKNOWN), 404, UNKNOWN)
        assert_refused(await place.post(body, kernel="no-such-kernel"), 404)


async def test_an_unknown_document(server: LabServer) -> None:
    async with place_in(server) as place:
        body = {"document_id": f"json:notebook:{UNKNOWN}", "cell_id": CODE}
        assert_refused(await place.post(body), 404, UNKNOWN)


async def test_an_unknown_cell(server: LabServer) -> None:
    async with place_in(server) as place:
        document = place.client.document_id
        assert_refused(await place.post({"document_id": document, "cell_id": "nowhere"}), 404, "nowhere")


async def test_a_cell_that_cannot_run(server: LabServer) -> None:
    async with place_in(server) as place:
        document = place.client.document_id
        response = await place.post({"document_id": document, "cell_id": MARKDOWN})
        assert_refused(response, 409, MARKDOWN, "markdown")


@pytest.mark.parametrize("bad", ["nowhere", MARKDOWN])
async def test_one_bad_cell_among_good_ones_stops_them_all(server: LabServer, bad: str) -> None:
    async with place_in(server) as place:
        response = await place.post({"document_id": place.client.document_id, "cell_ids": [CODE, bad, OTHER]})
        assert_refused(response, 404 if bad == "nowhere" else 409, bad)


async def test_a_barrier_that_never_comes(server: LabServer) -> None:
    async with place_in(server) as place:
        body = {"document_id": place.client.document_id, "cell_ids": [CODE], "after": "never sent"}
        assert_refused(await place.post(body), 409, "did not arrive")


async def test_a_run_that_nobody_knows(server: LabServer) -> None:
    async with place_in(server) as place:
        response = server.api("GET", f"/api/kernels/{place.kernel}/requests/{UNKNOWN_RUN}")
        assert_refused(response, 404, UNKNOWN_RUN)


@pytest.mark.parametrize("token", [None, "wrong"], ids=["no token", "a wrong token"])
async def test_a_request_of_nobody_we_know(server: LabServer, token: str | None) -> None:
    async with place_in(server) as place:
        headers = {"Authorization": f"token {token}"} if token else {}
        body = {"document_id": place.client.document_id, "cell_id": CODE}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
            execute = await http.post(f"/api/kernels/{place.kernel}/execute", json=body)
            known = await http.get(f"/api/kernels/{place.kernel}/requests/{UNKNOWN_RUN}")
            session = await http.put(
                f"/api/collaboration/session/{NAME}", json={"format": "json", "type": "notebook"}
            )
        for response in (execute, known, session):
            assert response.status_code in (401, 403), response.text
            assert response.json()["message"]


async def test_a_request_from_another_site(server: LabServer) -> None:
    """The browser of somebody who is logged in is made to send it by a page of somebody else."""
    async with place_in(server) as place, logged_in(server) as http:
        body = {"document_id": place.client.document_id, "cell_id": CODE}
        path = f"/api/kernels/{place.kernel}/execute"
        own = await http.post(path, json={}, headers={"Origin": server.url})
        assert_refused(own, 400)  # logged in well enough to be told what is wrong
        response = await http.post(path, json=body, headers={"Origin": EVIL})
        assert 400 <= response.status_code < 500, response.text
        assert response.json()["message"]
        del http.headers["X-XSRFToken"]
        response = await http.post(path, json=body, headers={"Origin": server.url})
        assert response.status_code == 403, response.text


async def test_a_websocket_of_nobody_we_know(server: LabServer) -> None:
    async with place_in(server) as place:
        base = f"{server.ws_url}/api/collaboration/room"
        for room in (place.client.document_id, "JupyterLab:globalAwareness"):
            for query in ("", "?token=wrong"):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(f"{base}/{room}{query}"):
                        pass
                assert refused.value.response.status_code in (401, 403)


async def test_a_websocket_from_another_site(server: LabServer) -> None:
    async with place_in(server) as place, logged_in(server) as http:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
        for room in (place.client.document_id, "JupyterLab:globalAwareness"):
            url = f"{server.ws_url}/api/collaboration/room/{room}"
            async with connect(url, additional_headers=cookies, origin=server.url):  # type: ignore[arg-type]
                pass
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url, additional_headers=cookies, origin=EVIL):  # type: ignore[arg-type]
                    pass
            assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("room", "code"),
    [
        (f"json:notebook:{UNKNOWN}", 4404),
        ("json", 4400),
        (f"yaml:notebook:{UNKNOWN}", 4400),
        (f"json:painting:{UNKNOWN}", 4400),
    ],
    ids=["unknown document", "no name", "unknown format", "unknown type"],
)
async def test_a_room_that_there_is_not(server: LabServer, room: str, code: int) -> None:
    """Either way is good: refused at once, or closed with a code that the stock front end understands."""
    async with place_in(server) as place:
        with pytest.raises((InvalidStatus, ConnectionClosed)) as ended:
            await listen(place.client.room_url(room))
        if isinstance(ended.value, InvalidStatus):
            assert ended.value.response.status_code == code - 4000
        else:
            assert isinstance(ended.value, ConnectionClosed)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == code
            assert ended.value.rcvd.reason


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"format": "json"}', 400),
        (b'{"format": 1, "type": "notebook"}', 400),
        (b'{"format": "yaml", "type": "notebook"}', 400),
        (b'{"format": "json", "type": "painting"}', 400),
    ],
)
async def test_a_session_that_makes_no_sense(server: LabServer, body: bytes, status: int) -> None:
    async with place_in(server):
        response = server.api("PUT", f"/api/collaboration/session/{NAME}", content=body)
        assert_refused(response, status)


BAD_FRAMES = {
    "empty": b"",
    "unknown type": b"\x63\x01\x02",
    "sync of an unknown kind": b"\x00\x09\x01\x00",
    "sync cut off": b"\x00\x02\xff",
    "an update that is none": b"\x00\x02\x05\xff\xff\xff\xff\xff",
    "a state that is none": b"\x00\x00\x03\xff\xff\xff",
    "awareness cut off": b"\x01\x05\x01",
    "awareness that is no JSON": b"\x01\x06\x01\x01\x05\x02{{",
    "an unknown word": b"\x02\x04what",
    "save without a number": b"\x02\x04save",
    "barrier without a token": b"\x02\x07barrier",
    "an endless number": b"\x00\x02" + b"\xff" * 64,
}


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
async def test_a_frame_that_makes_no_sense(server: LabServer, frame: bytes) -> None:
    """Whoever sends it may be closed; nobody else notices."""
    async with place_in(server) as place:
        url = place.client.room_url(place.client.document_id, place.client.session_id)
        async with connect(url) as socket:
            await socket.send(frame)
            try:
                await socket.send("a text frame")
                await socket.ping()
            except ConnectionClosed:
                pass
        await place.client.barrier()
        assert place.client.closed is None


# Private


async def listen(url: str) -> None:
    """Stay on a websocket until the server ends it, which raises."""
    async with connect(url) as socket:
        while True:
            await socket.recv()


@asynccontextmanager
async def logged_in(server: LabServer) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has been here with the token and has the cookies."""
    async with httpx.AsyncClient(base_url=server.url, follow_redirects=True) as http:
        await http.get(f"/lab?token={server.token}")
        http.headers["X-XSRFToken"] = http.cookies["_xsrf"]
        yield http
