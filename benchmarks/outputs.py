"""What output costs: ydoc_exec beside a bare reader of the kernel and beside the stock kernel websocket.

Three programs run the same cell on three kernels of the same kind, in turn, each in a process of its own:

- *bare*: ``jupyter_client``'s session on a SUB socket that drops nothing; until reply and idle are there.
- *websocket*: JupyterLab's server without ydoc_exec; until the client has reply and idle.
- *document*: the same server with ydoc_exec; until the client's document is exactly what it must become.

``python benchmarks/outputs.py [case ...] [--repeat N]``
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import psutil
import zmq
from bench import table
from jupyter_client.manager import KernelManager
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
from websockets.asyncio.client import ClientConnection, connect

from tests.server import LabServer

TIMEOUT = 120.0
QUIET = 0.3
"""Seconds for which a server must have done (nearly) nothing before it is measured."""

WARM_UP = "1"

WALL_BAR = 1.15
CPU_BAR = 1.2
BYTES_BAR = 2.0
STATE_BAR = 1.5
STATE_RUNS = 10


# The cases


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cell."""

    title: str
    code: str
    outputs: Callable[[], list[dict[str, Any]]]
    """What the document has in the end, with plain values."""
    wall_bar: float = WALL_BAR
    bytes_bar: float | None = None
    state_bar: float | None = None


def stream(name: str, text: str) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": name, "text": text}]


def displayed(value: object) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/plain": repr(value)}, "metadata": {}}


def numbers(count: int) -> str:
    return "".join(f"{number}\n" for number in range(count))


def bar(number: int, count: int) -> str:
    """80 characters, whatever the number."""
    return (
        f"{100 * number // count:3d}%|{'█' * (40 * number // count):<40}| "
        f"{number:4d}/{count} [00:01<00:00, 1234.56it/s]"
    )


BAR_CODE = """
import sys
for n in range(1, 2001):
    sys.stderr.write(
        f"\\r{100 * n // 2000:3d}%|{'█' * (40 * n // 2000):<40}| {n:4d}/2000 [00:01<00:00, 1234.56it/s]"
    )
    sys.stderr.flush()
"""

CASES = {
    "flushed": Case(
        title="20,000 `print(i, flush=True)`",
        code="for i in range(20000): print(i, flush=True)",
        outputs=lambda: stream("stdout", numbers(20_000)),
        bytes_bar=BYTES_BAR,
    ),
    "print": Case(
        title="100,000 `print(i)`",
        code="for i in range(100000): print(i)",
        outputs=lambda: stream("stdout", numbers(100_000)),
        bytes_bar=BYTES_BAR,
    ),
    "display": Case(
        title="5,000 `display(i)`",
        code="for i in range(5000): display(i)",
        outputs=lambda: [displayed(number) for number in range(5000)],
    ),
    "update": Case(
        title="5,000 `update_display(i)`",
        code="handle = display(-1, display_id=True)\nfor i in range(5000): handle.update(i)",
        outputs=lambda: [displayed(4999)],
    ),
    "progress": Case(
        title="2,000 refreshes of a progress bar",
        code=BAR_CODE,
        outputs=lambda: stream("stderr", bar(2000, 2000)),
        state_bar=STATE_BAR,
    ),
    "large": Case(
        title="one `print` of 50 MB",
        code="print(('x' * 99 + '\\n') * 500_000, end='')",
        outputs=lambda: stream("stdout", ("x" * 99 + "\n") * 500_000),
        wall_bar=1.5,
        bytes_bar=BYTES_BAR,
    ),
}


# The three programs


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a server is."""

    url: str
    ws_url: str
    token: str
    pid: int


@dataclass(kw_only=True)
class Figures:
    """What one run of a cell cost."""

    seconds: float
    cpu: float = 0.0
    """Seconds of the server's CPU, until the client had everything."""
    cpu_after: float = 0.0
    """The same, until the server was quiet: with saving and with the log."""
    frames: int = 0
    received: int = 0
    """Bytes of the frames."""
    text: int = 0
    """Bytes of what there is to read in the outputs."""
    exact: bool = True


class Program(Protocol):
    """One way to run a cell."""

    def open(self, case: str) -> None: ...
    def run(self) -> Figures: ...
    def close(self) -> None: ...


class Bare:
    """A kernel and nothing else."""

    def open(self, case: str) -> None:
        self.case = CASES[case]
        self.context = zmq.Context()
        self.context.setsockopt(zmq.RCVHWM, 0)
        self.manager = KernelManager()
        self.manager.start_kernel()
        self.client = self.manager.client(context=self.context)
        self.client.start_channels(stdin=False, hb=False)
        self.client.wait_for_ready(timeout=TIMEOUT)
        self._execute(WARM_UP)

    def run(self) -> Figures:
        gc.collect()
        return self._execute(self.case.code)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.context.destroy(linger=0)

    def _execute(self, code: str) -> Figures:
        session, iopub = self.client.session, self.client.iopub_channel.socket
        began = time.perf_counter()
        request = self.client.execute(code)
        count = 0
        while True:
            _, message = session.recv(iopub, 0)
            if message["parent_header"].get("msg_id") != request:
                continue
            count += 1
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while session.recv(self.client.shell_channel.socket, 0)[1]["parent_header"].get("msg_id") != request:
            pass
        return Figures(seconds=time.perf_counter() - began, frames=count)


