"""Three programs that run the same cell and take its output, each for a process of its own.

Each opens a case (a kernel of its own), runs it as often as asked, and closes it. A run is measured from
sending the request until everything is there; a trivial cell and a pause go before it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import psutil
import zmq
from jupyter_client.manager import KernelManager
from output_cases import CASES, Case, Outputs, amount
from pycrdt import (
    Array,
    Doc,
    Map,
    YMessageType,
    YSyncMessageType,
    create_sync_message,
    create_update_message,
    handle_sync_message,
)
from server_profile import Profile, next_samples, start_sampling
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

TIMEOUT = 120.0
QUIET = 0.3
"""For so many seconds a server must have done (nearly) nothing before it is measured."""

PATIENCE = 5.0
"""Seconds after the end of a run in which its outputs may still become right."""

WARM_UP = "1"
STEP1 = bytes((YMessageType.SYNC, YSyncMessageType.SYNC_STEP1))
STEP2 = bytes((YMessageType.SYNC, YSyncMessageType.SYNC_STEP2))
UPDATE = bytes((YMessageType.SYNC, YSyncMessageType.SYNC_UPDATE))
RAW = b"\x02"
V1 = Subprotocol("v1.kernel.websocket.jupyter.org")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is."""

    url: str
    ws_url: str
    token: str
    pid: int
    profile: Path | None = None
    """If it runs the sampler of ``server_profile.py``: where that writes to."""

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The body of an answer that must be a success."""
        headers = {"Authorization": f"token {self.token}"}
        response = httpx.request(method, self.url + path, json=body, headers=headers, timeout=TIMEOUT)
        response.raise_for_status()
        return response.json() if response.content else None


@dataclass(kw_only=True)
class Figures:
    """What one run of a cell cost."""

    seconds: float
    frames: int = 0
    """Messages of the kernel, or frames that came over the websocket."""
    received: int = 0
    """Bytes of the frames."""
    text: int = 0
    """Bytes of what there is to read in the outputs."""
    right: bool = True
    """Whether all that the kernel says was there, and in the document the outputs that the cell must have."""
    cpu: float = 0.0
    """Seconds of CPU that the server used until the client had everything."""
    cpu_after: float = 0.0
    """The same until the server was quiet: with saving the file, which the client does not wait for."""
    others: float = 0.0
    """The share of the machine's CPU that went to programs that are not measured."""
    profile: Profile | None = None
    """Of ``cpu``, and"""
    profile_after: Profile | None = None
    """of what comes after it, if the server has a sampler."""

    def count(self, frame: bytes) -> None:
        """Take note of a frame of a room."""
        if frame[0] == YMessageType.SYNC:
            self.frames += 1
            self.received += len(frame)


class Meter:
    """What is used from now on: by a server (if there is one), and by programs that have no part in it.

    If the server has a sampler, the same times are sampled.
    """

    def __init__(self, server: Address | None) -> None:
        gc.collect()
        own = psutil.Process()
        self._server = server
        self._family = [own, *own.children(recursive=True)]
        if server is not None:
            process = psutil.Process(server.pid)
            self._family += [process, *process.children(recursive=True)]
            if server.profile is not None:
                start_sampling(server.pid)
        self._began, self._cpu, self._all, self._ours = self._now()

    def read_into(self, figures: Figures) -> None:
        """Note what was used."""
        now, cpu, busy, ours = self._now()
        figures.cpu = figures.cpu_after = cpu - self._cpu
        whole = (now - self._began) * psutil.cpu_count()
        figures.others = max(0.0, busy - self._all - (ours - self._ours)) / whole
        if self._server is not None and self._server.profile is not None:
            figures.profile = next_samples(self._server.pid, self._server.profile)

    def read_rest_into(self, figures: Figures) -> None:
        """Note what was used until the server is quiet."""
        if self._server is not None:
            wait_until_quiet(self._server.pid)
            figures.cpu_after = cpu_seconds(self._server.pid) - self._cpu
            if self._server.profile is not None:
                figures.profile_after = next_samples(self._server.pid, self._server.profile)

    def _now(self) -> tuple[float, float, float, float]:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        cpu = 0.0 if self._server is None else cpu_seconds(self._server.pid)
        return time.perf_counter(), cpu, busy, sum(cpu_seconds(process.pid) for process in self._family)


