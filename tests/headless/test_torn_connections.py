"""Clients whose connections are torn in every way while they type and run cells, on a server that stops to listen."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from pycrdt import Text

from tests.headless.client import RoomClient, RoomClosed
from tests.notebooks import cell
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

NAME = "torn.ipynb"
TURNS = 40
WAYS = ("abort", "reset", "half-closed", "closed", "vanished", "closed for good")


class Person:
    """Somebody with a tab, and with another one when that was closed."""

    def __init__(self, server: LabServer, kernel: str, ran: Path, name: str, seed: int) -> None:
        self.tab = RoomClient(server, NAME)
        self.typed: list[str] = []
        self.asked: list[str] = []
        self._server = server
        self._kernel = kernel
        self._ran = ran
        self._name = name
        self._random = random.Random(f"{seed} {name}")
        self._unanswered: dict[str, str] = {}

    async def live(self) -> None:
        await self.tab.connect()
        for _ in range(TURNS):
            getattr(self, self._random.choice(("type", "type", "ask", "leave_a_while", "pause")))()
            if self._random.random() < 0.3:
                await self.lose_connection(self._random.choice(WAYS))
            await anyio.sleep(self._random.random() * 0.05)
        if self.tab.closed is not None:
            await self.come_back()
        await self.hear_answers()

    def type(self) -> None:
        """Several letters at once or a paste, each of which nobody else types."""
        word = f"<{self._name} {len(self.typed)}>" + "." * self._random.choice((0, 0, 0, 20_000))
        source: Text = self.tab.ycells[self._random.randrange(2)]["source"]
        source += word
        self.typed.append(word)

    def ask(self) -> None:
        """A new cell and, behind it, the request to run it."""
        request = f"{self._name} {len(self.asked)}"
        source = f"with open({str(self._ran)!r}, 'a') as file: print({request!r}, file=file)"
        self.tab.notebook.append_cell(cell(request.replace(" ", "-"), source))
        self.asked.append(request)
        self._unanswered[request] = request.replace(" ", "-")
        self._send(request)

    def leave_a_while(self) -> None:
        """The wire is cut, and it goes on typing."""
        assert self.tab._socket is not None
        self.tab._socket.transport.abort()
        self.type()

    def pause(self) -> None:
        """It only looks."""

    async def lose_connection(self, way: str) -> None:
        assert self.tab._socket is not None
        transport = self.tab._socket.transport
        if self.tab.closed is None and not transport.is_closing():
            wire: socket.socket = transport.get_extra_info("socket")
            if way == "abort":
                transport.abort()
            elif way == "reset":
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            elif way == "half-closed":
                wire.shutdown(socket.SHUT_WR)
                with suppress(RoomClosed):
                    await self.tab.wait(lambda: False)
            elif way == "closed":
                await self.tab.disconnect()
            else:
                self.type()
                await self.tab.vanish()
                if way == "closed for good":
                    await self.tab.__aexit__()
                    self.tab = RoomClient(self._server, NAME)
                    self._unanswered.clear()  # nobody is there any more who would ask again
        await self.come_back()

    async def come_back(self) -> None:
        if self.tab._connection is not None:
            assert self.tab._socket is not None
            self.tab._socket.transport.abort()
        await self.tab.reconnect()
        for request in self._unanswered:
            self._send(request)

    async def hear_answers(self) -> None:
        for request in self._unanswered:
            answer = await self.tab.wait(lambda request=request: self.tab._replies.get(request))  # type: ignore[misc]
            assert answer["status"] == 202, answer
        await self.tab.barrier()

    def _send(self, request: str) -> None:
        ids = [str(each["id"]) for each in self.tab.cells]
        self.tab.send_request(self._kernel, [ids.index(self._unanswered[request])], request)


async def be_deaf(server: LabServer, seed: int, over: anyio.Event) -> None:
    """The server does nothing for a moment, now and then."""
    dice = random.Random(seed)
    while not over.is_set():
        await anyio.sleep(dice.random() * 0.4)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await anyio.sleep(dice.choice((0.02, 0.1, 0.3)))
        finally:
            os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("seed", range(2))
async def test_everything_is_there_once_and_runs_once(server: LabServer, seed: int) -> None:
    server.write_notebook(NAME, "", "")
    kernel, ran = server.kernel_of(NAME), server.root / "ran"
    people = [Person(server, kernel, ran, name, seed) for name in ("Ada", "Bob", "Eve")]
    over = anyio.Event()
    async with anyio.create_task_group() as deaf:
        deaf.start_soon(be_deaf, server, seed, over)
        async with anyio.create_task_group() as group:
            for person in people:
                group.start_soon(person.live)
        over.set()
    asked = [request for person in people for request in person.asked]
    await eventually(lambda: len(ran.read_text().splitlines()) >= len(asked) if asked else True)
    async with RoomClient(server, NAME) as fresh:
        await fresh.wait(lambda: not fresh.execution["runs"])
        assert Counter(ran.read_text().splitlines()) == Counter(asked)
        sources = fresh.sources()
        text = "".join(sources[:2])
        words = [word for person in people for word in person.typed]
        assert {word: text.count(word) for word in words} == dict.fromkeys(words, 1)
        ids = [fresh.cell_id(index) for index in range(len(sources))]
        assert sorted(ids) == sorted(["cell-0", "cell-1", *(request.replace(" ", "-") for request in asked)])
        assert set(fresh.markers()) <= {"idle", "None"}
        assert await fresh.save() == "success"
        for person in people:
            await person.tab.wait(lambda tab=person.tab: tab.cells == fresh.cells)  # type: ignore[misc]
            await person.tab.__aexit__()
        file = server.read_notebook(NAME)
        assert ["".join(each["source"]) for each in file["cells"]] == sources
    assert "Traceback" not in server.log
