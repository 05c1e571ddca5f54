"""Bringing two contents together when of their common base only digests are known. Pure.

A tab that comes back after the server had to build its document anew brings a document whose history has
nothing in common with the server's. What both had in common is gone; but every document carries, for each cell,
a digest of what it and its file had in common last (``known``). A side whose digest is the known one has not
changed, so it is what both had in common, and the cells can be merged as if the base were there.

What came of running a cell is in no digest: each run would change one, and leave a trace in the document. Whose
results are the newer ones has to be said.

Contents are notebooks as the contents API has them, with an id in every cell, or text.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from ydoc_exec.files.merge import RESULT, merge

WHOLE = ""
"""The key of the digest of what is in no cell: the order of the cells and the fields of the notebook, or a text."""

Digests = dict[str, str]
"""One for each cell id; ``order/fields`` for ``WHOLE``, or one for a text."""

_BYTES = 9
_OF_RESULTS = ("trusted", "execution")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The content that has both sides' changes, and what both had changed differently.

    ``results`` names the cells of which theirs had other results, which are not in ``content``.

    ``conflicts`` names cells, ``metadata``-like fields as ``notebook``, or ``WHOLE`` when it is all of it. Of
    these ``content`` has our version, so theirs has to be kept elsewhere.
    """

    content: Any
    conflicts: tuple[str, ...]
    results: tuple[str, ...] = ()


def digests(content: Any) -> Digests:
    """The digests of a content."""
    if not _is_notebook(content):
        return {WHOLE: _digest(content)}
    known = {WHOLE: f"{_digest(_order(content))}/{_digest(_fields(content))}"}
    for cell in content["cells"]:
        known[str(cell.get("id"))] = _digest(_rest(cell))
    return known


def reconcile(
    known: Mapping[str, str],
    ours: Any,
    theirs: Any,
    live: Container[str] = (),
    *,
    take_results: bool = False,
) -> Reconciled:
    """Merge ``theirs`` into ``ours``. For ``live`` see ``merge``.

    Where nothing is known (or what is known fits neither side) and the sides differ, it is a conflict, and what
    only one of them has stays. Results (outputs and count) are ours, or theirs with ``take_results``; those of
    live cells are always ours.
    """
    if not (_is_notebook(ours) and _is_notebook(theirs)):
        return _reconcile_whole(known, ours, theirs)
    merged = merge(_base(known, ours, theirs, take_results), ours, theirs, live)
    if merged is None:
        return _reconcile_whole({}, ours, theirs)  # cells cannot be told apart
    taken = {cell["id"]: _result(cell) for cell in merged.content["cells"]}
    dropped = (cell for cell in theirs["cells"] if taken.get(cell["id"], _result(cell)) != _result(cell))
    return Reconciled(merged.content, merged.conflicts, tuple(cell["id"] for cell in dropped))


# Private


def _is_notebook(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("cells"), list)


def _reconcile_whole(known: Mapping[str, str], ours: Any, theirs: Any) -> Reconciled:
    our_digest, their_digest = _digest(ours), _digest(theirs)
    if our_digest == their_digest or known.get(WHOLE) == their_digest:
        return Reconciled(ours, ())
    if known.get(WHOLE) == our_digest:
        return Reconciled(theirs, ())
    return Reconciled(ours, (WHOLE,))


def _base(
    known: Mapping[str, str], ours: dict[str, Any], theirs: dict[str, Any], take_results: bool
) -> dict[str, Any]:
    """A notebook that ``merge`` takes for the common one: where a side has not changed it is like that side."""
    order, _, fields = known.get(WHOLE, "").partition("/")
    base: dict[str, Any] = {"metadata": {}}
    for side in (ours, theirs):
        if _digest(_fields(side)) == fields:
            base = dict(_fields(side))
    by_id = [{cell.get("id"): cell for cell in side["cells"]} for side in (ours, theirs)]
    # The older results are those of the base: what was changed since then is taken.
    older = by_id if take_results else by_id[::-1]
    cells = {}
    for name in {**by_id[0], **by_id[1]}:
        sides = [side[name] for side in by_id if name in side]
        if name in known or len(sides) == 2:
            result = next(_result(side[name]) for side in older if name in side)
            cells[name] = _base_cell(name, known.get(name), sides, result)
    # Where neither order is the known one, both were changed: then ours counts, as for everything in conflict.
    names = next((_order(side) for side in (ours, theirs) if _digest(_order(side)) == order), _order(theirs))
    placed = [cells.pop(name) for name in names if name in cells]
    return {**base, "cells": placed + list(cells.values())}


def _base_cell(
    name: str, digest: str | None, sides: list[dict[str, Any]], result: dict[str, Any]
) -> dict[str, Any]:
    rest: dict[str, Any] = next(
        (_without_result(side) for side in sides if _digest(_rest(side)) == digest), {"metadata": {}}
    )
    return {**rest, **result, "id": name}


def _order(notebook: dict[str, Any]) -> list[Any]:
    return [cell.get("id") for cell in notebook["cells"]]


def _fields(notebook: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in notebook.items() if key != "cells"}


def _result(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: cell[key] for key in RESULT if key in cell}


def _without_result(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cell.items() if key not in RESULT}


def _rest(cell: dict[str, Any]) -> dict[str, Any]:
    """What somebody wrote: no results, no timings of them, and no trust, which every reading says anew.

    No id either: where files have none, a cell may be called otherwise the next time.
    """
    rest = _without_result(cell)
    rest.pop("id", None)
    metadata = rest.get("metadata")
    if isinstance(metadata, dict):
        rest["metadata"] = {key: value for key, value in metadata.items() if key not in _OF_RESULTS}
    return rest


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest[:_BYTES]).decode()
