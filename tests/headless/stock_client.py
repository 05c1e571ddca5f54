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

    @classmethod
    @asynccontextmanager
    async def connected(cls, server: LabServer, kernel: str) -> AsyncIterator[StockClient]:
        """Connect to a kernel and stay so."""
        address = f"{server.ws_url}/api/kernels/{kernel}/channels?token={server.token}"
        async with connect(address, max_size=None, close_timeout=1) as socket:
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
        status, text, idle = "", "", False
        with anyio.fail_after(timeout):
            while not (status and idle):
                message: dict[str, Any] = json.loads(await self._socket.recv())
                if message["parent_header"].get("msg_id") != request:
                    continue
                content = message["content"]
                if message["msg_type"] == "execute_reply":
                    status = content["status"]
                elif message["msg_type"] == "stream":
                    text += content["text"]
                elif message["msg_type"] == "status":
                    idle = content["execution_state"] == "idle"
        return status, text
