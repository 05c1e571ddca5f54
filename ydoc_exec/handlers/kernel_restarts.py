"""Restarts of one kernel that come one after the other.

Two requests at a time to restart a kernel (somebody presses "Restart and run all" again) leave two processes of it
(jupyter_client 8.10, ``KernelManager.restart_kernel``): one has the ports and nobody knows it, and the other cannot start,
however often it is tried.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from anyio import Lock
from jupyter_core.utils import ensure_async


def restart_one_after_the_other(managers: Any) -> None:
    """Have the server's manager of kernels begin to restart a kernel when the last restart of it is over."""
    restart = managers.restart_kernel
    locks: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()

    async def restart_kernel(kernel_id: str, *args: Any, **kwargs: Any) -> Any:
        if kernel_id not in managers:
            return await ensure_async(restart(kernel_id, *args, **kwargs))  # which says so
        async with locks.setdefault(managers.get_kernel(kernel_id), Lock()):
            return await ensure_async(restart(kernel_id, *args, **kwargs))

    managers.restart_kernel = restart_kernel
