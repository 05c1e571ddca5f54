"""Reading a notebook that clients have damaged.

JSON knows no NaN and no infinity, but a shared document does, and any client can write them. ``YNotebook.get``
raises over them (jupyter_ydoc 4.2.1 makes integers of floats), so such a notebook could never be saved again. A
notebook without its format it gives as one of nbformat 4.0, whose cells have no ids.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from jupyter_ydoc import YNotebook
from pycrdt import Array, Map


def require_format(document: YNotebook) -> None:
    """Raise ``ValueError`` for a notebook that does not say its format: what it would be saved as is a guess."""
    meta: Map[Any] = document.ydoc.get("meta", type=Map)
    if "nbformat" not in meta or "nbformat_minor" not in meta:
        raise ValueError("the notebook has lost its format")


def replace_non_finite(document: YNotebook) -> None:
    """Make null of them, as ``JSON.stringify`` in a browser does. Writes into the open transaction."""
    _replace_in(document.ycells)
    _replace_in(document.ydoc.get("meta", type=Map))


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
