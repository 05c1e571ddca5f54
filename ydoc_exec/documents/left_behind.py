"""A document that a client comes back with, in which there are cells that are gone in the room's."""

from __future__ import annotations

from collections.abc import Mapping

from ydoc_exec.documents.returning_tab import ReturningTab
from ydoc_exec.documents.taken_in import Settler
from ydoc_exec.room.deletions import read_deletions


class LeftBehind:
    """Implements ``Superseded``: the client may have typed into these cells while it was away, or still does.

    The room's document has nothing of them any more, and the client will not have either when it is told. Only here
    one can see what it was.

    Args:
        tab: the client's document, which is of the room's history.
        gone: its cells that are gone, or are other ones in the room.
    """

    size = 0  # nobody else's, so it is not remembered
    after: Mapping[int, int] = {}

    def __init__(self, reunion: Settler, tab: ReturningTab, gone: frozenset[str]) -> None:
        self._reunion = reunion
        self._tab = tab
        self._gone = gone

    def is_over(self, state: bytes) -> bool:
        return False

    def note(self, update: bytes, *, live: bool) -> None:
        self._tab.had(self._tab.seen_by_who_deletes(read_deletions(update)))
        self._tab.note(update)

    def settle(self) -> None:
        # What it does not have it may have removed before others brought it back.
        self._reunion.settle(self._tab, self._gone.__contains__, unite=True, removals=False)
