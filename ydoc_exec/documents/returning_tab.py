"""The document that a client comes back with, when it may be of another lineage than the server's.

It is read into a document of its own, so that nothing of it reaches the room before it is known what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.ancestry import read_base, read_lineage
from ydoc_exec.documents.seen import known_sources, seen_sources
from ydoc_exec.documents.union import (
    CELL_UNITS,
    Inserted,
    Item,
    cell_items,
    doubled_cells,
    drop_cells,
    inserted_cells,
    named_items,
    rename_cells,
    sources_of,
)
from ydoc_exec.files.reconciliation import Digests
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.room.deletions import Deletions, read_deletions
from ydoc_exec.room.room import guarded
from ydoc_exec.room.state_vector import clocks


class ReturningTab:
    """A client's document as it was when it came, and what the client has typed since.

    Args:
        state: its document when it came, as an update.
        known: how much of each author others had already. What it has beyond counts as done since it came.

    Raises ``ProtocolError`` if ``state`` is no update, or what it makes cannot be read as a document.
    """

    def __init__(self, room: RoomId, state: bytes, known: Mapping[int, int] | None = None) -> None:
        self._room = room
        self._doc: Doc[Any] = Doc()
        self._names: dict[str, str] = {}
        read_deletions(state)  # refuses what would end the process
        with guarded("a client's document cannot be read"):
            self._doc.apply_update(state)
            self.view: YBaseDoc = document_types.wrap(room, self._doc)
            doubled = doubled_cells(self.view)
            self.content: Any = document_types.content_of(self.view)
        """What it had when it was last looked at: see ``look``."""
        self._looked: Mapping[int, int] = clocks(self._doc.get_state())
        self._items = cell_items(self.view)
        names = {item: name for item, (name, _) in inserted_cells(self.view, frozenset()).items()}
        others = {name for item, name in names.items() if item not in doubled}
        # One that differs in nothing is in no content, and has its id still.
        self.copies = frozenset(names[item] for item in doubled).difference(others)
        """The ids of cells that were copies of others, with their ids, and are called otherwise now.

        As when two have moved one, or a file that was taken up and the client.
        """
        if known is not None:
            self._look_back(known)

    @property
    def new(self) -> bool:
        """Whether it never was a document of any server: the client opens it for the first time."""
        content = self.content
        return not self.lineage and not (content.get("cells") if isinstance(content, dict) else content)

    @property
    def lineage(self) -> Lineage:
        """Whose history it has; empty if it does not say."""
        return read_lineage(self._doc)

    @property
    def base(self) -> Digests:
        """What it had in common with its file, as far as it was told."""
        known = read_base(self._doc)
        return {self._names.get(name, name): digest for name, digest in known.items()}

    @property
    def state_vector(self) -> bytes:
        """How much of each author it has."""
        return self._doc.get_state()

    def rename(self, names: Mapping[str, str]) -> None:
        """Call cells otherwise from now on: by their ids, what the new ones are."""
        if not names or not isinstance(self.view, YNotebook):
            return
        self._names = dict(names)
        with self._doc.transaction():
            rename_cells(self.view, cell_items(self.view), names)
            self.content = document_types.content_of(self.view)

    def rename_inserted(self, names: Mapping[str, str]) -> None:
        """Call cells otherwise that the client has inserted since it came: by their ids, what the new ones are."""
        if names and isinstance(self.view, YNotebook):
            rename_cells(self.view, frozenset(self.inserted()), names)

    def cells(self) -> dict[str, Item]:
        """The item that holds each cell, by the cells' ids."""
        return named_items(self.view) if isinstance(self.view, YNotebook) else {}

    def inserted(self) -> Inserted:
        """The cells that the client has inserted since it came."""
        return inserted_cells(self.view, self._items)

    def is_within(self, state: bytes) -> bool:
        """Whether a document of this state vector has everything that was ever written into it."""
        there = clocks(state)
        return all(clock <= there.get(author, 0) for author, clock in clocks(self._doc.get_state()).items())

    def note(self, update: bytes) -> None:
        """The client has changed it. Raises ``ProtocolError``."""
        with guarded("an update could not be applied"):
            self._doc.apply_update(update)

    def deleted_by(self, deletions: Deletions) -> frozenset[str]:
        """The ids of its cells that these deletions delete."""
        if deletions.units < CELL_UNITS:
            return frozenset()
        return frozenset(name for name, item in self.cells().items() if item in deletions)

    def seen_by_who_deletes(self, deletions: Deletions) -> dict[str, str]:
        """Of the cells that are here and these deletions delete: what of their sources they name, if it is not all."""
        gone = self.deleted_by(deletions)
        if not gone:
            return {}
        sources = sources_of(self.view)
        seen = seen_sources(self._room, self._doc.get_update(), deletions)
        return {name: seen.get(name, "") for name in gone if seen.get(name, "") != sources[name]}

    def had(self, sources: Mapping[str, str]) -> None:
        """Say what the sources of these cells, by their ids, were when it was last looked at."""
        if not sources:
            return
        cells = [
            {**cell, "source": sources.get(cell["id"], cell["source"])} for cell in self.content["cells"]
        ]
        self.content = {**self.content, "cells": cells}

    def look(self) -> tuple[Any, Any]:
        """What it had when it was last looked at, and what it has now. Raises ``ProtocolError``."""
        before = self.content
        with guarded("a client's document cannot be read"):
            self.content = document_types.content_of(self.view)
        self._looked = clocks(self._doc.get_state())
        return before, self.content

    def known_to(self, deletions: Deletions) -> dict[str, str]:
        """Of the sources of its cells: what these deletions name, and what was there when it was last looked at.

        Of those cells of which they name more than was there.
        """
        state = self._doc.get_update()
        there = seen_sources(self._room, state, Deletions({}).and_before(self._looked))
        known = seen_sources(self._room, state, deletions.and_before(self._looked))
        return {name: source for name, source in known.items() if source != there.get(name, source)}

    def sources(self) -> dict[str, str]:
        """The sources of its cells now, by the cells' ids."""
        return sources_of(self.view)

    def aside(self) -> ReturningTab:
        """Another one that is what this one is, and was the same when it was last looked at."""
        other = ReturningTab(self._room, self._doc.get_update())
        other.content, other._items, other._looked = self.content, self._items, self._looked
        return other

    def drop_inserted(self) -> None:
        """Delete all cells that the client has inserted since it came."""
        if isinstance(self.view, YNotebook):
            drop_cells(self.view, frozenset(self.inserted()))

    # Private

    def _look_back(self, known: Mapping[int, int]) -> None:
        """Have it looked at last when it had no more than this."""
        if not isinstance(self.view, YNotebook):
            return
        sources = known_sources(self._room, self._doc.get_update(), known)
        self._looked = known
        self._items = frozenset(sources)
        there = {name: sources[item] for name, item in self.cells().items() if item in sources}
        self.had(there)
        self.content["cells"] = [cell for cell in self.content["cells"] if cell["id"] in there]
