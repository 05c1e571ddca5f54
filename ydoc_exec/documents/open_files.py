"""The files that are open as documents, for whoever saves one by another way than its document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import current_time, sleep

from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.errors import LoadFailed
from ydoc_exec.files.contents import as_read

HEARING = 0.3
"""Seconds within which a tab that was sent a file's new hash most likely believes it."""

SAVES_MEANWHILE = 5
"""So often is waited again because the file was saved again: whoever saves at every keystroke gets an answer too."""

FileIdOf = Callable[[str], "str | None"]
"""The file id of a path."""


class OpenFiles:
    """Takes what others save to open files into their documents."""

    def __init__(self, documents: OpenDocuments, id_of: FileIdOf) -> None:
        self._documents = documents
        self._id_of = id_of

    async def save(self, model: dict[str, Any], path: str) -> dict[str, Any] | None:
        """Merge a model of the contents API into the document of this file, and save that.

        Returns the model that the contents manager then has; None if the file is not open, or as another type than
        the model's. Raises ``LoadFailed`` if the document cannot become this, or ``SaveFailed``.
        """
        document = self._find(path)
        if document is not None and document.closing:
            # Its last save comes first.
            await document.closed.wait()
            document = None
        if document is None or not _is_for(document, model):
            return None
        document.hold()
        try:
            return await document.mirror.put(partial(_content, model, path))
        finally:
            document.release()

    def merge(self, model: dict[str, Any], path: str) -> Any:
        """Merge a model into the document of this file without waiting: what the document has now, or None as above.

        Raises ``LoadFailed``.
        """
        document = self._find(path)
        if document is None or document.closing or not _is_for(document, model):
            return None
        return document.mirror.merge(_content(model, path))

    async def heard(self, path: str) -> None:
        """Return when the tabs of this file's document have had time to hear of its last version.

        JupyterLab's asks for the file first (``jupyter-docprovider``, ``ydrive.ts``).
        """
        document = self._find(path)
        if document is None:
            return
        for _ in range(SAVES_MEANWHILE):
            rest = document.hash_said_at + HEARING - current_time()
            if rest <= 0 or not document.room.clients:
                break
            await sleep(rest)

    async def flush(self, path: str) -> bool:
        """Return when the file has what its document has now; False if it is not open. Raises ``SaveFailed``."""
        document = self._find(path)
        if document is None:
            return False
        if document.closing:
            await document.closed.wait()
            return False
        document.hold()
        try:
            await document.mirror.save(recreate=True)
        finally:
            document.release()
        return True

    # Private

    def _find(self, path: str) -> OpenDocument | None:
        file_id = self._id_of(path)
        for document in self._documents.all():
            if document.room_id.file_id == file_id:
                return document
        return None


def _is_for(document: OpenDocument, model: dict[str, Any]) -> bool:
    room, content = document.room_id, model.get("content")
    if model.get("type") == "notebook":
        return room.type == "notebook" and isinstance(content, dict)
    return (
        room.type != "notebook"
        and (model.get("type"), model.get("format")) == ("file", "text")
        and room.format == "text"
        and isinstance(content, str)
    )


def _content(model: dict[str, Any], path: str) -> Any:
    if model["type"] != "notebook":
        return model["content"]
    try:
        return as_read(model["content"])
    except Exception as error:
        raise LoadFailed(path, f"it is no notebook ({error})") from error
