"""The one writer of the update log, for all rooms.

Updates come from observers of documents, which must not wait, and go to a disk, which may be slow, full or
gone. In between is this: a list of what is to be done, in order, and one task that does it. Everything that
changes a room's history goes through here, because only so can a compaction replace exactly what was there
when its snapshot was taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from time import monotonic
from typing import TypeVar

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    Event,
    create_task_group,
    current_time,
    move_on_after,
    sleep_forever,
)
from anyio.abc import TaskStatus

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.measures import Measures
from ydoc_exec.store.update_log import HistoryMissing, UpdateLog

LIMIT_BYTES = 64 * 2**20
"""So many bytes of updates may wait behind a log that does not take them, besides the largest of them."""

_FIRST_RETRY = 0.1
_LAST_RETRY = 5.0
_FINAL_FLUSH = 2.0

_logger = logging.getLogger(__name__)


class LogWriter:
    """Writes to an update log from any number of rooms, and keeps the log's troubles to itself.

    ``put``, ``begin``, ``compact``, ``set_base`` and ``forget`` return at once, never raise and take effect
    in the order in which they were called. They are written together, at the latest ``delay`` seconds after
    they were called (later only when the log is slower than that). While the log fails they are kept and
    tried again after 0.1 to 5 seconds.

    A room becomes *broken* when its updates cannot be kept: too many are waiting and it has the most of them,
    or the log has no history of it (another program forgot it or began it anew). Its updates are then
    dropped; what the log has of it stays a beginning of its history. ``begin`` makes it whole again. The time
    to do so is when ``on_degraded(None)`` is called. ``leave_alone`` makes a room broken on purpose.

    Too many are more than ``limit_bytes`` bytes and the largest update: one update of any size is never too
    much, as its document holds it anyway. Only those count that the log does not take: while it fails, all that
    wait; while it is written to, those that were put since that began. While it is not being asked, more than
    the limit are written without delay.

    Args:
        log: an open log. It must stay open until ``run`` has ended.
        delay: in seconds.
        on_degraded: called with the error when the log begins to fail or a room became broken, and with
            ``None`` when everything waiting has been written again or, if nothing is left to be written, when
            the log can be read again. Called from ``run``, never from ``put``.
        limit_bytes: see above.
    """

    def __init__(
        self,
        log: UpdateLog,
        delay: float,
        on_degraded: Callable[[UpdateLogError | None], None],
        limit_bytes: int = LIMIT_BYTES,
        measures: Measures | None = None,
    ) -> None:
        self.broken: set[RoomId] = set()
        """The rooms whose updates are not kept, to be begun anew. Changed only by this object."""
        self.failure: str | None = None
        """Why the log fails, from then on until all is written again. Changed only by this object."""
        self._log = log
        self._delay = delay
        self._on_degraded = on_degraded
        self._limit = limit_bytes
        self._measures = measures or Measures()
        self._waiting: list[_Step] = []
        self._last_number = 0
        # Of the updates that count: those with a higher number than what is being written.
        self._being_written = 0
        self._bytes: Counter[RoomId] = Counter()
        self._total_bytes = 0
        self._largest_bytes = 0
        self._forgotten: set[RoomId] = set()
        # Those among the broken whose history could not be read.
        self._unread: set[RoomId] = set()
        self._flushes: list[_Flush] = []
        self._unsaid: UpdateLogError | None = None
        self._retry = 0.0
        self._stopping = False
        # Set when there is something to do, and when it is to be done without delay. None while nobody would.
        self._work: Event | None = None
        self._hurry: Event | None = None

    @property
    def degraded(self) -> bool:
        """Whether the log failed, and has not all since."""
        return self.failure is not None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the updates that are not in the log yet."""
        return self._total_bytes

    def keeps(self, room: RoomId) -> bool:
        """Whether what was put for the room will be there for the next server, as far as can be told now."""
        return self._log.lasts and not self.degraded and room not in self.broken

    # What is to be written. Plain calls, so that they can be made from the observer of a document.

    def put(self, room: RoomId, update: bytes) -> None:
        """Add an update to the room's history. Ignored for a room that is broken or forgotten."""
        if self._is_lost(room):
            return
        self._count(self._add(_Append(room, update)))
        if not self._is_too_much():
            return
        if self._hurry is not None and not self._being_written and not self.degraded:
            self._hurry.set()  # the log has not been asked to take it
        else:
            self._break_largest()

    def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        """Replace the room's history by one that starts with ``snapshot``. A broken room is whole again."""
        self.broken.discard(room)
        self._unread.discard(room)
        self._forgotten.discard(room)
        self._add(_Begin(room, lineage, snapshot, base), instead_of=lambda step: step.room == room)

    def compact(self, room: RoomId, snapshot: bytes) -> None:
        """Replace the updates that were put until now by ``snapshot``, which was taken just now.

        Ignored for a room that is broken or forgotten.
        """
        if self._is_lost(room):
            return
        bases = [step for step in self._waiting if step.room == room and isinstance(step, _SetBase)]
        self._add(
            _Compact(room, snapshot),
            instead_of=lambda step: step.room == room and not isinstance(step, _Begin),
        )
        if bases:
            # Behind the snapshot, which has taken the place of the updates that must be there before it.
            self._add(_SetBase(room, bases[-1].base))

    def set_base(self, room: RoomId, base: str) -> None:
        """Remember the fingerprint of the content that file and document have in common.

        It is never in the log without the updates that were put before it: a base without them would make the
        file look unchanged and the document, which lacks them, look like the newer of the two. Ignored for a
        room that is broken or forgotten.
        """
        if self._is_lost(room):
            return
        self._add(
            _SetBase(room, base), instead_of=lambda step: step.room == room and isinstance(step, _SetBase)
        )

    def forget(self, room: RoomId) -> None:
        """Remove the room's history. What is put later is ignored, until ``begin``."""
        self.broken.discard(room)
        self._unread.discard(room)
        self._forgotten.add(room)
        self._add(_Forget(room), instead_of=lambda step: step.room == room)

    def leave_alone(self, room: RoomId, error: UpdateLogError) -> None:
        """Add nothing to the room's history until ``begin``, because it could not be read: see ``error``.

        To begin it anew would replace what nobody has seen. What waits already is of an earlier life of the room and
        belongs to it. The room counts as broken, so ``on_degraded`` is called, with ``None`` when the log can be read.
        """
        self.broken.add(room)
        self._unread.add(room)
        self._unsaid = error
        if self._work is not None:
            self._work.set()

    def hurry(self) -> None:
        """Write what waits without the delay."""
        if self._waiting and self._hurry is not None and not self._retry:
            self._hurry.set()

    async def flush(self, room: RoomId | None = None) -> None:
        """Write now, and return when everything called before is in the log: of one room, or of all.

        Raises ``UpdateLogError`` at the first failure. It is tried again all the same, unless the room became
        broken.
        """
        flush = _Flush(self._last_number, room)
        if not any(flush.covers(step) for step in self._waiting):
            return
        if self._hurry is None:
            raise UpdateLogError("write", "its writer is not running")
        self._flushes.append(flush)
        self._hurry.set()
        try:
            await flush.over.wait()
        finally:
            self._flushes.remove(flush)
        if flush.error is not None:
            raise UpdateLogError(flush.error.what, flush.error.why) from flush.error

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and then for at most two seconds what is still waiting.

        Those two seconds bound the waiting and trying again; they cannot interrupt a log that does not let
        itself be cancelled, as SQLite in the middle of a write.
        """
        self._work, self._hurry, self._stopping = Event(), Event(), False
        # Shielded, so that no write is cancelled half-way and then done twice; ended by its deadline.
        scope = CancelScope(shield=True)
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._write_in, scope)
                task_status.started()
                try:
                    await sleep_forever()
                finally:
                    scope.deadline = current_time() + _FINAL_FLUSH
                    self._stopping = True
                    self._work.set()
                    self._hurry.set()
        finally:
            self._work = self._hurry = None
            self._count_behind(0)
            if self._waiting:
                rooms = sorted({str(step.room) for step in self._waiting})
                _logger.warning("The update log lacks the last changes of %s.", ", ".join(rooms))
            self._fail_flushes(self._waiting, UpdateLogError("write", "its writer was stopped"))

    # Private: the list of steps

    def _is_lost(self, room: RoomId) -> bool:
        return room in self.broken or room in self._forgotten

    def _add(self, step: _StepT, instead_of: Callable[[_Step], bool] | None = None) -> _StepT:
        self._last_number += 1
        step.number, step.time = self._last_number, monotonic()
        removed = self._remove(instead_of) if instead_of is not None else []
        for flush in self._flushes:
            if any(map(flush.covers, removed)):
                flush.number = step.number  # what it waits for is now in this step
        self._waiting.append(step)
        if self._work is not None:
            self._work.set()
        return step

    def _remove(self, condition: Callable[[_Step], bool]) -> list[_Step]:
        kept: list[_Step] = []
        removed: list[_Step] = []
        for step in self._waiting:
            (removed if condition(step) else kept).append(step)
        self._waiting = kept
        for step in removed:
            if isinstance(step, _Append) and step.number > self._being_written:
                self._total_bytes -= len(step.update)
                self._bytes[step.room] -= len(step.update)
        return removed

    def _count(self, step: _Append) -> None:
        self._total_bytes += len(step.update)
        self._bytes[step.room] += len(step.update)
        self._largest_bytes = max(self._largest_bytes, len(step.update))

    def _count_behind(self, number: int) -> None:
        """Count from now on the updates behind this number."""
        self._being_written = number
        self._bytes.clear()
        self._total_bytes = self._largest_bytes = 0
        for step in self._waiting:
            if isinstance(step, _Append) and step.number > number:
                self._count(step)

    def _is_too_much(self) -> bool:
        return self._total_bytes > self._limit + self._largest_bytes

    def _break_largest(self) -> None:
        while self._is_too_much():
            largest = max(self._bytes, key=self._bytes.__getitem__)
            why = f"more than {self._limit} bytes were waiting, most of them for {largest}"
            self._break({largest}, UpdateLogError("keep up", why))

    def _break(self, rooms: set[RoomId], error: UpdateLogError) -> None:
        """Give up the updates of these rooms that still wait.

        A beginning that waits is kept, or the log would be left with the history before it.
        """
        self.broken |= rooms
        removed = self._remove(lambda step: step.room in rooms and not isinstance(step, _Begin))
        self._fail_flushes(removed, error)
        self._unsaid = error
        if self._work is not None:
            self._work.set()

    # Private: the one task that writes

    async def _write_in(self, scope: CancelScope) -> None:
        with scope:
            while True:
                self._say_broken()
                if self._waiting or (self.degraded and not self._stopping):
                    with move_on_after(self._pause()):
                        await self._hurry_event().wait()
                    self._hurry = Event()
                    await self._write_or_ask()
                elif self._stopping:
                    return
                else:
                    self._work = Event()
                    await self._work.wait()

    def _hurry_event(self) -> Event:
        assert self._hurry is not None
        return self._hurry

    def _pause(self) -> float:
        if self._retry:
            return self._retry
        if self._flushes or self._stopping or not self._waiting:
            return 0.0  # someone waits, perhaps for a step that took the place of another meanwhile
        return max(0.0, self._waiting[0].time + self._delay - monotonic())

    async def _write_or_ask(self) -> None:
        failure: UpdateLogError | None = None
        try:
            if self._waiting:
                if not self.degraded:
                    self._count_behind(self._last_number)
                await self._write_until(self._last_number)
            else:
                # All that failed was given up, so no write would tell whether the log works.
                await self._ask()
        except UpdateLogError as error:
            failure = error
        except Exception as error:
            # No log may raise anything else. One that does must not end the documents of everybody.
            if not self.degraded:
                _logger.exception("The update log raised what it must not.")
            failure = UpdateLogError("write", repr(error))
        finally:
            self._count_behind(0)
        if failure is not None:
            self._fail(failure)
            return
        self._retry = 0.0
        self._say_broken()
        if self.degraded:
            self.failure = None
            self._say(None)

    async def _ask(self) -> None:
        for room in list(self._unread)[:1]:
            await self._log.read(room)
        for room in list(self.broken)[:1]:
            await self._log.lineage(room)

    async def _write_until(self, last: int) -> None:
        """Write the steps up to this number. Raises the first error that is not about single rooms."""
        while self._waiting and self._waiting[0].number <= last:
            group = self._first_group(last)
            try:
                await self._write(group)
            except HistoryMissing as error:
                rooms = error.rooms & {step.room for step in group}
                if not rooms:
                    raise
                # The rest of the group goes on without them. A room that was begun anew meanwhile has taken
                # its steps of this group back and is none of them.
                self._break({step.room for step in self._waiting if step in group} & rooms, error)
                continue
            self._remove(group.__contains__)
            for flush in self._flushes:
                if not any(map(flush.covers, self._waiting)):
                    flush.over.set()

    def _first_group(self, last: int) -> dict[_Step, None]:
        """The first step and, if it is an update, the updates that follow it."""
        first = self._waiting[0]
        if not isinstance(first, _Append):
            return {first: None}
        return dict.fromkeys(
            takewhile(lambda step: isinstance(step, _Append) and step.number <= last, self._waiting)
        )

    async def _write(self, group: Iterable[_Step]) -> None:
        try:
            with self._measures.log_writes.timed():
                await self._write_to_log(group)
        except UpdateLogError:
            self._measures.failed_log_writes += 1
            raise

    async def _write_to_log(self, group: Iterable[_Step]) -> None:
        updates: list[tuple[RoomId, bytes]] = []
        for step in group:
            if isinstance(step, _Append):
                updates.append((step.room, step.update))
            elif isinstance(step, _Begin):
                await self._log.begin(step.room, step.lineage, step.snapshot, step.base)
            elif isinstance(step, _Compact):
                await self._log.compact(step.room, step.snapshot)
            elif isinstance(step, _SetBase):
                await self._log.set_base(step.room, step.base)
            elif isinstance(step, _Forget):
                await self._log.forget(step.room)
        if updates:
            await self._log.append(updates)

    def _fail(self, error: UpdateLogError) -> None:
        self._retry = min(max(2 * self._retry, _FIRST_RETRY), _LAST_RETRY)
        self._fail_flushes(self._waiting, error)
        if self.failure is None:
            self.failure = error.why
            self._say(error)
        self._break_largest()

    def _fail_flushes(self, steps: Iterable[_Step], error: UpdateLogError) -> None:
        for flush in self._flushes:
            if not flush.over.is_set() and any(map(flush.covers, steps)):
                flush.error = error
                flush.over.set()

    def _say_broken(self) -> None:
        error, self._unsaid = self._unsaid, None
        if error is not None and self.failure is None:
            self.failure = error.why
            self._say(error)

    def _say(self, error: UpdateLogError | None) -> None:
        try:
            self._on_degraded(error)
        except Exception:
            # A mistake in one listener must not end the log of all rooms.
            _logger.exception("A listener to the state of the update log failed.")


@dataclass(eq=False, slots=True)
class _Step:
    room: RoomId
    number: int = field(default=0, init=False)
    time: float = field(default=0.0, init=False)


_StepT = TypeVar("_StepT", bound=_Step)


@dataclass(eq=False, slots=True)
class _Append(_Step):
    update: bytes


@dataclass(eq=False, slots=True)
class _Begin(_Step):
    lineage: Lineage
    snapshot: bytes
    base: str | None


@dataclass(eq=False, slots=True)
class _Compact(_Step):
    snapshot: bytes


@dataclass(eq=False, slots=True)
class _SetBase(_Step):
    base: str


@dataclass(eq=False, slots=True)
class _Forget(_Step):
    pass


@dataclass(eq=False, slots=True)
class _Flush:
    """Someone who waits until the steps up to a number are written."""

    number: int
    room: RoomId | None
    over: Event = field(default_factory=Event)
    error: UpdateLogError | None = None

    def covers(self, step: _Step) -> bool:
        return step.number <= self.number and self.room in (None, step.room)
