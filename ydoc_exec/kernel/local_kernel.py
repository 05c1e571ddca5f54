"""A kernel that this server started, reached through ZMQ."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import zmq.asyncio
from jupyter_core.utils import ensure_async

from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.kernel import Deliver, Link, Skip
from ydoc_exec.kernel.kernel_link import KernelLink, KernelManager
from ydoc_exec.kernel.run import Tether

logger = logging.getLogger(__name__)


class LocalKernel:
    """Implements ``Kernel`` with ``jupyter_client``'s manager of the kernel."""

    def __init__(self, kernel_id: KernelId, manager: KernelManager, context: zmq.asyncio.Context) -> None:
        self._kernel_id = kernel_id
        self._manager = manager
        self._context = context

    @property
    def kernel_name(self) -> str:
        return self._manager.kernel_name

    @property
    def execution_state(self) -> str | None:
        return getattr(self._manager, "execution_state", None)

    @property
    def ready(self) -> Any:
        return self._manager.ready

    async def is_alive(self) -> bool:
        try:
            return bool(await ensure_async(self._manager.is_alive()))
        except Exception:
            # A provisioner may have to ask another machine; that it cannot say is no death.
            logger.exception("Nobody can say whether kernel %s is alive", self._kernel_id)
            return True

    def add_restart_callback(self, callback: Callable[[], None], event: str = "restart") -> None:
        self._manager.add_restart_callback(callback, event)

    def remove_restart_callback(self, callback: Callable[[], None], event: str = "restart") -> None:
        self._manager.remove_restart_callback(callback, event)

    def restarted(self) -> None:
        """``jupyter_client`` has made another future before it said so."""

    def tethered(self, tether: Tether) -> None:
        raise AssertionError("its processes end with the server")

    def connect(self, deliver: Deliver, *, timeout: float, skip: Skip) -> AbstractAsyncContextManager[Link]:
        return KernelLink.connect(
            self._kernel_id, self._manager, self._context, deliver, timeout=timeout, skip=skip
        )
