"""One client of a room, as pycrdt-websocket's ``YRoom`` sees it: a channel.

It stands between the network and the room and decides what reaches either. Measured, and therefore so:

- A ``send`` that raises restarts the whole ``YRoom`` and doubles its observers. Here ``send`` puts the frame
  into the outbox, which neither raises nor blocks; another task writes to the network. If nothing else waits, writing
  begins in the same step: to wake the task first takes a tenth of what a cell or a keystroke takes to be seen.
- ``YRoom`` applies a client's update without an origin, which makes every keystroke an item of the
  document's undo history; an update that panics in Rust raises no ``Exception`` and takes the room's task
  with it; a reader's update would be applied. So updates never get to ``YRoom``: the room applies them.
- ``YRoom`` makes its reply to sync step 1 in one step and sends it in another. The reply is made here, so
  that the outbox knows what the client will have.
- Each observer of a document has every update encoded for itself: 30 ms for 20 MB. And ``YRoom`` forgets updates
  when 65,536 wait to be passed on. So the room passes them on, from the one observer it has anyway.

``YRoom`` is left with what it is good at: greeting the client, and presence.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    EndOfStream,
    Event,
    create_memory_object_stream,
    lowlevel,
)

from ydoc_exec import sync
from ydoc_exec.errors import YdocExecError
from ydoc_exec.room.outbox import Outbox

if TYPE_CHECKING:
    from ydoc_exec.room.room import Room

logger = logging.getLogger(__name__)

READ_AHEAD = 64
"""So many frames of one client may wait to be understood; then its socket is not read any further."""


EMPTY_STATE = b"\x00"
"""The state vector of a document in which nothing was ever written."""


class RoomClient:
    """One participant. ``Room.serve`` gives it its life.

    Args:
        number: tells this client from all others of this server.
        write: begins to send one frame to the client, and does not raise. What it returns is awaited until the frame was
            taken; it raises ``OSError`` or ``ClosedResourceError`` if it cannot be. Then nothing more is written, and what the
            client has sent is taken until ``left`` is called.
        close: ends the connection with a websocket close code and a reason.
        may_write: whether its updates are applied. Those of a reader are dropped, whatever kind they are.
        name: for the log.
        user: who it is, as the server's identity provider says.
    """

    def __init__(
        self,
        number: int,
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[int, str], None],
        *,
        may_write: bool,
        name: str,
        user: str = "",
    ) -> None:
        self.number = number
        self.may_write = may_write
        self.name = name
        self.user = user
        self.execute: Callable[[sync.Execute], Awaitable[bytes]] = _refuse
        """Carries out a request to run cells, and returns the answer's frame. It does not raise."""
        self.awareness_ids: set[int] = set()
        self.came_with = EMPTY_STATE
        """The state vector of its document when it connected: what was written later it had not seen."""
        self._write = write
        self._close = close
        self._sender, self._receiver = create_memory_object_stream[bytes](READ_AHEAD)
        self._unread: deque[bytes] = deque()
        self._wake = Event()
        self._idle = False  # nothing waits, and nothing is being written
        self._begun: Awaitable[None] | None = None
        self._room: Room | None = None
        self._outbox: Outbox | None = None
        self._patience = 0
        self._largest = 0
        self._broken = False  # nothing can be written to it any more
        self._closed = False

    # The edge's side

    async def receive(self, frame: bytes) -> None:
        """A frame came. Returns when there is room for the next; frames of a client that left are dropped."""
        try:
            await self._sender.send(frame)
        except (ClosedResourceError, BrokenResourceError):
            logger.debug("A frame of %s came after it had left", self.name)

    def left(self) -> None:
        """The connection is closed: what it sent is still read, and then its part in the room ends."""
        self._sender.close()

    def close(self, code: int, reason: str) -> None:
        """End the connection; only the first reason counts. What comes from now on is dropped."""
        self.dismiss(code, reason)
        self.left()

    def dismiss(self, code: int, reason: str) -> None:
        """The same, but what the client sends before it hears of it is read, until ``left`` is called."""
        if not self._closed:
            self._closed = True
            self._close(code, reason)

    # The room's side

    def join(self, room: Room, outbox: Outbox, patience: int) -> None:
        """Called by the room before anything else.

        A client is given up when more than ``patience`` bytes wait for it, besides one reply and one update
        of any size. The outbox forgets what it can of the rest, so such a client asks and does not read.
        """
        self._room = room
        self._outbox = outbox
        self._patience = patience

    def put(self, frame: bytes) -> None:
        """Let the client be sent this frame. Never raises or blocks."""
        assert self._outbox is not None, "the client has not joined"
        if self._closed or self._broken:
            return
        self._outbox.put(frame)
        if self._idle:
            self._idle = False
            self._begun = self._begin()
            self._wake.set()
        self._largest = max(self._largest, len(frame))
        if self._outbox.pending_bytes > self._patience + 2 * self._largest:
            logger.warning("%s asks and does not read, and is disconnected", self.name)
            self.close(1013, "You do not read what you ask for. Connect again.")

    def end(self) -> None:
        """Called by the room when the client has no part in it any more."""
        self._receiver.close()  # wakes whoever waits in ``receive``
        self.close(1001, "The room was left.")

    def caught_up(self) -> None:
        """A reply made from the whole document was put."""
        assert self._outbox is not None, "the client has not joined"
        self._outbox.caught_up()

    async def write_regularly(self) -> None:
        """Write what is in the outbox, until cancelled or the connection is broken."""
        assert self._outbox is not None, "the client has not joined"
        while True:
            begun, self._begun = self._begun or self._begin(), None
            if begun is None:
                self._idle, self._wake = True, Event()
                await self._wake.wait()
                continue
            try:
                await begun
            except (OSError, ClosedResourceError) as error:
                # What it sent last may not have been read yet, and is, before the edge says that it left.
                logger.debug("%s cannot be written to: %r", self.name, error)
                self._broken = True
                return

    def _begin(self) -> Awaitable[None] | None:
        assert self._outbox is not None, "the client has not joined"
        frame = self._outbox.take()
        return None if frame is None else self._write(frame)

    # What YRoom calls

    @property
    def path(self) -> str:
        """The name that ``YRoom`` uses in its log."""
        return self.name

    async def send(self, message: bytes) -> None:
        """``YRoom`` has something for the client."""
        self.put(message)

    async def frames(self) -> AsyncIterator[bytes]:
        """What the client sends, until it leaves."""
        async for frame in self._receiver:
            yield frame

    def unread(self, frames: Sequence[bytes]) -> None:
        """Have frames that were taken from ``frames`` come again, before all others."""
        self._unread.extendleft(reversed(frames))

    async def recv(self) -> bytes:
        """The next message that ``YRoom`` has to see: presence, and nothing else."""
        assert self._room is not None, "the client has not joined"
        while True:
            frame = self._unread.popleft() if self._unread else await self._receiver.receive()
            # A client with many frames at hand must not keep the others waiting.
            await lowlevel.checkpoint()
            try:
                for_yroom = self._room.receive(self, frame)
            except YdocExecError as error:
                logger.warning("%s sent what cannot be taken and is disconnected: %s", self.name, error)
                self.close(error.close_code, error.close_reason)
                raise EndOfStream from None
            if for_yroom:
                return frame

    def __aiter__(self) -> RoomClient:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except (EndOfStream, ClosedResourceError):
            raise StopAsyncIteration from None


async def _refuse(request: sync.Execute) -> bytes:
    return sync.execute_reply(request.request_id, 403, {"message": "You may not run cells here."})
