"""Another program that writes the notebook's file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

from tests.simulation.characters import Characters
from tests.simulation.ledger import PROGRAM, Ledger, chars_of
from tests.simulation.plan import Outside
from tests.simulation.replica import Cell
from ydoc_exec.files.reconciliation import digests


class Program:
    """Reads the file, changes it, and replaces it."""

    def __init__(self, file: Path, characters: Characters, ledger: Ledger, random: Random) -> None:
        self._file = file
        self._characters = characters
        self._ledger = ledger
        self._random = random
        self._versions: list[bytes] = []
        self._seen: frozenset[str] = frozenset()
        self.taken: dict[str, tuple[str, str]] = {}
        """Characters that it took out: the cell that they were in, and its digest before."""
        self._times = 0
        self._cells = 0

    def read(self) -> bytes:
        """The file's bytes."""
        return self._file.read_bytes()

    def change(
        self, what: Outside, data: bytes, where: tuple[float, float, float], count: int
    ) -> bytes | None:
        """What it makes of a version of the file, or None if there is nothing to do."""
        self._versions.append(data)
        self._look(json.loads(data))
        if what == "old":
            return self._versions[int(where[0] * len(self._versions))]
        content = json.loads(data)
        cells: list[dict[str, Any]] = content["cells"]
        place = int(where[0] * len(cells)) if cells else 0
        match what:
            case "touch":
                return data
            case "format":
                return json.dumps(content, indent=int(where[0] * 4), ensure_ascii=where[1] < 0.5).encode()
            case "change" | "slow" if cells:
                source = _text(cells[place]["source"])
                at = int(where[1] * (len(source) + 1))
                new = self._characters.take(count)
                self._type(str(cells[place].get("id")), new)
                cells[place]["source"] = source[:at] + new + source[at:]
            case "erase" if cells:
                source = _text(cells[place]["source"])
                at = int(where[1] * (len(source) + 1))
                cells[place]["source"] = source[:at] + source[at + count :]
            case "add":
                self._cells += 1
                new = self._characters.take(count)
                cell: dict[str, Any] = {"cell_type": "markdown", "metadata": {}, "source": new}
                if content["nbformat_minor"] > 4:
                    cell["id"] = f"outside-{self._cells}"
                self._type(str(cell.get("id")), new)
                cells.insert(place, cell)
            case "delete" if len(cells) > 1:
                del cells[place]
            case "reorder" if len(cells) > 1:
                cells.insert(int(where[1] * len(cells)), cells.pop(place))
            case "outputs" if cells:
                for cell in cells:
                    if cell["cell_type"] == "code":
                        cell["outputs"], cell["execution_count"] = [], None
            case _:
                return None
        return json.dumps(content, indent=1, ensure_ascii=False).encode()

    def write(self, data: bytes) -> list[str] | None:
        """Replace the file; the cells whose results are others now, or None if they cannot be named."""
        before, after = json.loads(self.read()), json.loads(data)
        self._look(before)
        self._ledger.note_change(PROGRAM, _cells(before), _cells(after))
        self._note_taken(before, chars_of(_cells(after)))
        self._seen = chars_of(_cells(after))
        self._times += 1
        beside = self._file.with_name("beside")
        beside.write_bytes(data)
        # The clock of a file system is coarse, and this all happens within a moment.
        info = os.stat(beside)
        os.utime(beside, ns=(info.st_atime_ns, info.st_mtime_ns + self._times * 10**9))
        os.replace(beside, self._file)
        return _with_other_results(before["cells"], after["cells"])

    # Private

    def _look(self, content: Any) -> None:
        """What is gone since this program looked the last time was taken out by the server."""
        there = chars_of(_cells(content))
        self._ledger.note_saved_without(self._seen - there)
        self._seen = there

    def _note_taken(self, before: Any, left: frozenset[str]) -> None:
        known = digests({**before, "cells": [_with_text(cell) for cell in before["cells"]]})
        for cell in _cells(before):
            for char in chars_of([cell]) - left:
                self.taken[char] = cell.id, known[cell.id]

    def _type(self, cell: str, text: str) -> None:
        self._ledger.note_typed(PROGRAM, cell, text)

    def chars(self) -> frozenset[str]:
        """What is in the file."""
        return chars_of(self.cells())

    def cells(self) -> list[Cell]:
        """The file's cells."""
        return _cells(json.loads(self.read()))


def _cells(content: Any) -> list[Cell]:
    return [Cell(str(cell.get("id")), cell["cell_type"], _text(cell["source"])) for cell in content["cells"]]


def _with_text(cell: dict[str, Any]) -> dict[str, Any]:
    return {**cell, "source": _text(cell["source"])}


def _with_other_results(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str] | None:
    names = [cell.get("id") for cell in before]
    results = {cell.get("id"): _result(cell) for cell in after}
    if None in names or None in results:
        return [] if list(map(_result, before)) == list(map(_result, after)) else None
    return [str(cell["id"]) for cell in before if results.get(cell["id"]) != _result(cell)]


def _result(cell: dict[str, Any]) -> Any:
    return cell.get("outputs"), cell.get("execution_count")


def _text(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)
