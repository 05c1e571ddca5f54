"""One open document: its room, its log and its file, wired together.

Its life is ``run``: load, serve until nobody needs it, save, end. Somebody needs it while it is held (by a
client, a run, a request), while it has changes that are not in its file, and for a while after that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from secrets import randbits
from typing import Any

from anyio import Event, create_task_group, current_time, move_on_after, sleep
from anyio.abc import TaskGroup
from jupyter_ydoc import YNotebook
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc, get_state

from ydoc_exec import sync
from ydoc_exec.documents import document_types
from ydoc_exec.documents.ancestry import write_base, write_lineage
from ydoc_exec.documents.loading import Loading
from ydoc_exec.documents.notebook_target import Place
from ydoc_exec.documents.notebook_targets import NotebookTargets
from ydoc_exec.documents.notices import PASSING, Kind, NoticeEvent, Notices
from ydoc_exec.documents.past import is_mostly_past, without_past
from ydoc_exec.documents.readable import replace_non_finite, require_format
from ydoc_exec.documents.returning_tab import ReturningTab
from ydoc_exec.documents.reunion import Reunion
from ydoc_exec.documents.union import hear, take_up
from ydoc_exec.documents.wipe_guard import WipeGuard
from ydoc_exec.errors import (
    CopyFailed,
    LoadFailed,
    SaveFailed,
    UpdateLogError,
    YdocExecError,
)
from ydoc_exec.files.contents import ContentsManager
from ydoc_exec.files.decision import Base, Fingerprint, fingerprint
from ydoc_exec.files.file_mirror import FileMirror
from ydoc_exec.files.reconciliation import digests
from ydoc_exec.files.recovery_copies import Reason, RecoveryCopies
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.kernel.run import now
from ydoc_exec.measures import Measures
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.origin import FromFile, FromLog, FromServer, Origin
from ydoc_exec.room.deletions import read_deletions
from ydoc_exec.room.room import Room, Superseded
from ydoc_exec.room.room_client import RoomClient
from ydoc_exec.room.state_vector import clocks
from ydoc_exec.settings import Settings
from ydoc_exec.store.compaction import LogGrowth
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.update_log import History, UpdateLog

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0
"""How long closing waits for what those who are disconnected have sent before they hear of it."""

LEAVE_SECONDS = 1.0
"""How long it waits then for them to be gone, which depends on no network."""

LAST_SAVE_SECONDS = 10.0
"""How long closing waits for the last save. The log, or a recovery copy, has what it does not get done."""

LOG_PATIENCE = 3.0
"""How long the log has to work again before people are told that it does not: locks and the like are soon over."""

AUTHOR_BITS = 28
"""How long the id is under which this server writes into a document: random, another in each of its lives. What is
left of every value that was replaced contains such an id: four bytes of this, eight of pycrdt's own (53 bits).
Yjs gives each tab one of 32 bits."""

SAVE_WAITS_SECONDS = 2.0
"""How long a save waits for the log to have what is saved."""

TIDY_PAUSE = 0.02
"""Seconds after the end of a run in which what is said of it stays, unless something else is written."""

UNSAVED = "The document could neither be saved nor recorded when it was closed."

COMPACT_PAUSE = 0.1
"""Seconds before a log is compacted: whoever waits for what was just written comes first."""


class OpenDocument:
    """A document in memory. Everything it needs is given to it."""

    def __init__(
        self,
        room_id: RoomId,
        path_of: Callable[[], str | None],
        contents: ContentsManager,
        log: UpdateLog,
        writer: LogWriter,
        settings: Settings,
        targets: NotebookTargets,
        copies: RecoveryCopies,
        emit: Callable[[NoticeEvent], None],
        measures: Measures | None = None,
    ) -> None:
        self.room_id = room_id
        self.closing = False
        self.closed = Event()
        self.lineage = Lineage("")
        self.hash_said_at = -math.inf
        """When the file's hash that the document says became another one, on the event loop's clock."""
        self.last_saved: str | None = None
        """When the file was last known to have everything, since the document was opened (ISO 8601, UTC)."""
        self._writer = writer
        self._settings = settings
        self._doc: Doc[Any] = Doc(client_id=randbits(AUTHOR_BITS))
        self.room = Room(
            str(room_id),
            self._doc,
            backlog=settings.client_backlog,
            save=self._save_for,
            execute=self._execute_for,
            before_update=self._before_update,
            hear=self._hear,
            look_back=self._look_back,
        )
        self.document: YBaseDoc = document_types.wrap(room_id, self._doc, self.room.awareness)
        self._wipe_guard = WipeGuard(room_id, self.document, self.keep_copy)
        self._reunion = Reunion(room_id, self.room, self.document, self)
        self.notebook = Notebook(self.document) if isinstance(self.document, YNotebook) else None
        self.mirror = FileMirror(
            contents, str(room_id), path_of, room_id.format, room_id.type, self, settings, measures
        )
        self._loading = Loading(
            room_id,
            self.room,
            self.document,
            self,
            self.mirror,
            self._reunion,
            log,
            writer,
            settings.load_patience,
        )
        self.notices = Notices(room_id, self.room, self._path, emit)
        self._copies = copies
        self.target = targets.get(room_id) if self.notebook is not None else None
        self._holds = 0
        self._holds_changed = Event()
        self._stopping = Event()
        self._tasks: TaskGroup | None = None
        self._compacting = False
        self._tidying = False
        self._growth = LogGrowth()
        self._deleted = False
        self._logged = False
        """Whether the log has everything, when it is closed."""
        self._saving: Fingerprint | None = None

    # Life

    async def run(self, started: Callable[[], None]) -> None:
        """Load, call ``started``, then live until nobody needs the document or ``stop``.

        Raises what ``FileMirror.load`` raises; then nothing was changed anywhere.
        """
        await self._load()
        try:
            async with self.room.open(), create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.mirror.run)
                if self._loading.unread:
                    # The log may have come back while nobody could be told.
                    tasks.start_soon(self._read_late)
                if self._writer.degraded:
                    self.log_failed()
                tasks.start_soon(self._tell_of_unsaved)
                if self.notebook is not None and self.target is not None:
                    # Not before the room is open: what it writes must reach the log.
                    self.target.attach(
                        Place(
                            self.room,
                            self.notebook,
                            self.hold,
                            self.release,
                            self._expect_change,
                            self.mirror.hurry,
                            self._tidy_soon,
                        )
                    )
                started()
                try:
                    await self._until_unneeded()
                finally:
                    self.closing = True
                    if self.target is not None:
                        self.target.detach()
                    self.room.disconnect(1001, "the document is being closed")
                    with move_on_after(ANSWER_SECONDS + LEAVE_SECONDS, shield=True):
                        # What is noted for one who was not told yet is brought over then, and is saved with the rest.
                        await self.room.until_left(ANSWER_SECONDS)
                    with move_on_after(LAST_SAVE_SECONDS, shield=True):
                        await self._save_last()
                    self._keep_unsaved()
                tasks.cancel_scope.cancel()
        finally:
            if self.target is not None:
                self.target.detach()
            # pycrdt holds its observers where no garbage collection finds them.
            self.document.unobserve()

    @property
    def path(self) -> str:
        """Where its file is, or was last."""
        return self._path()

    @property
    def held(self) -> bool:
        """Whether somebody needs it now."""
        return self._holds > 0

    def stop(self) -> None:
        """Close, whoever needs it."""
        self.closing = True
        self._stopping.set()

    def was_deleted(self) -> None:
        """Its file was deleted through this server: when it is closed, what nobody has saved is kept as a copy."""
        self._deleted = True

    def hold(self) -> None:
        """Keep the document open until ``release``; every holder calls each once."""
        self._holds += 1
        if self._holds == 1:
            self._holds_changed.set()

    def release(self) -> None:
        """One holder less."""
        self._holds -= 1
        if not self._holds:
            self._holds_changed.set()

    def admit(self, client: RoomClient, session: str | None = None) -> None:
        """Let a client take part, until it leaves. Returns at once.

        ``session`` is the lineage that the client says it comes with. If it is not the document's, what the client
        has is brought together with the document first (``_take_in``).
        """
        assert self._tasks is not None, "the document is not open"
        if self.closing:
            client.close(1001, "the document is being closed")
            return
        # Held from now on, so that it cannot close before the client's task has begun.
        self.hold()
        self._tasks.start_soon(self._serve, client, session)

    def log_failed(self) -> None:
        """The update log fails. If that goes on, people are told."""
        if self._tasks is not None and not self.closing:
            self._tasks.start_soon(self._say_log_failed)

    def log_is_back(self, *, lacks: bool) -> None:
        """The update log works again. If it ``lacks`` what was done meanwhile, record again."""
        if not self.closing:
            self.notices.clear("log-failed")
        if not lacks:
            return
        if not self._loading.unread:
            self.record_anew()
        elif self._tasks is not None and not self.closing:
            self._tasks.start_soon(self._read_late)

    def adopt(self, lineage: Lineage) -> None:
        """Be of another lineage from now on: its items are in the document."""
        self.lineage = lineage
        with self.room.writing(FromServer()):
            write_lineage(self._doc, lineage)

    def record_anew(self) -> None:
        """Start recording from what the document is now: when it was loaded, or the log has lost it."""
        if self._loading.unread:
            return  # nothing may take the place of what nobody has read
        snapshot = self._doc.get_update()
        self._growth.restart(len(snapshot))
        self._writer.begin(self.room_id, self.lineage, snapshot, self._base_text())

    # MirroredDocument

    def read(self) -> Any:
        # Reading gives cells with the id of another cell a new one.
        if isinstance(self.document, YNotebook):
            require_format(self.document)
        with self.room.writing(FromServer()):
            try:
                return self._reunion.read(document_types.file_content_of)
            except (ValueError, OverflowError):
                if not isinstance(self.document, YNotebook):
                    raise
                logger.warning("%s holds numbers that are none; they are replaced by null", self.room_id)
                replace_non_finite(self.document)
                return self._reunion.read(document_types.file_content_of)

    def cell_ids(self) -> list[str]:
        # Copies are in no content.
        return list(dict.fromkeys(map(str, self.notebook.order()))) if self.notebook is not None else []

    def take_up(self, path: str, content: Any) -> None:
        print_ = fingerprint(content)
        try:
            # First where nothing is lost when it fails half-way.
            document_types.check(self.room_id, content, print_)
        except Exception as error:
            raise LoadFailed(path, str(error) or type(error).__name__) from error
        like = self._reunion.content()["cells"] if self.notebook is not None else []
        with self._reunion.replacing(), self.room.writing(FromFile()):
            document_types.fill(self.document, content, print_, like)

    def live_cells(self) -> frozenset[str]:
        return self.target.live_cells() if self.target is not None else frozenset()

    def may_autosave(self) -> bool:
        # What ``jupyter-docprovider`` (``ydrive.ts``) writes into each tab's presence.
        wishes = [state.get("autosave") for state in self.room.presence_of_writers()]
        said = [bool(wish) for wish in wishes if wish is not None]
        if said and any(said) != (self.document.ystate.get("autosave") is not False):
            # Said in the document, as it holds when they have left, and when the server was started again.
            self._say({"autosave": any(said)})
        return self.document.ystate.get("autosave") is not False

    def agreed(self, base: Base, content: Any) -> None:
        self._saving = None
        with self.room.writing(FromServer()):
            write_base(self._doc, digests(content))
        self._writer.set_base(self.room_id, str(base))
        # Until the log has it, what another program writes next would be compared with the version before.
        self._writer.hurry()

    async def will_save(self, content: Fingerprint) -> None:
        # The log must not know less than the file: what it lacked would be taken for another program's work.
        self._saving = content
        base = self._base_text()
        if base is not None:
            self._writer.set_base(self.room_id, base)
        await self._until_logged()

    def saved(self, base: Base) -> None:
        self.last_saved = now()
        if self.target is not None:
            self.target.forget_ended()
        self._say({"dirty": False})
        self._holds_changed.set()  # nobody may have waited for more than this

    def save_failed(self, why: str | None) -> None:
        if why is None:
            self.notices.clear("save-failed")
        else:
            logger.warning("What is changed in %s is not in its file: %s", self.room_id, why)
            self.notices.say("save-failed", f"Not saved: {why}. It is kept on the server, and tried again.")

    def held_back(self, emptied: bool) -> None:
        if emptied:
            self.notices.say(
                "emptied", "Nothing is left in this document. The file is kept as it is until you save."
            )
            self._holds_changed.set()  # it is not waited for
        else:
            self.notices.clear("emptied")

    def is_at(self, path: str) -> None:
        self._say({"path": path})

    def has_hash(self, hash: str) -> None:
        if self.document.ystate.get("hash") != hash:
            self.hash_said_at = current_time()
        self._say({"hash": hash})

    def unsaved(self) -> None:
        self.may_autosave()  # the wishes of those who change it now
        self._say({"dirty": True})

    def keep_copy(self, path: str, content: Any, reason: Reason, text: str, user: str = "") -> str:
        copy = self._copies.keep_now(self.room_id, path, reason, content, user)
        kinds: dict[Reason, Kind] = {"wiped": "wiped", "unreadable": "unreadable", "unsaved": "unsaved"}
        self.notices.say(kinds.get(reason, "conflict"), text, copy.id)
        return copy.id

    # Private: loading

    async def _load(self) -> None:
        loaded = await self._loading.load()
        self.lineage = loaded.lineage
        with self.room.writing(FromServer()):
            write_lineage(self._doc, self.lineage)
            if not loaded.unsaved:
                write_base(self._doc, digests(document_types.content_of(self.document)))
            if self.notebook is not None:
                self.notebook.reset_live()
        self._reunion.loaded(built=loaded.built)
        for kind in PASSING:
            self.notices.clear(kind)  # said in an earlier life, which may have had no time to take it back
        self._say({"path": loaded.file.path, "dirty": loaded.unsaved})
        self.mirror.start(loaded.file, loaded.base, unsaved=loaded.unsaved)
        self.record_anew()
        self.room.add_sink(self._note_update)
        self.document.observe(self._note_change)

    async def _read_late(self) -> None:
        """Read the history that could not be read when the document was loaded, and bring both together."""
        try:
            history = await self._loading.history()
        except UpdateLogError as error:
            logger.debug("The history of %s still cannot be read: %s", self.room_id, error)
            return
        if self.closing or not self._loading.unread:
            return  # what the log has is looked at when the document is opened again
        try:
            if history is not None:
                self._take_up_history(history)
        except YdocExecError as error:
            logger.error("What the update log has of %s is left there: %s", self.room_id, error)
            return
        except Exception:
            # A mistake of ours; the document goes on, and the log keeps what it has.
            logger.exception("What the update log has of %s is left there", self.room_id)
            return
        self._loading.unread = False
        self.record_anew()

    def _take_up_history(self, history: History) -> None:
        replayed = self._loading.replayed(self._path(), history)
        if replayed is None:
            return
        state, _ = replayed
        if history.lineage == self.lineage:
            with self.room.writing(FromLog()):
                take_up(self.document, state)
                self.room.forget_before(clocks(get_state(state)))
                if self.notebook is not None and not self.live_cells():
                    self.notebook.reset_live()
        else:
            self._reunion.bring_in(
                ReturningTab(self.room_id, state), "the update log, which could not be read before", ""
            )
        logger.info("%s has again what the update log had of it", self.room_id)

    def _before_update(self, client: RoomClient, update: bytes, live: bool) -> Callable[[], None] | None:
        deletions = read_deletions(update)
        self._wipe_guard.look(client, update, deletions)
        return self._reunion.removing(client, deletions, live)

    def _hear(self, update: bytes, came_with: bytes) -> None:
        def apply() -> None:
            hear(self.document, update)

        if self.target is None:
            apply()
        else:
            self.target.hear(came_with, apply)

    def _take_in(self, client: RoomClient, state: bytes) -> Superseded | None:
        superseded = self._reunion.take_in(client, state)
        if superseded is not None:
            self.record_anew()
        return superseded

    def _look_back(self, state: bytes, before: Mapping[int, int]) -> Superseded | None:
        return self._reunion.look_back(state, before)

    def _base_text(self) -> str | None:
        """What the log is told of the base."""
        base = self.mirror.base
        return None if base is None else str(replace(base, saving=self._saving))

    def _path(self) -> str:
        return self.document.path or self.room_id.file_id

    # Private: sinks, called from inside transactions: they only take notes

    def _note_update(self, update: bytes, origin: Origin | None) -> None:
        self._writer.put(self.room_id, update)
        self._growth.add(len(update))
        if self._tasks is not None and not self._compacting and self._log_is_long():
            self._compacting = True
            self._tasks.start_soon(self._compact_log)

    def _note_change(self, target: str, event: Any) -> None:
        if target != "state":
            self.mirror.changed()
        elif self.document.ystate.get("dirty") != self.mirror.dirty and self._tasks is not None:
            # A tab says so too: when it is told of a change, and when it was told that a save is done.
            self._tasks.start_soon(self._correct_dirty)
        if target == "cells" and self.target is not None and self.target.note(event):
            assert self._tasks is not None, "the document is not open"
            self._tasks.start_soon(self._restore)

    # Private: the rest

    async def _restore(self) -> None:
        """A task of its own, which is the next one: an observer may not write."""
        assert self.target is not None
        self.target.restore()

    def _tidy_soon(self) -> None:
        if not self._tidying and self._tasks is not None:
            self._tidying = True
            self._tasks.start_soon(self._tidy)

    async def _tidy(self) -> None:
        await sleep(TIDY_PAUSE)
        self._tidying = False
        assert self.target is not None
        self.target.tidy()

    async def _correct_dirty(self) -> None:
        self._say({"dirty": self.mirror.dirty})

    def _log_is_long(self) -> bool:
        return self._growth.is_due(self._settings.log_compact_updates, self._settings.log_compact_bytes)

    async def _compact_log(self) -> None:
        await sleep(COMPACT_PAUSE)
        self._compacting = False
        if self._log_is_long():
            self._compact_log_to(self._doc.get_update())

    def _compact_log_to(self, snapshot: bytes) -> None:
        self._writer.compact(self.room_id, snapshot)
        self._growth.restart(len(snapshot))

    def _keep_unsaved(self) -> None:
        """When it is closed: keep what neither the file nor a log has for those who open it next."""
        logged = self._logged and self._writer.keeps(self.room_id) and not self._deleted
        if logged or not self.mirror.dirty or self.mirror.emptied:
            return
        why = "The file was deleted while the document was open." if self._deleted else UNSAVED
        try:
            base, content = self.mirror.base, self.read()
            if base is not None and fingerprint(content) == base.document:
                return
            copy = self.keep_copy(
                self._path(), content, "unsaved", f"{why} What was not saved was kept as a copy."
            )
        except Exception as error:
            # Any client can write what cannot be read, and nothing else is left to do.
            logger.error("What was not saved of %s is lost: %s", self._path(), error)
        else:
            logger.warning("What was not saved of %s is recovery copy %s. %s", self._path(), copy, why)

    async def _tell_of_unsaved(self) -> None:
        """Of what was kept when it was closed before, if that has been told to nobody."""
        try:
            for copy in await self._copies.take_untold(self.room_id):
                if not self.closing:
                    self.notices.say("unsaved", f"{UNSAVED} What was not saved was kept as a copy.", copy.id)
        except CopyFailed as error:
            logger.warning("%s", error)

    async def _say_log_failed(self) -> None:
        await sleep(LOG_PATIENCE)
        failure = self._writer.failure
        if failure is not None and not self.closing:
            self.notices.say(
                "log-failed",
                f"Not recorded on the server: {failure}. Save what you do; it is recorded again when that is over.",
            )

    def _is_only_here(self) -> bool:
        """Whether nobody would have what was done if the document was closed now."""
        return self.mirror.dirty and not self.mirror.emptied and not self._writer.keeps(self.room_id)

    def _tidy_log(self) -> None:
        """Spare whoever opens it next what this life has left in the log."""
        # When the server is stopped, tabs may come back in a moment, and go on where they were.
        past = not (self._stopping.is_set() or self.mirror.dirty or self._loading.unread)
        past = past and is_mostly_past(self._growth.bytes, self.mirror.size)
        if not past and not self._growth.updates:
            return
        snapshot = self._doc.get_update()
        if past and is_mostly_past(len(snapshot), self.mirror.size):
            self._leave_past_behind()
        elif self._growth.is_worth_closing_with(len(snapshot), self._settings.log_compact_updates):
            self._compact_log_to(snapshot)

    def _leave_past_behind(self) -> None:
        base = self.mirror.base
        with self.room.writing(FromServer()):
            lineage, snapshot, content = without_past(self.room_id, self.document)
        if base is not None and content == base.document:
            logger.debug("%s is begun anew, as most of it was past", self.room_id)
            self._writer.begin(self.room_id, lineage, snapshot, str(base))

    def _say(self, state: dict[str, Any]) -> None:
        """Write into the document's ``state`` what differs from what it says."""
        with self.room.writing(FromServer()):
            for key, value in state.items():
                if key not in self.document.ystate or self.document.ystate[key] != value:
                    self.document.ystate[key] = value

    def _expect_change(self) -> None:
        """Say that the document has what its file has not, just before it has.

        Right behind the last save's ``False`` the two leave one trace in the document instead of two.
        """
        self._say({"dirty": True})
        self.mirror.changed()  # so that it is taken back, even if nothing follows

    async def _until_logged(self) -> None:
        """Wait until the log has everything, unless it is slow or fails: saving does not depend on it."""
        with move_on_after(SAVE_WAITS_SECONDS):
            try:
                await self._writer.flush(self.room_id)
            except UpdateLogError as error:
                # The writer says it, once for all documents.
                logger.debug("%s is saved without it: %s", self.room_id, error)

    def _save_for(self, client: RoomClient, save_id: int) -> None:
        assert self._tasks is not None, "the document is not open"
        self._tasks.start_soon(self._answer_save, client, save_id)

    async def _answer_save(self, client: RoomClient, save_id: int) -> None:
        if not client.may_write:
            client.put(sync.save_reply(save_id, "failed"))
            return
        try:
            await self.mirror.save(recreate=True)
        except Exception as error:
            if isinstance(error, SaveFailed):
                logger.error("%s", error)
            else:
                # A mistake of ours; the document goes on.
                logger.exception("%s could not be saved", self.room_id)
            client.put(sync.save_reply(save_id, "failed"))
        else:
            # Should the server be killed now, the log knows what the file was.
            await self._until_logged()
            client.put(sync.save_reply(save_id, "success"))

    def _execute_for(self, client: RoomClient, request: sync.Execute) -> None:
        assert self._tasks is not None, "the document is open"
        # Also if the client leaves meanwhile: who has asked for a cell and gone wants it run all the same.
        self.hold()
        self._tasks.start_soon(self._answer_execute, client, request)

    async def _answer_execute(self, client: RoomClient, request: sync.Execute) -> None:
        try:
            client.put(await client.execute(request))
        finally:
            self.release()

    async def _serve(self, client: RoomClient, session: str | None) -> None:
        try:
            await self.room.serve(client, self._take_in, is_known=lambda: self._reunion.is_known(session))
        except Exception:
            logger.exception("Serving %s in %s failed; it is disconnected", client.name, self.room_id)
            client.close(1011, "The server failed to serve this connection.")
        finally:
            # It may have held what the log does not have yet, and nobody else does.
            self._writer.hurry()
            self.release()

    async def _until_unneeded(self) -> None:
        async with create_task_group() as tasks:

            async def stop_waiting() -> None:
                await self._stopping.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_waiting)
            while True:
                self._holds_changed = Event()
                if self._holds:
                    await self._holds_changed.wait()
                    continue
                with move_on_after(self._settings.linger) as waiting:
                    await self._holds_changed.wait()
                if not waiting.cancelled_caught or self._holds:
                    continue
                will_be_saved = self.mirror.dirty and self.mirror.saves_unasked and self.may_autosave()
                if not self._deleted and (will_be_saved or self._is_only_here()):
                    # A save that fails is tried again; until then only the log has the rest, if it has. Its
                    # success is among the changes; that the file was deleted, or the log works again, is not.
                    with move_on_after(self._settings.poll_interval):
                        await self._holds_changed.wait()
                    continue
                # No await from here to the end of ``run``'s waiting: nobody can come in between.
                self.closing = True
                tasks.cancel_scope.cancel()
                break

    async def _save_last(self) -> None:
        try:
            if self.mirror.dirty and self.may_autosave():
                await self.mirror.save()
        except Exception as error:
            logger.error("%s; what is not in it is in the update log, or is kept as a copy", error)
        try:
            self._tidy_log()
        except Exception:
            # A mistake of ours; the log has everything, if not in the best order.
            logger.exception("The update log of %s is left as it is", self.room_id)
        try:
            await self._writer.flush(self.room_id)
            self._logged = True
        except UpdateLogError as error:
            logger.error("%s", error)
