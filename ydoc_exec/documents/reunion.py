"""Documents of another lineage that come back, and how they are brought together with the one that is open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.ancestry import read_base
from ydoc_exec.documents.left_behind import LeftBehind
from ydoc_exec.documents.replaced import Replaced
from ydoc_exec.documents.returning_tab import ReturningTab
from ydoc_exec.documents.seen import seen_sources
from ydoc_exec.documents.taken_in import TakenIn
from ydoc_exec.documents.text_edits import unite_texts
from ydoc_exec.documents.union import (
    CELL_UNITS,
    Inserted,
    Item,
    again_inserted,
    cell_items,
    cells_beyond,
    copies_in,
    drop_cells,
    inserted_cells,
    name_cells,
    named_items,
    rename_cells,
    sources_of,
    unite,
)
from ydoc_exec.errors import LineageChanged
from ydoc_exec.files.cell_ids import names_as_in
from ydoc_exec.files.decision import fingerprint
from ydoc_exec.files.reconciliation import WHOLE, Digests, Reconciled, digests, reconcile
from ydoc_exec.files.recovery_copies import Reason
from ydoc_exec.files.wipe import is_wipe
from ydoc_exec.ids import Lineage, RoomId, new_lineage
from ydoc_exec.origin import FromServer
from ydoc_exec.room.deletions import Deletions
from ydoc_exec.room.room import Room, Superseded, guarded
from ydoc_exec.room.room_client import RoomClient
from ydoc_exec.room.state_vector import clocks

logger = logging.getLogger(__name__)

AWAY = "a tab that was away"


class Descendant(Protocol):
    """The open document, as far as it matters here."""

    lineage: Lineage

    def adopt(self, lineage: Lineage) -> None:
        """Be of this lineage from now on."""
        ...

    def live_cells(self) -> frozenset[str]:
        """Cells whose results are nobody else's to change."""
        ...

    def keep_copy(self, path: str, content: Any, reason: Reason, text: str, user: str = "") -> str:
        """Keep a version that would be lost otherwise, and tell people; the copy's id. Raises ``CopyFailed``."""
        ...


