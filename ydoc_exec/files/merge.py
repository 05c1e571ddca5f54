"""Taking up an outside change of a notebook cell by cell. Pure.

Three contents: ``base`` is what file and document last had in common, ``ours`` the document, ``theirs`` the
file. What only one side changed is taken from that side. What both changed differently stays as it is in the
document, and is named, so that the file's version can be kept aside.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

Cell = dict[str, Any]
Notebook = dict[str, Any]

RESULT = ("outputs", "execution_count")
"""These say what one execution gave: they are taken together or not at all."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The content that has both sides' changes, and the cells (or ``metadata``) that both had changed."""

    content: Notebook
    conflicts: tuple[str, ...]


def merge(base: Notebook, ours: Notebook, theirs: Notebook, live: Container[str] = ()) -> Merged | None:
    """Merge notebooks; None if cells cannot be told apart (missing or repeated ids).

    Cells in ``live`` (queued, running, or run since the last save) stay, and their results are never taken
    from the file.
    """
    base_cells, our_cells, their_cells = map(_by_id, (base, ours, theirs))
    if base_cells is None or our_cells is None or their_cells is None:
        return None
    conflicts: list[str] = []
    merged: dict[str, Cell] = {}
    for name in {**our_cells, **their_cells}:
        cell = _merge_cell(
            name, base_cells.get(name), our_cells.get(name), their_cells.get(name), name in live, conflicts
        )
        if cell is not None:
            merged[name] = cell
    order = _merge_order(list(base_cells), list(our_cells), list(their_cells))
    content = _merge_fields(
        _without_cells(base), _without_cells(ours), _without_cells(theirs), "notebook", conflicts
    )
    content["cells"] = [merged[name] for name in order if name in merged]
    return Merged(content, tuple(dict.fromkeys(conflicts)))


# Private


def _by_id(notebook: Notebook) -> dict[str, Cell] | None:
    names = [cell.get("id") for cell in notebook["cells"]]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        return None
    return dict(zip(names, notebook["cells"], strict=True))


def _without_cells(notebook: Notebook) -> Notebook:
    return {key: value for key, value in notebook.items() if key != "cells"}


def _merge_cell(
    name: str, base: Cell | None, ours: Cell | None, theirs: Cell | None, live: bool, conflicts: list[str]
) -> Cell | None:
    if ours is None or theirs is None:
        present = ours if theirs is None else theirs
        # New on this side, or deleted on the other while this side changed it: then it stays.
        if base is None or _comparable(present) != _comparable(base) or (live and present is ours):
            return present
        return None
    if base is None:
        base = {}
    results = [{key: cell.get(key) for key in RESULT} for cell in (base, ours, theirs)]
    rest = [{key: value for key, value in cell.items() if key not in RESULT} for cell in (base, ours, theirs)]
    merged = _merge_fields(rest[0], rest[1], rest[2], name, conflicts)
    if live and "cell_type" in ours:
        merged["cell_type"] = ours["cell_type"]
    take_theirs = not live and results[1] == results[0]
    source = theirs if take_theirs else ours
    if not take_theirs and results[2] not in (results[0], results[1]) and not live:
        conflicts.append(name)
    if merged.get("cell_type", "code") == "code":
        if not _has_result(source):  # that side has made text of it
            source = ours if source is theirs else theirs
        merged.update({"outputs": [], "execution_count": None})  # which no code cell may be without
        merged.update({key: source[key] for key in RESULT if key in source})
        _settle_trust(merged, ours, theirs)
    return merged


def _has_result(cell: Cell) -> bool:
    return any(key in cell for key in RESULT)


def _settle_trust(cell: Cell, *sides: Cell) -> None:
    """Trust is in what is shown: the cell has it from a side that shows the very same, or has none.

    Of the document's outputs the document says whether somebody who may has made them, of the file's the
    contents manager, by the notebook's signature; what the file itself says never comes here.
    """
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        return
    trusted = any(side.get("outputs") == cell.get("outputs") and _is_trusted(side) for side in sides)
    if trusted != _is_trusted(cell):
        cell["metadata"] = {**metadata, "trusted": trusted}


def _is_trusted(cell: Cell) -> bool:
    metadata = cell.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("trusted"))


def _comparable(cell: Cell | None) -> Cell:
    metadata = {key: value for key, value in ((cell or {}).get("metadata") or {}).items() if key != "trusted"}
    return {**(cell or {}), "metadata": metadata}


def _merge_fields(base: Cell, ours: Cell, theirs: Cell, name: str, conflicts: list[str]) -> Cell:
    merged: Cell = {}
    for key in {**ours, **theirs}:
        sides = [side.get(key) for side in (base, ours, theirs)]
        if key == "metadata" and all(isinstance(side, dict) for side in sides):
            merged[key] = _merge_fields(base[key], ours[key], theirs[key], name, conflicts)
            continue
        ours_changed = _changed(key, base, ours)
        theirs_changed = _changed(key, base, theirs)
        if ours_changed and theirs_changed and sides[1] != sides[2]:
            conflicts.append(name)
        source = ours if ours_changed or not theirs_changed else theirs
        if key in source:
            merged[key] = source[key]
    return merged


def _changed(key: str, base: Cell, side: Cell) -> bool:
    # The contents manager says of every cell whether it is trusted; that is no change anybody made.
    return key != "trusted" and ((key in base) != (key in side) or base.get(key) != side.get(key))


def _merge_order(base: list[str], ours: list[str], theirs: list[str]) -> list[str]:
    """The order of the side that changed it (ours if both did), with the other side's new cells put after
    the cell they followed there."""
    both = set(base) & set(ours) & set(theirs)
    moved = [name for name in ours if name in both] != [name for name in base if name in both]
    leading, other = (ours, theirs) if moved else (theirs, ours)
    there = set(leading)
    followers: dict[str | None, list[str]] = {}
    place: str | None = None
    for name in other:
        if name not in there:
            followers.setdefault(place, []).append(name)
        else:
            place = name
    order = list(followers.get(None, []))
    for name in leading:
        order.append(name)
        order += followers.get(name, [])
    return order
