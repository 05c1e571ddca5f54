"""Chromium without Playwright, for what Playwright's own watching would distort.

Playwright listens to every frame of every websocket, and gets each as text through a pipe: what takes a page two
seconds for a message of 80 MB takes ten then.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect

from tests.server import eventually


class DevTools:
    """A connection of Chrome's DevTools Protocol, used by one task at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and return its result. Raises ``RuntimeError`` with what the browser says against it."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(await self._socket.recv())).get("id") != number:
            pass  # events, of which none was asked for
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result


class BareTab:
    """One page in a window of its own."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it comes to."""
        result = await self._tools.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    async def wait_for(self, expression: str, timeout: float = 60.0) -> Any:
        """The first true value of the expression. Raises ``TimeoutError``."""
        with anyio.fail_after(timeout):
            while True:
                if value := await self.evaluate(expression):
                    return value
                await anyio.sleep(0.05)

    async def screenshot(self, path: Path) -> None:
        """Take a picture of what is in the window."""
        picture = await self._tools.call("Page.captureScreenshot")
        await anyio.Path(path).write_bytes(base64.b64decode(picture["data"]))


class BareBrowser:
    """A Chromium of its own; its tabs share nothing."""

    def __init__(self, address: str, tools: DevTools, stack: AsyncExitStack) -> None:
        self._address = address
        self._tools = tools
        self._stack = stack

    @classmethod
    @asynccontextmanager
    async def start(cls, command: list[str], profile: Path) -> AsyncIterator[BareBrowser]:
        """Start the program; it ends with the block."""
        process = await anyio.open_process(
            [*command, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            announced = profile / "DevToolsActivePort"  # two lines: the port, the path
            port, path = await eventually(
                lambda: (
                    lines if announced.exists() and len(lines := announced.read_text().split()) == 2 else None
                )
            )
            address = f"ws://127.0.0.1:{port}"
            async with AsyncExitStack() as stack:
                socket = await stack.enter_async_context(connect(address + path, max_size=None))
                yield cls(address, DevTools(socket), stack)
        finally:
            process.terminate()
            await process.wait()

    async def open(self, url: str) -> BareTab:
        """A new tab that loads this address."""
        context = (await self._tools.call("Target.createBrowserContext"))["browserContextId"]
        target = await self._tools.call(
            "Target.createTarget", url=url, browserContextId=context, width=1200, height=1600
        )
        socket = await self._stack.enter_async_context(
            connect(f"{self._address}/devtools/page/{target['targetId']}", max_size=None)
        )
        return BareTab(DevTools(socket))
