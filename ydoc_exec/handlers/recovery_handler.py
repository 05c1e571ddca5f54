"""``/api/collaboration/recovery/{path}``: versions of a document that would have been lost."""

from __future__ import annotations

from base64 import encodebytes
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ydoc_exec.documents.recovery import Recovery
from ydoc_exec.files.contents import contents_type
from ydoc_exec.files.recovery_copies import RecoveryCopy
from ydoc_exec.handlers.base import YdocExecHandler, http_errors
from ydoc_exec.handlers.bodies import RestoreBody


class RecoveryHandler(YdocExecHandler):
    """Lists, gives, restores and deletes recovery copies.

    Reading them needs ``contents: read``, the rest ``contents: write``. A path that no document ever had has no copies.
    """

    auth_resource = "contents"

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, path: str) -> None:
        """``{"copies": [...]}``, the newest first; with ``?copy=`` that copy as a model of the contents API.

        404 if there is no such copy.
        """
        path = path.strip("/")
        copy_id = self.get_query_argument("copy", None)
        with http_errors():
            recovery = await self._recovery()
            if copy_id is None:
                copies = await recovery.of(path)
                self.finish({"copies": [_record(copy) for copy in copies]})
                return
            copy = await recovery.find(path, copy_id)
            content = await recovery.read(copy)
        self.finish(_model(path, copy, content))

    @web.authenticated
    @authorized("write")  # type: ignore[untyped-decorator]
    async def post(self, path: str) -> None:
        """Restore ``{"copy": id}``: 200 when the file has it. ``kept`` is the copy of what was there until now.

        404 if there is no such copy, 409 if it cannot be restored or the file is open as another type.
        """
        path = path.strip("/")
        with http_errors():
            body = RestoreBody.read(self.read_json())
            recovery = await self._recovery()
            copy = await recovery.find(path, body.copy)
            kept = await recovery.restore(path, copy, getattr(self.current_user, "username", ""))
        self.finish({"restored": _record(copy), "kept": None if kept is None else _record(kept)})

    @web.authenticated
    @authorized("write")  # type: ignore[untyped-decorator]
    async def delete(self, path: str) -> None:
        """Drop ``?copy=``: 204. 400 without it, 404 if there is no such copy."""
        path = path.strip("/")
        copy_id = self.get_query_argument("copy")
        with http_errors():
            recovery = await self._recovery()
            await recovery.delete(await recovery.find(path, copy_id))
        self.set_status(204)
        self.finish()

    # Private

    async def _recovery(self) -> Recovery:
        collaboration = await self.collaboration()
        contents: Any = self.contents_manager
        file_ids = self.file_ids
        return Recovery(
            collaboration.copies, collaboration.documents, contents, file_ids.get_id, file_ids.get_path
        )


def _record(copy: RecoveryCopy) -> dict[str, Any]:
    return {
        "id": copy.id,
        "document_id": str(copy.room),
        "path": copy.path,
        "reason": copy.reason,
        "created": copy.created,
        "user": copy.user,
        "size": copy.size,
    }


def _model(path: str, copy: RecoveryCopy, content: Any) -> dict[str, Any]:
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "type": contents_type(copy.type),
        "format": copy.format,
        "mimetype": None,
        "content": encodebytes(content).decode() if isinstance(content, bytes) else content,
        "created": copy.created,
        "last_modified": copy.created,
        "size": copy.size,
        "writable": False,
        "copy": _record(copy),
    }
