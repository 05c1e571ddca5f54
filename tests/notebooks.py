"""Notebooks, as short as they can be written."""

from __future__ import annotations

import copy
from typing import Any

from jupyter_ydoc import YNotebook

Cell = dict[str, Any]


def cell(name: str | None, source: str = "", **more: Any) -> Cell:
    """A code cell that never ran, as a file has it; without a name it has no id, as in old files."""
    one: Cell = {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    return {**one, **({} if name is None else {"id": name}), **more}


def notebook(*cells: Cell, minor: int = 5, **metadata: Any) -> dict[str, Any]:
    """A notebook of these cells, as a file has it."""
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def shared(*cells: Cell) -> YNotebook:
    """The same as a shared document."""
    document = YNotebook()
    document.set(copy.deepcopy(notebook(*cells)))  # it takes its argument apart
    return document
