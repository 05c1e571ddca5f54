"""A kernel as its runner uses it, on this machine or behind a gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from ydoc_exec.kernel.run import Tether

Message = Mapping[str, Any]
"""A kernel's message: ``header``, ``msg_id``, ``msg_type``, ``parent_header``, ``metadata`` and ``content``."""

Channel = Literal["iopub", "shell", "stdin"]

Deliver = Callable[[Channel, Message], None]
"""Takes a message, in the order of its channel, and returns at once."""

Skip = Callable[[str, int], bool]
"""Is asked, with the id of the parent and the bytes of the text, whether printed text can be left out when there is more
of the same behind it. If it says so, that text was left out."""


class Link(Protocol):
    """An open connection to a kernel of which nothing is missed."""

    def tether(self, parent: str) -> Tether | None:
        """By what the next life of this server finds what was sent with this id; None if the kernel ends with the server."""
        ...

    async def leave(self) -> None:
        """Hear what is on its way, and then nothing more: what comes later is kept for whoever has the tether."""
        ...

    def execute(self, code: str, *, stop_on_error: bool, allow_stdin: bool) -> str:
        """Send code to the kernel and return the id that its messages will name as their parent.

        It does not wait, so the caller can note the id before any answer is read. Raises ``OSError`` if it cannot be
        sent.
        """
        ...

    def mark(self) -> str:
        """Ask what a kernel answers at any time, and return the id of the question.

        When its status is heard with that id as its parent, all that it has published before has been heard. The channels
        are connections of their own, so what is said on one tells nothing of what is on its way on another. Raises
        ``OSError``.
        """
        ...

    def answer(self, value: str, question: Mapping[str, Any]) -> None:
        """Send what somebody has typed, for the ``input_request`` with this header. Raises ``OSError``."""
        ...


class Kernel(Protocol):
    """One kernel. It keeps its id when it is restarted, and is another process then."""

    @property
    def kernel_name(self) -> str:
        """The name of its kernel spec."""
        ...

    @property
    def execution_state(self) -> str | None:
        """What the server knows of its state without a link."""
        ...

    @property
    def ready(self) -> Any:
        """A future, done when its process has started. Each process has another one."""
        ...

    async def is_alive(self) -> bool:
        """Whether its process is there, as far as can be known. A kernel that is being started is alive or not."""
        ...

    def add_restart_callback(self, callback: Callable[[], None], event: str = ...) -> None:
        """Have ``callback`` called when it died and is started again ("restart"), or is given up ("dead")."""
        ...

    def remove_restart_callback(self, callback: Callable[[], None], event: str = ...) -> None:
        """Not any more."""
        ...

    def restarted(self) -> None:
        """The server has said that somebody had it restarted. ``ready`` is another one then."""
        ...

    def tethered(self, tether: Tether) -> None:
        """The next link is to find what an earlier life of this server has sent."""
        ...

    def connect(self, deliver: Deliver, *, timeout: float, skip: Skip) -> AbstractAsyncContextManager[Link]:
        """A link that is up inside the block.

        Raises ``KernelUnavailable``: on entry when nothing was heard within ``timeout`` seconds, and out of the block
        when the link is lost for good.
        """
        ...
