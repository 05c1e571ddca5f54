"""What a client had seen of the cells that it deletes.

Whoever deletes a cell deletes with it everything in it that they know, and names all of that (Yjs, ``ContentType.delete``).
What is in the cell and not named was typed by others, and had not arrived.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, get_state

from ydoc_exec.documents import document_types
from ydoc_exec.documents.state_vector import clocks
from ydoc_exec.documents.union import sources_of
from ydoc_exec.ids import RoomId
from ydoc_exec.room.deletions import Deletions, all_but


def seen_sources(room: RoomId, state: bytes, deletions: Deletions) -> dict[str, str]:
    """The sources of the cells that are deleted, as far as these deletions name them; by the cells' ids.

    Args:
        state: the document just before, as an update.
    """
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    doc.apply_update(all_but(deletions, clocks(get_state(state))))
    return sources_of(document_types.wrap(room, doc))
