"""Every type of document that can be opened: those registered under the ``jupyter_ydoc`` entry points."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from jupyter_ydoc import YNotebook, YUnicode, ydocs
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Awareness, Doc, Map, Text

from ydoc_exec.documents.ancestry import write_base, write_lineage
from ydoc_exec.documents.cell_order import longest_ascending
from ydoc_exec.documents.readable import complete, tell_apart
from ydoc_exec.documents.text_edits import replace_text
from ydoc_exec.documents.union import Item
from ydoc_exec.errors import BadRoomId
from ydoc_exec.files.cell_ids import identify
from ydoc_exec.files.decision import Fingerprint
from ydoc_exec.files.reconciliation import digests
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.shareable import shareable
from ydoc_exec.room.room import guarded

_BUILDERS = "+".join(f"{name}={version(name)}" for name in ("jupyter_ydoc", "pycrdt", "ydoc_exec"))
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


def first_lineage(room: RoomId, content: Any, print_: Fingerprint) -> Lineage:
    """The lineage of a document built from this content. The same content gives the same lineage again."""
    return Lineage(_digest(room, content, print_, "lineage")[:32])


def build(room: RoomId, content: Any, print_: Fingerprint) -> bytes:
    """Make a document from its file's content: the update that creates it.

    The same content gives the same bytes: items of the same author at the same clocks. So when a document has
    to be built again from an unchanged file, tabs that still hold the first one have the very same items,
    and nothing is doubled. The author is made from the content, because two contents with one author would
    be two meanings of one item. So what is trusted, which no fingerprint knows, counts too.
    """
    author = int(_digest(room, content, print_, "author")[:8], 16)
    doc: Doc[Any] = Doc(client_id=author)
    document = wrap(room, doc)
    fill(document, content, print_)
    with doc.transaction():
        if isinstance(document, YNotebook):
            Notebook(document).reset_live()
        write_lineage(doc, first_lineage(room, content, print_))
        write_base(doc, digests(content_of(document)))
    return doc.get_update()


def content_of(document: YBaseDoc, told: dict[Item, str] | None = None) -> Any:
    """A document's content as the contents API has it, with an id in every cell, whatever its format.

    Reading a notebook gives cells with the id of another cell a new one (for ``told`` see ``tell_apart``), and the parts
    that a cell lacks: who calls it writes.
    """
    if not isinstance(document, YNotebook):
        return document.get()
    return _with_cells(document, told, lambda cell, name: {**cell, "id": name})


def file_content_of(document: YBaseDoc, told: dict[Item, str] | None = None) -> Any:
    """A document's content as its file is to have it. Who calls it writes, as for ``content_of``."""
    if not isinstance(document, YNotebook):
        return document.get()
    return _with_cells(document, told, lambda cell, _: cell)


def has_ids_in_files(notebook: dict[str, Any]) -> bool:
    """Whether the files of notebooks of this one's format have the ids of its cells (from nbformat 4.5 on)."""
    return (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)


def as_document(room: RoomId, content: Any, print_: Fingerprint, like: Sequence[dict[str, Any]] = ()) -> Any:
    """A file's content as a document would give it back: with an id in every cell and what is filled in."""
    with guarded("it cannot become a shared document"):
        scratch = wrap(room, Doc())
        fill(scratch, content, print_, like)
        return content_of(scratch)


def fill(document: YBaseDoc, content: Any, print_: Fingerprint, like: Sequence[dict[str, Any]] = ()) -> None:
    """Let a document become this content.

    Cells without an id get that of the cell of ``like`` they stand for, or one that is the same the next time.
    """
    if isinstance(document, YNotebook):
        # A file may hold what a shared document cannot, and some of it makes pycrdt panic.
        content = identify(shareable(content), print_, like)
        if not content["cells"]:
            content = {**content, "cells": [_first_cell(print_)]}
    _set(document, content)


