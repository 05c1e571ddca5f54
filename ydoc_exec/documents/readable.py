"""Reading a notebook that clients have damaged.

JSON knows no NaN and no infinity, but a shared document does, and any client can write them. ``YNotebook.get``
raises over them (jupyter_ydoc 4.2.1 makes integers of floats), so such a notebook could never be saved again. A
notebook without its format it gives as one of nbformat 4.0, whose cells have no ids. Cells that have the id of another
it tells apart only where files have ids; where they have none it gives each of them, without any. And a cell that
undoing brings back lacks what somebody else has set at the moment at which it was removed (``redoItem`` in Yjs): its count,
for example, which a run has just written. Without all of its parts the notebook is no valid one.
"""

from __future__ import annotations

from math import isfinite
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

from jupyter_ydoc import YNotebook
from pycrdt import Array, Map, Text

from ydoc_exec.documents.union import Item, item_at


def require_format(document: YNotebook) -> None:
    """Raise ``ValueError`` for a notebook that does not say its format: what it would be saved as is a guess."""
    meta: Map[Any] = document.ydoc.get("meta", type=Map)
    if "nbformat" not in meta or "nbformat_minor" not in meta:
        raise ValueError("the notebook has lost its format")


def tell_apart(document: YNotebook, told: dict[Item, str] | None = None) -> list[str | None]:
    """Let every cell have an id of its own: the id of each, or None for one that is exactly as another of its id.

    It is what ``YNotebook.get`` does where files have ids: copies stay in the document, and are in no content. Writes
    into the open transaction.

    A new id is made of the item that holds the cell. So the cell has the same one in each document that has it: in one
    that a tab brings again and again, which never hears of the id, as well as in ours.

    What a cell was called that is given another id is written into ``told``, by its item.
    """
    names: list[str | None] = []
    found: dict[str, Map[Any]] = {}
    for index, cell in enumerate(document.ycells):
        name = cell.get("id")
        if name and name in found and _without_state(found[name]) == _without_state(cell):
            names.append(None)
            continue
        if not name or name in found:
            item = item_at(document.ycells, index)
            if name and told is not None:
                told.setdefault(item, name)
            name = str(uuid5(NAMESPACE_OID, "{}:{}".format(*item)))
            if name in found:
                name = str(uuid4())
            cell["id"] = name
            if cell.get("execution_state", "idle") != "idle":
                cell["execution_state"] = "idle"  # what runs has the other one's id
        found[name] = cell
        names.append(name)
    return names


def complete(document: YNotebook) -> None:
    """Give cells the parts that every cell has, where they lack one. Writes into the open transaction.

    Metadata that are none count as lacking: nothing could be said of such a cell, not even whether it is trusted.
    """
    for cell in document.ycells:
        if not isinstance(cell, Map):
            continue
        if not isinstance(cell.get("metadata"), (Map, dict)):
            cell["metadata"] = Map()
        if "source" not in cell:
            cell["source"] = Text()
        if cell.get("cell_type") == "code":
            if "outputs" not in cell:
                cell["outputs"] = Array()
            if "execution_count" not in cell:
                cell["execution_count"] = None


def replace_non_finite(document: YNotebook) -> None:
    """Make null of them, as ``JSON.stringify`` in a browser does. Writes into the open transaction."""
    _replace_in(document.ycells)
    _replace_in(document.ydoc.get("meta", type=Map))


def _without_state(cell: Map[Any]) -> dict[str, Any]:
    return {key: value for key, value in (cell.to_py() or {}).items() if key != "execution_state"}


def _replace_in(shared: Map[Any] | Array[Any]) -> None:
    places: list[Any] = list(shared.keys()) if isinstance(shared, Map) else list(range(len(shared)))
    for place in places:
        value = shared[place]
        if isinstance(value, (Map, Array)):
            _replace_in(value)
        elif not _finite(value):
            shared[place] = _nulled(value)


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or isfinite(value)


def _nulled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nulled(item) for item in value]
    return value if _finite(value) else None
