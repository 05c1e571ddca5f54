"""The documents alive on this server.

``async with documents.open(room_id) as document:`` is the only way in, for a websocket, a request and a
test. The first caller loads, the others wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager, nullcontext

import anyio
from anyio import Lock
from anyio.abc import TaskGroup, TaskStatus

from ydoc_exec.documents.deleted_files import DeletedFiles
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.ownership import Ownership
from ydoc_exec.errors import OpenAsOtherType, ServerStopping
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)


class OpenDocuments:
    """The registry of open documents.

    Args:
        tasks: the group their lives belong to.
        make: builds a document that is not loaded yet. It may raise ``BadRoomId``.
        ownership: keeps documents from being open on two servers; without it nothing does.
        deleted_files: forgets what is deleted; without it nothing is.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        make: Callable[[RoomId], OpenDocument],
        ownership: Ownership | None = None,
        deleted_files: DeletedFiles | None = None,
    ) -> None:
        self._tasks = tasks
        self._make = make
        self._ownership = ownership or Ownership(None)
        self._deleted_files = deleted_files
        self._documents: dict[RoomId, OpenDocument] = {}
        self._turns: dict[str, tuple[Lock, int]] = {}
        self._stopped = False

    @asynccontextmanager
    async def open(self, room_id: RoomId) -> AsyncIterator[OpenDocument]:
        """The document, loaded, and open at least until the block ends.

        Raises ``BadRoomId``, ``DocumentNotFound``, ``LoadFailed``, ``OpenAsOtherType``, ``OpenElsewhere`` or
        ``ServerStopping``. A failed load leaves nothing behind, so it can be tried again.
        """
        document = None if self._stopped else self.get(room_id)
        if document is None:
            document = await self._get(room_id)
        else:
            document.hold()
        try:
            yield document
        finally:
            document.release()

    def get(self, room_id: RoomId) -> OpenDocument | None:
        """The document if it is open now."""
        document = self._documents.get(room_id)
        return None if document is None or document.closing else document

    def all(self) -> list[OpenDocument]:
        """Every open document."""
        return list(self._documents.values())

    def log_failed(self) -> None:
        """The update log fails, or lacks something."""
        for document in self.all():
            document.log_failed()

    def log_is_back(self, broken: Container[RoomId]) -> None:
        """The update log works again, and has not all that was done to the documents of these rooms."""
        for document in self.all():
            document.log_is_back(lacks=document.room_id in broken)

    def deleted(self, path: str) -> None:
        """A file or folder was deleted through this server: what nobody needs of it is closed and forgotten.

        What somebody has open stays so, and is forgotten when it is closed.
        """
        for room in [] if self._deleted_files is None else self._deleted_files.deleted(path):
            document = self.get(room)
            if document is None:
                continue
            document.was_deleted()
            if not document.held:
                # A new file of this name must not find it.
                document.stop()

    async def close(self) -> None:
        """Save and close everything; returns when that is done. Nothing can be opened afterwards."""
        self._stopped = True
        documents = self.all()
        for document in documents:
            document.stop()
        for document in documents:
            await document.closed.wait()

    # Private

    async def _get(self, room_id: RoomId) -> OpenDocument:
        """The document, loaded and held once for the caller."""
        async with self._turn(room_id.file_id):
            if self._stopped:
                raise ServerStopping
            for document in self.all():
                if document.room_id.file_id == room_id.file_id and not await self._leaves(document, room_id):
                    document.hold()
                    return document
            document = self._make(room_id)
            # Held before it lives: it must not find itself unneeded before the caller gets it.
            document.hold()
            await self._tasks.start(self._live, document)
            return document

    async def _leaves(self, document: OpenDocument, wanted: RoomId) -> bool:
        """Whether the open document of this file was not the wanted one, and is closed now.

        Two documents of one file would each save it over the other's changes.
        """
        if document.room_id != wanted and not document.closing:
            if document.held:
                path = document.document.path or wanted.file_id
                raise OpenAsOtherType(path, f"{wanted.format} {wanted.type}", document.room_id.type)
            document.stop()
        if not document.closing:
            return False
        # It is being saved. Whoever comes now gets it fresh from the file and the log.
        await document.closed.wait()
        return True

    @asynccontextmanager
    async def _turn(self, file_id: str) -> AsyncIterator[None]:
        """One after the other, for each file."""
        lock, users = self._turns.get(file_id, (Lock(fast_acquire=True), 0))
        self._turns[file_id] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._turns.pop(file_id)
            if users > 1:
                self._turns[file_id] = lock, users - 1

    async def _live(
        self, document: OpenDocument, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """A document's life. Its failure is its own: the others do not notice."""
        loaded = False

        def started() -> None:
            nonlocal loaded
            loaded = True
            # Registered in the same step: from now on it can be found.
            self._documents[document.room_id] = document
            if self._stopped:
                document.stop()  # it was loading when the others were closed
            task_status.started()

        files = self._deleted_files
        try:
            async with self._ownership.of(document.room_id.file_id):
                with files.opened(document.room_id) if files is not None else nullcontext():
                    await document.run(started)
        except Exception:
            if not loaded:
                raise  # to whoever wanted it opened
            logger.exception(
                "%s failed and was closed; it is loaded again when it is needed", document.room_id
            )
        finally:
            document.closing = True
            if self._documents.get(document.room_id) is document:
                del self._documents[document.room_id]
            document.closed.set()
