"""A kernel's websocket that says at once how the kernel is.

A tab that connects to a busy kernel learns nothing: status messages are published when they happen and not
kept, and the kernel answers the tab's ``kernel_info_request`` only when it is free again. So JupyterLab shows
"unknown" until the cell has ended, as long as that takes. The server has heard every status message; it says
the last one to whoever connects.
"""

from __future__ import annotations

import json
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"


def saying_status(connection: type[Any]) -> type[Any]:
    """The same connection class, saying the kernel's state on connection.

    A class that is not Jupyter Server's own (or derived from it) is left as it is.
    """
    if not issubclass(connection, ZMQChannelsWebsocketConnection):
        return connection

    class StatusSayingConnection(connection):  # type: ignore[misc]
        """See the head of the module."""

        def connect(self) -> Any:
            """Connect, and then say the state that the server knows of."""
            connected = super().connect()
            if connected is not None:
                connected.add_done_callback(lambda _: self.say_status())
            return connected

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
                self.write_message(json.dumps({**message, "channel": "iopub"}, default=json_default))

    return StatusSayingConnection
