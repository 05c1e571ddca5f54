"""``PUT /api/collaboration/session/{path}``: what a tab asks for before it opens a document."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ensure_async
from tornado import web

from ydoc_exec.documents import document_types
from ydoc_exec.errors import DocumentNotFound, LoadFailed, OpenAsOtherType, OpenElsewhere
from ydoc_exec.handlers.base import YdocExecHandler, http_errors
from ydoc_exec.handlers.bodies import SessionBody
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)


class SessionHandler(YdocExecHandler):
    """Answers as jupyter-collaboration does, with the document's lineage as ``sessionId``.

    A tab sends it again with every reconnection (``yprovider.ts``), which is how a document of another
    history is recognised before anything is merged.
    """

    auth_resource = "contents"

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def put(self, path: str) -> None:
        """200 for a file that has an id, 201 for one that gets it now, 404 for none."""
        with http_errors():
            body = SessionBody.read(self.read_json())
            path = path.strip("/")
            known = self.file_ids.get_id(path)
            contents: Any = self.contents_manager
            if known is None and not await ensure_async(contents.file_exists(path)):
                raise DocumentNotFound(path)
            file_id = known or self.file_ids.index(path)
            if file_id is None:
                raise DocumentNotFound(path)
            room_id = RoomId.parse(f"{body.format}:{body.type}:{file_id}")
            document_types.document_class(room_id)
            lineage = await self._lineage(room_id)
        self.set_status(200 if known else 201)
        self.finish(
            {
                "format": body.format,
                "type": body.type,
                "fileId": file_id,
                "sessionId": lineage,
                "documentSessionId": lineage,
            }
        )

    async def _lineage(self, room_id: RoomId) -> str:
        """The document is opened for it: its lineage depends on what the log and the file hold."""
        collaboration = await self.collaboration()
        try:
            async with collaboration.documents.open(room_id) as document:
                return document.lineage
        except (LoadFailed, OpenAsOtherType, OpenElsewhere) as error:
            # Said where the stock front end looks for it: in the close code of the room's websocket.
            logger.warning("%s", error)
            return ""
