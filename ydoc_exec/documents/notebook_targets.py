"""The notebooks that runs of this server write to, open or not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from weakref import WeakValueDictionary

from anyio.abc import TaskGroup

from ydoc_exec.documents.notebook_target import NotebookTarget
from ydoc_exec.errors import YdocExecError
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)


class NotebookTargets:
    """One target for each notebook, for as long as its document or a run that may still say something has it.

    Args:
        tasks: the group in which documents are opened for late output.
        open_document: opens a document for as long as the block lasts.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        open_document: Callable[[RoomId], AbstractAsyncContextManager[object]],
    ) -> None:
        self._tasks = tasks
        self._open_document = open_document
        self._targets: WeakValueDictionary[RoomId, NotebookTarget] = WeakValueDictionary()
        self._opening: set[RoomId] = set()

    def get(self, room_id: RoomId) -> NotebookTarget:
        """The room's target."""
        target = self._targets.get(room_id)
        if target is None:
            target = NotebookTarget(room_id, lambda: self._start_opening(room_id))
            self._targets[room_id] = target
        return target

    # Private

    def _start_opening(self, room_id: RoomId) -> None:
        if room_id not in self._opening:
            self._opening.add(room_id)
            self._tasks.start_soon(self._open, room_id)

    async def _open(self, room_id: RoomId) -> None:
        """Opening is all that is needed: the document attaches itself to its target."""
        try:
            async with self._open_document(room_id):
                pass
        except YdocExecError as error:
            logger.warning("Output came for %s, which cannot be opened, and is lost: %s", room_id, error)
            self.get(room_id).unreachable()
        except Exception:
            # A mistake of ours; other documents go on.
            logger.exception("Output came for %s, which cannot be opened, and is lost", room_id)
            self.get(room_id).unreachable()
        finally:
            self._opening.discard(room_id)
