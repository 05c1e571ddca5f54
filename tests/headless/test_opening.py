"""Documents that are opened: while they load, when they cannot be, and what others notice of that."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio import create_task_group
from jupyter_ydoc import YNotebook
from pycrdt import (
    Awareness,
    Doc,
    Text,
    create_awareness_message,
    create_sync_message,
    create_update_message,
    handle_sync_message,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import make_servers
from tests.headless.client import RoomClient, RoomClosed
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

SLOW = """
from pathlib import Path
from anyio import sleep
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

class Slow(AsyncLargeFileManager):
    async def get(self, path, content=True, *args, **options):
        while content and Path({blocked!r}, Path(path).name).exists():
            await sleep(0.01)
        return await super().get(path, content, *args, **options)

c.ServerApp.contents_manager_class = Slow
"""


class SlowServer:
    """A server on which it can take any time to read a file."""

    def __init__(self, server: LabServer, blocked: Path, owners: Path) -> None:
        self.server = server
        self._blocked = blocked
        self._owners = owners

    def block(self, name: str) -> None:
        """Reading this file does not end from now on."""
        (self._blocked / name).touch()

    def unblock(self, name: str) -> None:
        """It does."""
        (self._blocked / name).unlink()

    async def session(self, name: str) -> dict[str, Any]:
        """What a tab is told before it connects. The document is closed again."""
        body = {"format": "json", "type": "notebook"}
        path = f"/api/collaboration/session/{name}"
        answer = await anyio.to_thread.run_sync(self.server.api, "PUT", path, body)
        answer.raise_for_status()
        # Whoever has a document open says so there.
        await eventually(lambda: not list(self._owners.glob("*.json")))
        session: dict[str, Any] = answer.json()
        return session

    async def room(self, name: str) -> str:
        """The name of a room."""
        return f"json:notebook:{(await self.session(name))['fileId']}"

    def url(self, room: str, **query: str) -> str:
        """The address of its websocket."""
        more = "".join(f"&{key}={value}" for key, value in query.items())
        return f"{self.server.ws_url}/api/collaboration/room/{room}?token={self.server.token}{more}"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowServer]:
    """One for all tests: each has files of its own."""
    directory = tmp_path_factory.mktemp("opening")
    blocked = directory / "blocked"
    blocked.mkdir()
    config = directory / "slow.py"
    config.write_text(SLOW.format(blocked=str(blocked)))
    for make in make_servers(directory):
        owners = directory / "owners"
        flags = f"--config={config}", f"--YdocExec.owners_dir={owners}", "--YdocExec.linger=0"
        yield SlowServer(make(*flags), blocked, owners)


class Socket:
    """A tab with nothing but its websocket and a document."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.doc: Doc[Any] = Doc()
        self.notebook = YNotebook(self.doc)
        self.received: list[bytes] = []

    async def greet(self) -> None:
        """Everything that a tab says before it was told anything."""
        awareness = Awareness(self.doc)
        awareness.set_local_state_field("user", {"name": "Ada"})
        await self.connection.send(create_sync_message(self.doc))
        await self.connection.send(
            create_awareness_message(awareness.encode_awareness_update([awareness.client_id]))
        )
        await self.connection.send(b"\x03")
        await self.connection.send(b"\x02\x07barrier\x05early")

    async def converse(self) -> None:
        """Take what comes, and answer, for ever."""
        async for frame in self.connection:
            assert isinstance(frame, bytes)
            self.received.append(frame)
            if frame[0] == 0:
                reply = handle_sync_message(frame[1:], self.doc)
                if reply is not None:
                    await self.connection.send(reply)

    @property
    def sources(self) -> list[str]:
        return [str(cell["source"]) for cell in self.notebook.ycells]


@asynccontextmanager
async def sockets(*urls: str) -> AsyncIterator[list[Socket]]:
    """Tabs that are connected and have said their part."""
    async with create_task_group() as tasks:
        found = []
        for url in urls:
            socket = Socket(await connect(url, close_timeout=0.2).__aenter__())
            await socket.greet()
            tasks.start_soon(socket.converse)
            found.append(socket)
        yield found
        tasks.cancel_scope.cancel()
        for socket in found:
            with anyio.CancelScope(shield=True):
                await socket.connection.close()


async def test_nobody_is_answered_before_the_content_is_there(slow: SlowServer) -> None:
    """What was said meanwhile is heard then."""
    slow.server.write_notebook("slow.ipynb", "one", "two")
    room = await slow.room("slow.ipynb")
    slow.block("slow.ipynb")
    async with sockets(slow.url(room), slow.url(room)) as (first, second):
        await anyio.sleep(1)  # the claim itself
        assert first.received == second.received == []
        slow.unblock("slow.ipynb")
        for socket in (first, second):
            await eventually(lambda socket=socket: socket.sources == ["one", "two"])  # type: ignore[misc]
            await eventually(lambda socket=socket: any(b"early" in frame for frame in socket.received))  # type: ignore[misc]
            # The others' presence, too.
            await eventually(lambda socket=socket: any(b"Ada" in frame for frame in socket.received))  # type: ignore[misc]
        source = first.notebook.ycells[0]["source"]
        before = first.doc.get_state()
        source += "!"
        await first.connection.send(create_update_message(first.doc.get_update(before)))
        await eventually(lambda: second.sources == ["one!", "two"])
    assert "Traceback" not in slow.server.log


