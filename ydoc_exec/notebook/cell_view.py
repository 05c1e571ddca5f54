"""What a request to run needs to know of a cell."""

from __future__ import annotations

from dataclasses import dataclass

from ydoc_exec.ids import CellId


@dataclass(frozen=True, slots=True)
class CellView:
    """A cell as it was at the moment of asking."""

    cell_id: CellId
    cell_type: str
    source: str
    tags: tuple[str, ...]
