"""``/api/kernels/{kernel_id}/execute``."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from ydoc_exec.documents.execution import ExecuteRequest
from ydoc_exec.documents.run_records import Filter
from ydoc_exec.errors import KernelNotFound
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.handlers.answers import nbmodel_keys
from ydoc_exec.handlers.base import http_errors
from ydoc_exec.handlers.bodies import ExecuteBody
from ydoc_exec.handlers.queries import MAX_LIMIT
from ydoc_exec.handlers.requests_handler import RunsHandler
from ydoc_exec.ids import KernelId

UNDER_WAY = Filter(states=frozenset(state.value for state in RunState if not state.ended))


class ExecuteHandler(RunsHandler):
    """Takes cells to execute."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str) -> None:
        """``{"kernel_id", "requests": [...]}``: the kernel's runs that are under way, as ``jupyter-server-nbmodel`` lists
        them. To ask takes nothing away. 404 if there is no such kernel."""
        with http_errors():
            collaboration = await self.collaboration()
            if kernel_id not in collaboration.runners:
                raise KernelNotFound(kernel_id)
            records = await collaboration.records.of(KernelId(kernel_id), UNDER_WAY, MAX_LIMIT)
        shown = await self.hide(records)
        self.finish({"kernel_id": kernel_id, "requests": [record | nbmodel_keys(record) for record in shown]})

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def post(self, kernel_id: str) -> None:
        """202 as soon as the cells are queued and marked in the document; they run without this request."""
        with http_errors():
            body = ExecuteBody.read(self.read_json())
            collaboration = await self.collaboration()
            runs = await collaboration.execution.submit(
                ExecuteRequest(
                    kernel=KernelId(kernel_id),
                    room=body.room,
                    cells=body.cells,
                    user=getattr(self.current_user, "username", ""),
                    name=getattr(self.current_user, "display_name", "") or "",
                    after=body.after,
                    stop_on_error=body.stop_on_error,
                    record_timing=body.record_timing,
                )
            )
        first = runs[0].id
        self.set_status(202)
        self.set_header("Location", url_path_join(self.base_url, "api/kernels", kernel_id, "requests", first))
        self.finish(
            {
                "request_id": first,
                "batch_id": runs[0].batch,
                "kernel_id": kernel_id,
                "document_id": str(body.room),
                "runs": [{"cell_id": run.cell, "run_id": run.id, "state": run.state.value} for run in runs],
            }
        )
