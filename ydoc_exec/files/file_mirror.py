"""Keeps a document and its file equal, and says when it cannot.

It never sees a document: it is given what reads its content and what takes content up. It never writes
anything before ``start`` was called, so a document that did not finish loading cannot reach the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from anyio import Event, Lock, create_task_group, move_on_after, sleep

from ydoc_exec.errors import DocumentNotFound, LoadFailed, SaveFailed
from ydoc_exec.files.contents import ContentsManager, is_missing, modified, plain, settled
from ydoc_exec.files.decision import Base, Decision, Fingerprint, decide, fingerprint
from ydoc_exec.files.merge import merge
from ydoc_exec.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it was read once."""

    path: str
    content: Any
    fingerprint: Fingerprint
    stamp: datetime | None


class MirroredDocument(Protocol):
    """The document's side. Plain calls: they return at once."""

    def read(self) -> Any:
        """The content, in the form the contents API has for this type."""
        ...

    def take_up(self, content: Any) -> None:
        """Become this content, keeping what did not change as it is."""
        ...

    def live_cells(self) -> Container[str]:
        """Cells whose results must not be taken from the file."""
        ...

    def may_autosave(self) -> bool:
        """Whether saving without being asked is wanted."""
        ...

    def saved(self, base: Base, path: str) -> None:
        """File and document are equal as of now."""
        ...

    def unsaved(self) -> None:
        """The document has changes that its file has not."""
        ...

    def set_aside(self, path: str, content: Any) -> str:
        """Keep a version that would be lost otherwise; where it is now."""
        ...


