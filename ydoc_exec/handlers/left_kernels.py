"""Kernels that a gateway still has from an earlier life of this server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec.ids import KernelId


class LeftKernels:
    """Has Jupyter Server know them again, or leave them.

    Args:
        kernels, sessions: the server's managers of kernels (those of a gateway) and of sessions.
    """

    def __init__(self, kernels: Any, sessions: Any) -> None:
        self._kernels = kernels
        self._sessions = sessions

    async def find(self, kernel_id: KernelId, path: str | None) -> bool:
        """Implements ``FindKernel``."""
        try:
            if kernel_id not in self._kernels:
                # With an id it starts none, and asks the gateway for it.
                await self._kernels.start_kernel(kernel_id=kernel_id)
            manager = self._kernels.get_kernel(kernel_id)
            if not manager.has_kernel:
                self._kernels.remove_kernel(kernel_id)
                return False
            if path and not await ensure_async(self._sessions.session_exists(path=path)):
                await ensure_async(
                    self._sessions.create_session(
                        path=path,
                        name=path.rpartition("/")[2],
                        type="notebook",
                        kernel_name=manager.kernel["name"],
                        kernel_id=kernel_id,
                    )
                )
        except (web.HTTPError, OSError) as error:
            raise ConnectionError(str(error)) from error
        return True

    def leave(self, kernel_ids: Iterable[KernelId]) -> None:
        """Have Jupyter Server not shut them down when it ends."""
        for kernel_id in kernel_ids:
            if kernel_id in self._kernels:
                self._kernels.remove_kernel(kernel_id)
