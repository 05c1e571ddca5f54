"""``POST /api/collaboration/save/{path}``: for programs that change a document and then read its file."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec.errors import DocumentNotFound
from ydoc_exec.handlers.base import YdocExecHandler, http_errors


class SaveHandler(YdocExecHandler):
    """Saves an open document now, as a person does: also if nobody wants it saved by itself."""

    auth_resource = "contents"

    @web.authenticated
    @authorized("write")  # type: ignore[untyped-decorator]
    async def post(self, path: str) -> None:
        """200 when the file has what the document had when this was asked, and whether it is open at all.

        404 if there is no such file, 500 if it could not be saved.
        """
        path = path.strip("/")
        with http_errors():
            collaboration = await self.collaboration()
            is_open = await collaboration.files.flush(path)
            contents: Any = self.contents_manager
            if not is_open and not await ensure_async(contents.file_exists(path)):
                raise DocumentNotFound(path)
        self.finish({"path": path, "open": is_open})
