"""This server's own client of one kernel: its sockets, and the proof that they hear.

Five facts shape it (each cost somebody months):

- ``km.client()`` shares the manager's session, so two clients get one ZMQ identity and the kernel's replies
  reach either of them. The client here is made from ``client_factory`` and has a session of its own.
- A SUB socket drops what its reader does not take in time, the idle status included (default high-water
  mark: 1,000 messages). The limit is lifted before the sockets connect, and messages are handed on without
  waiting for anybody: whatever waits is read at one go, since a future for each message costs more than
  reading it (measured: 20,000 flushed prints took 1.57 times as long as with the kernel alone, now 1.0 times).
- A subscription takes a moment to reach the kernel; what is published before is lost. The link is up when
  the first message arrived on iopub. That is not always ``iopub_welcome``: measured, ipykernel 7.4 says it
  only to the first subscriber, which is Jupyter Server. So the kernel is asked for its info again and again
  until the status message of one such request is heard: on the control channel, where a busy kernel answers, and
  on the shell channel whenever it has answered there, since some kernels (Deno's) say no status for control.
  (Front ends and we do not take that status for the kernel's: see ``untracked_message_types`` of
  Jupyter Server.)
- A kernel's stdin socket (ROUTER) drops what it sends to somebody whose connection is not complete, so the question
  of a first cell would never be heard. While a kernel is being started each socket tries to connect again and again, in
  its own time (measured: one first question in sixty was lost). This one counts as writable only when its connection is
  complete (``ZMQ_IMMEDIATE``), and that is waited for too. That is our end of it: the kernel's end may still have to
  read what completes it (measured with such sockets on a busy machine: of 2,000 first questions up to 126 were lost, and
  none of 4,000 in this way). So the kernel is asked for its info once more then. The thread of a kernel that reads its
  sockets reads them in turn: when it has answered what it was sent afterwards, it has read that too.
- ZMQ signals "there is something" once, and sending looks too: a reply that arrived before a send is not
  signalled again. ``zmq.asyncio`` knows that when the send goes through it; ``Session.send`` goes around it
  (it makes a plain socket of it), and then a link is deaf for ever. So messages are only serialized by the
  session and sent here.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Literal, Protocol

import zmq
import zmq.asyncio
from anyio import Event, create_task_group, lowlevel, move_on_after, sleep, wait_readable
from jupyter_client.session import DELIM

from ydoc_exec.errors import KernelUnavailable
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.kernel import Channel, Deliver, Skip
from ydoc_exec.kernel.large_text import CONTENT, LARGE, LargeText, Parts
from ydoc_exec.kernel.message_reader import MessageReader

logger = logging.getLogger(__name__)

FIRST_NUDGE = 0.05
LAST_NUDGE = 1.0
SERVER_TIMEOUT = 5.0
"""Seconds between two requests for a kernel's info, while nothing is heard of it."""

STDIN_PATIENCE = 5.0
"""Seconds in which the stdin socket of a kernel that is heard is connected, or never: not every kernel has one."""

FLOOD = 100
FLOOD_WINDOW = 0.05
FLOOD_PAUSE = 0.005
"""When more than ``FLOOD`` messages came in the last ``FLOOD_WINDOW`` seconds, they are read together after each
``FLOOD_PAUSE``: waking up for one message costs more than reading it."""

LARGE_PAUSE = 1.0
"""Seconds in which of large pieces of text that come without a pause one at least is read."""

LONGEST_READ = 0.01
"""Seconds after which reading what a kernel has said lets others have their turn."""


class KernelClient(Protocol):
    """What is used of ``jupyter_client``'s asynchronous kernel client."""

    @property
    def session(self) -> Any: ...
    @property
    def iopub_channel(self) -> Any: ...
    @property
    def shell_channel(self) -> Any: ...
    @property
    def control_channel(self) -> Any: ...
    @property
    def stdin_channel(self) -> Any: ...
    def load_connection_info(self, info: Mapping[str, Any]) -> None: ...
    def start_channels(
        self, shell: bool = ..., iopub: bool = ..., stdin: bool = ..., hb: bool = ..., control: bool = ...
    ) -> None: ...
    def stop_channels(self) -> None: ...