def become(document: YBaseDoc, content: Any) -> None:
    """Let a document become a content that a document gave, as far as it is not. Called inside a transaction."""
    if isinstance(document, YUnicode):
        replace_text(document.ydoc.get("source", type=Text), content)
    else:
        _set(document, content)


def check(room: RoomId, content: Any, print_: Fingerprint) -> None:
    """Raise whatever ``fill`` would raise half-way, and leave a document half-filled."""
    with guarded("it cannot become a shared document"):
        scratch = wrap(room, Doc())
        fill(scratch, content, print_)
        scratch.get()


def _set(document: YBaseDoc, content: Any) -> None:
    with document.ydoc.transaction():
        if isinstance(document, YNotebook):
            _take_out_moved(document, content["cells"])
            _write_in_place(document, content["cells"])
        document.set(content)


def _write_in_place(document: YNotebook, cells: list[dict[str, Any]]) -> None:
    """Give cells their new sources and outputs where they are.

    ``YNotebook.set`` replaces the whole of a source, and the whole cell if its outputs change and have a stream
    among them: what somebody else writes there at the same time would be lost or out of its place.
    """
    wanted = {cell["id"]: cell for cell in cells if cell.get("id")}
    notebook = Notebook(document)
    for shared in list(document.ycells):
        cell = wanted.pop(shared.get("id"), None) if isinstance(shared, Map) else None
        if cell is None or cell["cell_type"] != shared.get("cell_type"):
            continue
        text, source = shared.get("source"), cell["source"]
        if isinstance(text, Text):
            replace_text(text, "".join(source) if isinstance(source, list) else source)
        outputs = cell.get("outputs", ())
        # An open tab believes a cell what it believed it before, so other trust comes with another cell.
        same_trust = _is_trusted(shared.get("metadata")) == _is_trusted(cell["metadata"])
        if same_trust and all(map(_is_usual, outputs)):
            notebook.set_outputs(cell["id"], outputs)


def _take_out_moved(document: YNotebook, cells: list[dict[str, Any]]) -> None:
    """Delete as few cells as possible so that the others are in the order of ``cells``.

    ``YNotebook.set`` makes those anew in their places. It would do that with every cell that another one passes, and
    what somebody else writes into one at the same time is lost.
    """
    places = {cell["id"]: place for place, cell in enumerate(cells) if cell.get("id")}
    order = [
        (index, places.pop(name))
        for index, name in enumerate(cell.get("id") for cell in document.ycells)
        if name in places
    ]
    staying = longest_ascending([place for _, place in order])
    for index, place in reversed(order):
        if place not in staying:
            del document.ycells[index]


def _is_usual(output: dict[str, Any]) -> bool:
    return output.get("output_type") != "stream" or (
        isinstance(output.get("name"), str) and isinstance(output.get("text"), str)
    )


def _is_trusted(metadata: Any) -> bool:
    return bool(metadata is not None and metadata.get("trusted"))


def _with_cells(
    document: YNotebook,
    told: dict[Item, str] | None,
    make: Callable[[dict[str, Any], str], dict[str, Any]],
) -> Any:
    complete(document)
    names = tell_apart(document, told)
    content = document.get()
    if len(content["cells"]) != len(names):
        return content  # it has left out the copies itself
    cells = zip(content["cells"], names, strict=True)
    return {**content, "cells": [make(cell, name) for cell, name in cells if name is not None]}


def _first_cell(print_: Fingerprint) -> dict[str, Any]:
    """JupyterLab puts a cell of its own into a notebook without any; each tab would."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"{print_[:6]}-0",
        "metadata": {"trusted": True},
        "outputs": [],
        "source": "",
    }


def _digest(room: RoomId, content: Any, print_: Fingerprint, purpose: str) -> str:
    cells = content["cells"] if isinstance(content, dict) else ()
    trust = [_is_trusted(cell.get("metadata")) for cell in cells]
    said = "".join(str(int(trusted)) for trusted in trust)
    return hashlib.sha256(f"{purpose}|{room}|{print_}|{said}|{_BUILDERS}".encode()).hexdigest()
