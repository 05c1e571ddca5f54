"""``POST /api/kernels/{kernel_id}/execute`` and ``GET /api/kernels/{kernel_id}/requests/{run_id}``."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from ydoc_exec.documents.execution import ExecuteRequest
from ydoc_exec.errors import RunNotFound
from ydoc_exec.handlers.base import YdocExecHandler, http_errors
from ydoc_exec.handlers.bodies import ExecuteBody
from ydoc_exec.ids import KernelId, RunId


class ExecuteHandler(YdocExecHandler):
    """Takes cells to execute."""

    auth_resource = "kernels"

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
                "kernel_id": kernel_id,
                "document_id": str(body.room),
                "runs": [{"cell_id": run.cell, "run_id": run.id, "state": run.state.value} for run in runs],
            }
        )


class RequestHandler(YdocExecHandler):
    """Tells where a run stands."""

    auth_resource = "kernels"

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, kernel_id: str, run_id: str) -> None:
        """The run's record; 404 for a run that is unknown, forgotten, or of another kernel."""
        with http_errors():
            collaboration = await self.collaboration()
            run = collaboration.book.get(RunId(run_id))
            if run.kernel != kernel_id:
                raise RunNotFound(run_id)
        self.finish(run.record())
