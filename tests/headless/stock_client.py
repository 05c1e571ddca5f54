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

    async def send(self, code: str, *, allow_stdin: bool = False) -> str:
        """Ask the kernel to execute code; the request's id."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": allow_stdin}
        return await self._send("shell", "execute_request", content, {})

    async def asked(self, request: str, timeout: float = 30) -> dict[str, Any]:
        """What a request asks for (``input_request``)."""
        heard = self._heard.setdefault(request, [])
        with anyio.fail_after(timeout):
            while not (questions := [said for said in heard if said["msg_type"] == "input_request"]):
                await self._hear()
        return questions[-1]

    async def answer(self, question: dict[str, Any], value: str) -> None:
        """Answer that."""
        await self._send("stdin", "input_reply", {"value": value, "status": "ok"}, question["header"])

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
                await self._hear()
        return said("execute_reply", "status")[0], "".join(said("stream", "text"))

    # Private

    async def _hear(self) -> None:
        message: dict[str, Any] = json.loads(await self._socket.recv())
        self._heard.setdefault(message["parent_header"].get("msg_id", ""), []).append(message)

    async def _send(self, channel: str, kind: str, content: dict[str, Any], parent: dict[str, Any]) -> str:
        header = {
            "msg_id": uuid4().hex,
            "session": self._session,
            "username": "",
            "msg_type": kind,
            "version": "5.3",
            "date": "2026-01-01T00:00:00Z",
        }
        message = {
            "channel": channel,
            "header": header,
            "parent_header": parent,
            "metadata": {},
            "content": content,
        }
        await self._socket.send(json.dumps(message))
        return header["msg_id"]
