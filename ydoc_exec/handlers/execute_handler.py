"""``/api/kernels/{kernel_id}/execute`` and ``/api/collaboration/execute/{path}``: running cells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.execution import KernelFor
from ydoc_exec.documents.run_records import Filter
from ydoc_exec.errors import KernelNotFound, SourceMismatch
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.handlers.answers import accepted, batch_url, nbmodel_keys, nbmodel_url
from ydoc_exec.handlers.base import http_errors
from ydoc_exec.handlers.bodies import ExecuteBody
from ydoc_exec.handlers.notebook_sessions import NotebookSessions
from ydoc_exec.handlers.queries import MAX_LIMIT
from ydoc_exec.handlers.requests_handler import RunsHandler
from ydoc_exec.ids import KernelId, RoomId
from ydoc_exec.kernel.run import Run

UNDER_WAY = Filter(states=frozenset(state.value for state in RunState if not state.ended))


class SubmittingHandler(RunsHandler):
    """What both have in common."""

    _track_activity = True

    async def submit(self, body: ExecuteBody, room: RoomId, kernel: KernelId | KernelFor) -> list[Run]:
        """Queue the cells. Raises what ``Execution.submit`` does."""
        collaboration = await self.collaboration()
        return await collaboration.execution.submit(body.asked_by(self.current_user, room, kernel))

    def accept(self, runs: list[Run], **more: object) -> None:
        """Answer 202 with the runs."""
        self.set_status(202)
        self.set_header("Access-Control-Expose-Headers", "Location")
        self.finish(accepted(self.base_url, runs) | more)

    def run_url(self, run: Run) -> str:
        """Where it is told what became of the run."""
        return url_path_join(self.base_url, "api/kernels", run.kernel, "requests", run.id)


class ExecuteHandler(SubmittingHandler):
    """Takes cells to execute on a kernel."""

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
            if body.path is not None and not await self.may("read", "contents"):
                raise web.HTTPError(403, "You may not read documents here.")
            room = body.room or await self.notebook_at(body.path or "")
            try:
                runs = await self.submit(body, room, KernelId(kernel_id))
            except SourceMismatch as error:
                # As jupyter-server-documents says it.
                self.set_status(error.status)
                self.finish(
                    {
                        "error": "source_mismatch",
                        "cell_id": error.cell_id,
                        "message": str(error),
                        "reason": None,
                    }
                )
                return
        if body.form != "nbmodel":
            self.set_header("Location", self.run_url(runs[0]))
            self.accept(runs)
            return
        collaboration = await self.collaboration()
        self.set_header("Location", nbmodel_url(kernel_id, runs[0].id))
        self.accept(
            runs,
            cell_id=runs[0].cell,
            outputs="[]",
            **nbmodel_keys(collaboration.records.record(runs[0]))
            | {"pending": True, "request_status": "queued"},
        )


class PathExecuteHandler(SubmittingHandler):
    """Runs a notebook that nobody needs to have open, on its session's kernel."""

    def initialize(  # type: ignore[override]
        self, collaboration: Callable[[], Awaitable[Collaboration]], sessions: NotebookSessions
    ) -> None:
        super().initialize(collaboration)
        self.sessions = sessions

    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def post(self, path: str) -> None:
        """202 as soon as the cells are queued: all cells with code, or ``cell_ids`` in their order.

        The session's kernel is started if there is none; it stays when the cells have ended, as after a visit. ``Location``
        says where to wait for their end. 403 without the rights to execute, to read the notebook and to start a
        session, 404 for a path without a notebook or an unknown cell, 409 for a notebook that has nothing to run or
        wants a kernel that there is not.
        """
        path = path.strip("/")
        with http_errors():
            body = ExecuteBody.read_for_path(self.read_json() if self.request.body else {})
            if not await self.may("read", "contents"):
                raise web.HTTPError(403, "You may not read documents here.")
            may_start = await self.may("write", "sessions")

            async def kernel_for(wanted: str | None, at: str) -> KernelId:
                return await self.sessions.kernel_of(
                    at or path, body.kernel_name, wanted, may_start=may_start
                )

            runs = await self.submit(body, await self.notebook_at(path), kernel_for)
        self.set_header("Location", batch_url(self.base_url, runs[0]))
        self.accept(runs, path=path)
