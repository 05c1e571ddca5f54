"""``GET /api/kernels/{kernel_id}/state``."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ydoc_exec.handlers.base import http_errors
from ydoc_exec.handlers.requests_handler import RunsHandler
from ydoc_exec.ids import KernelId


class StateHandler(RunsHandler):
    """Tells how a kernel is."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str) -> None:
        """``KernelStates.record``: its states and since when, how many runs wait, and the one that it has.

        404 for a kernel that there never was, or that ended a long time ago.
        """
        with http_errors():
            collaboration = await self.collaboration()
            await collaboration.kernel_states.look(KernelId(kernel_id))
            record = collaboration.kernel_states.record(KernelId(kernel_id))
        if record["current_run"] is not None:
            [run] = await self.hide([record["current_run"]])
            record = {**record, "current_run": run}
        self.finish(record)
