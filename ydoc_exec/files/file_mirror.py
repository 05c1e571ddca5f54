"""Keeps a document and its file equal, and says when it cannot.

It never sees a document: it is given what reads its content and what takes content up. It never writes
anything before ``start`` was called, so a document that did not finish loading cannot reach the file.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from anyio import Event, Lock, create_task_group, current_time, move_on_after, sleep, to_thread

from ydoc_exec.errors import CopyFailed, DocumentNotFound, LoadFailed, SaveFailed
from ydoc_exec.files.cell_ids import identify
from ydoc_exec.files.contents import (
    ContentsManager,
    Stamp,
    contents_type,
    file_hash,
    file_state,
    is_missing,
    plain,
    settled,
)
from ydoc_exec.files.decision import Base, Decision, Fingerprint, decide, fingerprint
from ydoc_exec.files.merge import merge
from ydoc_exec.files.own_save import OwnSave
from ydoc_exec.files.recovery_copies import Reason
from ydoc_exec.files.wipe import would_empty
from ydoc_exec.measures import Measures
from ydoc_exec.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

SAVE_PAUSE = 0.5
"""At least so many seconds lie between two saves that nobody asked for."""

CLIENTS_FIRST = 0.3
"""Seconds from the end of a run to the save: reading a large notebook must not keep tabs waiting for the end."""

LONGEST_RETRY = 60.0
"""Saves that keep failing are tried again after twice the time each time, up to so many seconds."""

SAVE_TRIES = 5
"""So often a save begins again because another program wrote the file meanwhile."""

MOVED_PAUSE = 0.2
"""A file that is moved is gone from its old place before its new one is known."""

_MADE_UP = re.compile("[0-9a-f]{8}")
"""Ids of this form are made by nbformat while reading, for cells that have none: others at each reading."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it was read once."""

    path: str
    content: Any
    fingerprint: Fingerprint
    stamp: Stamp


class MirroredDocument(Protocol):
    """The document's side. Plain calls: they return at once."""

    def read(self) -> Any:
        """The content, in the form the contents API has for this type."""
        ...

    def cell_ids(self) -> list[str]:
        """The ids of a notebook's cells, also if the content that ``read`` returns has none (nbformat 4.4)."""
        ...

    def take_up(self, path: str, content: Any) -> None:
        """Become this content, keeping what did not change as it is.

        Raises ``LoadFailed`` if it cannot be a document, and has changed nothing then.
        """
        ...

    def live_cells(self) -> Container[str]:
        """Cells whose results must not be taken from the file."""
        ...

    def may_autosave(self) -> bool:
        """Whether saving without being asked is wanted."""
        ...

    def agreed(self, base: Base, content: Any) -> None:
        """This is what file and document have in common from now on, whatever was changed meanwhile."""
        ...

    async def will_save(self, content: Fingerprint) -> None:
        """The file is about to become this content of the document. Remember it for a server that is killed
        meanwhile, with all that led to it.
        """
        ...

    def saved(self, base: Base) -> None:
        """File and document are equal as of now."""
        ...

    def save_failed(self, why: str | None) -> None:
        """Why the file cannot have what the document has; None when that is over. Called when it changes."""
        ...

    def is_at(self, path: str) -> None:
        """The file's path, when it is another one than before."""
        ...

    def has_hash(self, hash: str) -> None:
        """The file's hash, as the contents manager says it, when it may be another one than before."""
        ...

    def unsaved(self) -> None:
        """The document has changes that its file has not. Called at the first one, and when a save left some."""
        ...

    def keep_copy(self, path: str, content: Any, reason: Reason, text: str) -> str:
        """Keep a version that would be lost otherwise, and tell people ``text``; the copy's id.

        Raises ``CopyFailed``.
        """
        ...

    def held_back(self, emptied: bool) -> None:
        """Whether the document is not saved because nothing is left in it: nobody does that unasked."""
        ...


