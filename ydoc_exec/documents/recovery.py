"""What is done with recovery copies: they are listed, read, restored and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_ydoc import YNotebook

from ydoc_exec.documents import document_types
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.errors import CopyFailed, CopyNotFound, CopyUnusable, DocumentNotFound
from ydoc_exec.files.contents import ContentsManager, contents_type, settled
from ydoc_exec.files.decision import fingerprint
from ydoc_exec.files.merge import merge
from ydoc_exec.files.recovery_copies import RecoveryCopies, RecoveryCopy
from ydoc_exec.ids import RoomId


class Recovery:
    """The recovery copies, by the paths of their documents.

    Args:
        id_of: the file id of a path.
        path_of: the path of a file id; None if there is no such file any more.
    """

    def __init__(
        self,
        copies: RecoveryCopies,
        documents: OpenDocuments,
        contents: ContentsManager,
        id_of: Callable[[str], str | None],
        path_of: Callable[[str], str | None],
    ) -> None:
        self._copies = copies
        self._documents = documents
        self._contents = contents
        self._id_of = id_of
        self._path_of = path_of

    async def of(self, path: str) -> list[RecoveryCopy]:
        """The copies of the file at this path, the newest first, and of files that were there when they were deleted.

        Raises ``CopyFailed``.
        """
        file_id = self._id_of(path)
        return [
            copy
            for copy in await self._copies.all()
            if copy.file_id == file_id or (copy.path == path and self._path_of(copy.file_id) is None)
        ]

    async def find(self, path: str, copy_id: str) -> RecoveryCopy:
        """One of them. Raises ``CopyNotFound`` or ``CopyFailed``."""
        for copy in await self.of(path):
            if copy.id == copy_id:
                return copy
        raise CopyNotFound(copy_id, path)

    async def read(self, copy: RecoveryCopy) -> Any:
        """What is in it. Raises ``CopyNotFound`` or ``CopyFailed``."""
        return await self._copies.read(copy)

    async def delete(self, copy: RecoveryCopy) -> None:
        """Drop it. Raises ``CopyNotFound`` or ``CopyFailed``."""
        await self._copies.delete(copy)
        self._say_over(copy)

    async def restore(self, path: str, copy: RecoveryCopy, user: str) -> RecoveryCopy | None:
        """Make the document what it was, open or not, and save it.

        What it was until now is kept as a copy, which is returned; None if there was nothing else. Cells that are the
        same stay the same, and cells that are running go on. A file that was deleted is written anew.

        Raises ``CopyNotFound``, ``CopyFailed``, ``CopyUnusable``, and what opening a document raises; then nothing was
        changed. Raises ``SaveFailed`` if only saving it failed: it is tried again.
        """
        content = await self._copies.read(copy)
        room_id = RoomId(copy.format, copy.type, self._id_of(path) or copy.file_id)
        try:
            document_types.check(room_id, content, fingerprint(content))
        except Exception as error:
            # What a copy of a history holds, for example, and what clients can write.
            raise CopyUnusable(copy.id, path, str(error) or type(error).__name__) from error
        try:
            async with self._documents.open(room_id) as document:
                kept = self._replace(document, path, content, user)
                await document.mirror.save(recreate=True)
        except DocumentNotFound:
            kept = None
            await self._write_anew(path, copy, content)
        self._say_over(copy)
        return kept

    # Private

    def _replace(self, document: OpenDocument, path: str, content: Any, user: str) -> RecoveryCopy | None:
        """One step: nobody can type between what is kept and what is replaced."""
        try:
            present = document.read()
        except Exception as error:
            # Any client can write what jupyter_ydoc cannot read.
            raise CopyFailed(
                "restored", path, f"what is open now cannot be read, nor kept ({error})"
            ) from error
        if fingerprint(present) == fingerprint(content):
            return None
        kept = self._copies.keep_now(document.room_id, path, "restored", present, user)
        document.take_up(path, _beside_runs(document, content))
        return kept

    async def _write_anew(self, path: str, copy: RecoveryCopy, content: Any) -> None:
        model = {"type": contents_type(copy.type), "format": copy.format, "content": content}
        try:
            await settled(self._contents.save(model, path))
        except Exception as error:
            why = str(getattr(error, "log_message", None) or error) or type(error).__name__
            raise CopyFailed("restored", path, why) from error

    def _say_over(self, copy: RecoveryCopy) -> None:
        for document in self._documents.all():
            if document.room_id.file_id == copy.file_id and not document.closing:
                document.notices.clear_copy(copy.id)


def _beside_runs(document: OpenDocument, content: Any) -> Any:
    """The content, with the results and all that is queued or running now."""
    if not isinstance(document.document, YNotebook) or document.notebook is None:
        return content
    live = document.notebook.runs().keys()
    if not live:
        return content
    present = document_types.content_of(document.document)
    merged = merge(present, present, content, live)
    return content if merged is None else merged.content
