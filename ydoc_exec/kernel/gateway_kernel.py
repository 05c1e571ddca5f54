"""A kernel behind a Kernel Gateway or Enterprise Gateway."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.gateway import Gateway
from ydoc_exec.kernel.gateway_link import End, GatewayLink
from ydoc_exec.kernel.kernel import Deliver, Link, Skip
from ydoc_exec.kernel.run import Tether


class GatewayKernel:
    """Implements ``Kernel`` for what Jupyter Server's ``GatewayKernelManager`` stands for.

    That manager has no process and no restarter: its kernel is there when the gateway has answered, ``ready`` is never
    done and its callbacks are never called. What happens to the process is heard from the gateway, by the link.
    """

    def __init__(self, kernel_id: KernelId, manager: Any, gateway: Gateway) -> None:
        self._kernel_id = kernel_id
        self._manager = manager
        self._gateway = gateway
        self._ready = self._begun()
        self._heard_so = False
        self._tether: Tether | None = None
        self._callbacks: dict[str, list[Callable[[], None]]] = {"restart": [], "dead": []}

    @property
    def kernel_name(self) -> str:
        model = self._manager.kernel or {}
        return str(model.get("name") or self._manager.kernel_name)

    @property
    def execution_state(self) -> str | None:
        state: str | None = self._manager.execution_state
        return state

    @property
    def ready(self) -> Any:
        return self._ready

    async def is_alive(self) -> bool:
        return True  # the link is told when it is not

    def add_restart_callback(self, callback: Callable[[], None], event: str = "restart") -> None:
        self._callbacks[event].append(callback)

    def remove_restart_callback(self, callback: Callable[[], None], event: str = "restart") -> None:
        self._callbacks[event].remove(callback)

    def restarted(self) -> None:
        # Most kernels say farewell, which comes earlier: runs of ours may be in the new process already.
        if not self._heard_so:
            self._ready = self._begun()
        self._heard_so = False

    def tethered(self, tether: Tether) -> None:
        self._tether = tether

    def connect(self, deliver: Deliver, *, timeout: float, skip: Skip) -> AbstractAsyncContextManager[Link]:
        tether, self._tether = self._tether, None
        # ``skip`` is not asked: what could be left unread has crossed the network already.
        return GatewayLink.connect(
            self._kernel_id,
            self._manager,
            self._gateway,
            deliver,
            self._ended,
            timeout=timeout,
            tether=tether,
        )

    # Private

    def _ended(self, how: End) -> None:
        if how == "replaced":
            self._heard_so = True
            return
        self._ready = self._begun()
        for callback in list(self._callbacks[how]):
            callback()

    def _begun(self) -> Future[None]:
        begun: Future[None] = get_running_loop().create_future()
        begun.set_result(None)
        return begun
