"""What the benchmarks share: a server for a while, the way out, and tables."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.server import LabServer


@contextmanager
def lab_server(*args: str) -> Iterator[LabServer]:
    """A server with an empty directory of its own."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        LabServer(Path(directory), *args) as server,
    ):
        yield server


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a markdown table, and on what it was measured."""
    print(f"### {title}\n")
    print(
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}\n"
    )
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(_text(value) for value in row) + " |")
    print()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
