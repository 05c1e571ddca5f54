"""What a shared document says of where it comes from: its lineage, and what it had in common with its file.

Both are in the document and not only in the log, because a tab that comes back brings its document along, and the
log may be gone. They are in root maps that stock front ends do not know and no file holds:

    lineage: Map   id: the lineage
    base: Map      cell id (or ``WHOLE``) -> digest, see ``files/reconciliation.py``
"""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Map

from ydoc_exec.files.reconciliation import Digests
from ydoc_exec.ids import Lineage


def read_lineage(doc: Doc[Any]) -> Lineage:
    """The lineage that a shared document says it has."""
    name = doc.get("lineage", type=Map).get("id")
    return Lineage(name if isinstance(name, str) else "")


def write_lineage(doc: Doc[Any], lineage: Lineage) -> None:
    """Say in the document whose history it has. Called inside a transaction."""
    shared: Map[Any] = doc.get("lineage", type=Map)
    if shared.get("id") != lineage:
        shared["id"] = lineage


def read_base(doc: Doc[Any]) -> Digests:
    """The digests of what a shared document and its file had in common."""
    shared: Map[Any] = doc.get("base", type=Map)
    return {key: value for key, value in shared.items() if isinstance(value, str)}


def write_base(doc: Doc[Any], base: Digests) -> None:
    """Say in the document what it has in common with its file. Called inside a transaction."""
    shared: Map[Any] = doc.get("base", type=Map)
    for key in list(shared.keys()):
        if key not in base:
            del shared[key]
    for key, value in base.items():
        if shared.get(key) != value:
            shared[key] = value
