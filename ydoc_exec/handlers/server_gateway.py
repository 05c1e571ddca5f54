"""The gateway that Jupyter Server was told to use (``--gateway-url``)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
from jupyter_server.utils import url_path_join
from tornado.escape import url_escape
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import HTTPError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from ydoc_exec.kernel.gateway import GatewayChannels
from ydoc_exec.kernel.kernel import Message

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"
LARGEST_MESSAGE = 2**31
"""Bytes. Tornado's default, 10 MiB, would end the connection at the first large picture."""

PING_INTERVAL = 10.0
"""Seconds after which a gateway that has gone without a word is noticed, at most twice."""


class ServerGateway:
    """Implements ``Gateway`` with the address and the credentials that Jupyter Server's own client has."""

    @property
    def address(self) -> str:
        return GatewayClient.instance().url or ""

    def has(self, manager: object) -> bool:
        return isinstance(manager, GatewayKernelManager)

    @asynccontextmanager
    async def open(self, kernel_id: str, session_id: str) -> AsyncIterator[GatewayChannels]:
        gateway = GatewayClient.instance()
        address = url_path_join(
            gateway.ws_url or "", gateway.kernels_endpoint, url_escape(kernel_id), "channels"
        )
        credentials = gateway.load_connection_args()  # type: ignore[no-untyped-call]
        request = HTTPRequest(f"{address}?{urlencode({'session_id': session_id})}", **credentials)
        try:
            websocket = await websocket_connect(
                request,
                ping_interval=PING_INTERVAL,
                max_message_size=LARGEST_MESSAGE,
                subprotocols=[V1_PROTOCOL],
            )
        except (OSError, HTTPClientError, WebSocketClosedError) as error:
            raise ConnectionError(f"it could not be opened ({error})") from error
        try:
            yield _Channels(websocket)
        finally:
            websocket.close()

    async def model(self, manager: Any) -> Mapping[str, Any] | None:
        try:
            model: Mapping[str, Any] | None = await manager.refresh_model()
        except HTTPError as error:
            if error.status_code == 404 and "doesn't appear to be valid" not in str(error):
                return None
            raise ConnectionError(str(error)) from error
        except (OSError, HTTPClientError) as error:
            raise ConnectionError(str(error)) from error
        return model


class _Channels:
    """Implements ``GatewayChannels``, in the protocol that both sides know: v1, or the older one in JSON."""

    def __init__(self, websocket: WebSocketClientConnection) -> None:
        self._websocket = websocket
        self._v1 = websocket.selected_subprotocol == V1_PROTOCOL

    def send(self, channel: str, message: Message) -> None:
        frame: str | bytes
        if self._v1:
            frame = serialize_msg_to_ws_v1(message, channel, pack=_pack)  # type: ignore[no-untyped-call]
        else:
            frame = json.dumps({**message, "channel": channel, "buffers": []})
        try:
            self._websocket.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError as error:
            raise ConnectionError("it was closed") from error

    def close(self) -> None:
        self._websocket.close()

    async def receive(self) -> tuple[str, Message]:
        while True:
            frame = await self._websocket.read_message()
            if frame is None:
                raise ConnectionError(f"it was closed ({self._websocket.close_code})")
            if self._v1 and isinstance(frame, bytes):
                channel, parts = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]
                header, parent, metadata, content = map(json.loads, parts[:4])
                return channel, {
                    "header": header,
                    "msg_id": header["msg_id"],
                    "msg_type": header["msg_type"],
                    "parent_header": parent,
                    "metadata": metadata,
                    "content": content,
                }
            message: dict[str, Any] = (
                deserialize_binary_message(frame)  # type: ignore[no-untyped-call]
                if isinstance(frame, bytes)
                else json.loads(frame)
            )
            message.setdefault("msg_type", message["header"]["msg_type"])
            message.setdefault("msg_id", message["header"]["msg_id"])
            return message.get("channel", "iopub"), message


def _pack(value: object) -> bytes:
    return json.dumps(value).encode()