class KernelManager(Protocol):
    """What is used of a kernel manager."""

    @property
    def client_factory(self) -> Callable[..., KernelClient]: ...
    @property
    def kernel_name(self) -> str: ...
    @property
    def ready(self) -> Any: ...
    def is_alive(self) -> Any: ...
    def add_restart_callback(self, callback: Callable[[], None], event: str = ...) -> None: ...
    def remove_restart_callback(self, callback: Callable[[], None], event: str = ...) -> None: ...
    def get_connection_info(self, session: bool = ...) -> Mapping[str, Any]: ...


def open_context() -> zmq.asyncio.Context:
    """The ZMQ context for all links of a server. Its owner closes it when the last link is down."""
    context = zmq.asyncio.Context()
    # Every socket made from it: no message is dropped in ZMQ; what is kept is bounded in our own code.
    context.setsockopt(zmq.RCVHWM, 0)
    return context


class KernelLink:
    """An open link. It exists only inside ``connect``."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        kernel_id: KernelId,
        manager: KernelManager,
        context: zmq.asyncio.Context,
        deliver: Deliver,
        *,
        timeout: float,
        skip: Skip = lambda parent, size: False,
    ) -> AsyncIterator[KernelLink]:
        """Connect, wait until the kernel is heard, and hand every message to ``deliver`` until the end.

        ``deliver`` is called in the order of each channel and must return at once. The content of large printed text is
        a ``LargeStream``. ``skip`` is asked, with the id
        of the parent and the bytes of the text, whether a large piece of printed text can be left out when there
        is more of the same behind it; if it says so, that text was left out. Raises
        ``KernelUnavailable`` when nothing was heard within ``timeout`` seconds.
        """
        client = manager.client_factory(context=context)
        client.load_connection_info(manager.get_connection_info(session=False))
        _start_channels(client, context)
        heard, answered = Event(), Event()
        awaited: set[str] = set()
        owes_answer = False

        reader = MessageReader(client.session)

        def ask() -> set[str]:
            nonlocal owes_answer
            asked = {_send(client, client.control_channel, "kernel_info_request", {})}
            if not owes_answer:
                # A kernel that works on something would answer all of them when it has time again.
                owes_answer = True
                asked.add(_send(client, client.shell_channel, "kernel_info_request", {}))
            return asked

        def take(channel: Channel | Literal["control"], parts: Parts) -> None:
            nonlocal owes_answer
            try:
                message = reader.read(parts)
            except (ValueError, TypeError, KeyError) as error:
                logger.warning("A message of kernel %s was dropped: %s", kernel_id, error)
                return
            if channel == "iopub":
                heard.set()
            elif channel == "shell":
                owes_answer = False
            if channel != "iopub" and message["parent_header"].get("msg_id") in awaited:
                answered.set()
            if channel == "control":
                return
            try:
                deliver(channel, message)
            except Exception:
                # One message that nobody understands is not the end of all others.
                logger.exception("A message of kernel %s was dropped", kernel_id)

        async def read(channel: Channel | Literal["control"], socket: zmq.asyncio.Socket) -> None:
            waiting: zmq.Socket[bytes] = zmq.Socket.shadow(socket.underlying)
            began, heard_since = perf_counter(), 0
            large, large_due = LargeText(client.session.unpack, skip), 0.0
            while True:
                # A send looks at its socket too, which ``zmq.asyncio`` takes care of; nothing is sent on iopub.
                await (_readable(waiting) if channel == "iopub" else socket.poll())
                now = perf_counter()
                if now > began + FLOOD_WINDOW:
                    began, heard_since = now, 0
                while perf_counter() < now + LONGEST_READ:
                    try:
                        parts = _receive(waiting)
                    except zmq.Again:
                        for due in large.rest():
                            take(channel, due)
                        break
                    heard_since += 1
                    for due in large.before(parts):
                        take(channel, due)
                    if perf_counter() > large_due:
                        # It never ends, and somebody looks on.
                        for due in large.rest():
                            take(channel, due)
                        large_due = perf_counter() + LARGE_PAUSE
                if heard_since > FLOOD:
                    await sleep(FLOOD_PAUSE)
                elif channel != "iopub":
                    await lowlevel.checkpoint()

        try:
            async with create_task_group() as tasks:
                tasks.start_soon(read, "iopub", client.iopub_channel.socket)
                tasks.start_soon(read, "shell", client.shell_channel.socket)
                tasks.start_soon(read, "stdin", client.stdin_channel.socket)
                tasks.start_soon(read, "control", client.control_channel.socket)
                with move_on_after(timeout):
                    await _again_and_again(ask, heard)
                if heard.is_set():
                    with move_on_after(STDIN_PATIENCE):
                        await client.stdin_channel.socket.poll(flags=zmq.POLLOUT)
                        await _again_and_again(lambda: awaited.update(ask()), answered)
                with move_on_after(SERVER_TIMEOUT):
                    # The server listens too, for its REST API and its culler, and calls a kernel "starting" until
                    # it has heard something. What it misses of our first cell it would miss until the cell ends.
                    while heard.is_set() and getattr(manager, "execution_state", "") == "starting":
                        ask()
                        await sleep(FIRST_NUDGE)
                if heard.is_set():
                    yield cls(client)
                tasks.cancel_scope.cancel()
        finally:
            # Outside the tasks: a socket must not be closed under its reader.
            client.stop_channels()
        if not heard.is_set():
            raise KernelUnavailable(kernel_id, f"it said nothing for {timeout:g} seconds")

    def tether(self, parent: str) -> None:
        """A kernel of this machine ends with the server."""

    async def leave(self) -> None:
        """There is nothing to leave."""

    def execute(self, code: str, *, stop_on_error: bool, allow_stdin: bool) -> str:
        """Send code to the kernel and return the id that its messages will name as their parent.

        It does not wait, so the caller can note the id before any answer is read.
        """
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": stop_on_error,
        }
        return _send(self._client, self._client.shell_channel, "execute_request", content)

    def mark(self) -> str:
        """See ``Link.mark``."""
        return _send(self._client, self._client.control_channel, "kernel_info_request", {})

    def answer(self, value: str, question: Mapping[str, Any]) -> None:
        """See ``Link.answer``."""
        _send(self._client, self._client.stdin_channel, "input_reply", {"value": value}, question)


# Private


def _start_channels(client: KernelClient, context: zmq.asyncio.Context) -> None:
    client.start_channels(shell=True, iopub=True, stdin=False, hb=False, control=True)
    # It must be set before it is connected, which is in the same step as it is made.
    context.setsockopt(zmq.IMMEDIATE, 1)
    try:
        client.start_channels(shell=False, iopub=False, stdin=True, hb=False, control=False)
    finally:
        context.setsockopt(zmq.IMMEDIATE, 0)


async def _again_and_again(ask: Callable[[], object], heard: Event) -> None:
    """Ask, less and less often, until something is heard of it."""
    pause = FIRST_NUDGE
    while not heard.is_set():
        ask()
        with move_on_after(pause):
            await heard.wait()
        pause = min(2 * pause, LAST_NUDGE)


async def _readable(socket: zmq.Socket[bytes]) -> None:
    """Wait until there is a message on a socket that nobody sends on.

    It is what ``zmq.asyncio`` does, without the futures of its own (measured: 80 us for one message, and 65 us here).
    Others have their turn in any case.
    """
    if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        await lowlevel.checkpoint()
    while not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        await wait_readable(socket.FD)


def _receive(socket: zmq.Socket[bytes]) -> Parts:
    """A message without its identities, or whatever came instead of one. Raises ``zmq.Again``.

    A large content is not copied out of ZMQ's memory: 50 MB take 20 ms. A frame knows whether another follows; to ask the
    socket takes as long as to receive one (measured: 6.3 us for a message of seven parts, and 4.1 us here).
    """
    parts: Parts = []
    signed = False
    while True:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        if signed and len(parts) == CONTENT and len(frame) >= LARGE:
            parts.append(frame.buffer)
        elif not signed and frame.bytes == DELIM:
            signed = True
            parts.clear()
        else:
            parts.append(frame.bytes)
        if not frame.more:
            return parts


def _send(
    client: KernelClient,
    channel: Any,
    kind: str,
    content: dict[str, Any],
    parent: Mapping[str, Any] | None = None,
) -> str:
    """Send a message and return its id. See the module's head for why the channel's own ``send`` is not used."""
    message = client.session.msg(kind, content, parent=parent)
    sent = channel.socket.send_multipart(client.session.serialize(message))
    if sent.done():
        sent.result()  # raises what failed
    message_id: str = message["header"]["msg_id"]
    return message_id
