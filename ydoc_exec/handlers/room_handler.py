"""The websocket of a room: authenticates, then hands bytes over and knows nothing else."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Awaitable, Callable, Generator
from datetime import datetime, timezone
from itertools import count
from typing import Any

from anyio import ClosedResourceError
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.errors import YdocExecError
from ydoc_exec.handlers.access import Access, access, access_again
from ydoc_exec.handlers.execute_frames import ExecuteFrames
from ydoc_exec.ids import GLOBAL_AWARENESS, RoomId
from ydoc_exec.room.room_client import RoomClient

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 2**30
"""As jupyter-collaboration: a notebook with large outputs arrives as one message."""

EDIT = bytes((0, 2))
"""How a message begins that says what has changed in a client's document (``y-protocols``: sync, update)."""

EXECUTE = b"\x02\x07execute"
"""How a message begins that asks for cells to be run."""

ACTIVITY = "ydoc_exec_last_activity"
"""Who types is at work, and sends no requests. ``ServerWebApplication.last_activity`` counts all settings of such names,
and whoever culls idle servers asks for it."""

MAX_REASON_BYTES = 123
"""What fits into a close frame (RFC 6455, 5.5)."""

_numbers = count(1)


class RoomHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """``GET /api/collaboration/room/{format}:{type}:{file id}`` and ``.../JupyterLab:globalAwareness``.

    Reading a room needs ``contents: read``; without ``contents: write`` nothing a client sends changes it. Both
    and the login are asked for again every ``Settings.access_interval`` seconds.
    The origin is checked as for Jupyter Server's own websockets (``WebSocketMixin``).
    """

    auth_resource = "contents"

    def initialize(self, collaboration: Callable[[], Awaitable[Collaboration]]) -> None:
        self.collaboration = collaboration
        self.client: RoomClient | None = None
        self.access = Access(read=False, write=False)
        self.watch: PeriodicCallback | None = None

    def set_default_headers(self) -> None:
        """``JupyterHandler`` sets headers that make no sense for websockets."""

    @property
    def max_message_size(self) -> int:
        return MAX_MESSAGE_BYTES

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        self.access = await access(self)
        if not self.access.read:
            raise web.HTTPError(403, "You may not read documents here.")
        await super().get(*args, **kwargs)

    async def open(self, name: str) -> None:
        # tornado reads no message before this has returned, so none can come too early.
        super().open()
        # Without this a second small frame waits until the first is acknowledged, which may take 40 ms (Nagle's
        # algorithm and delayed acknowledgements), and what is said of a run comes in small frames.
        self.set_nodelay(True)
        assert self.ws_connection is not None
        assert self.ws_connection.stream is not None
        _read_to_the_end(self.ws_connection.stream)
        number = next(_numbers)
        user = getattr(self.current_user, "username", "")
        client = RoomClient(
            number,
            self._send,
            self._end,
            may_write=self.access.write,
            name=f"client {number} ({user})",
            user=user,
        )
        try:
            collaboration = await self.collaboration()
            self.watch = PeriodicCallback(self._ask_again, 1000 * collaboration.settings.access_interval)
            self.watch.start()
            if name == GLOBAL_AWARENESS:
                self.client = client
                collaboration.presence.admit(client)
                return
            room = RoomId.parse(name)
            client.execute = ExecuteFrames(self, self.collaboration, room).answer
            async with collaboration.documents.open(room) as document:
                self.client = client
                document.admit(client, self._session())
        except YdocExecError as error:
            logger.warning("%s cannot open %s: %s", client.name, name, error)
            client.close(error.close_code, error.close_reason)
            client.end()
        except Exception:
            logger.exception("%s cannot open %s", client.name, name)
            client.close(4500, "The server failed to open this document; its log says why.")
            client.end()

    async def on_message(self, message: str | bytes) -> None:
        if self.client is None:
            return
        if isinstance(message, str):
            self.client.close(1002, "Only binary messages are understood here.")
            return
        if message.startswith((EDIT, EXECUTE)):
            self.settings[ACTIVITY] = datetime.now(timezone.utc)
        await self.client.receive(message)

    def on_close(self) -> None:
        if self.watch is not None:
            self.watch.stop()
        if self.ping_callback is not None:
            # It would stop by itself when it is time for the next ping, and hold all that was of the connection until then.
            self.ping_callback.stop()
        if self.client is not None:
            self.client.left()

    # Private

    async def _ask_again(self) -> None:
        try:
            now = await access_again(self)
        except Exception:
            # Who cannot be asked about keeps what was found last: a provider that is restarted ends nobody's work.
            logger.exception("The rights of a client could not be asked for again")
            return
        if now != self.access:
            # It connects again and is treated as what it is then.
            logger.warning(
                "What %s may do has changed, and it is disconnected", self.client and self.client.name
            )
            self._end(1008, "Your login has expired or your rights have changed.")

    def _session(self) -> str:
        """The lineage that the client got when it opened the document, under either of its names."""
        return self.get_query_argument("docSessionId", "") or self.get_query_argument("sessionId", "")

    def _send(self, frame: bytes) -> Awaitable[None]:
        try:
            taken = self.write_message(frame, binary=True)
        except WebSocketClosedError as error:
            taken = Future()
            taken.set_exception(error)
        # Seen, also if nobody is there any more to wait for it.
        taken.add_done_callback(lambda taken: taken.cancelled() or taken.exception())
        return _Taken(taken)

    def _end(self, code: int, reason: str) -> None:
        self.close(code, _fitting(reason))


class _Taken:
    """That a frame was taken, and what the room's side says if it cannot be."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        try:
            yield from self._future
        except WebSocketClosedError as error:
            raise ClosedResourceError from error


def _read_to_the_end(stream: IOStream) -> None:
    """Have it closed when its end was read, and not when it cannot be written to.

    tornado closes it then, with all that the operating system has of it and was not read yet: what a closing tab sent last.
    """
    write = stream.write_to_fd

    def write_to_fd(data: memoryview) -> int:
        size = len(data)
        try:
            return write(data)
        except ConnectionError:
            return size  # sent to nobody, as what was on its way when the client left

    stream.write_to_fd = write_to_fd  # type: ignore[method-assign]


def _fitting(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