async def test_who_leaves_while_it_loads_is_not_missed(slow: SlowServer) -> None:
    slow.server.write_notebook("left.ipynb", "one")
    room = await slow.room("left.ipynb")
    slow.block("left.ipynb")
    async with sockets(slow.url(room)) as (stays,):
        async with sockets(slow.url(room), slow.url(room)):
            await anyio.sleep(0.1)
        slow.unblock("left.ipynb")
        await eventually(lambda: stays.sources == ["one"])
    assert "Traceback" not in slow.server.log


@pytest.mark.parametrize("name", ["sessionId", "docSessionId"])
async def test_who_names_another_lineage_is_asked_for_everything_first(slow: SlowServer, name: str) -> None:
    path = f"lineage-{name}.ipynb"
    slow.server.write_notebook(path, "one")
    session = await slow.session(path)
    room, known = f"json:notebook:{session['fileId']}", session["documentSessionId"]
    urls = slow.url(room, **{name: known}), slow.url(room, **{name: "another"})
    async with sockets(*urls) as (same, other):
        for socket in (same, other):
            await eventually(lambda socket=socket: socket.sources == ["one"])  # type: ignore[misc]
        for socket, asked in ((same, False), (other, True)):
            syncs = [frame for frame in socket.received if frame[0] == 0]
            assert (syncs[0] == b"\x00\x00\x01\x00") is asked


@pytest.mark.parametrize("failing", [False, True], ids=["alone", "beside connections that fail"])
async def test_a_connection_that_fails_silences_nobody(slow: SlowServer, failing: bool) -> None:
    """An observer sees every write, whatever is tried with this document or with others meanwhile."""
    path = f"observed-{failing}.ipynb"
    slow.server.write_notebook(path, "")
    (slow.server.root / "broken.ipynb").write_text("{")
    broken = slow.url(await slow.room("broken.ipynb"))
    async with RoomClient(slow.server, path) as observer, RoomClient(slow.server, path) as writer:

        async def fail() -> None:
            attempts = [
                slow.url(f"json:notebook:{uuid.uuid4()}"),
                slow.url("nonsense"),
                slow.url(observer.document_id.replace("json:notebook", "text:file")),
                broken,
            ]
            nobody = await anyio.to_thread.run_sync(
                slow.server.api,
                "PUT",
                "/api/collaboration/session/nonexistent.ipynb",
                {"format": "json", "type": "notebook"},
            )
            assert nobody.status_code == 404
            codes = []
            for url in attempts:
                async with connect(url) as socket:
                    with pytest.raises(ConnectionClosed) as closed:
                        while True:
                            await socket.recv()
                assert closed.value.rcvd is not None
                codes.append(closed.value.rcvd.code)
            assert codes == [4404, 4400, 4400, 4500]

        async with create_task_group() as tasks:
            for number in range(40):
                if failing and number in (5, 20):
                    tasks.start_soon(fail)
                writer.type_into(0, f"{number},")
                await observer.wait(lambda: observer.source(0) == writer.source(0))
        writer.type_into(0, "the end")
        await observer.wait(lambda: observer.source(0).endswith("39,the end"))
        assert observer.closed is None


async def test_a_file_that_is_being_written_is_waited_for(slow: SlowServer) -> None:
    file = slow.server.root / "half.ipynb"
    whole = slow.server.write_notebook("half.ipynb", "one", "two").read_bytes()
    room = await slow.room("half.ipynb")
    file.write_bytes(whole[: len(whole) // 2])
    async with sockets(slow.url(room)) as (socket,):
        await anyio.sleep(0.3)
        assert socket.received == []
        file.write_bytes(whole)
        await eventually(lambda: socket.sources == ["one", "two"])
    assert file.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b'{"cells": ['], ids=["empty", "bad JSON"])
async def test_a_file_that_stays_broken_is_said_and_can_be_opened_later(
    slow: SlowServer, content: bytes
) -> None:
    name = f"broken-{len(content)}.ipynb"
    file = slow.server.root / name
    file.write_bytes(content)
    client = RoomClient(slow.server, name)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(RoomClosed) as refused:
            await client.reconnect()
        assert refused.value.code == 4500
        assert name in refused.value.reason
        assert time.monotonic() - began < 30
        assert file.read_bytes() == content
    slow.server.write_notebook(name, "repaired")
    await client.reconnect()
    assert client.sources() == ["repaired"]
    client.type_into(0, "!")
    assert await client.save() == "success"
    await client.disconnect()
    assert json.loads(file.read_text())["cells"][0]["source"] == ["repaired!"]


async def test_one_file_under_two_types(slow: SlowServer) -> None:
    """The second is refused with a reason while the first is open, and never afterwards."""
    slow.server.write_notebook("types.ipynb", "one")
    for _ in range(3):
        async with RoomClient(slow.server, "types.ipynb") as client:
            client.type_into(0, "!")
            text = RoomClient(slow.server, "types.ipynb", format="text", type="file")
            with pytest.raises(RoomClosed) as refused:
                await text.connect()
            assert refused.value.code == 4400
            assert "types.ipynb" in refused.value.reason
            assert await client.save() == "success"
        async with RoomClient(slow.server, "types.ipynb", format="text", type="file") as text:
            source = text.doc.get("source", type=Text)
            assert str(source) == (slow.server.root / "types.ipynb").read_text()
    async with RoomClient(slow.server, "types.ipynb") as client:
        assert client.source(0) == "one!!!"
