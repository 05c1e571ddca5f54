"""A document of which some cells were made anew or removed, and who may not know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.returning_tab import ReturningTab
from ydoc_exec.documents.taken_in import Settler
from ydoc_exec.documents.text_edits import is_within, units
from ydoc_exec.documents.union import sources_of
from ydoc_exec.ids import RoomId
from ydoc_exec.room.deletions import Deletions, read_deletions, without_deletions
from ydoc_exec.room.state_vector import clocks


class Replaced:
    """Implements ``Superseded``: the document as it is now, before that is done to some of its cells."""

    def __init__(self, reunion: Settler, room_id: RoomId, doc: Doc[Any]) -> None:
        self._reunion = reunion
        self._room_id = room_id
        self._doc = doc
        self.state: bytes = doc.get_update()
        """All of it, as an update."""
        self.after: Mapping[int, int] = clocks(doc.get_state())
        self._news: dict[int, int] = {}
        self._gone: frozenset[str] = frozenset()
        self._by_client = False
        self._unite = True
        self._before: ReturningTab | None = None
        self._removed: frozenset[str] = frozenset()
        self._undeleted: ReturningTab | None = None
        """The same as if no client had removed these cells: others type into them who do not know that either."""

    @property
    def size(self) -> int:
        return len(self.state)

    def are_gone(self, gone: frozenset[str]) -> None:
        """It was done, to these cells."""
        self._gone = gone
        before, self.after = self.after, clocks(self._doc.get_state())
        self._news = {author: clock for author, clock in self.after.items() if clock > before.get(author, 0)}

    def were_removed(
        self,
        gone: frozenset[str],
        seen: Mapping[str, str],
        now: Mapping[str, str],
        deletions: Deletions,
        live: bool,
    ) -> None:
        """A client has done it.

        Args:
            seen: what of their sources the client had seen.
            now: the sources of all cells after that.
            deletions: what its update deleted.
            live: whether it did nothing else in that update, and the update says of nothing else.
        """
        self.are_gone(gone)
        # Answers repeat all removals, also of what has come back since.
        self._by_client = True
        before = {name: source for name, source in sources_of(self._view()).items() if name in gone}
        had = {name: seen.get(name, "") for name in gone if seen.get(name, "") != before.get(name)}
        copies = {name: now[name] for name in gone if name in now and now[name] != before.get(name)}
        if not had and not copies:
            return
        # What a client has done while it was away is in a copy too, and cannot be told from what others erased.
        self._unite = live
        # What the client deletes and was gone already is what it had not seen others erase. A copy has it again.
        erased = deletions.common_units(read_deletions(self.state))
        for name, copy in copies.items():
            more = units(copy) - units(seen.get(name, ""))
            if live and 0 <= more <= erased and is_within(seen.get(name, ""), copy):
                had[name] = copy
        if had:
            # What it had not seen others erase cannot be told from what it has typed.
            self._unite = live and (not erased or all(now.get(name) == had[name] for name in had))
            self._look_closer().had(had)
            self.settle()
            self._unite = live

    def is_over(self, state: bytes) -> bool:
        there = clocks(state)
        # What only deletes is in no state vector.
        return bool(self._news) and all(there.get(author, 0) >= clock for author, clock in self._news.items())

    def note(self, update: bytes, *, live: bool) -> None:
        before, deletions = self._look_closer(), read_deletions(update)
        self._note_removed(before, update, deletions, live)
        # Who was away may move a cell, or remove it, and not have seen all that is in it.
        before.had(before.seen_by_who_deletes(deletions))
        before.note(update)

    def settle(self) -> None:
        try:
            if self._undeleted is not None:
                # First, so that a cell that has more than was seen by who removed it stays where it is.
                self._reunion.settle(self._undeleted, self._removed.__contains__, unite=True, removals=False)
        finally:
            if self._before is not None:
                self._reunion.settle(
                    self._before, self._gone.__contains__, unite=self._unite, removals=self._removals
                )

    @property
    def _removals(self) -> bool:
        # Whether a client knows of what only deletes cannot be told. If it does it repeats that, also when they are
        # there again.
        return bool(self._news) and not self._by_client

    def _note_removed(self, before: ReturningTab, update: bytes, deletions: Deletions, live: bool) -> None:
        """Note an update also where the cells stay that clients remove.

        What others have typed into them and was not brought over yet, or type into them still, is nowhere else.
        """
        removed = before.deleted_by(deletions) & self._gone
        if removed and self._undeleted is None:
            self._undeleted = before.aside()
        if self._undeleted is None:
            return
        here = self._undeleted
        again = here.deleted_by(deletions)
        self._removed |= removed
        if not again:
            here.note(update)
            return
        there, state = here.sources(), clocks(here.state_vector)
        here.note(without_deletions(update))
        # The copies of those who move one are noted with the rest.
        inserted = dict(here.inserted().values())
        here.drop_inserted()
        # Who repeats what they were told names what others typed that nobody has seen; not what they bring themselves.
        known = here.known_to(deletions if live or self._removals else deletions.beyond(state))
        now = here.sources()
        # Cells that were inserted and are deleted again were dropped.
        known |= {
            name: now[name]
            for name in again & now.keys() & inserted.keys()
            if is_within(there[name], inserted[name])
        }
        here.had({name: source for name, source in known.items() if name in again})

    def _view(self) -> YBaseDoc:
        doc: Doc[Any] = Doc()
        doc.apply_update(self.state)
        return document_types.wrap(self._room_id, doc)

    def _look_closer(self) -> ReturningTab:
        if self._before is None:
            self._before = ReturningTab(self._room_id, self.state)
        return self._before
