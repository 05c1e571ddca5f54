"""How a document begins: from its file, and from what the update log has of it.

See ``docs/ARCHITECTURE.md``, "Loading, lineage, the log".
"""

from __future__ import annotations

import logging
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import current_time, sleep
from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.ancestry import read_base
from ydoc_exec.documents.readable import replace_non_finite, require_format
from ydoc_exec.documents.reunion import Reunion
from ydoc_exec.documents.union import drop_doubles
from ydoc_exec.errors import CopyFailed, LoadFailed, ProtocolError, UpdateLogError
from ydoc_exec.files.decision import Base, Decision, decide, fingerprint
from ydoc_exec.files.file_mirror import FileContent, FileMirror
from ydoc_exec.files.namesake import is_namesake
from ydoc_exec.files.reconciliation import reconcile
from ydoc_exec.files.recovery_copies import Reason
from ydoc_exec.files.wipe import would_empty
from ydoc_exec.ids import Lineage, RoomId, new_lineage
from ydoc_exec.origin import FromFile, FromLog, FromServer
from ydoc_exec.room.room import Room, guarded
from ydoc_exec.room.state_vector import clocks
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.update_log import History, UpdateLog

logger = logging.getLogger(__name__)

LOAD_PAUSE = 0.05
"""Seconds until a file that could not be read is read again; twice as long each time."""

STATES_TRIED = 32
"""A server that is killed between saving and saying so in the log has made few updates in that time."""


class Loadable(Protocol):
    """The document that is loaded, as far as it matters here."""

    def read(self) -> Any:
        """The content, in the form the contents API has for this type."""
        ...

    def take_up(self, path: str, content: Any) -> None:
        """Become this content, keeping what did not change as it is. Raises ``LoadFailed``."""
        ...

    def keep_copy(self, path: str, content: Any, reason: Reason, text: str, user: str = "") -> str:
        """Keep a version that would be lost otherwise, and tell people; the copy's id. Raises ``CopyFailed``."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document that has its content.

    ``unsaved``: it is ahead of the file, which has nothing that it has not. ``base`` is what both had in common last.
    ``built``: it was made of the file alone.
    """

    file: FileContent
    lineage: Lineage
    base: Base
    unsaved: bool
    built: bool = False