class Bare:
    """A kernel and one reader of it: ``jupyter_client``'s session on sockets that drop nothing."""

    def open(self, case: str) -> None:
        """Start a kernel."""
        self._case = CASES[case]
        self._context = zmq.Context()
        self._context.setsockopt(zmq.RCVHWM, 0)
        self._context.setsockopt(zmq.RCVTIMEO, int(1000 * TIMEOUT))
        self._manager = KernelManager()
        self._manager.start_kernel(stderr=subprocess.DEVNULL)
        self._client = self._manager.client(context=self._context)
        self._client.start_channels(stdin=False, hb=False)
        self._client.wait_for_ready(timeout=TIMEOUT)
        while not self._client.iopub_channel.socket.poll(100):
            self._client.kernel_info()  # a subscription takes a moment, and what is said before is lost
        self._execute(WARM_UP, 0)

    def run(self) -> Figures:
        """Run the cell until its idle status and its reply are there."""
        time.sleep(QUIET)
        meter = Meter(None)
        figures = self._execute(self._case.code, self._case.said)
        meter.read_into(figures)
        return figures

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._context.destroy(linger=0)

    def _execute(self, code: str, said: int) -> Figures:
        session = self._client.session
        iopub, shell = self._client.iopub_channel.socket, self._client.shell_channel.socket
        messages: list[dict[str, Any]] = []
        began = time.perf_counter()
        request = self._client.execute(code)
        while True:
            _, message = session.recv(iopub, 0)
            messages.append(message)
            if (
                message["msg_type"] == "status"
                and message["content"]["execution_state"] == "idle"
                and message["parent_header"]["msg_id"] == request
            ):
                break
        while session.recv(shell, 0)[1]["parent_header"].get("msg_id") != request:
            pass
        figures = Figures(seconds=time.perf_counter() - began, frames=len(messages))
        heard = sum(amount(message["msg_type"], message["content"]) for message in messages)
        figures.right = heard == said
        return figures


class Websocket:
    """A server without ydoc_exec, and a client of the kernel's websocket, as JupyterLab's own."""

    def __init__(self, server: Address) -> None:
        self._server = server

    def open(self, case: str) -> None:
        """Start a kernel."""
        self._case = CASES[case]
        self._kernel = self._server.request("POST", "/api/kernels", {"name": "python3"})["id"]

    def run(self) -> Figures:
        """Run the cell until its idle status and its reply are there."""
        return asyncio.run(self._run())

    def close(self) -> None:
        """End the kernel."""
        self._server.request("DELETE", f"/api/kernels/{self._kernel}")

    async def _run(self) -> Figures:
        query = f"session_id={secrets.token_hex(8)}&token={self._server.token}"
        address = f"{self._server.ws_url}/api/kernels/{self._kernel}/channels?{query}"
        async with connect(address, subprotocols=[V1], max_size=None, compression=None) as socket:
            assert socket.subprotocol == V1
            await self._until_heard(socket)
            await self._execute(socket, WARM_UP, 0)
            await asyncio.to_thread(wait_until_quiet, self._server.pid)
            meter = Meter(self._server)
            figures = await self._execute(socket, self._case.code, self._case.said)
            meter.read_into(figures)
            await asyncio.to_thread(meter.read_rest_into, figures)
        return figures

    async def _until_heard(self, socket: ClientConnection) -> None:
        """Wait as JupyterLab does: the server drops what comes before it hears the kernel itself."""
        with anyio.fail_after(TIMEOUT):
            for _ in range(int(TIMEOUT)):
                with anyio.move_on_after(1):
                    await self._ask(socket, "kernel_info_request", {}, 0)
                    return
        raise TimeoutError("The kernel is not heard.")

    async def _execute(self, socket: ClientConnection, code: str, said: int) -> Figures:
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        with anyio.fail_after(TIMEOUT):
            return await self._ask(socket, "execute_request", content, said)

    async def _ask(self, socket: ClientConnection, kind: str, content: dict[str, Any], said: int) -> Figures:
        """Send a request and read until its reply and its idle status are there."""
        request = secrets.token_hex(8)
        header = {"msg_id": request, "msg_type": kind, "version": "5.3"}
        header |= {"session": "", "username": "", "date": ""}
        frame = write_v1("shell", header, {}, {}, content)
        figures = Figures(seconds=0.0)
        replied = idle = False
        heard = 0
        began = time.perf_counter()
        await socket.send(frame)
        while not (replied and idle):
            frame = await socket.recv(decode=False)
            figures.frames += 1
            figures.received += len(frame)
            channel, header, parent, _, content = read_v1(frame)
            if parent.get("msg_id") == request:
                heard += amount(header["msg_type"], content)
                replied = replied or channel == "shell"
                idle = idle or (header["msg_type"] == "status" and content["execution_state"] == "idle")
        figures.seconds = time.perf_counter() - began
        figures.right = heard == said
        return figures


