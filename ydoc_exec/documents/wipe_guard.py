"""Looks at what clients change before it is done, and keeps what they would wipe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from jupyter_ydoc import YNotebook, YUnicode
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc, Map, Text

from ydoc_exec.documents import document_types
from ydoc_exec.errors import ProtocolError
from ydoc_exec.files.recovery_copies import Reason
from ydoc_exec.files.wipe import is_wipe
from ydoc_exec.ids import RoomId
from ydoc_exec.room.deletions import Deletions
from ydoc_exec.room.room import guarded
from ydoc_exec.room.room_client import RoomClient

logger = logging.getLogger(__name__)

LEAST_DELETED = 8
"""Who deletes fewer characters or cells than this at once has wiped nothing."""


class WipeGuard:
    """Tries updates that delete much on a copy of the document.

    Args:
        keep: keeps a version and tells people; raises ``CopyFailed``.
    """

    def __init__(
        self, room_id: RoomId, document: YBaseDoc, keep: Callable[[str, Any, Reason, str, str], str]
    ) -> None:
        self._room_id = room_id
        self._document = document
        self._keep = keep

    def look(self, client: RoomClient, update: bytes, deletions: Deletions) -> None:
        """Keep what is there if the update, which deletes this, wipes most of it.

        Raises ``CopyFailed`` or ``ProtocolError``; then the update must not be applied.
        """
        deleted = deletions.units
        if deleted < LEAST_DELETED or deleted < self._units() // 2:
            return
        copy: Doc[Any] = Doc()
        copy.apply_update(self._document.ydoc.get_update())
        view = document_types.wrap(self._room_id, copy)
        before = _read(view)
        if before is None:
            return  # there is nothing that anybody could be given back
        with guarded("an update could not be applied"):
            copy.apply_update(update)
        if not is_wipe(before, _read(view)):
            return
        path = self._document.path or self._room_id.file_id
        where = self._keep(
            path,
            before,
            "wiped",
            "Most of this document was deleted at once. What was there before was kept as a copy.",
            client.user,
        )
        logger.warning(
            "%s has wiped most of %s; what was there is recovery copy %s", client.name, path, where
        )

    # Private

    def _units(self) -> int:
        """How much text there is at least, in the units of ``Deletions``.

        A shared text says its length in bytes of UTF-8, of which a unit has three at most.
        """
        if isinstance(self._document, YUnicode):
            return len(self._document.ydoc.get("source", type=Text)) // 3
        if not isinstance(self._document, YNotebook):
            return 0
        sources = (cell.get("source") for cell in self._document.ycells if isinstance(cell, Map))
        return sum(len(source) for source in sources if isinstance(source, Text)) // 3


def _read(view: YBaseDoc) -> Any:
    """The content, or None for what cannot be read, which any client can write."""
    try:
        with guarded("it cannot be read"):
            return view.get()
    except ProtocolError:
        return None
