"""Ids for the cells of notebooks that have none. Pure.

Notebooks before nbformat 4.5 have no cell ids, and later ones may lack some. A cell needs one that is the same
whenever the same file is read, and stays its own when the file is changed elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

Cell = dict[str, Any]
Notebook = dict[str, Any]


def identify(notebook: Notebook, print_: str, like: Sequence[Cell] = ()) -> Notebook:
    """The notebook with an id for every cell.

    A cell without one gets the id of the cell of ``like`` that it seems to stand for, by its source and its
    place, or else one made of its place and ``print_``, the content's fingerprint.
    """
    cells: list[Cell] = notebook["cells"]
    used = {cell["id"] for cell in cells if cell.get("id")}
    nameless = [index for index, cell in enumerate(cells) if not cell.get("id")]
    if not nameless:
        return notebook
    known = [cell for cell in like if cell.get("id") and cell["id"] not in used]
    names: dict[int, str] = {}
    matcher = SequenceMatcher(
        None, [_looks(cell) for cell in known], [_looks(cells[index]) for index in nameless], autojunk=False
    )
    for kind, first, last, start, end in matcher.get_opcodes():
        if kind in ("equal", "replace"):
            for cell, index in zip(known[first:last], nameless[start:end], strict=False):
                if kind == "equal" or cell.get("cell_type") == cells[index].get("cell_type"):
                    names[index] = cell["id"]
    used |= set(names.values()) | {cell.get("id") for cell in like}
    for index in nameless:
        if index not in names:
            name = f"{print_[:6]}-{index}"
            while name in used:
                name += "-0"
            used.add(name)
            names[index] = name
    return {
        **notebook,
        "cells": [
            {**cell, "id": names[index]} if index in names else cell for index, cell in enumerate(cells)
        ],
    }


def names_as_in(cells: Sequence[Cell], like: Sequence[Cell]) -> dict[str, str]:
    """For cells of ``cells`` whose ids are not in ``like``: the id of the cell there that they seem to stand for.

    For two readings of notebooks whose files have no ids.
    """
    there = {cell.get("id") for cell in like}
    nameless = [
        cell if cell.get("id") in there else {key: value for key, value in cell.items() if key != "id"}
        for cell in cells
    ]
    named = identify({"cells": nameless}, "", like)["cells"]
    return {
        before["id"]: after["id"]
        for before, after in zip(cells, named, strict=True)
        if before.get("id") and before["id"] != after["id"] and after["id"] in there
    }


def _looks(cell: Cell) -> tuple[str, str]:
    source = cell.get("source", "")
    return str(cell.get("cell_type")), "".join(source) if isinstance(source, list) else str(source)
