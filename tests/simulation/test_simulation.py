"""Everything that can happen to a document, in any order, again and again.

``YDOC_EXEC_SEEDS=7,100-149`` simulates those seeds instead of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.node_process import NodeProcess
from tests.simulation.plan import Plan
from tests.simulation.world import World

SEEDS = 1000
GROUP = 50


def _groups() -> list[Any]:
    chosen = os.environ.get("YDOC_EXEC_SEEDS")
    if chosen:
        ends = [part.partition("-")[::2] for part in chosen.split(",")]
        return [
            pytest.param(range(int(first), int(last or first) + 1), id=f"{first}-{last or first}")
            for first, last in ends
        ]
    return [
        pytest.param(range(start, start + GROUP), id=f"{start}-{start + GROUP - 1}")
        for start in range(0, SEEDS, GROUP)
    ]


class Node:
    """One process for all tabs with Yjs, begun when the first is opened."""

    def __init__(self) -> None:
        self.process: NodeProcess | None = None

    def __call__(self) -> NodeProcess:
        if self.process is None:
            self.process = NodeProcess("replica.mjs")
        return self.process


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    if node.process is not None:
        node.process.stop()


@pytest.mark.parametrize("seeds", _groups())
def test_seeds(seeds: Sequence[int], node: Node) -> None:
    failures = []
    for seed in seeds:
        with TemporaryDirectory() as folder:
            outcome = World(Plan.of(seed), Path(folder), node).run()
        if outcome.wrong:
            tail = outcome.story[-40:] if len(seeds) > 1 else outcome.story
            failures.append("\n".join([f"seed {seed}:", *outcome.wrong[:8], "", *tail]))
    assert not failures, f"{len(failures)} of {len(seeds)} failed\n\n" + "\n\n".join(failures[:3])
