"""A client of a kernel that knows nothing of us, such as a console: Jupyter Server's websocket, and its messages as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
from websockets.asyncio.client import ClientConnection, connect

from tests.server import LabServer


class StockClient:
    """One connection to a kernel, inside ``connected``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session = uuid4().hex
        self._heard: dict[str, list[dict[str, Any]]] = {}
        """What the kernel has said for each request."""

    @classmethod
    @asynccontextmanager
    async def connected(cls, server: LabServer, kernel: str) -> AsyncIterator[StockClient]:
        """Connect to a kernel and stay so."""
        address = f"{server.ws_url}/api/kernels/{kernel}/channels?token={server.token}"
        # It reads when it is asked to, and must see the server's pongs before.
        async with connect(address, max_size=None, max_queue=None, close_timeout=1) as socket:
            yield cls(socket)

    async def send(self, code: str) -> str:
        """Ask the kernel to execute code; the request's id."""
        header = {
            "msg_id": uuid4().hex,
            "session": self._session,
            "username": "",
            "msg_type": "execute_request",
            "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        message = {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
        }
        await self._socket.send(json.dumps(message))
        return header["msg_id"]

    async def arrive(self) -> None:
        """Come back when the server has passed on what was sent."""
        await (await self._socket.ping())

    async def wait(self, request: str, timeout: float = 30) -> tuple[str, str]:
        """How a request ended, and what it has printed."""
        heard = self._heard.setdefault(request, [])

        def said(kind: str, key: str) -> list[str]:
            return [message["content"][key] for message in heard if message["msg_type"] == kind]

        with anyio.fail_after(timeout):
            while not (said("execute_reply", "status") and "idle" in said("status", "execution_state")):
                message: dict[str, Any] = json.loads(await self._socket.recv())
                self._heard.setdefault(message["parent_header"].get("msg_id", ""), []).append(message)
        return said("execute_reply", "status")[0], "".join(said("stream", "text"))
