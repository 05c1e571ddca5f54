"""A client that was taken in with a document of another lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ydoc_exec.documents.returning_tab import ReturningTab


class Settler(Protocol):
    """Takes what clients wrote into cells that nobody sees any more (``Reunion.settle``)."""

    def settle(
        self,
        tab: ReturningTab,
        is_gone: Callable[[str], bool],
        user: str = "",
        *,
        unite: bool = False,
        removals: bool = True,
    ) -> None: ...


class TakenIn:
    """Implements ``Superseded``: the client may not know it yet, and what it writes until then is noted.

    Args:
        kept: the cells that are those of ``tab`` now.
    """

    size = 0  # nobody else's, so it is not remembered
    after: Mapping[int, int] = {}

    def __init__(self, reunion: Settler, tab: ReturningTab, kept: frozenset[str], user: str) -> None:
        self._reunion = reunion
        self._tab = tab
        self._kept = kept
        self._user = user

    def is_over(self, state: bytes) -> bool:
        return False

    def note(self, update: bytes, *, live: bool) -> None:
        self._tab.note(update)

    def settle(self) -> None:
        self._reunion.settle(self._tab, lambda name: name not in self._kept, self._user)
