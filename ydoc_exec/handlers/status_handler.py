"""``GET /api/collaboration/status``: how the server is, for who looks after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

import ydoc_exec
from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import KernelNotFound
from ydoc_exec.handlers.base import YdocExecHandler, http_errors
from ydoc_exec.handlers.metrics import log_bytes
from ydoc_exec.handlers.recent_errors import RecentErrors


class StatusHandler(YdocExecHandler):
    """Which documents are open and saved, what runs and waits, how the update log is, and what went wrong last."""

    auth_resource = "kernels"

    def initialize(  # type: ignore[override]
        self, collaboration: Callable[[], Awaitable[Collaboration]], errors: RecentErrors
    ) -> None:
        """``errors`` remembers what was logged."""
        super().initialize(collaboration)
        self._errors = errors

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Needs ``kernels: read`` and ``contents: read``, as it names documents and users."""
        if not await self.may("read", "contents"):
            raise web.HTTPError(403, "Only who may read documents may see which are open.")
        with http_errors():
            collaboration = await self.collaboration()
        self.finish(
            {
                "version": ydoc_exec.__version__,
                "backend": "ydoc_exec",
                "documents": [_document(document) for document in collaboration.documents.all()],
                "kernels": _kernels(collaboration),
                "update_log": _log(collaboration),
                "errors": self._errors.last(),
            }
        )


# Private


def _document(document: OpenDocument) -> dict[str, Any]:
    return {
        "document_id": str(document.room_id),
        "path": document.path,
        "clients": len(document.room.clients),
        "unsaved": document.mirror.dirty,
        "missing": document.mirror.missing,
        "last_saved": document.last_saved,
        "save_trouble": document.mirror.trouble,
    }


def _kernels(collaboration: Collaboration) -> list[dict[str, Any]]:
    found = []
    for kernel_id, runs in collaboration.book.by_kernel().items():
        try:
            state = collaboration.kernel_states.record(kernel_id)
        except KernelNotFound:
            continue  # it ended just now, and so do its runs
        found.append(
            {
                "kernel_id": kernel_id,
                "execution_state": state["execution_state"],
                "lifecycle_state": state["lifecycle_state"],
                "runs": [
                    {
                        "run_id": run.id,
                        "state": run.state.value,
                        "user": run.user,
                        "path": run.path,
                        "cell_id": run.cell,
                        "queued_at": run.queued_at,
                        "started_at": run.started_at,
                    }
                    for run in runs
                ],
            }
        )
    return found


def _log(collaboration: Collaboration) -> dict[str, Any]:
    log, path = collaboration.log, collaboration.settings.log_path
    return {
        "kept": "memory" if path is None else "disk",
        "bytes": log_bytes(path),
        "waiting_bytes": log.waiting_bytes,
        "failing": log.degraded,
        "incomplete_documents": sorted(map(str, log.broken)),
    }