@dataclass(frozen=True, slots=True)
class _Common:
    """What document and file had in common last, with an id in every cell."""

    base: Base
    content: Any


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a document when another version of it is taken up.

    ``content`` is None if it stays as it is; with ``equal`` it is the other version then. ``theirs`` is that one, with
    an id in every cell of a notebook.
    """

    theirs: Any
    content: Any
    conflicts: tuple[str, ...]
    equal: bool


class _Moved(Exception):
    """The file is not where it was a moment ago."""


class FileMirror:
    """One document's file.

    Args:
        contents: the server's contents manager.
        name: what to call the document before its file is found.
        path_of: the file's path now (it may be renamed at any time), or None when there is none any more.
        format, type: as the contents API names them.
    """

    def __init__(
        self,
        contents: ContentsManager,
        name: str,
        path_of: Callable[[], str | None],
        format: str,
        type: str,
        document: MirroredDocument,
        settings: Settings,
        measures: Measures | None = None,
    ) -> None:
        self._contents = contents
        self._name = name
        self._path_of = path_of
        self._format = format
        self._type = type
        self._document = document
        self._settings = settings
        self._measures = measures or Measures()
        self._lock = Lock()
        self._base: Base | None = None
        self._base_content: Any = None
        self._stamp = Stamp(None, None)
        self._path = ""
        self._edits = 0
        self._saved_edits = 0
        self._changed = Event()
        self._hurry = Event()
        self._missing = False
        self._held_back = False
        self._trust: list[bool] = []
        self._dirtied = Event()
        self._last_save = -math.inf
        self._trouble: tuple[str, int] = ("", 0)
        self._failing: str | None = None

    @property
    def base(self) -> Base | None:
        """What file and document last had in common; None before ``start``."""
        return self._base

    @property
    def size(self) -> int | None:
        """Bytes of the file, as far as the contents manager says it."""
        return self._stamp.size

    @property
    def dirty(self) -> bool:
        """Whether the document has something that is not known to be in the file."""
        return self._edits != self._saved_edits or self._missing

    @property
    def trouble(self) -> str | None:
        """Why the document cannot be saved, while it cannot."""
        return self._failing

    @property
    def missing(self) -> bool:
        """Whether the file was deleted: it comes back only when somebody saves it."""
        return self._missing

    @property
    def emptied(self) -> bool:
        """Whether nothing is left in the document, which is not saved unasked."""
        return self._held_back

    @property
    def saves_unasked(self) -> bool:
        """Whether what is changed will be saved: the file is there, and the document is not emptied."""
        return not self._missing and not self._held_back

    async def load(self) -> FileContent:
        """Read the file. Raises ``DocumentNotFound`` or ``LoadFailed``; nothing is changed by it."""
        path = self._path_of()
        if path is None:
            raise DocumentNotFound(self._name)
        model, content = await self._read_file(path)
        if self._type == "notebook" and _may_be_made_up(content):
            # Nothing else tells: the ids that the next reading has not were not in the file.
            again, other = await self._read_file(path)
            if not Stamp.of(again).differs(Stamp.of(model)):
                content = _without_made_up(content, other)
        return FileContent(path, content, await _in_thread(fingerprint, content), Stamp.of(model))

    def start(self, file: FileContent, base: Base, *, unsaved: bool) -> None:
        """The document is loaded. ``base`` is what it and ``file`` had in common when they last agreed.

        With ``unsaved`` the document is ahead of the file, which has nothing that it has not, and will be
        saved soon.
        """
        self._path = file.path
        self._stamp = file.stamp
        self._base = base
        self._base_content = file.content if unsaved else self._document.read()
        self._base_content = self._identified(self._base_content)
        if self._type == "notebook":
            self._trust = _trusted(self._base_content)
        if unsaved:
            self.changed()

    def changed(self) -> None:
        """The document's content has changed. A plain call for observers: it only takes a note."""
        if not self.dirty:
            self._dirtied.set()
        self._edits += 1
        self._changed.set()

    def hurry(self) -> None:
        """Save what has changed without the usual delay (a run has ended)."""
        if self.dirty:
            self._hurry.set()

    async def run(self) -> None:
        """Save and watch until cancelled."""
        await self._say_hash(self._path)
        async with create_task_group() as tasks:
            tasks.start_soon(self._say_dirty)
            tasks.start_soon(self._save_regularly)
            tasks.start_soon(self._watch)

    async def save(self, *, recreate: bool = False) -> None:
        """Return when the file has the document's state of this moment. Raises ``SaveFailed``.

        With ``recreate`` somebody wants it: then a file that was deleted is written again, and one that has
        become unreadable is kept aside and replaced.
        """
        async with self._lock:
            await self._save(recreate)

    async def put(self, read: Callable[[], Any]) -> dict[str, Any]:
        """Merge what somebody else wants to save into the document, and save that, by hand.

        ``read`` makes the content, in a thread, and may raise ``LoadFailed``. Returns what the contents manager says of
        the file then. Raises ``SaveFailed``, or ``LoadFailed`` if the document cannot take it, and has changed nothing
        then.
        """
        # Of what is saved from now on the writer cannot know.
        common = self._common
        content = await _in_thread(read)
        theirs = FileContent(self._path, content, await _in_thread(fingerprint, content), self._stamp)
        async with self._lock:
            model = await self._save(recreate=True, theirs=(theirs, common))
            if model is None:
                model = await self._ask(self._path)
            return model

    def merge(self, content: Any) -> Any:
        """Merge what somebody else saves into the document, without waiting: what the document has now.

        That it is in the file then is found when the file is looked at next. Raises as ``put`` does.
        """
        file = FileContent(self._path, content, fingerprint(content), self._stamp)
        self._follow(file, self._plan(file, self._common, *self._ours(file.path)))
        return self._read(file.path)

    # Private: saving

    async def _say_dirty(self) -> None:
        """At once, not when the save begins; but not from inside the change either."""
        while True:
            await self._dirtied.wait()
            self._dirtied = Event()
            if self.dirty:
                self._document.unsaved()

    async def _save_regularly(self) -> None:
        retry = self._settings.save_retry
        while True:
            await self._changed.wait()
            self._changed = Event()
            if not self.dirty:
                continue
            hurried = await self._wait_for_quiet()
            # A batch of quick cells ends many times in a second, and each end asks for a save.
            pause = self._last_save + SAVE_PAUSE - current_time()
            await sleep(max(CLIENTS_FIRST if hurried else 0.0, pause))
            if not self._document.may_autosave():
                # Those who do not want it may change their minds.
                self._document.unsaved()
                await sleep(self._settings.poll_interval)
                self._changed.set()
                continue
            try:
                await self.save()
                self._last_save = current_time()
            except SaveFailed as error:
                logger.error("%s", error)
            except Exception:
                # A mistake here must not end the document, which nobody could save then.
                logger.exception("%s could not be saved; it is tried again", self._path)
            else:
                retry = self._settings.save_retry
                continue
            self._document.unsaved()
            await sleep(retry)
            retry = min(2 * retry, max(LONGEST_RETRY, self._settings.save_retry))
            self._changed.set()

    async def _wait_for_quiet(self) -> bool:
        """Until nothing changes for the save delay, but not longer than the save interval, or somebody hurries."""
        with move_on_after(self._settings.save_interval):
            while not self._hurry.is_set():
                before = self._edits
                with move_on_after(self._settings.save_delay):
                    await self._hurry.wait()
                if self._edits == before:
                    break
        hurried = self._hurry.is_set()
        self._hurry = Event()
        return hurried

    async def _save(
        self, recreate: bool, theirs: tuple[FileContent, _Common] | None = None
    ) -> dict[str, Any] | None:
        """Returns the model of what was written, or None if the file had it already."""
        try:
            for _ in range(SAVE_TRIES):
                path = self._find()
                save = OwnSave(path, file_state(self._contents, path), self._document.has_hash)
                model = await self._try_to_save(save, recreate, theirs)
                theirs = None
                if not save.overtaken:
                    break
            else:
                raise SaveFailed(path, "other programs keep changing the file")
        except SaveFailed as error:
            self._measures.failed_saves += 1
            self._say_failing(error.why)
            raise
        if not self._missing:
            self._say_failing(None)
        if not self.dirty:
            assert self._base is not None
            self._document.saved(self._base)
        elif not self._missing:
            self._document.unsaved()
        return model

    async def _try_to_save(
        self, save: OwnSave, recreate: bool, theirs: tuple[FileContent, _Common] | None
    ) -> dict[str, Any] | None:
        if self._base is None:
            raise SaveFailed(save.path, "the document has not finished loading")
        path = save.path
        unreadable = False
        try:
            await self._look(path, recreate)
        except _Moved:
            save.overtaken = True
            return None
        except (LoadFailed, DocumentNotFound) as error:
            why = error.why if isinstance(error, LoadFailed) else str(error)
            if not recreate:
                raise SaveFailed(path, f"another program has changed the file, and {why}") from error
            await self._set_unreadable_aside(path, why)
            unreadable = True
        if theirs is not None:
            await self._merge_in(*theirs)
        if self._missing and not recreate:
            return None
        edits = self._edits
        content = self._read(path)
        identified = self._identified(content)
        self._say_held_back(not recreate and would_empty(self._base_content, identified))
        if self._held_back:
            return None
        document = await _in_thread(fingerprint, content)
        # Trust alone is worth a save, as the contents manager signs what it saves and nothing else does.
        trust_changed = self._type == "notebook" and _trusted(content) != self._trust
        model: dict[str, Any] | None = None
        if document != self._base.document or trust_changed or self._missing or unreadable:
            await self._document.will_save(document)
            with self._measures.saves.timed():
                model = await self._write(save, content)
            if model is None:
                return None
            self._missing = False
            self._agree(Base(document, document), identified)
            if save.written is None:
                await self._say_hash(path)
        self._saved_edits = edits
        return model

    async def _write(self, save: OwnSave, content: Any) -> dict[str, Any] | None:
        """Write the file: the contents manager's answer, or None if somebody else wrote it meanwhile."""
        path = save.path
        model = {"type": contents_type(self._type), "format": self._format, "content": content}
        answer: dict[str, Any]
        try:
            with save.under_way():
                answer = await settled(self._contents.save(model, path))
        except Exception as error:
            if save.overtaken:
                return None
            if save.written is None:
                raise SaveFailed(path, _reason(error)) from error
            # A hook, or the checkpoint.
            logger.error("%s was saved, but what follows a save failed (%s)", path, _reason(error))
            answer = await self._ask(path)
        if answer.get("message"):
            logger.warning("%s was saved, but it is no valid notebook: %s", path, answer["message"])
        if save.written is None or file_state(self._contents, path) == save.written:
            self._stamp = Stamp.of(answer)
        else:
            self._stamp = Stamp(None, None)  # somebody has written it since, and is found by the next look
        return answer

    async def _ask(self, path: str) -> dict[str, Any]:
        """The model of the file, without its content. Raises ``SaveFailed``."""
        model = await self._ask_if_there(path)
        if model is None:
            raise SaveFailed(path, "the file is gone")
        return model

    async def _ask_if_there(self, path: str) -> dict[str, Any] | None:
        try:
            model: dict[str, Any] = await settled(
                self._contents.get(path, content=False, type=contents_type(self._type), format=self._format)
            )
        except Exception as error:
            if is_missing(error):
                return None
            raise SaveFailed(path, _reason(error)) from error
        return model

    def _say_held_back(self, emptied: bool) -> None:
        if emptied != self._held_back:
            self._held_back = emptied
            self._document.held_back(emptied)

    def _say_failing(self, why: str | None) -> None:
        if why != self._failing:
            self._failing = why
            self._document.save_failed(why)

    def _agree(self, base: Base, content: Any) -> None:
        """``content``: what both have now, with an id in every cell."""
        self._base = base
        self._base_content = content
        if self._type == "notebook":
            self._trust = _trusted(content)
        self._document.agreed(base, content)

    def _find(self) -> str:
        """Where the file is now, or was last if nobody knows."""
        path = self._path_of() or self._path
        if path != self._path:
            self._path = path
            self._document.is_at(path)
        return path

    def _read(self, path: str) -> Any:
        try:
            return self._document.read()
        except Exception as error:
            # Any client can write what jupyter_ydoc cannot read.
            raise SaveFailed(path, f"the document cannot be read ({_reason(error)})") from error

    def _identified(self, content: Any) -> Any:
        """A notebook's content with the cell ids that the document has for it. Any other as it is."""
        if self._type != "notebook":
            return content
        names = self._document.cell_ids()
        if len(names) != len(content["cells"]) or all(cell.get("id") for cell in content["cells"]):
            return content
        return {
            **content,
            "cells": [
                {**cell, "id": cell.get("id") or name}
                for cell, name in zip(content["cells"], names, strict=True)
            ],
        }

    async def _say_hash(self, path: str) -> None:
        """Tell the document its file's hash.

        A tab that is about to save compares the file's hash with the one it knows, and asks its user what to
        do about a file that "has changed on disk" (JupyterLab, ``context.ts``, ``_maybeSave``). It learns
        of what this server writes only from here (``jupyter-docprovider``, ``ydrive.ts``).
        """
        try:
            hash = await file_hash(self._contents, path, contents_type(self._type))
        except Exception as error:
            logger.warning("The hash of %s could not be asked for (%s)", path, _reason(error))
            return
        if hash is not None:
            self._document.has_hash(hash)

    async def _set_unreadable_aside(self, path: str, why: str) -> None:
        for format in ("text", "base64"):
            try:
                model = await settled(self._contents.get(path, content=True, type="file", format=format))
                where = self._document.keep_copy(
                    path,
                    model["content"],
                    "file-replaced",
                    "The file could not be read and was replaced by what is open. What was in it was kept as a copy.",
                )
            except Exception as error:
                if format == "base64":
                    raise SaveFailed(path, _reason(error)) from error
            else:
                logger.warning(
                    "%s is replaced by what is open here (%s); it is recovery copy %s", path, why, where
                )
                return

    # Private: what other programs do

    async def _watch(self) -> None:
        while True:
            await sleep(self._settings.poll_interval)
            async with self._lock:
                try:
                    await self._look(self._find(), recreate=False)
                except _Moved:
                    continue
                except Exception as error:
                    self._say_trouble(error)
                else:
                    self._trouble = ("", 0)

    def _say_trouble(self, error: Exception) -> None:
        """Once, and not the first time: half-written files are common while another program writes."""
        what, times = self._trouble
        times = times + 1 if what == str(error) else 1
        self._trouble = (str(error), times)
        expected = isinstance(error, (SaveFailed, LoadFailed, DocumentNotFound))
        if not expected and times == 1:
            logger.error("%s could not be compared with its file", self._path, exc_info=error)
        elif expected and times == 3:
            logger.warning("%s", error)

    async def _look(self, path: str, recreate: bool) -> None:
        """Take up what another program did to the file, if anything.

        Raises ``_Moved`` if it is at another place now, ``SaveFailed`` if it cannot be looked at, and ``LoadFailed`` or
        ``DocumentNotFound`` if what is there cannot be taken up; then nothing was changed, and the next look finds it
        again.
        """
        model = await self._ask_if_there(path)
        if model is None and not self._missing:
            await sleep(MOVED_PAUSE)
            if self._find() != path:
                raise _Moved
            model = await self._ask_if_there(path)  # some programs delete a file before they write it
        if model is None:
            if not self._missing:
                self._missing = True
                self._document.unsaved()
                if not recreate:
                    logger.warning("%s is gone; it is written again only when somebody saves it", path)
                    self._say_failing("the file was deleted; it is written again only when somebody saves it")
            return
        if self._missing:
            self._missing = False
            self._say_failing(None)
            self._changed.set()  # nobody has waited for it to come back
            if not self.dirty and self._base is not None:
                self._document.saved(self._base)
        if not self._stamp.differs(Stamp.of(model)):
            return
        file = await self.load()
        base = self._base
        # The same content may have been written again, or the file only touched.
        if base is not None and file.fingerprint != base.file:
            await self._take_up(file)
        # Not before: what could not be taken up must not look known, or it would be written over.
        self._stamp = file.stamp
        await self._say_hash(path)

    async def _read_file(self, path: str) -> tuple[dict[str, Any], Any]:
        try:
            model = await settled(
                self._contents.get(path, content=True, type=contents_type(self._type), format=self._format)
            )
            return model, plain(model["content"])
        except Exception as error:
            if is_missing(error):
                raise DocumentNotFound(path) from error
            raise LoadFailed(path, _reason(error)) from error

    async def _take_up(self, file: FileContent) -> None:
        plan = await self._merge_in(file, self._common)
        logger.info("%s was changed by another program and taken up", file.path)
        if plan.equal:
            content = self._read(file.path)
            identified = self._identified(content)
            self._agree(Base(file.fingerprint, await _in_thread(fingerprint, content)), identified)
        else:
            # The document has more than the file: they have in common what the file has, and a save follows.
            self._agree(Base(file.fingerprint, file.fingerprint), plan.theirs)
        self.changed()

    @property
    def _common(self) -> _Common:
        assert self._base is not None, "the document has not finished loading"
        return _Common(self._base, self._base_content)

    async def _merge_in(self, file: FileContent, common: _Common) -> _Plan:
        """Merge another version into the document: what was done."""
        edits = self._edits
        plan = await _in_thread(self._plan, file, common, *self._ours(file.path))
        if self._edits != edits:
            # Somebody typed meanwhile.
            plan = self._plan(file, common, *self._ours(file.path))
        self._follow(file, plan)
        return plan

    def _ours(self, path: str) -> tuple[Any, Any, Container[str]]:
        """The document's content, the same with an id in every cell, and its live cells."""
        content = self._read(path)
        return content, self._identified(content), self._document.live_cells()

    def _plan(
        self, file: FileContent, common: _Common, ours: Any, identified: Any, live: Container[str]
    ) -> _Plan:
        decision = decide(file.fingerprint, fingerprint(ours), common.base)
        theirs, merged = file.content, None
        if self._type == "notebook":
            theirs = identify(theirs, file.fingerprint, self._base_content["cells"], identified["cells"])
            merged = merge(common.content, identified, theirs, live)
        if merged is not None:
            equal = decision is Decision.RELOAD and _same(merged.content, theirs)
            return _Plan(theirs, merged.content, merged.conflicts, equal)
        if decision is Decision.RELOAD:
            return _Plan(theirs, theirs, (), True)
        return _Plan(theirs, None, ("all of it",), False)

    def _follow(self, file: FileContent, plan: _Plan) -> None:
        if plan.conflicts:
            self._warn(file, plan.conflicts)
        if plan.content is not None:
            self._document.take_up(file.path, plan.content)

    def _warn(self, file: FileContent, what: tuple[str, ...]) -> None:
        try:
            where = self._document.keep_copy(
                file.path,
                file.content,
                "conflict",
                "Another program has changed in the file what was changed here too. Its version was kept as a copy.",
            )
        except CopyFailed as error:
            # Then it stays where it is, and what is open here is not saved over it.
            raise LoadFailed(file.path, f"its version could not be kept ({error.why})") from error
        logger.warning(
            "%s was changed by another program and here at once (%s). What is open was kept; "
            "the other version is recovery copy %s",
            file.path,
            ", ".join(what),
            where,
        )


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Large notebooks take a second, for which nobody could type."""
    return await to_thread.run_sync(partial(work, *args))


def _may_be_made_up(notebook: Any) -> bool:
    return any(_MADE_UP.fullmatch(str(cell.get("id", ""))) for cell in notebook["cells"])


def _without_made_up(notebook: Any, again: Any) -> Any:
    """The notebook without the ids that another reading of the same file has not."""
    if len(notebook["cells"]) != len(again["cells"]):
        return notebook
    cells = [
        cell
        if cell.get("id") == other.get("id")
        else {key: value for key, value in cell.items() if key != "id"}
        for cell, other in zip(notebook["cells"], again["cells"], strict=True)
    ]
    return {**notebook, "cells": cells}


def _trusted(notebook: Any) -> list[bool]:
    """Which of its cells are trusted."""
    return [bool((cell.get("metadata") or {}).get("trusted")) for cell in notebook["cells"]]


def _same(one: Any, other: Any) -> bool:
    return fingerprint(one) == fingerprint(other)


def _reason(error: Exception) -> str:
    """What went wrong, in the contents manager's words."""
    return str(getattr(error, "log_message", None) or error) or type(error).__name__
