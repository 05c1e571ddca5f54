"""Ids for the cells of notebooks that have none. Pure.

Notebooks before nbformat 4.5 have no cell ids, and later ones may lack some. A cell needs one that is the same
whenever the same file is read, and stays its own when the file is changed elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from typing import Any

from ydoc_exec.common_prefix import common_prefix

Cell = dict[str, Any]
Notebook = dict[str, Any]

COMMON = 16
"""A word that is in more cells says nothing about which of them is meant."""

MOST_COMPARED = 10_000
"""Pairs of cells whose characters are compared. If there are more, a program has gone over the whole notebook."""

_WORD = re.compile(r"[^\W\u2e80-\U0010ffff]+|\S")
"""In scripts that are written without spaces each character."""


def identify(
    notebook: Notebook, print_: str, like: Sequence[Cell] = (), others: Sequence[Cell] = ()
) -> Notebook:
    """The notebook with an id for every cell.

    A cell without one gets the id of the cell of ``like`` that it seems to stand for: the one with the same text,
    wherever it is now; else the one with the most words in common; else the one whose place it has taken. If there is
    none, it gets that of one of ``others`` with the very same text, or its id is made of its place and ``print_``, the
    content's fingerprint.
    """
    cells: list[Cell] = notebook["cells"]
    used = {cell["id"] for cell in cells if cell.get("id")}
    nameless = [index for index, cell in enumerate(cells) if not cell.get("id")]
    if not nameless:
        return notebook
    known = [cell for cell in like if cell.get("id") and cell["id"] not in used]
    pairs = _pair([_look(cell) for cell in known], [_look(cells[index]) for index in nameless])
    names = {nameless[place]: known[there]["id"] for place, there in pairs.items()}
    used |= set(names.values()) | {cell.get("id") for cell in like}
    for index in nameless:
        if index not in names and (same := _same(cells[index], others, used)):
            used.add(same)
            names[index] = same
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


def names_as_in(
    cells: Sequence[Cell], like: Sequence[Cell], placed: Container[str] | None = None
) -> dict[str, str]:
    """For cells of ``cells`` whose ids are not in ``like``: the id of the cell there that they seem to stand for.

    For two readings of notebooks whose files have no ids, in which every cell has one. Cells that are not in
    ``placed`` may be new ones, and stand only for one of which one has all the words of the other.
    """
    used, there = {cell["id"] for cell in cells}, {cell["id"] for cell in like}
    names: dict[str, str] = {}
    for sure in (False, True):
        group = [cell for cell in cells if (placed is None or cell["id"] in placed) != sure]
        nameless = [cell for cell in group if cell["id"] not in there]
        known = [cell for cell in like if cell["id"] not in used]
        pairs = _pair([_look(cell) for cell in known], [_look(cell) for cell in nameless], sure=sure)
        for place, other in pairs.items():
            names[nameless[place]["id"]] = known[other]["id"]
            used.add(known[other]["id"])
    return names


# Private


@dataclass(frozen=True, slots=True)
class _Look:
    type: str
    source: str


def _same(cell: Cell, others: Sequence[Cell], used: Container[str]) -> str | None:
    """The id of one of the others that looks the same. Blank cells are all alike."""
    look = _look(cell)
    if not look.source.strip():
        return None
    return next((other["id"] for other in others if other["id"] not in used and _look(other) == look), None)


def _look(cell: Cell) -> _Look:
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return _Look(str(cell.get("cell_type")), text)


def _pair(known: list[_Look], new: list[_Look], *, sure: bool = False) -> dict[int, int]:
    """Which of the known ones each new one stands for."""
    pairs: dict[int, int] = {}
    free = dict.fromkeys(range(len(known)))

    def pair(place: int, there: int) -> None:
        if place not in pairs and there in free:
            pairs[place] = there
            del free[there]

    changes = SequenceMatcher(None, known, new, autojunk=False).get_opcodes()
    for kind, first, last, start, end in changes:
        if kind == "equal":
            for there, place in zip(range(first, last), range(start, end), strict=True):
                pair(place, there)
    for place, look in enumerate(new):
        # Moved. Blank cells are all alike.
        if place not in pairs and look.source.strip():
            for there in [there for there in free if known[there] == look][:1]:
                pair(place, there)
    places = [place for place in range(len(new)) if place not in pairs]
    for place, there in _similar(known, list(free), new, places, 1.0 if sure else 0.5):
        pair(place, there)
    if sure:
        return pairs
    for kind, first, last, start, end in changes:
        if kind == "replace":
            left = [there for there in range(first, last) if there in free]
            places = [place for place in range(start, end) if place not in pairs]
            for place, there in _edited(known, left, new, places):
                pair(place, there)
            left = [there for there in left if there in free]
            places = [place for place in places if place not in pairs]
            for there, place in zip(left, places, strict=False):
                if known[there].type == new[place].type:
                    pair(place, there)
    return pairs


def _similar(
    known: list[_Look], free: list[int], new: list[_Look], places: list[int], least: float
) -> Iterator[tuple[int, int]]:
    """Pairs with at least this share of one's words in the other, the most similar first."""
    words = {there: Counter(_WORD.findall(known[there].source)) for there in free}
    where: dict[str, list[int]] = {}
    for there in free:
        for word in words[there]:
            where.setdefault(word, []).append(there)
    common = {word for word, cells in where.items() if len(cells) > COMMON}
    sizes = {there: _size(words[there], common) for there in free}
    found = []
    for place in places:
        own = Counter(_WORD.findall(new[place].source))
        size = _size(own, common)
        shared: Counter[int] = Counter()
        for word in own.keys() - common:
            for there in where.get(word, ()):
                shared[there] += min(own[word], words[there][word])
        for there, count in shared.items():
            if count >= least * min(size, sizes[there]):
                another_type = known[there].type != new[place].type
                found.append((another_type, -count / (size + sizes[there]), abs(place - there), place, there))
    for *_, place, there in sorted(found):
        yield place, there


def _edited(
    known: list[_Look], free: list[int], new: list[_Look], places: list[int]
) -> Iterator[tuple[int, int]]:
    """Pairs of which one may have been made of the other by one edit, which may end in the middle of a word."""
    if len(free) * len(places) > MOST_COMPARED:
        return
    found = []
    for place, there in product(places, free):
        share = _kept(known[there].source.strip(), new[place].source.strip())
        if share >= 0.5 and known[there].type == new[place].type:
            found.append((-share, abs(place - there), place, there))
    for *_, place, there in sorted(found):
        yield place, there


def _kept(one: str, other: str) -> float:
    """How much of the shorter text is at the beginning or the end of both."""
    size = min(len(one), len(other))
    before, after = common_prefix(one, other), common_prefix(one[::-1], other[::-1])
    return min(before + after, size) / size if size else 0.0


def _size(words: Counter[str], common: set[str]) -> int:
    return sum(count for word, count in words.items() if word not in common)
