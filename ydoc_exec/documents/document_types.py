"""Every type of document that can be opened: those registered under the ``jupyter_ydoc`` entry points."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

from jupyter_ydoc import YNotebook, ydocs
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Awareness, Doc

from ydoc_exec.errors import BadRoomId
from ydoc_exec.files.decision import Fingerprint
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.notebook.notebook import Notebook

_BUILDERS = "+".join(f"{name}={version(name)}" for name in ("jupyter_ydoc", "pycrdt"))
"""Another version of these may build other items from the same content."""


def document_class(room: RoomId) -> type[YBaseDoc]:
    """The class for the room's type. Raises ``BadRoomId``.

    Text of an unknown type is a file, as in jupyter-collaboration (``rooms.py``).
    """
    found: type[YBaseDoc] | None = ydocs.get(room.type)
    if found is None and room.format == "text":
        found = ydocs.get("file")
    if found is None:
        raise BadRoomId(str(room), f"no document type {room.type!r} is installed")
    return found


def wrap(room: RoomId, doc: Doc[Any], awareness: Awareness | None = None) -> YBaseDoc:
    """The typed view of a shared document."""
    return document_class(room)(doc, awareness)


def first_lineage(room: RoomId, content: Fingerprint) -> Lineage:
    """The lineage of a document built from this content. The same content gives the same lineage again."""
    return Lineage(_digest(room, content, "lineage")[:32])


def build(room: RoomId, content: Any, print_: Fingerprint) -> bytes:
    """Make a document from its file's content: the update that creates it.

    The same content gives the same bytes: items of the same author at the same clocks. So when a document has
    to be built again from an unchanged file, tabs that still hold the first one have the very same items,
    and nothing is doubled. The author is made from the content, because two contents with one author would
    be two meanings of one item.
    """
    author = int(_digest(room, print_, "author")[:8], 16)
    doc: Doc[Any] = Doc(client_id=author)
    document = wrap(room, doc)
    if isinstance(document, YNotebook):
        content = with_cell_ids(content, print_)
    document.set(content)
    if isinstance(document, YNotebook):
        with doc.transaction():
            Notebook(document).reset_live()
    return doc.get_update()


def with_cell_ids(content: dict[str, Any], print_: Fingerprint) -> dict[str, Any]:
    """Give cells without an id one that will be the same the next time (notebooks before nbformat 4.5)."""
    cells = [
        cell if cell.get("id") else {**cell, "id": f"{print_[:6]}-{index}"}
        for index, cell in enumerate(content["cells"])
    ]
    if not cells:
        # JupyterLab puts a cell of its own into a notebook without any; each tab would.
        cells = [
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"{print_[:6]}-0",
                "metadata": {"trusted": True},
                "outputs": [],
                "source": "",
            }
        ]
    return {**content, "cells": cells}


def _digest(room: RoomId, content: Fingerprint, purpose: str) -> str:
    return hashlib.sha256(f"{purpose}|{room}|{content}|{_BUILDERS}".encode()).hexdigest()
