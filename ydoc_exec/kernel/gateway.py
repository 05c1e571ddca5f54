"""A Kernel Gateway or Enterprise Gateway as kernels behind it are used: ``handlers/server_gateway.py`` is the real one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ydoc_exec.kernel.kernel import Message


class GatewayChannels(Protocol):
    """One websocket to a kernel behind the gateway."""

    def send(self, channel: str, message: Message) -> None:
        """Send a message. It does not wait. Raises ``ConnectionError`` when the websocket is closed."""
        ...

    def close(self) -> None:
        """Say that the websocket is to be closed. What the other side has sent before it agreed is still received."""
        ...

    async def receive(self) -> tuple[str, Message]:
        """The next message and its channel. Raises ``ConnectionError`` when the websocket has been closed."""
        ...


class Gateway(Protocol):
    """Where kernels are that this server's manager of kernels has started elsewhere."""

    @property
    def address(self) -> str:
        """Where it is."""
        ...

    def has(self, manager: object) -> bool:
        """Whether this manager of a kernel stands for one behind the gateway."""
        ...

    def open(self, kernel_id: str, session_id: str) -> AbstractAsyncContextManager[GatewayChannels]:
        """A websocket to the kernel.

        The gateway keeps what the kernel says while nobody is connected to it, for whoever comes back with the same
        ``session_id``. Raises ``ConnectionError`` when it cannot be opened.
        """
        ...

    async def model(self, manager: Any) -> Mapping[str, Any] | None:
        """The kernel as the gateway's REST API describes it, or ``None`` if it has no such kernel.

        Raises ``ConnectionError`` when the gateway does not answer.
        """
        ...