class Loading:
    """Loads one document.

    Args:
        patience: a file that cannot be read is tried again for so many seconds.
    """

    def __init__(
        self,
        room_id: RoomId,
        room: Room,
        document: YBaseDoc,
        owner: Loadable,
        mirror: FileMirror,
        reunion: Reunion,
        log: UpdateLog,
        writer: LogWriter,
        patience: float,
    ) -> None:
        self.unread = False
        """Whether the log has a history that could not be read yet. Nothing may take its place."""
        self._room_id = room_id
        self._room = room
        self._document = document
        self._owner = owner
        self._mirror = mirror
        self._reunion = reunion
        self._log = log
        self._writer = writer
        self._patience = patience

    async def load(self) -> Loaded:
        """Fill the document. Raises what ``FileMirror.load`` raises; ``LoadFailed`` when it was tried for a while."""
        file = await self._load_file()
        history = await self._read_log(file)
        if history is not None:
            return self._agree(file, history)
        try:
            with guarded("it cannot become a shared document"):
                first = document_types.build(self._room_id, file.content, file.fingerprint)
        except Exception as error:
            raise LoadFailed(file.path, str(error) or type(error).__name__) from error
        with self._room.writing(FromFile()):
            self._document.ydoc.apply_update(first)
        lineage = document_types.first_lineage(self._room_id, file.content, file.fingerprint)
        base = Base(file.fingerprint, fingerprint(self._owner.read()))
        return Loaded(file, lineage, base, unsaved=False, built=True)

    async def history(self) -> History | None:
        """What the log has of the document. Raises ``UpdateLogError``; the log is then left as it is.

        The writer says it, once for all documents.
        """
        try:
            # What is still to be written of an earlier life of this document comes first.
            await self._writer.flush(self._room_id)
            return await self._log.read(self._room_id)
        except UpdateLogError as error:
            self._writer.leave_alone(self._room_id, error)
            raise

    def replayed(self, path: str, history: History) -> tuple[bytes, Any] | None:
        """The history as one update, and its content; None if it is no document, and then it is kept.

        Raises ``LoadFailed`` if it cannot be kept.
        """
        try:
            # Tried on a document that can be thrown away.
            scratch: Doc[Any] = Doc()
            with guarded("the recorded history cannot be replayed"):
                for update in history.updates:
                    scratch.apply_update(update)
                view = document_types.wrap(self._room_id, scratch)
                if isinstance(view, YNotebook):
                    require_format(view)
                    replace_non_finite(view)
                content = view.get()
            return scratch.get_update(), content
        except Exception as error:
            where = self._keep_history(path, history)
            logger.error(
                "%s is loaded from its file: %s. The history is recovery copy %s", path, error, where
            )
            return None

    # Private

    async def _load_file(self) -> FileContent:
        deadline = current_time() + self._patience
        pause = LOAD_PAUSE
        while True:
            try:
                return await self._mirror.load()
            except LoadFailed as error:
                if current_time() + pause > deadline:
                    raise
                logger.debug("%s", error)
            await sleep(pause)
            pause *= 2

    async def _read_log(self, file: FileContent) -> History | None:
        """The recorded history, replayed into the document; None if there is none that is of this file and can be
        used.
        """
        try:
            history = await self.history()
        except UpdateLogError:
            self.unread = True
            return None
        if history is None:
            return None
        replayed = self.replayed(file.path, history)
        if replayed is None:
            return None
        state, content = replayed
        if self._is_of_another_file(file, history, content):
            return None
        with self._room.writing(FromLog()):
            self._document.ydoc.apply_update(state)
            if isinstance(self._document, YNotebook):
                drop_doubles(self._document)
        # Of what was replaced in earlier lives nobody remembers anything.
        self._room.forget_before(clocks(self._document.ydoc.get_state()))
        return history

    def _is_of_another_file(self, file: FileContent, history: History, document: Any) -> bool:
        """Whether the file has nothing of the history's document, which is then kept if it was not saved.

        Raises ``LoadFailed`` if it cannot be kept.
        """
        if not is_namesake(document, file.content):
            return False
        base = _base(history, file)
        decision = Decision.MERGE if base is None else decide(file.fingerprint, fingerprint(document), base)
        if decision not in (Decision.MERGE, Decision.RELOAD) or self._was(file, history):
            return False
        if decision is Decision.MERGE:
            copy = self._keep_copy_or_fail(
                file.path,
                document,
                "file-replaced",
                "Another file has taken the place of this one. What was not saved of the old one was kept as a copy.",
            )
            logger.warning(
                "%s is another file than the one before; what that had is recovery copy %s", file.path, copy
            )
        return True

    def _agree(self, file: FileContent, history: History) -> Loaded:
        """Bring the replayed document and the file together."""
        base = _base(history, file)
        document = fingerprint(self._owner.read())
        if document == file.fingerprint:
            return Loaded(file, history.lineage, Base(document, document), unsaved=False)
        # Without a common base nobody can say which of them is the newer one.
        decision = Decision.MERGE if base is None else decide(file.fingerprint, document, base)
        if decision is Decision.SAVE and would_empty(file.content, self._owner.read()):
            # It was not saved because nothing was left, and nobody has asked for that.
            decision = Decision.RELOAD
        match decision:
            case Decision.RELOAD:
                lineage = self._fork(history.lineage)
                self._owner.take_up(file.path, file.content)
                now = fingerprint(self._owner.read())
                return Loaded(file, lineage, Base(file.fingerprint, now), unsaved=False)
            case Decision.MERGE if self._was(file, history):
                base = Base(file.fingerprint, file.fingerprint)
                return Loaded(file, history.lineage, base, unsaved=True)
            case Decision.MERGE:
                lineage = self._fork(history.lineage)
                self._merge_in(file)
                return Loaded(file, lineage, Base(file.fingerprint, file.fingerprint), unsaved=True)
            case _:
                assert base is not None
                return Loaded(file, history.lineage, base, unsaved=decision is Decision.SAVE)

    def _fork(self, lineage: Lineage) -> Lineage:
        """A lineage for what the file has beyond the log's history.

        It may come from tabs: a server that could not write to this log saved it, or the log is an older copy. What
        such a tab has must not be merged with it as it is.
        """
        self._reunion.forked(lineage, self._document.ydoc.get_state())
        return new_lineage()

    def _merge_in(self, file: FileContent) -> None:
        """Take up what another program did to the file while this server was not looking. Raises ``LoadFailed``."""
        with self._room.writing(FromServer()):
            own = document_types.content_of(self._document)
        try:
            theirs = document_types.as_document(
                self._room_id,
                file.content,
                file.fingerprint,
                own["cells"] if isinstance(self._document, YNotebook) else (),
            )
        except ProtocolError as error:
            raise LoadFailed(file.path, error.why) from error
        result = reconcile(read_base(self._document.ydoc), own, theirs)
        different = tuple(dict.fromkeys(result.conflicts + result.results))
        if different:
            names = ", ".join(different) or "all of it"
            where = self._keep_copy_or_fail(
                file.path,
                file.content,
                "conflict",
                "The file was changed by another program while it was not open, and here too. Its version was kept as a copy.",
            )
            logger.warning(
                "%s was changed by another program while this server was not looking, and here too (%s). "
                "What was open here was kept; the file's version is recovery copy %s",
                file.path,
                names,
                where,
            )
        if result.content != own:
            with self._room.writing(FromFile()):
                document_types.become(self._document, result.content)

    def _was(self, file: FileContent, history: History) -> bool:
        """Whether the file is what this document was lately: our own save, of which the log heard no more."""
        scratch: Doc[Any] = Doc()
        view = document_types.wrap(self._room_id, scratch)
        for left, update in zip(range(len(history.updates) - 1, -1, -1), history.updates, strict=True):
            scratch.apply_update(update)
            if left >= STATES_TRIED:
                continue
            try:
                if fingerprint(view.get()) == file.fingerprint:
                    return True
            except Exception as error:
                logger.debug("A state of %s cannot be read: %r", self._room_id, error)
        return False

    def _keep_history(self, path: str, history: History) -> str:
        updates = [b64encode(update).decode() for update in history.updates]
        return self._keep_copy_or_fail(
            path,
            updates,
            "unreadable",
            "The history of this document could not be read, and was kept as a copy. What you see is the file.",
        )

    def _keep_copy_or_fail(self, path: str, content: Any, reason: Reason, text: str) -> str:
        try:
            return self._owner.keep_copy(path, content, reason, text)
        except CopyFailed as error:
            raise LoadFailed(path, f"a version of it could not be kept ({error.why})") from error


def _base(history: History, file: FileContent) -> Base | None:
    base = Base.parse(history.base or "")
    return None if base is None else base.beside(file.fingerprint)
