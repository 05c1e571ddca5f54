"""A server that ends although one of its kernels cannot be shut down.

When Jupyter Server is stopped it shuts its kernels down and then ends its event loop, and not if the former raises: then
it listens no more and runs for ever. It raises (jupyter_client 8.10, ``MultiKernelManager.shutdown_all``) if any kernel
could not be started, at any time before, because that stays among the pending ones; and if one is being started or
restarted at that moment, because it is asked how that went.
"""

from __future__ import annotations

import logging
from typing import Any

from anyio import create_task_group, move_on_after
from jupyter_core.utils import ensure_async

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds for those that could not be shut down together with the others."""


def shut_down_whatever_happens(managers: Any) -> None:
    """Have the server's manager of kernels shut down all that it can, each by itself, and raise nothing."""
    together = managers.shutdown_all

    async def one(kernel_id: str) -> None:
        try:
            await ensure_async(managers.shutdown_kernel(kernel_id))
        except Exception as error:
            logger.warning("Kernel %s is killed, as it cannot be shut down: %s", kernel_id, error)
            try:
                await ensure_async(managers.get_kernel(kernel_id).shutdown_kernel(now=True))
            except Exception as again:
                logger.warning("Kernel %s may be left behind: %s", kernel_id, again)

    async def shut_down_all(now: bool = False) -> None:
        try:
            await ensure_async(together(now=now))
        except Exception as error:
            logger.info("Kernels are shut down one by one, because together it failed: %s", error)
            with move_on_after(PATIENCE):
                async with create_task_group() as group:
                    for kernel_id in managers.list_kernel_ids():
                        group.start_soon(one, kernel_id)

    managers.shutdown_all = shut_down_all
