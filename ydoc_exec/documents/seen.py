"""What a client had seen of the cells that it deletes.

Whoever deletes a cell deletes with it everything in it that they know, and names all of that (Yjs, ``ContentType.delete``).
What is in the cell and not named was typed by others, and had not arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.union import Item, inserted_cells
from ydoc_exec.ids import CellId, RoomId
from ydoc_exec.notebook.cell_results import CellResult
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.room.deletions import Deletions, all_but
from ydoc_exec.room.state_vector import clocks


def seen_sources(room: RoomId, state: bytes, deletions: Deletions) -> dict[str, str]:
    """The sources of the cells that are deleted, as far as these deletions name them; by the cells' ids.

    Args:
        state: the document just before, as an update.
    """
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    view = document_types.wrap(room, doc)
    # The client may not know yet what a cell is called by now.
    names = {item: name for item, (name, _) in inserted_cells(view, frozenset()).items()}
    _leave_only(doc, deletions)
    return {names[item]: source for item, (_, source) in inserted_cells(view, frozenset()).items()}


def known_sources(room: RoomId, state: bytes, known: Mapping[int, int]) -> dict[Item, str]:
    """The sources of the cells in a document, without what is beyond the state vector ``known``; by the cells' items.

    Args:
        state: the document, as an update.
    """
    view = _known(room, state, known)
    return {item: source for item, (_, source) in inserted_cells(view, frozenset()).items()}


def known_results(room: RoomId, state: bytes, known: Mapping[int, int]) -> dict[CellId, CellResult | None]:
    """What the code cells of a document show of their runs, without what is beyond the state vector ``known``.

    Args:
        state: the document, as an update.
    """
    view = _known(room, state, known)
    if not isinstance(view, YNotebook):
        return {}
    notebook = Notebook(view)
    return {cell_id: notebook.result(cell_id) for cell_id in notebook.code_cells()}


# Private


def _known(room: RoomId, state: bytes, known: Mapping[int, int]) -> YBaseDoc:
    """A document in which there is nothing beyond this state vector."""
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    _leave_only(doc, Deletions({}).and_before(known))
    return document_types.wrap(room, doc)


def _leave_only(doc: Doc[Any], units: Deletions) -> None:
    """Delete everything but these units."""
    doc.apply_update(all_but(units, clocks(doc.get_state())))
