"""Which cells can stay where they are when others are moved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def longest_ascending(places: Sequence[int]) -> frozenset[int]:
    """One of the longest selections of these (all different) that are in ascending order as they stand."""
    ends: list[int] = []
    """The lowest place that a selection of each length can end with."""
    before: dict[int, int | None] = {}
    for place in places:
        length = bisect_left(ends, place)
        before[place] = ends[length - 1] if length else None
        ends[length : length + 1] = [place]
    selected: list[int] = []
    last = ends[-1] if ends else None
    while last is not None:
        selected.append(last)
        last = before[last]
    return frozenset(selected)
