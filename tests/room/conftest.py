"""Clients with real documents, and the two ends of their connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from anyio import Event, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from pycrdt import Doc, Text, TransactionEvent

from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.room.room import Room
from ydoc_exec.room.room_client import RoomClient
from ydoc_exec.sync import AwarenessState

_numbers = count(1)


class Reader:
    """The bytes of a frame from the server. ``sync.parse`` reads those of clients, which are almost the same."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.place = 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.frame[self.place]
            self.place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def data(self) -> bytes:
        length = self.number()
        self.place += length
        return self.frame[self.place - length : self.place]


class Peer:
    """A client as a browser is one: a document of its own, and a connection."""

    def __init__(self, *, may_write: bool = True) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self.presence: dict[int, dict[str, Any] | None] = {}
        self.frames: list[bytes] = []
        self.news: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.left = False
        self.hears = True
        """Whether it answers at once when its connection is ended."""
        self.synced = False
        self.number = next(_numbers)
        self.write_error: Exception | None = None
        self.reading = Event()
        self.reading.set()
        self.client = RoomClient(
            self.number, self._write, self._close, may_write=may_write, name=f"client {self.number}"
        )
        self._receiving = False
        self._answers: list[bytes] = []
        self._unsent: list[bytes] = []
        self._subscription = self.doc.observe(self._changed)

    # The browser

    def _changed(self, event: TransactionEvent) -> None:
        if not self._receiving:
            self._unsent.append(sync.update(event.update))

    async def send(self, frame: bytes) -> None:
        await self.client.receive(frame)

    async def flush(self) -> None:
        """Send what was asked for, and what was typed."""
        while self._answers or self._unsent:
            await self.send((self._answers or self._unsent).pop(0))

    async def until_synced(self) -> None:
        """Answer what is asked until the room's document has come, or the connection is closed."""
        while not self.synced and self.closed is None:
            await until(lambda: self.synced or self.closed is not None or self._answers)
            await self.flush()
        # A question may come right behind it: what is at hand is written without waiting for anything.
        for _ in range(20):
            await checkpoint()

    async def type(self, text: str) -> None:
        self.text += text
        await self.flush()

    async def greet(self) -> None:
        await self.send(sync.step1(self.doc.get_state()))

    async def say_here(
        self, state: dict[str, Any] | None, clock: int = 1, *, number: int | None = None
    ) -> None:
        """``number``: under which it is present, if not its own."""
        await self.send(sync.awareness([AwarenessState(number or self.doc.client_id, clock, state)]))

    def forget(self) -> None:
        """Let the document be freed: pycrdt keeps its observers where no garbage collection finds them."""
        self.doc.unobserve(self._subscription)

    def leave(self) -> None:
        self.client.left()

    def _take(self, frame: bytes) -> None:
        self.frames.append(frame)
        reader = Reader(frame)
        kind = reader.number()
        if kind == 0:
            step, data = reader.number(), reader.data()
            if step == 0:
                self._answers.append(sync.step2(self.doc.get_update(data)))
            else:
                self.synced = self.synced or step == 1
                self._receiving = True
                try:
                    self.doc.apply_update(data)
                finally:
                    self._receiving = False
        elif kind == 1:
            message = sync.parse(frame)
            assert isinstance(message, sync.Awareness)
            for state in message.states:
                self.presence[state.client_id] = state.state
        else:
            self.news.append(reader.data())

    # The connection

    def _write(self, frame: bytes) -> Awaitable[None]:
        return asyncio.ensure_future(self._take_in_time(frame))

    async def _take_in_time(self, frame: bytes) -> None:
        await self.reading.wait()
        if self.write_error is not None:
            raise self.write_error
        self._take(frame)

    def _close(self, code: int, reason: str) -> None:
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)
        if self.hears:
            self.leave()


class Place:
    """An open room, and a group for those who are in it."""

    def __init__(self, room: Room, tasks: TaskGroup) -> None:
        self.room = room
        self.text = room.doc.get("text", type=Text)
        self.tasks = tasks

    def admit(self, peer: Peer) -> Peer:
        async def serve() -> None:
            try:
                await self.room.serve(peer.client)
            except Exception:
                peer.write_error = peer.write_error or RuntimeError("serving failed")
            finally:
                peer.left = True

        self.tasks.start_soon(serve)
        return peer

    async def join(self, *, may_write: bool = True) -> Peer:
        """A client that has greeted and has everything."""
        peer = self.admit(Peer(may_write=may_write))
        await until(lambda: peer.frames)
        await peer.greet()
        await until(lambda: peer.synced)
        await peer.flush()
        return peer


@asynccontextmanager
async def open_place(
    *,
    backlog: int = 2**20,
    save: Callable[[RoomClient, int], None] | None = None,
) -> AsyncIterator[Place]:
    room = Room("a room", Doc(), backlog=backlog, save=save)
    async with room.open(), create_task_group() as tasks:
        yield Place(room, tasks)
        tasks.cancel_scope.cancel()
