"""A browser's tab: its document, its connection, and how y-websocket talks over it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from itertools import count
from typing import TYPE_CHECKING, Any

from anyio import Event, sleep

from tests.room.conftest import Reader
from tests.simulation.ledger import chars_of
from tests.simulation.replica import Cell, Replica
from ydoc_exec import sync
from ydoc_exec.room.room_client import RoomClient

if TYPE_CHECKING:
    from tests.simulation.world import World


class Client(RoomClient):
    """A set of these has an order that depends on nothing but their numbers."""

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Taken:
    """There is always room for a frame."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class Connection:
    """One websocket: frames take their time in both directions, in order."""

    def __init__(self, tab: Tab, number: int) -> None:
        self.tab = tab
        self.client = Client(number, self._write, self._close, may_write=True, name=f"{tab.name}/{number}")
        self.open = True
        """Whether the tab thinks that it is."""
        self._cut = False
        self._world = tab.world
        self._latency = tab.world.machine.random.choice((0.0, 0.005, 0.05, 0.4))
        self._up: deque[tuple[float, bytes]] = deque()
        self._news = Event()
        self._last_up = self._last_down = 0.0
        self._falling = 0
        self.sent: dict[str, int] = {}
        """The characters that were sent on it, and in which of their lives."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._up and not self._falling

    def send(self, frame: bytes) -> None:
        """The tab sends a frame."""
        self._last_up = max(self._last_up, self._world.machine.now + self._delay())
        self._up.append((self._last_up, frame))
        self._news.set()

    async def carry(self) -> None:
        """Bring the tab's frames to the server, until the end."""
        while not self._cut or self._up:
            if not self._up:
                self._news = Event()
                await self._news.wait()
                continue
            at, frame = self._up[0]
            await sleep(max(0.0, at - self._world.machine.now))
            if self._up:
                await self.client.receive(frame)
                if self._up:
                    self._up.popleft()

    def cut(self, arriving: int) -> None:
        """The network is gone. So many of the tab's frames that are under way still arrive."""
        self.open = False
        self._cut = True
        while len(self._up) > arriving:
            self._up.pop()
        self._news.set()

    # The server's side

    def _write(self, frame: bytes) -> Awaitable[None]:
        if not self._cut:  # nobody has told the server
            self._fall(lambda: self.tab.take(self, frame))
        return _Taken()

    def _close(self, code: int, reason: str) -> None:
        if not self._cut:
            self._fall(lambda: self._closed(code, reason))

    def _closed(self, code: int, reason: str) -> None:
        self.cut(0)
        self.tab.world.say(f"{self.tab.name} was closed with {code} {reason}")

    def _fall(self, arrive: Callable[[], None]) -> None:
        """Let something arrive at the tab, unless the network is gone by then."""
        self._last_down = max(self._last_down + 1e-7, self._world.machine.now + self._delay())
        self._falling += 1

        def land() -> None:
            self._falling -= 1
            if not self._cut:
                arrive()

        self._world.call_at(self._last_down, land)

    def _delay(self) -> float:
        return self._latency * self._world.machine.random.choice((1.0, 1.0, 1.0, 2.0))


class Tab:
    """One tab, from when it is opened until it is closed for good."""

    def __init__(self, world: World, name: str, replica: Replica) -> None:
        self.world = world
        self.name = name
        self.replica = replica
        self.connection: Connection | None = None
        self.session: str | None = None
        self.shown = False
        """Whether its user sees the document: when it has come for the first time."""
        self.synced = False
        self.away = False
        """Whether it may not connect now."""
        self.closed = False
        self.mine: set[str] = set()
        """What was typed here."""
        self.copied: set[str] = set()
        """Cells that were replaced by a copy here; undoing does it again."""
        self._barriers: dict[str, dict[str, int]] = {}
        self._numbers = count(1)

    @property
    def connected(self) -> bool:
        return self.connection is not None and self.connection.open

    def attach(self, connection: Connection) -> None:
        """The websocket is open."""
        self.connection = connection
        self.synced = False
        self._barriers.clear()
        connection.send(sync.step1(self.replica.state()))

    def act(self, action: str, *parameters: Any, replaced: tuple[str, ...] = (), typed: str = "") -> None:
        """The user does something."""
        before = self.replica.cells()
        written = self.replica.act(action, *parameters)
        after = self.replica.cells()
        self.mine.update(typed, chars_of(after) - chars_of(before))
        back = (chars_of(after) - chars_of(before)).difference(typed)
        self.world.ledger.note_change(
            self.name, before, after, replaced, in_file=self.world.in_file_for(self, back)
        )
        if back:
            self.world.note_back(self.name, back)
        self.copied.update(replaced)
        self._send(written)

    def say(self, action: str, *parameters: Any) -> None:
        """The tab itself writes something that is no content."""
        self._send(self.replica.act(action, *parameters))

    def ask_for_answer(self) -> None:
        """Send a barrier: its answer says that the server has what was sent before."""
        if self.connected:
            assert self.connection is not None
            token = f"{self.name}.{next(self._numbers)}"
            self._barriers[token] = dict(self.connection.sent)
            self.connection.send(b"\x02\x07barrier" + bytes([len(token)]) + token.encode())

    def save(self) -> None:
        """Ctrl-S."""
        if self.connected:
            assert self.connection is not None
            self.connection.send(b"\x02\x04save\x01")

    def take(self, connection: Connection, frame: bytes) -> None:
        """A frame has come."""
        if connection is not self.connection or self.closed:
            return
        reader = Reader(frame)
        kind = reader.number()
        if kind == 0:
            step, data = reader.number(), reader.data()
            if step == 0:
                self._note_sent(connection)
                connection.send(sync.step2(self.replica.diff(data)))
                return
            self._send(self.replica.apply(data))
            if self.world.ledger.waits_for_news(self.name):
                self.world.ledger.note_shown(self.name, self.chars())
            if step == 1 and not self.synced:
                self.synced = self.shown = True
                self.say("say_document", "the document")
        elif kind == 2:
            said = json.loads(reader.data())
            if said["type"] == "barrier":
                chars = self._barriers.pop(said["responseTo"])
                self.world.ledger.note_answered(chars, self.world.machine.now)
                self.world.ledger.note_heard(self.name, chars)

    def cells(self) -> list[Cell]:
        return self.replica.cells()

    def chars(self) -> frozenset[str]:
        return chars_of(self.cells())

    # Private

    def _send(self, updates: list[bytes]) -> None:
        if self.connected:
            assert self.connection is not None
            self._note_sent(self.connection)
            for update in updates:
                self.connection.send(sync.update(update))

    def _note_sent(self, connection: Connection) -> None:
        # What it typed while it was away into a cell that somebody else had removed is nowhere any more when it has been
        # told, and was sent to nobody if the connection was cut before.
        connection.sent.update(self.world.ledger.as_they_are(self.mine & self.chars()))
