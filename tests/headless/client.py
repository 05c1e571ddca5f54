"""A client of a room that is no browser: the Yjs conversation as ``y-websocket`` holds it, on pycrdt.

It does what the stock ``jupyter-docprovider`` does (``yprovider.ts``): it asks for a session, opens the
room's websocket with that session's id, says what it has, takes what it lacks, and answers the server's
question in the same way. After a lost connection it comes back with the document it has and the session id
it got first.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import secrets
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import anyio
import httpx
from anyio.streams.memory import MemoryObjectSendStream
from jupyter_ydoc import YNotebook
from pycrdt import (
    Array,
    Awareness,
    Decoder,
    Doc,
    Encoder,
    Map,
    Text,
    TransactionEvent,
    YMessageType,
    YSyncMessageType,
    create_awareness_message,
    create_sync_message,
    create_update_message,
    handle_sync_message,
)
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.server import LabServer, stream_text

T = TypeVar("T")

RAW = 2
LIVE = ("queued", "running", "input")
TIMEOUT = 30.0
AWARENESS_PERIOD = 15.0
"""``y-protocols`` repeats a client's presence so often."""


class RoomClosed(Exception):
    """The server ended the connection while something was awaited from it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class RoomClient:
    """One client of one document, connected inside ``async with``.

    Two kinds of change are told apart as a browser does: what is written to ``doc`` here is sent, what comes
    from the server is applied. Nothing is ever resent except by the handshake of a new connection.
    """

    def __init__(
        self,
        server: LabServer,
        path: str,
        *,
        format: str = "json",
        type: str = "notebook",
        doc: Doc[Any] | None = None,
        session_id: str | None = None,
    ) -> None:
        self.server = server
        self.path = path
        self.format = format
        self.type = type
        self.doc: Doc[Any] = Doc() if doc is None else doc
        self.notebook = YNotebook(self.doc)
        self.awareness = Awareness(self.doc)
        self.session_id = session_id
        self.document_id = ""
        self.session_status = 0
        self.hold = 0.0
        """How long each frame is held back before it goes out: a slow network."""
        self.received: list[tuple[float, bytes]] = []
        """Every frame of this connection and when it came, on the clock of ``time.monotonic``."""
        self.updates_received = 0
        self.closed: RoomClosed | None = None
        self._synced = anyio.Event()
        self._changed = anyio.Event()
        self._replies: dict[object, dict[str, Any]] = {}
        self._saves = 0
        self._applying = False
        self._outgoing: MemoryObjectSendStream[bytes] | None = None
        self._connection: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._unwritten = 0
        self._http = httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"token {server.token}"},
            timeout=TIMEOUT,
            verify=False,  # without TLS there is nothing to verify, and to load certificates takes its time
        )
        self._subscription = self.doc.observe(self._on_transaction)

    async def __aenter__(self) -> RoomClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        self.doc.unobserve(self._subscription)
        await self._http.aclose()

    # The connection

    async def connect(self) -> None:
        """Open the room and come back when both sides have the same document."""
        assert self._connection is None, "it is connected already"
        await self._ask_for_session()
        self._synced = anyio.Event()
        self.closed = None
        self.received = []
        connected = anyio.Event()
        self._connection = asyncio.create_task(self._converse(connected))
        waiting = asyncio.create_task(connected.wait())
        await asyncio.wait((self._connection, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not connected.is_set():
            connection, self._connection = self._connection, None
            await connection  # raises what went wrong
        with anyio.fail_after(TIMEOUT):
            await self._until(self._synced.is_set)

    async def disconnect(self) -> None:
        """Leave, as a tab that is closed or a network that goes away."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        self._outgoing = None
        connection.cancel()
        await asyncio.wait((connection,))
        if not connection.cancelled():
            connection.result()

    async def until_sent(self) -> None:
        """Wait until all that was sent has got to the server's machine."""
        assert self._socket is not None, "it is not connected"
        while self._unwritten:  # noqa: ASYNC110 - sets no event
            await anyio.sleep(0.002)
        transport = self._socket.transport
        assert not transport.get_write_buffer_size()
        socket = transport.get_extra_info("socket")
        while struct.unpack("i", fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110
            await anyio.sleep(0.002)

    async def vanish(self) -> None:
        """Be gone without a word when that has happened: a tab whose browser ends it."""
        await self.until_sent()
        assert self._socket is not None
        self._socket.transport.abort()
        await self.disconnect()

    async def reconnect(self) -> None:
        """Come back with the document as it is here."""
        await self.disconnect()
        await self.connect()

    def room_url(self, room: str, session_id: str | None = None) -> str:
        """The address of a room's websocket."""
        query = {"token": self.server.token} | ({"sessionId": session_id} if session_id else {})
        return f"{self.server.ws_url}/api/collaboration/room/{room}?{urlencode(query)}"

    def send(self, frame: bytes) -> None:
        """Send a frame after those that were sent before; nothing happens without a connection."""
        if self._outgoing is not None:
            with suppress(anyio.BrokenResourceError):
                self._outgoing.send_nowait(frame)
                self._unwritten += 1

    def send_presence(self) -> None:
        """Tell the others who this is (again)."""
        update = self.awareness.encode_awareness_update([self.awareness.client_id])
        self.send(create_awareness_message(update))

    async def barrier(self) -> str:
        """Come back when the server has everything that was sent before; the token can go into a request."""
        token = secrets.token_hex(8)
        self.send_barrier(token)
        await self._reply(token)
        return token

    def send_barrier(self, token: str) -> None:
        """Ask for a reply to this token once all that was sent before has been applied."""
        encoder = Encoder()
        encoder.write_var_uint(RAW)
        encoder.write_var_string("barrier")
        encoder.write_var_string(token)
        self.send(encoder.to_bytes())

    async def save(self) -> str:
        """Save as Ctrl-S does; the reply's status, ``success`` if the file is written."""
        self._saves += 1
        number = self._saves
        encoder = Encoder()
        encoder.write_var_uint(RAW)
        encoder.write_var_string("save")
        encoder.write_var_uint(number)
        self.send(encoder.to_bytes())
        return str((await self._reply(number))["status"])

    # The document

    async def wait(self, what: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
        """Come back with the first true value of ``what``, looked at after everything that arrives."""
        try:
            with anyio.fail_after(timeout):
                return await self._until(what)
        except TimeoutError:
            raise TimeoutError(f"It did not come to that in {timeout:g} s: {self.outline()}") from None

    async def wait_ended(self, index: int, count: int, timeout: float = TIMEOUT) -> None:
        """Wait until a cell is idle with that number."""
        await self.wait(lambda: self.ended(index, count), timeout)

    async def wait_lines(self, index: int, number: int, timeout: float = TIMEOUT) -> None:
        """Wait until a cell has printed at least so many lines."""
        await self.wait(lambda: len(self.lines(index)) >= number, timeout)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """All cells with all that is in them, as plain values."""
        return list(self.ycells.to_py() or ())

    @property
    def ycells(self) -> Array[Any]:
        """The shared cells."""
        cells: Array[Any] = self.doc.get("cells", type=Array)
        return cells

    @property
    def execution(self) -> dict[str, Any]:
        """What is live: the kernel and the runs."""
        live: dict[str, Any] = self.doc.get("execution", type=Map).to_py() or {}
        return dict(live.get("now", {}))

    @property
    def live_runs(self) -> dict[str, str]:
        """The cells that wait or run, and which of it.

        A run that has ended is there for one more change, which says how it ended.
        """
        runs = self.execution.get("runs", {})
        return {cell: run["state"] for cell, run in runs.items() if run["state"] in LIVE}

    @property
    def prompts(self) -> dict[str, dict[str, Any]]:
        """What runs ask for, with what is typed so far."""
        return dict(self.execution.get("prompts", {}))

    @property
    def state(self) -> dict[str, Any]:
        """What is said of the document as a whole: path, dirty, ... ."""
        return self.doc.get("state", type=Map).to_py() or {}

    def cell_id(self, index: int) -> str:
        """The id of one cell."""
        return str(self.ycells[index]["id"])

    def source(self, index: int) -> str:
        """The text of one cell."""
        return str(self.ycells[index]["source"])

    def sources(self) -> list[str]:
        """The texts of all cells."""
        return [self.source(index) for index in range(len(self.ycells))]

    def printed(self, index: int) -> str:
        """What one cell has printed."""
        return stream_text(self.ycells[index].to_py())

    def lines(self, index: int) -> list[str]:
        """The same, by lines."""
        return self.printed(index).splitlines()

    def marker(self, index: int) -> str:
        """``running`` or ``idle``."""
        return str(self.ycells[index].get("execution_state"))

    def count(self, index: int) -> int | None:
        """The number in front of the cell (Yjs has floats only)."""
        count = self.ycells[index].get("execution_count")
        return None if count is None else int(count)

    def counts(self) -> list[int | None]:
        """The numbers of all cells."""
        return [self.count(index) for index in range(len(self.ycells))]

    def markers(self) -> list[str]:
        """The markers of all cells."""
        return [self.marker(index) for index in range(len(self.ycells))]

    def ended(self, index: int, count: int) -> bool:
        """Whether a cell is idle with that number."""
        return self.marker(index) == "idle" and self.count(index) == count

    def type_into(self, index: int, text: str) -> None:
        """Add to the end of a cell's text, one transaction a character as a person typing does."""
        source: Text = self.ycells[index]["source"]
        for character in text:
            source += character

    def set_source(self, index: int, text: str) -> None:
        """Replace a cell's text."""
        source: Text = self.ycells[index]["source"]
        with self.doc.transaction():
            source.clear()
            source += text

    def outline(self) -> str:
        """The document in a few words, for messages of failed tests."""
        if self.type != "notebook":
            return repr(self.doc.get("source", type=Text).to_py())
        rows = [
            f"[{self.count(i)}] {self.marker(i)} {self.source(i)[:60]!r} -> {str(cell.get('outputs'))[:200]}"
            for i, cell in enumerate(self.cells)
        ]
        return "\n".join(["", *rows, f"execution {self.execution}", f"state {self.state}"])

    # The requests

    async def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One authenticated request."""
        return await self._http.request(method, path, json=body)

    async def start_kernel(self, name: str = "python3") -> str:
        """The id of this notebook's kernel, started if there is none."""
        body = {"path": self.path, "type": "notebook", "name": self.path, "kernel": {"name": name}}
        response = await self.request("POST", "/api/sessions", body)
        response.raise_for_status()
        return str(response.json()["kernel"]["id"])

    async def kernel_status(self, kernel_id: str) -> str:
        """What the server says of a kernel: ``idle``, ``busy``, ... ."""
        return str((await self.request("GET", f"/api/kernels/{kernel_id}")).json()["execution_state"])

    async def execute(
        self, kernel_id: str, indices: Sequence[int], *, after: str | None = None, **options: object
    ) -> list[str]:
        """Run cells in this order as one gesture; the ids of the runs."""
        body: dict[str, object] = {
            "document_id": self.document_id,
            "cell_ids": [self.cell_id(index) for index in indices],
        }
        if after is not None:
            body["after"] = after
        response = await self.request("POST", f"/api/kernels/{kernel_id}/execute", body | options)
        assert response.status_code == 202, (response.status_code, response.text)
        assert response.headers["Location"]
        return [str(run["run_id"]) for run in response.json()["runs"]]

    async def ask(
        self,
        kernel_id: str,
        indices: Sequence[int],
        *,
        request_id: str | None = None,
        words: str | None = None,
        **options: object,
    ) -> dict[str, Any]:
        """Run cells by a frame, as our front end does: the answer, with ``status`` and ``body``. ``words`` is what the frame
        says instead."""
        request_id = request_id or secrets.token_hex(8)
        self._replies.pop(request_id, None)
        self.send_request(kernel_id, indices, request_id, words, **options)
        return await self._reply(request_id)

    def send_request(
        self,
        kernel_id: str,
        indices: Sequence[int],
        request_id: str,
        words: str | None = None,
        **options: object,
    ) -> None:
        """Send such a frame."""
        body = {"kernel_id": kernel_id, "cell_ids": [self.cell_id(index) for index in indices]} | options
        encoder = Encoder()
        encoder.write_var_uint(RAW)
        encoder.write_var_string("execute")
        encoder.write_var_string(request_id)
        encoder.write_var_string(json.dumps(body) if words is None else words)
        self.send(encoder.to_bytes())

    async def execute_stock(self, kernel_id: str, index: int) -> str:
        """Run one cell as the stock front end asks for it; the id of the run."""
        body = {"document_id": self.document_id, "cell_id": self.cell_id(index)}
        response = await self.request("POST", f"/api/kernels/{kernel_id}/execute", body)
        assert response.status_code == 202, (response.status_code, response.text)
        return str(response.json()["runs"][0]["run_id"])

    async def run(self, kernel_id: str, run_id: str) -> dict[str, Any]:
        """What the server knows of a run."""
        response = await self.request("GET", f"/api/kernels/{kernel_id}/requests/{run_id}")
        assert response.status_code < 400, (response.status_code, response.text)
        known: dict[str, Any] = response.json()
        return known

    async def ends(self, kernel_id: str, runs: Sequence[str], timeout: float = 60) -> list[str]:
        """How these runs ended, when they have, and this client has seen it. Each but a good one says why."""
        with anyio.fail_after(timeout):
            for run in runs:
                while (known := await self.run(kernel_id, run))["state"] in LIVE:
                    await self.request("GET", f"/api/kernels/{kernel_id}/requests/{run}?wait=20")
                assert known["state"] == "ok" or known["reason"]
        await self.barrier()
        assert not self.live_runs
        assert set(self.markers()) <= {"idle", "None"}
        return [(await self.run(kernel_id, run))["state"] for run in runs]

    # Private

    async def _ask_for_session(self) -> None:
        body = {"format": self.format, "type": self.type}
        response = await self.request("PUT", f"/api/collaboration/session/{quote(self.path, safe='')}", body)
        response.raise_for_status()
        session = response.json()
        self.session_status = response.status_code
        self.document_id = f"{session['format']}:{session['type']}:{session['fileId']}"
        if self.session_id is None:
            self.session_id = session["sessionId"]

    async def _converse(self, connected: anyio.Event) -> None:
        """One connection, in a task of its own: clients come and go in any order."""
        sending, outgoing = anyio.create_memory_object_stream[bytes](float("inf"))
        async with (
            connect(self.room_url(self.document_id, self.session_id), max_size=None) as socket,
            sending,
            outgoing,
            anyio.create_task_group() as group,
        ):
            self._outgoing, self._socket, self._unwritten = sending, socket, 0
            group.start_soon(self._read, socket)
            group.start_soon(self._write, socket, outgoing)
            group.start_soon(self._repeat_presence)
            self.send(create_sync_message(self.doc))
            self.send_presence()
            connected.set()

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                assert isinstance(frame, bytes), "a room sends binary frames only"
                self.received.append((time.monotonic(), frame))
                self._handle(frame)
                self._notify()
            self.closed = RoomClosed(socket.close_code or 0, socket.close_reason or "")
        except ConnectionClosed:
            self.closed = RoomClosed(socket.close_code or 0, socket.close_reason or "")
        self._notify()

    async def _write(self, socket: ClientConnection, frames: AsyncIterator[bytes]) -> None:
        try:
            async for frame in frames:
                if self.hold:
                    await anyio.sleep(self.hold)
                await socket.send(frame)
                self._unwritten -= 1
        except ConnectionClosed:
            pass

    async def _repeat_presence(self) -> None:
        while True:
            await anyio.sleep(AWARENESS_PERIOD)
            self.awareness.set_local_state(self.awareness.get_local_state())
            self.send_presence()

    def _handle(self, frame: bytes) -> None:
        if frame[0] == YMessageType.SYNC:
            self._applying = True
            try:
                with self.doc.transaction(origin="server"):
                    reply = handle_sync_message(frame[1:], self.doc)
            finally:
                self._applying = False
            if reply is not None:
                self.send(reply)
            if frame[1] == YSyncMessageType.SYNC_STEP2:
                self._synced.set()
            elif frame[1] == YSyncMessageType.SYNC_UPDATE:
                self.updates_received += 1
        elif frame[0] == YMessageType.AWARENESS:
            update = Decoder(frame[1:]).read_message()
            self.awareness.apply_awareness_update(update or b"", "server")
        elif frame[0] == RAW:
            decoder = Decoder(frame[1:])
            reply_to = json.loads(decoder.read_var_string())
            self._replies[reply_to.get("responseTo")] = reply_to

    def _on_transaction(self, event: TransactionEvent) -> None:
        if not self._applying:
            self.send(create_update_message(event.update))

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _until(self, what: Callable[[], T | None]) -> T:
        while not (value := what()):
            if self.closed is not None:
                raise self.closed
            await self._changed.wait()
        return value

    async def _reply(self, key: object) -> dict[str, Any]:
        await self.wait(lambda: key in self._replies)
        return self._replies.pop(key)
