"""The sessions that bring notebooks and kernels together, as ``/api/sessions`` does."""

from __future__ import annotations

import logging
from typing import Any

from anyio import Lock
from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec.errors import KernelUnavailable, NoSuchKernelSpec
from ydoc_exec.ids import KernelId

logger = logging.getLogger(__name__)


class NotebookSessions:
    """Finds or starts the kernel of a notebook.

    Args:
        sessions, specs: the server's managers of sessions and of kernel specs.
        default: the kernel for notebooks that name none.
    """

    def __init__(self, sessions: Any, specs: Any, default: str) -> None:
        self._sessions = sessions
        self._specs = specs
        self._default = default
        # One for all: two requests for one notebook must not start two kernels.
        self._starting = Lock()

    async def chosen_for(self, path: str) -> KernelId | None:
        """The kernel that people have chosen for the notebook at this path, if there is a session that says so."""
        if not await ensure_async(self._sessions.session_exists(path=path)):
            return None
        session = await ensure_async(self._sessions.get_session(path=path))
        return KernelId(session["kernel"]["id"])

    async def kernel_of(
        self, path: str, chosen: str | None, wanted: str | None, *, may_start: bool
    ) -> KernelId:
        """The kernel of the notebook's session, or else a new one: the chosen, the one that the notebook wants, or the
        server's default.

        Raises ``NoSuchKernelSpec``, ``KernelUnavailable``, or 403 if one would have to be started and ``may_start`` is
        false. A session that is there keeps its kernel, whatever is chosen.
        """
        async with self._starting:
            present = await self.chosen_for(path)
            if present is not None:
                return present
            if not may_start:
                raise web.HTTPError(403, "This notebook has no kernel, and you may not start one.")
            name = chosen or wanted or self._default
            try:
                await ensure_async(self._specs.get_kernel_spec(name))
            except (KeyError, web.HTTPError):  # ``NoSuchKernel``, and what a gateway makes of it
                raise NoSuchKernelSpec(name) from None
            try:
                session = await ensure_async(
                    self._sessions.create_session(
                        path=path, name=path.rpartition("/")[2], type="notebook", kernel_name=name
                    )
                )
            except Exception as error:
                logger.exception("No kernel could be started for %s", path)
                raise KernelUnavailable(name, f"it could not be started ({error})") from error
            return KernelId(session["kernel"]["id"])
