"""How long things take and how often they fail, added up for who asks. Knows no metrics system."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from time import perf_counter
from typing import Final

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
)
"""Seconds: from writing a line of output to a training that takes the night."""


class Durations:
    """How many took how long (a histogram)."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        """Seconds, of all together."""

    def note(self, seconds: float) -> None:
        """Something took so long."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long the block takes, whether it fails or not."""
        began = perf_counter()
        try:
            yield
        finally:
            self.note(perf_counter() - began)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def up_to(self) -> list[tuple[float, int]]:
        """For each of ``BOUNDS`` how many took at most so long."""
        return list(zip(BOUNDS, accumulate(self._counts), strict=False))


@dataclass(slots=True)
class Measures:
    """What one server measures, since it started."""

    waiting: Durations = field(default_factory=Durations)
    """Runs, from when they were queued until the kernel had them."""

    running: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    """Runs that the kernel had, by how they ended, until then."""

    ended: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How many runs ended so, those among them that never started."""

    prompts: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    """Questions of runs (``input()``), by how they ended, until then."""

    flushes: Durations = field(default_factory=Durations)
    """Output that was written into documents, each time."""

    saves: Durations = field(default_factory=Durations)
    """Documents that were written to their files, whether that worked or not."""

    failed_saves: int = 0

    log_writes: Durations = field(default_factory=Durations)
    """Groups of updates that were written to the update log, whether that worked or not."""

    failed_log_writes: int = 0
