"""Which cells can stay where they are when others are moved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def longest_ascending(places: Sequence[int]) -> frozenset[int]:
    """One of the longest selections of these (all different) that are in ascending order as they stand.

    Of two that change places the first stays, as with ``YNotebook.set``.
    """
    starts: list[int] = []
    """The negative of the highest place that a selection of each length can begin with."""
    behind: dict[int, int | None] = {}
    for place in reversed(places):
        length = bisect_left(starts, -place)
        behind[place] = -starts[length - 1] if length else None
        starts[length : length + 1] = [-place]
    selected: list[int] = []
    first = -starts[-1] if starts else None
    while first is not None:
        selected.append(first)
        first = behind[first]
    return frozenset(selected)