class Websocket:
    """The stock way: a kernel's websocket, as a browser talks to it."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def open(self, case: str) -> None:
        self.case = CASES[case]
        self.kernel = request(self.server, "POST", "/api/kernels", {"name": "python3"})["id"]

    def run(self) -> Figures:
        return asyncio.run(self._run())

    def close(self) -> None:
        request(self.server, "DELETE", f"/api/kernels/{self.kernel}")

    async def _run(self) -> Figures:
        session = secrets.token_hex(8)
        address = f"{self.server.ws_url}/api/kernels/{self.kernel}/channels?session_id={session}"
        async with connect(
            f"{address}&token={self.server.token}",
            subprotocols=["v1.kernel.websocket.jupyter.org"],  # type: ignore[list-item]
            max_size=None,
            compression=None,
        ) as socket:
            await self._execute(socket, WARM_UP)
            await asyncio.to_thread(wait_until_quiet, self.server.pid)
            gc.collect()
            cpu = cpu_seconds(self.server.pid)
            figures = await self._execute(socket, self.case.code)
            figures.cpu = cpu_seconds(self.server.pid) - cpu
            await asyncio.to_thread(wait_until_quiet, self.server.pid)
            figures.cpu_after = cpu_seconds(self.server.pid) - cpu
        return figures

    async def _execute(self, socket: ClientConnection, code: str) -> Figures:
        message_id = secrets.token_hex(8)
        header = {"msg_id": message_id, "msg_type": "execute_request", "version": "5.3"}
        header |= {"session": "", "username": "", "date": ""}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        parts = [b"shell", *(json.dumps(part).encode() for part in (header, {}, {}, content))]
        offsets = [8 * (len(parts) + 2)]
        for part in parts:
            offsets.append(offsets[-1] + len(part))
        head = [len(offsets), *offsets]
        began = time.perf_counter()
        await socket.send(b"".join([*(number.to_bytes(8, "little") for number in head), *parts]))
        frames = received = 0
        replied = idle = False
        while not (replied and idle):
            frame = await socket.recv(decode=False)
            frames += 1
            received += len(frame)
            channel, answer = read_v1(frame)
            if answer["parent_header"].get("msg_id") != message_id:
                continue
            kind = answer["header"]["msg_type"]
            replied = replied or (channel == "shell" and kind == "execute_reply")
            idle = idle or (kind == "status" and answer["content"]["execution_state"] == "idle")
        return Figures(seconds=time.perf_counter() - began, frames=frames, received=received)


def read_v1(frame: bytes) -> tuple[str, dict[str, Any]]:
    """The channel and the four parts of a message, as ``@jupyterlab/services`` reads it (``serialize.ts``)."""
    count = int.from_bytes(frame[:8], "little")
    offsets = [int.from_bytes(frame[8 * n + 8 : 8 * n + 16], "little") for n in range(count)]
    names = ("header", "parent_header", "metadata", "content")
    parts = {name: json.loads(frame[offsets[n] : offsets[n + 1]]) for n, name in enumerate(names, 1)}
    return frame[offsets[0] : offsets[1]].decode(), parts


class Document:
    """ydoc_exec: execution by request, output in the document.

    The notebook's first cell is for warming up, the second one is measured.
    """

    def __init__(self, server: Server) -> None:
        self.server = server

    def open(self, case: str) -> None:
        self.case = CASES[case]
        self.expected = self.case.outputs()
        self.path = f"{case}.ipynb"
        body = {"path": self.path, "type": "notebook", "name": self.path, "kernel": {"name": "python3"}}
        session = request(self.server, "POST", "/api/sessions", body)
        self.session, self.kernel = session["id"], session["kernel"]["id"]

    def run(self) -> Figures:
        return asyncio.run(self._run())

    def state(self) -> int:
        """Bytes of the document as the server sends it to somebody who opens it now."""
        return asyncio.run(self._state())

    def close(self) -> None:
        request(self.server, "DELETE", f"/api/sessions/{self.session}")

    async def _run(self) -> Figures:
        async with DocumentClient(self.server, self.path) as client:
            await client.execute(self.kernel, 0, [])
            await client.clear(1)
            await asyncio.to_thread(wait_until_quiet, self.server.pid)
            gc.collect()
            cpu = cpu_seconds(self.server.pid)
            figures = await client.execute(self.kernel, 1, self.expected)
            figures.cpu = cpu_seconds(self.server.pid) - cpu
            await client.saved()
            await asyncio.to_thread(wait_until_quiet, self.server.pid)
            figures.cpu_after = cpu_seconds(self.server.pid) - cpu
        return figures

    async def _state(self) -> int:
        async with DocumentClient(self.server, self.path) as client:
            return client.first


class DocumentClient:
    """A client of a room that does little: it applies updates and looks at one cell's state.

    It looks at the outputs only when a run has ended, or measuring it would be measuring the reader.
    """

    def __init__(self, server: Server, path: str) -> None:
        self.server = server
        self.path = path
        self.doc: Doc[Any] = Doc()
        self.first = 0

    async def __aenter__(self) -> DocumentClient:
        self.http = httpx.AsyncClient(
            base_url=self.server.url, headers={"Authorization": f"token {self.server.token}"}, timeout=TIMEOUT
        )
        body = {"format": "json", "type": "notebook"}
        response = await self.http.put(f"/api/collaboration/session/{quote(self.path, safe='')}", json=body)
        response.raise_for_status()
        session = response.json()
        self.room = f"{session['format']}:{session['type']}:{session['fileId']}"
        query = f"sessionId={session['sessionId']}&token={self.server.token}"
        address = f"{self.server.ws_url}/api/collaboration/room/{self.room}?{query}"
        self.socket = await connect(address, max_size=None, compression=None)
        await self.socket.send(create_sync_message(self.doc))
        while not self.first:
            frame = await self._receive()
            if frame[:2] == bytes((YMessageType.SYNC, YSyncMessageType.SYNC_STEP2)):
                self.first = len(frame)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self.http.aclose()

    async def execute(self, kernel: str, index: int, expected: list[dict[str, Any]]) -> Figures:
        """Run a cell until its outputs are the expected ones; with ``[]``, until it has ended."""
        cell: Map[Any] = self._cells[index]
        body = {"document_id": self.room, "cell_ids": [cell["id"]]}
        frames = received = 0
        began = time.perf_counter()
        posting = asyncio.create_task(self.http.post(f"/api/kernels/{kernel}/execute", json=body))
        started = False
        while True:
            frame = await self._receive()
            if frame[0] == YMessageType.SYNC:
                frames += 1
                received += len(frame)
            state = cell.get("execution_state")
            started = started or state == "running"
            if not started or state != "idle":
                continue
            seconds = time.perf_counter() - began
            if not expected or cell["outputs"].to_py() == expected:
                break
            if seconds > TIMEOUT:
                raise TimeoutError(f"The outputs never became what they must: {str(cell['outputs'])[:1000]}")
        response = await posting
        response.raise_for_status()
        text = sum(len(str(readable(output)).encode()) for output in expected)
        return Figures(seconds=seconds, frames=frames, received=received, text=text)

    async def clear(self, index: int) -> None:
        """Remove a cell's outputs, as a person does."""
        outputs: Array[Any] = self._cells[index]["outputs"]
        before = self.doc.get_state()
        if len(outputs):
            del outputs[0 : len(outputs)]
            await self.socket.send(create_update_message(self.doc.get_update(before)))

    async def saved(self) -> None:
        """Wait until the file has everything."""
        state = self.doc.get("state", type=Map)
        while state.get("dirty"):
            await self._receive()

    @property
    def _cells(self) -> Array[Any]:
        cells: Array[Any] = self.doc.get("cells", type=Array)
        return cells

    async def _receive(self) -> bytes:
        """Take the next frame, and what it says."""
        async with asyncio.timeout(TIMEOUT):
            frame = await self.socket.recv(decode=False)
        if frame[0] == YMessageType.SYNC:
            reply = handle_sync_message(frame[1:], self.doc)
            if reply is not None:
                await self.socket.send(reply)
        return frame


