"""A kernel's websocket that opens while the kernel is busy, and says at once how the kernel is.

Jupyter Server's own does neither, because it expects the cells to come from the browser that connects:

- Before it opens the first websocket of a kernel it asks for the kernel's info on the shell channel, where the
  answer waits for the cell that is running. The page shows "connecting" until the cell has ended. Here the
  question is also asked on the control channel, which a busy kernel answers.
- A tab that connects to a busy kernel learns nothing: status messages are published when they happen and not
  kept, and the kernel answers the tab's own ``kernel_info_request`` only when it is free again. JupyterLab shows
  "unknown" until then. The server has heard every status message; here it says the last one to whoever connects.

And one that is told that its kernel starts is told when it has: a kernel does not say so by itself, JupyterLab takes the
statuses of its answers about its version for nobody's, and only the tab that has asked for a restart connects anew. The
others would show "starting" until the next cell runs.
"""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"

STARTING = b'"starting"'
SHORT = 100
"""The content of a message that a kernel starts has it, and is no longer than so many bytes."""


def ready_while_busy(connection: type[Any]) -> type[Any]:
    """The same connection class, with what the head of this module says.

    A class that is not one of Jupyter Server's own (or derived from it) is left as it is. With a gateway only the state is
    said: the rest is the gateway's business.
    """
    if issubclass(connection, GatewayWebSocketConnection):
        return _telling(connection)
    if not issubclass(connection, ZMQChannelsWebsocketConnection):
        return connection

    class ReadyWhileBusyConnection(connection):  # type: ignore[misc]
        """See the head of the module."""

        control_question: Any = None
        watched: Any = None
        told_starting = False

        def request_kernel_info(self) -> Any:
            """Ask on both channels; the first answer counts."""
            answer = super().request_kernel_info()
            if not answer.done():
                self.control_question = self.multi_kernel_manager.connect_control(self.kernel_id)
                self.control_question.on_recv(self._on_control_answer)
                self.session.send(self.control_question, "kernel_info_request")
            return answer

        def connect(self) -> Any:
            """Connect, and then say the state that the server knows of."""
            connected = super().connect()
            if connected is not None:
                connected.add_done_callback(lambda _: self.say_status())
                self.watched = self.kernel_manager
                self.watched.observe(self._on_state, "execution_state")
            return connected

        def disconnect(self) -> None:
            """Let go of the kernel, and of the question that nobody waits for any more."""
            self._end_question()
            if self.watched is not None:
                self.watched.unobserve(self._on_state, "execution_state")
                self.watched = None
            super().disconnect()

        def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:
            """Pass on what the kernel says."""
            content = outgoing_msg[-1]
            super().handle_outgoing_message(stream, outgoing_msg)
            if len(content) <= SHORT and STARTING in bytes(content):
                self.told_starting = True
                self._on_state()

        def say_status(self) -> None:
            """Send a status message as the kernel would have, had it been asked."""
            state = getattr(self.kernel_manager, "execution_state", None)
            if state not in ("busy", "idle", "starting") or self.websocket_handler.ws_connection is None:
                return
            message = self.session.msg("status", {"execution_state": state})
            if self.subprotocol == V1_PROTOCOL:
                frame = serialize_msg_to_ws_v1(message, "iopub", self.session.pack)  # type: ignore[no-untyped-call]
                self.write_message(frame, binary=True)
            else:
                self.write_message(text_frame(message))

        # Private

        def _on_state(self, _: object = None) -> None:
            # The server hears the same messages on a socket of its own: it may be ahead or behind.
            if self.told_starting and getattr(self.kernel_manager, "execution_state", None) in (
                "busy",
                "idle",
            ):
                self.told_starting = False
                self.say_status()

        def _on_control_answer(self, message: Any) -> None:
            self._end_question()
            # It is the same message as on the shell channel, read and taken as that one.
            self._handle_kernel_info_reply(message)

        def _end_question(self) -> None:
            if self.control_question is not None and not self.control_question.closed():
                self.control_question.close()
            self.control_question = None

    return ReadyWhileBusyConnection


def text_frame(message: dict[str, Any]) -> str:
    """A message on iopub in the older protocol of the websocket."""
    # The one thing in it that JSON does not know is the header's date.
    return json.dumps({**message, "channel": "iopub"}, default=lambda date: date.isoformat())


# Private


def _telling(connection: type[Any]) -> type[Any]:
    class TellingGatewayConnection(connection):  # type: ignore[misc]
        """Passes on what the gateway says, and first how the kernel is, which the gateway does not say of a busy one."""

        def _connection_done(self, connected: Any) -> None:
            super()._connection_done(connected)
            state = getattr(self.kernel_manager, "execution_state", None)
            if self.ws is not None and state in ("busy", "idle"):
                self.handle_outgoing_message(
                    text_frame(self.session.msg("status", {"execution_state": state}))
                )

    return TellingGatewayConnection