class Reunion:
    """Brings histories together that have nothing in common, cell by cell and in one transaction.

    See ``docs/ARCHITECTURE.md``, "Tabs of another lineage".
    """

    def __init__(self, room_id: RoomId, room: Room, document: YBaseDoc, open_document: Descendant) -> None:
        self._room_id = room_id
        self._room = room
        self._document = document
        self._open = open_document
        self._forked: tuple[Lineage, bytes] | None = None
        self._built: Digests | None = None
        self._earlier: list[Digests] = []
        self._names: dict[str, str] = {}
        """What the document calls cells that came with another id, by that: where files have none, every life has its own."""
        self._told_apart: dict[Item, str] = {}
        """What cells were called that were told apart from others of that id, while it is not settled which of them stay."""

    def forked(self, lineage: Lineage, state: bytes) -> None:
        """The document had this state when it left this lineage: who has no more can be served as it is."""
        self._forked = lineage, state
        self._earlier.append(read_base(self._room.doc))

    def loaded(self, *, built: bool) -> None:
        """The document has its content and says what of it is in its file; ``built``: it was made of that alone."""
        base = read_base(self._room.doc)
        self._earlier.append(base)
        self._built = base if built else None

    def read(self, read: Callable[[YBaseDoc, dict[Item, str] | None], Any]) -> Any:
        """The document's content by one of the readers of ``document_types``."""
        if not self._room.notes:
            self._told_apart.clear()
            return read(self._document, None)
        return read(self._document, self._told_apart)

    def content(self) -> Any:
        """The document's content, with an id in every cell."""
        # Reading gives cells with the id of another cell a new one.
        with self._room.writing(FromServer()):
            return self.read(document_types.content_of)

    def is_known(self, session: Lineage | str | None) -> bool:
        """Whether a client that comes with this lineage can be served as it is."""
        # Another life of the document may have begun with the same content, and have gone on.
        return session is None or (session == self._open.lineage and self._built is None)

    def take_in(self, client: RoomClient, state: bytes) -> Superseded | None:
        """Bring a client's whole document together with the open one.

        ``None`` if it is of the same lineage after all, or new, and can be applied as it is. Raises
        ``LineageChanged`` for a reader's, ``CopyFailed`` or ``ProtocolError``; then nothing was changed.
        """
        tab = ReturningTab(self._room_id, state)
        if tab.new or (tab.lineage == self._open.lineage and not self._is_outdated(tab)):
            return None
        if self._forked is not None and tab.lineage == self._forked[0] and tab.is_within(self._forked[1]):
            return None
        if not client.may_write:
            raise LineageChanged(tab.lineage, self._open.lineage)
        logger.info("%s comes back with a document of an earlier lineage", client.name)
        return TakenIn(self, tab, self.bring_in(tab, AWAY, client.user), client.user)

    def look_back(self, state: bytes, before: Mapping[int, int]) -> Superseded | None:
        """What of a client's whole document, which was applied just now, is gone in the open one, if anything is.

        The cells may have been made anew or removed in an earlier life of the server, or by somebody who came back with
        more than was left here. ``before`` is the state vector of the open document before that.
        """
        if not isinstance(self._document, YNotebook):
            return None
        tab = ReturningTab(self._room_id, state, before)
        inserted, there = tab.inserted(), cell_items(self._document)
        others = {name for name, _ in inserted_cells(self._document, frozenset(inserted)).values()}
        gone = frozenset(
            name
            for name, item in tab.cells().items()
            if name not in tab.copies and (item not in there or (item in inserted and name in others))
        )
        return LeftBehind(self, tab, gone) if gone else None

    def bring_in(self, tab: ReturningTab, where: str, user: str) -> frozenset[str]:
        """Bring a document of another lineage together with the open one; the cells that are those of ``tab`` now.

        ``where`` says where it was, for people. Raises ``CopyFailed`` or ``ProtocolError``; then nothing was changed.
        """
        own = self.content()
        if isinstance(self._document, YNotebook) and not document_types.has_ids_in_files(own):
            # What was never in a file with the others, as far as the tab knows, has no place there.
            names = names_as_in(tab.content["cells"], own["cells"], tab.base or None)
            names |= _names_of_removed(tab, own, frozenset(names.values()))
            tab.rename(names)
            self._names |= names
        seen = tab.content
        if tab.copies:
            seen = _only(seen, lambda name: name not in tab.copies)
        live = self._open.live_cells()
        alone = not self._room.clients and not live
        # The server tells every tab the file's hash. If it is still the same, nobody ran anything since.
        known_hash = self._document.ystate.get("hash")
        newer = known_hash is not None and tab.view.ystate.get("hash") == known_hash
        result = reconcile(self._known(tab, own), own, seen, live, take_results=newer)
        if is_wipe(own, result.content):
            # Who was away can add, and does not take everything away from all others.
            result = reconcile({}, own, seen, live)
        self._keep_conflict(result, seen, where, user)
        kept = self._unite(tab, result, keep_theirs=alone) - tab.copies
        if self._names and isinstance(self._document, YNotebook):
            here = named_items(self._document)
            self._names = {other: name for other, name in self._names.items() if other not in here}
        if alone:
            # What that tab has is as it was, and so it is in others that come back like it; but not if they may have
            # what others of that lineage brought, of which the document has a version of its own.
            same = bool(tab.lineage) and result.content == seen
            self._open.adopt(tab.lineage if same else new_lineage())
        return kept

    def settle(
        self,
        tab: ReturningTab,
        is_gone: Callable[[str], bool],
        user: str = "",
        *,
        unite: bool = False,
        removals: bool = True,
    ) -> None:
        """Take what clients still wrote into cells that nobody sees any more: ``is_gone``, by their ids.

        What they wrote into all others has arrived as it is.

        Args:
            unite: whether what both sides write into one cell is united; else the document's version counts, and the
                other one is kept.
            removals: whether cells that they removed are removed.
        """
        tab.rename_inserted(self._names)
        before, whole = tab.look()
        after = whole
        if isinstance(self._document, YNotebook):
            # A cell that was moved was removed and inserted again, and the document has that cell already. Who has read
            # the document meanwhile has told them apart.
            self._name_again(tab.inserted())
            while copies := copies_in(self._document, tab.inserted()):
                self._drop_noted(copies)
            # The fields of the notebook lie in no cell.
            before, after = _only(before, is_gone), {**before, "cells": _only(whole, is_gone)["cells"]}
            if not removals:
                left = {cell["id"] for cell in after["cells"]}
                after["cells"] += [cell for cell in before["cells"] if cell["id"] not in left]
        if before == after:
            return
        own = self.content()
        known = digests(before)
        ours = own
        if unite:
            ours, after = _with_sources_united(before, own, after)
        live = self._open.live_cells()
        result = reconcile(known, ours, after, live)
        if is_wipe(own, result.content):
            result = reconcile({}, ours, after, live)
        self._keep_conflict(result, whole, AWAY, user)
        if result.content != own:
            # Clients can write what no notebook has; first where nothing is lost when it fails half-way.
            with guarded("what clients wrote cannot be brought over"):
                document_types.check(self._room_id, result.content, fingerprint(result.content))
            with self.replacing(), self._room.writing(FromServer()):
                document_types.become(self._document, result.content)

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Around what may make cells anew, as everything does that moves them.

        Clients that do not know yet write into the old ones. That is noted, and brought over into the new ones when
        they know; so it is with clients that were away and come back.
        """
        if not isinstance(self._document, YNotebook):
            yield
            return
        replaced, before = Replaced(self, self._room_id, self._room.doc), named_items(self._document)
        yield
        after = named_items(self._document)
        gone = frozenset(name for name, item in before.items() if after.get(name) != item)
        if gone:
            replaced.are_gone(gone)
            self._room.supersede(replaced)

    def removing(self, client: RoomClient, deletions: Deletions, live: bool) -> Callable[[], None] | None:
        """A client's update, which deletes this, is about to be applied: what is to be done then, if anything.

        A client that removes a cell, or moves it, which is to remove it and to insert a copy, takes along what others
        have typed into it. What it had not seen is in no list of what it deletes, and what is typed by those who do not
        know yet is noted as in ``replacing``. The copy has it then, or the cell stays.

        One that inserts a cell again, moving it or undoing that it has removed it, may not know that it is there: as it
        was made anew, or stayed because of what others have typed. Then the document does not keep both.
        """
        if not isinstance(self._document, YNotebook):
            return None
        count, state = len(self._document.ycells), self._room.doc.get_state()
        removed = self._removing(client, deletions, live) if deletions.units >= CELL_UNITS else None
        # Cells may be among it that others have and this document never had.
        strange = removed is not None and not live and deletions.units_beyond(clocks(state)) >= CELL_UNITS

        def afterwards() -> None:
            if strange:
                self._room.forget_before(clocks(self._room.doc.get_state()))
            self._name_inserted(state)
            # Whoever reads the document gives one of two cells with one id another one.
            self._drop_doubles(client, count, state)
            if removed is not None:
                removed()

        return afterwards

    # Private

    def _removing(self, client: RoomClient, deletions: Deletions, live: bool) -> Callable[[], None] | None:
        assert isinstance(self._document, YNotebook)
        gone = frozenset(name for name, item in named_items(self._document).items() if item in deletions)
        if not gone:
            return None
        replaced = Replaced(self, self._room_id, self._room.doc)
        with guarded("an update could not be tried"):
            seen = seen_sources(self._room_id, replaced.state, deletions)

        def afterwards() -> None:
            replaced.were_removed(gone, seen, sources_of(self._document), deletions, live)
            self._room.supersede(replaced, by=client)

        return afterwards

    def _name_inserted(self, state: bytes) -> None:
        """A client has inserted cells, and may not know yet what they are called here: it has moved them, for example.

        ``state`` is the state vector of the document before.
        """
        if not self._names or not isinstance(self._document, YNotebook):
            return
        before, now = clocks(state), clocks(self._room.doc.get_state())
        if sum(now.values()) - sum(before.values()) < CELL_UNITS:
            return
        if inserted := cells_beyond(self._document, before):
            with self._room.writing(FromServer()):
                rename_cells(self._document, inserted, self._names)

    def _name_again(self, inserted: Inserted) -> None:
        """Call cells again what these ones are called, if they were."""
        assert isinstance(self._document, YNotebook)
        names = {name for name, _ in inserted.values()}
        again = {item: name for item, name in self._told_apart.items() if name in names}
        if again:
            with self._room.writing(FromServer()):
                name_cells(self._document, again)
            self._told_apart = {item: name for item, name in self._told_apart.items() if item not in again}

    def _drop_doubles(self, client: RoomClient, count: int, state: bytes) -> None:
        """A client has inserted cells. Those that were there already, with all that is in them, go again.

        Args:
            count: how many cells there were before.
            state: the state vector of the document before.
        """
        if not isinstance(self._document, YNotebook) or len(self._document.ycells) <= count:
            return
        # While something is noted of what it writes, all that it has twice is looked at when that is settled.
        if self._room.is_noting(client):
            return
        doubled = again_inserted(self._document, clocks(state))
        if doubled:
            self._drop_noted(doubled)

    def _drop_noted(self, doubled: Mapping[str, Item]) -> None:
        """Delete cells that are there twice. What is typed into them by those who do not know yet goes into the others."""
        assert isinstance(self._document, YNotebook)
        noted = self._with_only(doubled)
        with self._room.writing(FromServer()):
            drop_cells(self._document, frozenset(doubled.values()))
        noted.are_gone(frozenset(doubled))
        self._room.supersede(noted)

    def _with_only(self, doubled: Mapping[str, Item]) -> Replaced:
        """The document as if there were of these cells, which are there twice, only these items."""
        doc: Doc[Any] = Doc()
        doc.apply_update(self._room.doc.get_update())
        view = document_types.wrap(self._room_id, doc)
        assert isinstance(view, YNotebook)
        others = {item for item, (name, _) in inserted_cells(view, frozenset()).items() if name in doubled}
        drop_cells(view, frozenset(others.difference(doubled.values())))
        return Replaced(self, self._room_id, doc)

    def _is_outdated(self, tab: ReturningTab) -> bool:
        """Whether the file was another one after the document that ``tab`` has was built, and is the first one again."""
        return self._built is not None and not self._was_here(tab) and tab.base != self._built

    def _was_here(self, tab: ReturningTab) -> bool:
        """Whether it has heard something of this server, which says first what document and file have in common."""
        return self._room.doc.client_id in clocks(tab.state_vector)

    def _known(self, tab: ReturningTab, own: Any) -> Digests:
        """What the tab had in common with its file, and what came after that where it was something else since and is the
        same again.

        Another program has put it back then, which is a change. The tab was away before it could be told that it was
        something else, which it may all the same have by then: who had changed it is sent before what was saved.
        """
        if self._was_here(tab):
            return tab.base
        known, now = tab.base, digests(own)
        for name, digest in tab.base.items():
            others = [base.get(name) for base in self._earlier if base.get(name) != digest]
            if not others or now.get(name) != digest:
                continue
            if others[0] is None:
                del known[name]
            else:
                known[name] = others[0]
        return known

    def _unite(self, tab: ReturningTab, result: Reconciled, *, keep_theirs: bool) -> frozenset[str]:
        """Done on a copy, which can be thrown away when it fails half-way."""
        doc = self._room.doc
        copy: Doc[Any] = Doc(client_id=doc.client_id)
        copy.apply_update(doc.get_update())
        document = document_types.wrap(self._room_id, copy)
        with guarded("it cannot be brought together with the document"), copy.transaction():
            kept = unite(
                document,
                tab.view,
                lambda: document_types.become(document, result.content),
                keep_theirs=keep_theirs,
                anew=result.conflicts,
            )
        update = copy.get_update(doc.get_state())
        # Who has this lineage and is not here comes back to another one, if theirs is kept.
        with nullcontext() if keep_theirs else self.replacing(), self._room.writing(FromServer()):
            doc.apply_update(update)
        return kept

    def _keep_conflict(self, result: Reconciled, theirs: Any, where: str, user: str) -> None:
        if not result.conflicts:
            return
        path = self._document.path or self._room_id.file_id
        copy = self._open.keep_copy(
            path,
            theirs,
            "conflict",
            f"What was changed here was changed in {where} too. That version was kept as a copy.",
            user,
        )
        logger.warning(
            "%s was changed here and in %s (%s). What is open was kept; the other version is recovery copy %s",
            path,
            where,
            ", ".join(result.conflicts) or "all of it",
            copy,
        )


def _names_of_removed(tab: ReturningTab, own: Any, taken: frozenset[str]) -> dict[str, str]:
    """For cells that the tab had in common with its file and has not any more: the ids of those of ``own`` that they were.

    Only of what they were there is a digest. ``taken`` are cells of ``own`` that the tab has.
    """
    here = tab.cells()
    removed = {digest: name for name, digest in tab.base.items() if name not in here}
    names: dict[str, str] = {}
    for name, digest in digests(own).items():
        if name != WHOLE and name not in here and name not in taken and digest in removed:
            names[removed.pop(digest)] = name
    return names


def _only(notebook: Any, chosen: Callable[[str], bool]) -> Any:
    return {**notebook, "cells": [cell for cell in notebook["cells"] if chosen(cell["id"])]}


def _with_sources_united(before: Any, ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Both sides with what each has typed into cells that the other has changed too."""
    base, other = ({cell["id"]: cell["source"] for cell in side["cells"]} for side in (before, theirs))
    united = {
        cell["id"]: unite_texts(base[cell["id"]], cell["source"], other[cell["id"]])
        for cell in ours["cells"]
        if cell["id"] in base and cell["id"] in other
    }
    return _with_sources(ours, united), _with_sources(theirs, united)


def _with_sources(notebook: Any, sources: dict[str, str]) -> Any:
    cells = [{**cell, "source": sources.get(cell["id"], cell["source"])} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}
