"""Documents of another lineage that come back, and how they are brought together with the one that is open."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.returning_tab import ReturningTab
from ydoc_exec.documents.union import drop_copies, unite
from ydoc_exec.errors import LineageChanged
from ydoc_exec.files.cell_ids import names_as_in
from ydoc_exec.files.reconciliation import Reconciled, digests, reconcile
from ydoc_exec.files.recovery_copies import Reason
from ydoc_exec.files.wipe import is_wipe
from ydoc_exec.ids import Lineage, RoomId, new_lineage
from ydoc_exec.origin import FromServer
from ydoc_exec.room.room import Returned, Room, guarded
from ydoc_exec.room.room_client import RoomClient

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

    def forked(self, lineage: Lineage, state: bytes) -> None:
        """The document had this state when it left this lineage: who has no more can be served as it is."""
        self._forked = lineage, state

    def take_in(self, client: RoomClient, state: bytes) -> Returned | None:
        """Bring a client's whole document together with the open one.

        ``None`` if it is of the same lineage after all, or new, and can be applied as it is. Raises
        ``LineageChanged`` for a reader's, ``CopyFailed`` or ``ProtocolError``; then nothing was changed.
        """
        tab = ReturningTab(self._room_id, state)
        if tab.new or tab.lineage == self._open.lineage:
            return None
        if self._forked is not None and tab.lineage == self._forked[0] and tab.is_within(self._forked[1]):
            return None
        if not client.may_write:
            raise LineageChanged(tab.lineage, self._open.lineage)
        logger.info("%s comes back with a document of an earlier lineage", client.name)
        return _Settling(self, tab, self.bring_in(tab, AWAY, client.user), client.user)

    def bring_in(self, tab: ReturningTab, where: str, user: str) -> frozenset[str]:
        """Bring a document of another lineage together with the open one; the cells that are those of ``tab`` now.

        ``where`` says where it was, for people. Raises ``CopyFailed`` or ``ProtocolError``; then nothing was changed.
        """
        own = self._content()
        if isinstance(self._document, YNotebook) and not document_types.has_ids_in_files(own):
            # What was never in a file with the others, as far as the tab knows, has no place there.
            tab.rename(names_as_in(tab.content["cells"], own["cells"], tab.base or None))
        seen = tab.content
        live = self._open.live_cells()
        alone = not self._room.clients and not live
        # The server tells every tab the file's hash. If it is still the same, nobody ran anything since.
        known_hash = self._document.ystate.get("hash")
        newer = known_hash is not None and tab.view.ystate.get("hash") == known_hash
        result = reconcile(tab.base, own, seen, live, take_results=newer)
        if is_wipe(own, result.content):
            # Who was away can add, and does not take everything away from all others.
            result = reconcile({}, own, seen, live)
        self._keep_conflict(result, seen, where, user)
        kept = self._unite(tab, result, keep_theirs=alone)
        if alone:
            # What that tab has is as it was, and so it is in others that come back like it; but not if they may have
            # what others of that lineage brought, of which the document has a version of its own.
            same = bool(tab.lineage) and result.content == seen
            self._open.adopt(tab.lineage if same else new_lineage())
        return kept

    def settle(self, tab: ReturningTab, kept: frozenset[str], user: str) -> None:
        """Take what a client still wrote into its old cells, which nobody sees any more."""
        before, after = tab.look()
        if before == after:
            return
        if isinstance(self._document, YNotebook):
            # A cell that it moved is one that it removed and inserted again, and the document has that cell already.
            with self._room.writing(FromServer()):
                drop_copies(self._document, tab.inserted())
            # What it wrote into cells that are everybody's now has arrived as it is.
            old = {cell["id"]: cell for cell in before["cells"]}
            cells = [old.get(cell["id"], cell) if cell["id"] in kept else cell for cell in after["cells"]]
            after = {**after, "cells": cells}
        own = self._content()
        result = reconcile(digests(before), own, after, self._open.live_cells())
        self._keep_conflict(result, after, AWAY, user)
        if result.content != own:
            with self._room.writing(FromServer()):
                document_types.become(self._document, result.content)

    # Private

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
        with self._room.writing(FromServer()):
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

    def _content(self) -> Any:
        # Reading gives cells with the id of another cell a new one.
        with self._room.writing(FromServer()):
            return document_types.content_of(self._document)


class _Settling:
    """A client that was taken in, and may not know it yet."""

    def __init__(self, reunion: Reunion, tab: ReturningTab, kept: frozenset[str], user: str) -> None:
        self._reunion = reunion
        self._tab = tab
        self._kept = kept
        self._user = user

    def note(self, update: bytes) -> None:
        self._tab.note(update)

    def settle(self) -> None:
        self._reunion.settle(self._tab, self._kept, self._user)