def readable(output: dict[str, Any]) -> str:
    """What there is to read in an output."""
    return str(output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"])


def request(server: Server, method: str, path: str, body: object = None) -> Any:
    """The body of an answer that must be a success."""
    headers = {"Authorization": f"token {server.token}"}
    response = httpx.request(method, server.url + path, json=body, headers=headers, timeout=TIMEOUT)
    response.raise_for_status()
    return response.json() if response.content else None


# What a process uses


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, all its threads, in itself and in the system for it."""
    if sys.platform == "linux":
        # The same as psutil's, which the kernel gives in steps of 10 ms only. See clock_getcpuclockid(3).
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


# Processes


class Worker:
    """A program in a process of its own, called from here."""

    def __init__(self, program: type[Any], *args: object, directory: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, directory, program, args))
        self.process.start()

    def __call__(self, method: str, *args: object) -> Any:
        """Call a method and come back with its result. Raises what it raised, in words."""
        self.connection.send((method, args))
        failed, result = self.connection.recv()
        if failed:
            raise RuntimeError(f"{method}{args} failed:\n{result}")
        return result

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.join()


def serve(connection: Connection, directory: Path, program: type[Any], args: Sequence[object]) -> None:
    """The other process."""
    isolate(directory)
    runner = program(*args)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((False, getattr(runner, method)(*arguments)))
        except Exception:
            connection.send((True, traceback.format_exc()))


def isolate(directory: Path) -> None:
    """Kernels that are started here have nothing of the machine's configuration, as those of ``LabServer``."""
    for name in list(os.environ):
        if name.startswith(("JUPYTER", "IPYTHON", "JPY_")):
            del os.environ[name]
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = directory / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"


@contextmanager
def server(directory: Path, *args: str) -> Iterator[tuple[LabServer, Server]]:
    """A server, and where it is."""
    with LabServer(directory, *args) as lab:
        assert lab._process is not None
        yield lab, Server(url=lab.url, ws_url=lab.ws_url, token=lab.token, pid=lab._process.pid)


# The measurement

PLAIN = (
    "--ServerApp.jpserver_extensions=ydoc_exec=False",
    "--ZMQChannelsWebsocketConnection.limit_rate=False",
)


@dataclass
class Measured:
    """All runs of one case, by program."""

    case: Case
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    states: tuple[int, int] | None = None


def best(runs: Sequence[Figures], what: Callable[[Figures], float]) -> float:
    return min(map(what, runs))


def spread(runs: Sequence[Figures], what: Callable[[Figures], float]) -> float:
    """How much the worst run was above the best."""
    values = [what(run) for run in runs]
    return max(values) / min(values)


def judged(value: float, bar: float | None) -> str:
    if bar is None:
        return f"{value:.2f}"
    return f"{value:.2f} {'ok' if value <= bar else '**over**'} ({bar:g})"


def measure(name: str, repeat: int, lab: LabServer, workers: dict[str, Worker]) -> Measured:
    case = CASES[name]
    lab.write_notebook(f"{name}.ipynb", WARM_UP, case.code)
    measured = Measured(case, {program: [] for program in workers})
    for worker in workers.values():
        worker("open", name)
    programs = list(workers)
    for number in range(repeat):
        turn = number % len(programs)
        for program in programs[turn:] + programs[:turn]:
            measured.runs[program].append(workers[program]("run"))
    for worker in workers.values():
        worker("close")
    return measured


def report(all_measured: Sequence[Measured], repeat: int) -> None:
    rows: list[list[object]] = []
    for measured in all_measured:
        bare, stock, ours = (measured.runs[name] for name in ("bare", "websocket", "document"))
        wall = [best(runs, lambda run: run.seconds) for runs in (bare, stock, ours)]
        cpu = [best(runs, lambda run: run.cpu) for runs in (stock, ours)]
        last = ours[-1]
        rows.append(
            [
                measured.case.title,
                *(f"{value:.3f}" for value in wall),
                judged(wall[2] / wall[0], measured.case.wall_bar),
                "/".join(f"{spread(runs, lambda run: run.seconds):.2f}" for runs in (bare, stock, ours)),
                *(f"{value:.3f}" for value in cpu),
                judged(cpu[1] / cpu[0], CPU_BAR),
                f"{best(ours, lambda run: run.cpu_after):.3f}",
                "/".join(f"{spread(runs, lambda run: run.cpu):.2f}" for runs in (stock, ours)),
                bare[-1].frames,
                last.frames,
                last.text,
                judged(last.received / last.text, measured.case.bytes_bar),
            ]
        )
    table(
        f"Output, best of {repeat}",
        [
            "",
            "bare s",
            "websocket s",
            "ydoc_exec s",
            "ydoc_exec / bare",
            "spread",
            "websocket CPU s",
            "ydoc_exec CPU s",
            "ydoc_exec / websocket",
            "with the save",
            "spread",
            "kernel's messages",
            "frames",
            "text",
            "update bytes / text",
        ],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What output costs.")
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(CASES)}; all of them by default")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the best counts")
    options = parser.parse_args()
    names: list[str] = options.case or list(CASES)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary, ExitStack() as stack:
        directory = Path(temporary)
        _, plain = stack.enter_context(server(directory / "plain", *PLAIN))
        lab, ours = stack.enter_context(server(directory / "ours"))
        workers = {
            "bare": stack.enter_context(Worker(Bare, directory=directory / "bare")),
            "websocket": stack.enter_context(Worker(Websocket, plain, directory=directory / "websocket")),
            "document": stack.enter_context(Worker(Document, ours, directory=directory / "document")),
        }
        report([measure(name, options.repeat, lab, workers) for name in names], options.repeat)


if __name__ == "__main__":
    main()
