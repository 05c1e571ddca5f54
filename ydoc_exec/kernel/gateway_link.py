"""This server's own client of one kernel behind a gateway: a websocket, as a browser has one.

``jupyter_server``'s ``GatewayKernelClient`` is not used, because it connects without the gateway's credentials, holds
up the event loop while it does, asks for messages without a pause, and never connects again.

What is not the same as with a local kernel:

- The connection may drop, and the kernel goes on. The gateway keeps what it says for the same session id as long as
  nobody else is connected (``start_buffering`` of Jupyter Server, which the gateways are made of), so a connection that
  comes back has missed nothing. If somebody else was connected, output may be missing, and the cell says so; if the
  run's end is missing too, the answer to a question that was put behind it comes without it, and the run is lost.
- The kernel's process is the gateway's. Of a death and an automatic restart it tells on iopub; of a restart that
  somebody asked for only the kernel's own farewell tells (``shutdown_reply``); and a kernel that was culled is only
  missed. So the gateway is asked about the kernel from time to time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic
from typing import Any, Literal
from uuid import uuid4

from anyio import Event, create_task_group, current_time, fail_after, move_on_after, sleep, sleep_forever

from ydoc_exec.errors import KernelReplaced, KernelUnavailable
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.gateway import Gateway, GatewayChannels
from ydoc_exec.kernel.kernel import Deliver, Message
from ydoc_exec.kernel.run import Tether, now

logger = logging.getLogger(__name__)

FIRST_RETRY = 0.1
LAST_RETRY = 2.0
"""Seconds between two attempts to connect, at first and at most."""

FIRST_PATIENCE = 3.0
"""Seconds until a first connection on which nothing is heard is given up for another one; twice as long each time."""

WATCH_INTERVAL = 5.0
"""Seconds between two questions to the gateway about the kernel."""

LEAVE_PATIENCE = 2.0
"""Seconds in which the gateway agrees that the connection is over."""

QUIET = 3
"""So many times in a row the gateway must say that a kernel is idle which has a run of ours and says nothing."""

MISSING = "[The connection to the kernel was interrupted. Output of that time may be missing here.]\n"

End = Literal["restart", "dead", "replaced"]
"""It died and is started again, it died and is given up, or somebody wanted it to end."""


class GatewayLink:
    """An open link. It exists only inside ``connect``. Implements ``Link``."""

    def __init__(
        self,
        kernel_id: KernelId,
        manager: Any,
        gateway: Gateway,
        deliver: Deliver,
        ended: Callable[[End], None],
        timeout: float,
        tether: Tether | None = None,
    ) -> None:
        self._kernel_id = kernel_id
        self._manager = manager
        self._gateway = gateway
        self._deliver = deliver
        self._ended = ended
        self._timeout = timeout
        self._session = uuid4().hex if tether is None else tether.session
        self._patience = FIRST_PATIENCE
        self._channels: GatewayChannels | None = None
        self._unsent: list[tuple[str, Message]] = []
        # Sent, and not replied to.
        self._running: set[str] = set() if tether is None else {tether.parent}
        self._doubtful: set[str] = set()  # those of an earlier connection
        self._question = ""
        self._leaving = False
        self._left = Event()
        self._heard = Event()
        self._heard_at = 0.0

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        kernel_id: KernelId,
        manager: Any,
        gateway: Gateway,
        deliver: Deliver,
        ended: Callable[[End], None],
        *,
        timeout: float,
        tether: Tether | None = None,
    ) -> AsyncIterator[GatewayLink]:
        """Connect, wait until the kernel is heard, and hand every message to ``deliver`` until the end.

        ``tether`` is of a run that was sent in an earlier life of this server. ``ended`` is told how the kernel's process ended, when that is heard. Raises ``KernelUnavailable``
        when nothing was heard within ``timeout`` seconds; out of the block when the kernel is gone, when the gateway
        could not be reached for ``timeout`` seconds, or when the end of a run was missed; and ``KernelReplaced`` when
        somebody has shut down or restarted it.
        """
        link = cls(kernel_id, manager, gateway, deliver, ended, timeout, tether)
        ends: list[KernelUnavailable] = []
        async with create_task_group() as tasks:

            async def until_lost(task: Callable[[], Any]) -> None:
                try:
                    await task()
                except KernelUnavailable as error:
                    ends.append(error)
                    tasks.cancel_scope.cancel()

            tasks.start_soon(until_lost, link._keep_connected)
            tasks.start_soon(until_lost, link._watch)
            with move_on_after(timeout):
                await link._heard.wait()
            if link._heard.is_set():
                yield link
            tasks.cancel_scope.cancel()
        if ends:
            raise ends[0]
        if not link._heard.is_set():
            raise KernelUnavailable(kernel_id, f"it said nothing for {timeout:g} seconds")

    def tether(self, parent: str) -> Tether:
        return Tether(self._gateway.address, self._session, parent)

    async def leave(self) -> None:
        self._leaving = True
        if self._channels is not None:
            self._channels.close()
            with move_on_after(LEAVE_PATIENCE):
                await self._left.wait()

    def execute(self, code: str, *, stop_on_error: bool, allow_stdin: bool) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": stop_on_error,
        }
        message = self._message("execute_request", content)
        message_id: str = message["msg_id"]
        self._running.add(message_id)
        self._send_in_time("shell", message)
        return message_id

    def mark(self) -> str:
        message = self._message("kernel_info_request", {})
        self._send("control", message)
        message_id: str = message["msg_id"]
        return message_id

    def answer(self, value: str, question: Mapping[str, Any]) -> None:
        self._send_in_time("stdin", self._message("input_reply", {"value": value}, question))

    # Private

    async def _keep_connected(self) -> None:
        lost_at, pause, shared = current_time(), FIRST_RETRY, False
        if self._running:
            # Somebody may be connected since that life ended.
            shared = await self._is_shared()
        while True:
            try:
                async with self._gateway.open(self._kernel_id, self._session) as channels:
                    self._greet(channels, shared)
                    try:
                        await self._read(channels)
                    finally:
                        self._channels = None
                        if self._heard.is_set():
                            lost_at, pause, shared = current_time(), FIRST_RETRY, False
            except ConnectionError as error:
                logger.info("The connection to kernel %s behind the gateway: %s", self._kernel_id, error)
                why = str(error)
            if self._leaving:
                self._left.set()
                await sleep_forever()
            if current_time() > lost_at + self._timeout:
                raise KernelUnavailable(self._kernel_id, f"the gateway cannot be reached: {why}")
            await sleep(pause)
            pause = min(2 * pause, LAST_RETRY)
            shared = await self._is_shared() or shared

    async def _read(self, channels: GatewayChannels) -> None:
        """Hand on what comes, until the websocket is closed (``ConnectionError``)."""
        with move_on_after(inf if self._heard.is_set() else self._patience) as scope:
            while True:
                channel, message = await channels.receive()
                self._take(channel, message)
                if self._heard.is_set():
                    scope.deadline = inf
        # A kernel that died within seconds of its start comes back on other ports, and the gateway does not tell
        # those who connected meanwhile.
        self._patience *= 2
        self._session = uuid4().hex
        raise ConnectionError("nothing is heard of the kernel")

    async def _is_shared(self) -> bool:
        """Whether somebody else is known to be connected to the kernel, so that the gateway keeps nothing for us."""
        with move_on_after(LAST_RETRY), suppress(ConnectionError):  # Jupyter Server tries for minutes
            return bool((await self._model()).get("connections"))
        return False

    async def _watch(self) -> None:
        quiet = 0
        while True:
            await sleep(WATCH_INTERVAL)
            asked = monotonic()
            try:
                model = await self._model()
            except ConnectionError:
                continue  # the connection will notice, and has its own patience
            silent = self._running and self._heard_at < asked - WATCH_INTERVAL
            quiet = quiet + 1 if silent and model.get("execution_state") == "idle" else 0
            if quiet == QUIET:
                raise KernelUnavailable(
                    self._kernel_id, "it is idle, and how the cell ended was not heard. Run it again"
                )

    async def _model(self) -> Any:
        """The kernel as the gateway describes it. Raises ``ConnectionError``, or ``KernelUnavailable`` if it is gone."""
        try:
            with fail_after(self._timeout):
                model = await self._gateway.model(self._manager)
        except TimeoutError:
            raise ConnectionError("it does not answer") from None
        if model is None:
            raise KernelUnavailable(self._kernel_id, "the gateway does not have it any more")
        return model

    def _greet(self, channels: GatewayChannels, shared: bool) -> None:
        """The connection is there, for the first time or again."""
        self._channels = channels
        self._doubtful = set(self._running)
        question = self._message("kernel_info_request", {})
        self._question = question["msg_id"]
        unsent, self._unsent = self._unsent, []
        self._doubtful -= {message["msg_id"] for _, message in unsent}
        self._send("shell", question)
        # A busy kernel answers here, so that a link is up while a cell of somebody else runs.
        self._send("control", self._message("kernel_info_request", {}))
        for index, (channel, message) in enumerate(unsent):
            try:
                self._send(channel, message)
            except ConnectionError:
                self._unsent = unsent[index:]
                raise
        if shared:
            for parent in self._doubtful:
                self._hand_on("iopub", self._missing(parent))

    def _send(self, channel: str, message: Message) -> None:
        if self._channels is None:
            raise ConnectionError("it is interrupted")
        self._channels.send(channel, message)

    def _send_in_time(self, channel: str, message: Message) -> None:
        try:
            self._send(channel, message)
        except ConnectionError:
            self._unsent.append((channel, message))  # the connection comes back, or the link ends

    def _take(self, channel: str, message: Message) -> None:
        kind, parent = message["msg_type"], message["parent_header"].get("msg_id", "")
        self._heard_at = monotonic()
        if channel == "shell":
            if kind == "execute_reply":
                self._running.discard(parent)
            elif parent == self._question and self._doubtful & self._running:
                raise KernelUnavailable(
                    self._kernel_id,
                    "the connection to it was interrupted, and how the cell ended was not heard. Run it again",
                )
            self._hand_on("shell", message)
        elif channel == "stdin":
            self._hand_on("stdin", message)
        elif channel == "iopub":
            self._heard.set()
            state = message["content"].get("execution_state") if kind == "status" else None
            if state == "restarting":
                self._ended("restart")
            elif state == "dead":
                self._ended("dead")
            elif state in ("busy", "idle") and message["parent_header"].get("msg_type") == "execute_request":
                # Jupyter Server only asks the gateway when somebody wants a list of kernels.
                self._manager.execution_state = state
            self._hand_on("iopub", message)
            if kind == "shutdown_reply":
                self._ended("replaced")
                raise KernelReplaced(self._kernel_id)

    def _hand_on(self, channel: Any, message: Message) -> None:
        try:
            self._deliver(channel, message)
        except Exception:
            # One message that nobody understands is not the end of all others.
            logger.exception("A message of kernel %s was dropped", self._kernel_id)

    def _message(
        self, kind: str, content: dict[str, Any], parent: Mapping[str, Any] | None = None
    ) -> Message:
        """As the messaging protocol's version 5.3 has it."""
        header = {
            "msg_id": uuid4().hex,
            "msg_type": kind,
            "username": "ydoc_exec",
            "session": self._session,
            "date": now(),
            "version": "5.3",
        }
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": kind,
            "parent_header": dict(parent or {}),
            "metadata": {},
            "content": content,
        }

    def _missing(self, parent: str) -> Message:
        message = self._message("stream", {"name": "stderr", "text": MISSING})
        return {**message, "parent_header": {"msg_id": parent, "msg_type": "execute_request"}}