class Document:
    """A server with ydoc_exec, and a client that synchronises a notebook.

    The notebook's first cell is for warming up, the second one is measured.
    """

    def __init__(self, server: Address) -> None:
        self._server = server

    def open(self, case: str, path: str) -> None:
        """Start a kernel for this notebook."""
        self._case = CASES[case]
        self._path = path
        body = {"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}}
        session = self._server.request("POST", "/api/sessions", body)
        self._session, self._kernel = session["id"], session["kernel"]["id"]

    def run(self) -> Figures:
        """Run the cell, which has no outputs, until the client has all that it must have."""
        return asyncio.run(self._run())

    def run_again(self, times: int) -> int:
        """Run the cell so often, as it is, and return the bytes of the document for somebody who comes then."""
        return asyncio.run(self._run_again(times))

    def close(self) -> None:
        """End the kernel."""
        self._server.request("DELETE", f"/api/sessions/{self._session}")

    async def _run(self) -> Figures:
        async with DocumentClient(self._server, self._path) as client:
            await client.execute(self._kernel, 0, None)
            await client.clear(1)
            await client.until_quiet()
            meter = Meter(self._server)
            figures = await client.execute(self._kernel, 1, self._case)
            meter.read_into(figures)
            await client.until_saved()
            await asyncio.to_thread(meter.read_rest_into, figures)
        return figures

    async def _run_again(self, times: int) -> int:
        async with DocumentClient(self._server, self._path) as client:
            for _ in range(times):
                await client.execute(self._kernel, 1, self._case)
            await client.until_saved()
            await client.until_quiet()
        async with DocumentClient(self._server, self._path) as client:
            return client.first


class DocumentClient:
    """A client of a room that does little: it applies updates, and looks at one cell's state.

    It looks at outputs only when a run has ended, or measuring it would be measuring the reader.
    """

    def __init__(self, server: Address, path: str) -> None:
        self.first = 0
        """Bytes of the document as it was when the client came."""
        self._answers: dict[str, dict[str, Any]] = {}
        self._server = server
        self._path = path
        self._doc: Doc[Any] = Doc()
        self._cells = self._doc.get("cells", type=Array)
        self._state = self._doc.get("state", type=Map)

    async def __aenter__(self) -> DocumentClient:
        headers = {"Authorization": f"token {self._server.token}"}
        self._http = httpx.AsyncClient(base_url=self._server.url, headers=headers, timeout=TIMEOUT)
        body = {"format": "json", "type": "notebook"}
        response = await self._http.put(f"/api/collaboration/session/{quote(self._path, safe='')}", json=body)
        response.raise_for_status()
        session = response.json()
        self._room = f"{session['format']}:{session['type']}:{session['fileId']}"
        query = f"sessionId={session['sessionId']}&token={self._server.token}"
        address = f"{self._server.ws_url}/api/collaboration/room/{self._room}?{query}"
        self._socket = await connect(address, max_size=None, compression=None)
        await self._socket.send(create_sync_message(self._doc))
        while not self.first:
            frame = await self._receive()
            if frame[:2] == STEP2:
                self.first = len(frame)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._http.aclose()

    async def execute(self, kernel: str, index: int, case: Case | None) -> Figures:
        """Run a cell until it has ended and, with a case, its outputs are those it must have."""
        cell: Map[Any] = self._cells[index]
        figures = Figures(seconds=0.0)
        started = False
        ids = [cell["id"]]
        began = time.perf_counter()
        request = await self._ask(kernel, ids)
        while True:
            frame = await self._receive()
            figures.count(frame)
            state = cell.get("execution_state")
            started = started or state == "running"
            if started and state == "idle":
                break
        figures.seconds = time.perf_counter() - began
        outputs: Outputs = cell["outputs"].to_py()
        if case is not None:
            with anyio.move_on_after(PATIENCE):
                while not case.right(outputs):
                    figures.count(await self._receive())
                    figures.seconds = time.perf_counter() - began
                    outputs = cell["outputs"].to_py()
            figures.right = case.right(outputs)
        await self._answer(request)
        figures.text = sum(len(readable(output).encode()) for output in outputs)
        return figures

    async def clear(self, index: int) -> None:
        """Remove a cell's outputs, as a person does."""
        outputs: Array[Any] = self._cells[index]["outputs"]
        if len(outputs):
            before = self._doc.get_state()
            del outputs[0 : len(outputs)]
            await self._socket.send(create_update_message(self._doc.get_update(before)))

    async def until_saved(self) -> None:
        """Come back when the file has everything."""
        while self._state.get("dirty"):
            await self._receive()

    async def until_quiet(self) -> None:
        """Come back when the server has nothing more to do and to say."""
        waiting = asyncio.create_task(asyncio.to_thread(wait_until_quiet, self._server.pid))
        while not waiting.done():
            receiving = asyncio.create_task(self._receive())
            await asyncio.wait((receiving, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                receiving.cancel()  # ``recv`` can be cancelled without losing anything
                await asyncio.wait((receiving,))
        await waiting

    async def _ask(self, kernel: str, ids: list[str]) -> str:
        """Have these cells run: the id of the request, as the front end sends it."""
        request = secrets.token_hex(8)
        body = json.dumps({"kernel_id": kernel, "cell_ids": ids})
        await self._socket.send(RAW + b"".join(map(var_string, ("execute", request, body))))
        return request

    async def _answer(self, request: str) -> None:
        """Come back when the server has said that the cells were queued."""
        while request not in self._answers:
            await self._receive()
        answer = self._answers.pop(request)
        assert answer["status"] == 202, answer

    async def _receive(self) -> bytes:
        """Take the next frame, and what it says."""
        with anyio.fail_after(TIMEOUT):
            frame = await self._socket.recv(decode=False)
        if frame[:2] == STEP1:
            reply = handle_sync_message(frame[1:], self._doc)
            assert reply is not None, "a question is answered"
            await self._socket.send(reply)
        elif frame[:2] in (STEP2, UPDATE):
            self._doc.apply_update(payload(frame))
        elif frame[:1] == RAW:
            said = json.loads(frame[frame.index(b"{") :])
            if said["type"] == "execute":
                self._answers[said["responseTo"]] = said
        return frame


def var_string(text: str) -> bytes:
    """Text as lib0 writes it."""
    data, length = text.encode(), bytearray()
    rest = len(data)
    while rest > 0x7F:
        length.append(0x80 | rest & 0x7F)
        rest >>= 7
    return bytes((*length, rest)) + data


def payload(frame: bytes) -> bytes:
    """The update in a frame. (pycrdt's own way copies it several times, and there are some of 50 MB.)"""
    start = 2
    while frame[start] & 0x80:  # its length, seven bits a byte
        start += 1
    return frame[start + 1 :]


def readable(output: dict[str, Any]) -> str:
    """What there is to read in an output."""
    return str(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def read_v1(frame: bytes) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Channel, header, parent, metadata and content, as ``@jupyterlab/services`` reads them (``serialize.ts``)."""
    count = int.from_bytes(frame[:8], "little")
    offsets = [int.from_bytes(frame[8 * n : 8 * n + 8], "little") for n in range(1, count + 1)]
    header, parent, metadata, content = (json.loads(frame[offsets[n] : offsets[n + 1]]) for n in range(1, 5))
    return frame[offsets[0] : offsets[1]].decode(), header, parent, metadata, content


def write_v1(channel: str, *parts: dict[str, Any]) -> bytes:
    """The frame of a message."""
    packed = [channel.encode(), *(json.dumps(part).encode() for part in parts)]
    offsets = [8 * (len(packed) + 2)]
    for part in packed:
        offsets.append(offsets[-1] + len(part))
    return b"".join([*(number.to_bytes(8, "little") for number in (len(offsets), *offsets)), *packed])


def cpu_seconds(pid: int) -> float:
    """What a process has used so far: all its threads, in themselves and in the system for them."""
    if sys.platform == "linux":
        # The same as psutil's, which are rounded to 10 ms. See clock_getcpuclockid(3).
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def wait_until_quiet(pid: int) -> None:
    """Come back when a server has nothing left to do of what came before."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(QUIET)
        if cpu_seconds(pid) - before < 0.05 * QUIET:
            return
    raise TimeoutError("The server does not come to rest.")
