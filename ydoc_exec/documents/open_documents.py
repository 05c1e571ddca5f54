"""The documents alive on this server.

``async with documents.open(room_id) as document:`` is the only way in, for a websocket, a request and a
test. The first caller loads, the others wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio import Lock
from anyio.abc import TaskGroup, TaskStatus

from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import OpenAsOtherType, ServerStopping
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)


class OpenDocuments:
    """The registry of open documents.

    Args:
        tasks: the group their lives belong to.
        make: builds a document that is not loaded yet. It may raise ``BadRoomId``.
    """

    def __init__(self, tasks: TaskGroup, make: Callable[[RoomId], OpenDocument]) -> None:
        self._tasks = tasks
        self._make = make
        self._documents: dict[RoomId, OpenDocument] = {}
        self._turns: dict[str, tuple[Lock, int]] = {}
        self._stopped = False

    @asynccontextmanager
    async def open(self, room_id: RoomId) -> AsyncIterator[OpenDocument]:
        """The document, loaded, and open at least until the block ends.

        Raises ``BadRoomId``, ``DocumentNotFound``, ``LoadFailed``, ``OpenAsOtherType`` or ``ServerStopping``. A failed load leaves nothing behind, so
        it can be tried again.
        """
        document = await self._get(room_id)
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
        lock, users = self._turns.get(file_id, (Lock(), 0))
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
            task_status.started()

        try:
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
