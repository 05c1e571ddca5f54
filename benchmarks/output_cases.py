"""The cells whose output is measured, and what a document has to show in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Outputs = list[dict[str, Any]]

WALL_BAR = 1.15
LARGE_WALL_BAR = 1.5
CPU_BAR = 1.2
BYTES_BAR = 2.0
STATE_BAR = 1.5

ROW = "x" * 99 + "\n"
ROWS = 500_000
RAISED_LIMIT = 100_000_000
"""Bytes of output per cell with which a print of 50 MB is kept whole."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cell. The bars are those that the project has set itself; without one there is nothing to judge."""

    title: str
    code: str
    said: int
    """How much the kernel says: characters of streams and displays, together."""
    right: Callable[[Outputs], bool]
    """Whether these outputs are the ones that the cell must have in the end."""
    wall_bar: float = WALL_BAR
    bytes_bar: float | None = None
    state_bar: float | None = None
    raise_limit: bool = False
    """Whether the server keeps more of the output than by default."""


def amount(kind: str, content: Mapping[str, Any]) -> int:
    """What one message adds to what a kernel has said."""
    if kind == "stream":
        return len(content["text"])
    return 1 if kind in ("display_data", "update_display_data") else 0


def exactly(outputs: Callable[[], Outputs]) -> Callable[[Outputs], bool]:
    """These and no others."""
    return lambda found: found == outputs()


def stream(name: str, text: str) -> Outputs:
    """One output of text."""
    return [{"output_type": "stream", "name": name, "text": text}]


def displayed(value: object) -> dict[str, Any]:
    """What ``display(value)`` shows."""
    return {"output_type": "display_data", "data": {"text/plain": repr(value)}, "metadata": {}}


def numbers(count: int) -> str:
    """What printing them gives."""
    return "".join(f"{number}\n" for number in range(count))


def cut(outputs: Outputs) -> bool:
    """The beginning and the end of the large print, and less than all of it."""
    text = "".join(str(output.get("text", "")) for output in outputs)
    return text.startswith(ROW) and text.endswith(ROW) and len(text) < len(ROW) * ROWS


PROGRESS = """
import sys
for n in range(1, 2001):
    bar = "█" * (40 * n // 2000)
    sys.stderr.write(f"\\r{100 * n // 2000:3d}%|{bar:<40}| {n:4d}/2000 [00:01<00:00, 1234.56it/s]")
    sys.stderr.flush()
"""
LAST_PROGRESS = f"100%|{'█' * 40}| 2000/2000 [00:01<00:00, 1234.56it/s]"

LARGE = f"print(('x' * 99 + '\\n') * {ROWS}, end='')"

CASES = {
    "flushed": Case(
        title="20,000 `print(i, flush=True)`",
        code="for i in range(20000): print(i, flush=True)",
        said=len(numbers(20_000)),
        right=exactly(lambda: stream("stdout", numbers(20_000))),
        bytes_bar=BYTES_BAR,
    ),
    "print": Case(
        title="100,000 `print(i)`",
        code="for i in range(100000): print(i)",
        said=len(numbers(100_000)),
        right=exactly(lambda: stream("stdout", numbers(100_000))),
        bytes_bar=BYTES_BAR,
    ),
    "display": Case(
        title="5,000 `display(i)`",
        code="for i in range(5000): display(i)",
        said=5000,
        right=exactly(lambda: [displayed(number) for number in range(5000)]),
    ),
    "update": Case(
        title="5,000 `update_display(i)`",
        code="handle = display(-1, display_id=True)\nfor i in range(5000): handle.update(i)",
        said=5001,
        right=exactly(lambda: [displayed(4999)]),
    ),
    "progress": Case(
        title="2,000 refreshes of a progress bar",
        code=PROGRESS,
        said=2000 * (1 + len(LAST_PROGRESS)),
        right=exactly(lambda: stream("stderr", LAST_PROGRESS)),
        state_bar=STATE_BAR,
    ),
    "large": Case(
        title="one `print` of 50 MB, all kept",
        code=LARGE,
        said=ROWS * len(ROW),
        right=exactly(lambda: stream("stdout", ROW * ROWS)),
        wall_bar=LARGE_WALL_BAR,
        bytes_bar=BYTES_BAR,
        raise_limit=True,
    ),
    "cut": Case(
        title="one `print` of 50 MB, cut at the default limit",
        code=LARGE,
        said=ROWS * len(ROW),
        right=cut,
        wall_bar=LARGE_WALL_BAR,
        bytes_bar=BYTES_BAR,
    ),
}