class FileMirror:
    """One document's file.

    Args:
        contents: the server's contents manager.
        path_of: the file's path now (it may be renamed at any time), or None when there is none any more.
        format, type: as the contents API names them.
    """

    def __init__(
        self,
        contents: ContentsManager,
        path_of: Callable[[], str | None],
        format: str,
        type: str,
        document: MirroredDocument,
        settings: Settings,
    ) -> None:
        self._contents = contents
        self._path_of = path_of
        self._format = format
        self._type = type
        self._document = document
        self._settings = settings
        self._lock = Lock()
        self._base: Base | None = None
        self._base_content: Any = None
        self._stamp: datetime | None = None
        self._path = ""
        self._edits = 0
        self._saved_edits = 0
        self._changed = Event()
        self._hurry = Event()
        self._missing = False

    @property
    def base(self) -> Base | None:
        """What file and document last had in common; None before ``start``."""
        return self._base

    @property
    def dirty(self) -> bool:
        """Whether the document has changes that are not known to be in the file."""
        return self._edits != self._saved_edits

    async def load(self) -> FileContent:
        """Read the file. Raises ``DocumentNotFound`` or ``LoadFailed``; nothing is changed by it."""
        path = self._path_of()
        if path is None:
            raise DocumentNotFound("this file id")
        try:
            model = await settled(
                self._contents.get(path, content=True, type=self._type, format=self._format)
            )
        except Exception as error:
            if is_missing(error):
                raise DocumentNotFound(path) from error
            raise LoadFailed(path, _reason(error)) from error
        content = plain(model["content"])
        return FileContent(path, content, fingerprint(content), modified(model))

    def start(self, file: FileContent, base: Base, *, unsaved: bool) -> None:
        """The document is loaded. ``base`` is what it and ``file`` had in common when they last agreed.

        With ``unsaved`` the document is ahead of it and will be saved soon.
        """
        self._path = file.path
        self._stamp = file.stamp
        self._base = base
        self._base_content = None if unsaved else self._document.read()
        if unsaved:
            self.changed()

    def changed(self) -> None:
        """The document's content has changed. A plain call for observers: it only takes a note."""
        self._edits += 1
        self._changed.set()

    def hurry(self) -> None:
        """Save without the usual delay (a run has ended)."""
        self._hurry.set()

    async def run(self) -> None:
        """Save and watch until cancelled."""
        async with create_task_group() as tasks:
            tasks.start_soon(self._save_regularly)
            tasks.start_soon(self._watch)

    async def save(self, *, recreate: bool = False) -> None:
        """Return when the file has the document's state of this moment. Raises ``SaveFailed``.

        A file that was deleted comes back only with ``recreate``.
        """
        async with self._lock:
            await self._save(recreate)

    # Private: saving

    async def _save_regularly(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = Event()
            if not self.dirty:
                continue
            self._document.unsaved()
            await self._wait_for_quiet()
            if not self._document.may_autosave():
                continue
            try:
                await self.save()
            except SaveFailed as error:
                logger.error("%s", error)
                self._document.unsaved()
                await sleep(self._settings.save_retry)
                self._changed.set()

    async def _wait_for_quiet(self) -> None:
        """Until nothing changes for the save delay, but not longer than the save interval."""
        with move_on_after(self._settings.save_interval):
            while not self._hurry.is_set():
                before = self._edits
                with move_on_after(self._settings.save_delay):
                    await self._hurry.wait()
                if self._edits == before:
                    break
        self._hurry = Event()

    async def _save(self, recreate: bool) -> None:
        path = self._path_of() or self._path
        base = self._base
        if base is None:
            raise SaveFailed(path, "the document has not finished loading")
        await self._look(path, recreate)
        if self._missing and not recreate:
            return
        base = self._base or base
        edits = self._edits
        content = self._document.read()
        document = fingerprint(content)
        if document != base.document or self._missing:
            model = {"type": self._type, "format": self._format, "content": content}
            try:
                answer = await settled(self._contents.save(model, path))
            except Exception as error:
                raise SaveFailed(path, _reason(error)) from error
            if answer.get("message"):
                logger.warning("%s was saved, but it is no valid notebook: %s", path, answer["message"])
            self._missing = False
            self._stamp = modified(answer)
            self._base = Base(document, document)
            self._base_content = content
        self._saved_edits = edits
        self._path = path
        if not self.dirty:
            self._document.saved(self._base or base, path)

    # Private: what other programs do

    async def _watch(self) -> None:
        while True:
            await sleep(self._settings.poll_interval)
            async with self._lock:
                path = self._path_of() or self._path
                try:
                    await self._look(path, recreate=False)
                except (SaveFailed, LoadFailed, DocumentNotFound) as error:
                    # Half-written files are common while another program writes: the next look decides.
                    logger.debug("%s", error)
                if path != self._path:
                    self._path = path
                    if self._base is not None and not self.dirty:
                        self._document.saved(self._base, path)

    async def _look(self, path: str, recreate: bool) -> None:
        """Take up what another program did to the file, if anything."""
        try:
            model = await settled(
                self._contents.get(path, content=False, type=self._type, format=self._format)
            )
        except Exception as error:
            if not is_missing(error):
                raise SaveFailed(path, _reason(error)) from error
            if not self._missing and not recreate:
                logger.warning("%s is gone; it is written again only when somebody saves it", path)
            self._missing = True
            return
        if self._missing:
            self._missing = False
        if modified(model) == self._stamp:
            return
        file = await self.load()
        self._stamp = file.stamp
        base = self._base
        if base is None or file.fingerprint == base.file:
            return  # touched, or the same content written again
        self._take_up(file, base)

    def _take_up(self, file: FileContent, base: Base) -> None:
        ours = self._document.read()
        document = fingerprint(ours)
        decision = decide(file.fingerprint, document, base)
        merged = None
        if self._type == "notebook" and self._base_content is not None:
            merged = merge(self._base_content, ours, file.content, self._document.live_cells())
        if decision is Decision.RELOAD and merged is None:
            self._document.take_up(file.content)
        elif merged is not None:
            if merged.conflicts:
                self._warn(file, merged.conflicts)
            self._document.take_up(merged.content)
        else:
            self._warn(file, ("all of it",))
        logger.info("%s was changed by another program and taken up", file.path)
        if decision is Decision.RELOAD and (
            merged is None or fingerprint(merged.content) == file.fingerprint
        ):
            self._base_content = self._document.read()
            self._base = Base(file.fingerprint, fingerprint(self._base_content))
        else:
            # The document has more than the file: they have in common what the file has, and a save follows.
            self._base = Base(file.fingerprint, file.fingerprint)
            self._base_content = file.content
        self.changed()

    def _warn(self, file: FileContent, what: tuple[str, ...]) -> None:
        where = self._document.set_aside(file.path, file.content)
        logger.warning(
            "%s was changed by another program and here at once (%s). What is open was kept; "
            "the other version is in %s",
            file.path,
            ", ".join(what),
            where,
        )


def _reason(error: Exception) -> str:
    """What went wrong, in the contents manager's words."""
    return str(getattr(error, "log_message", None) or error) or type(error).__name__
