"""One shared document and everyone looking at it.

Everything that changes the document goes through ``writing``; everything that reacts hangs on one observer,
and reactions only take notes: writing inside an observer raises, and an observer's error would surface in
the transaction of whoever happened to write.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from anyio import Event, create_task_group, fail_after, move_on_after
from pycrdt import Awareness, Doc, Subscription, TransactionEvent, get_state
from pycrdt.websocket import YRoom

from ydoc_exec import sync
from ydoc_exec.errors import BarrierNotReached, ProtocolError, YdocExecError
from ydoc_exec.origin import FromClient, FromKernel, FromServer, Origin
from ydoc_exec.room.outbox import Outbox
from ydoc_exec.room.room_client import EMPTY_STATE, RoomClient
from ydoc_exec.room.state_vector import clocks

logger = logging.getLogger(__name__)

Sink = Callable[[bytes, Origin | None], None]

EMPTY_UPDATE = b"\x00\x00"
BARRIERS_REMEMBERED = 1000

ANSWER_SECONDS = 30.0
"""How long a client that is asked for its whole document has to send it."""

PATIENCE = 4
"""A client for which so many times the backlog waits, and cannot be forgotten, is given up."""


SUPERSEDED_REMEMBERED = 3
SUPERSEDED_MOST = 20
SUPERSEDED_BYTES = 32 * 2**20
"""So many documents that the room has replaced are kept for clients that were away then: these few, and more as long as
all together are no larger."""

BeforeUpdate = Callable[["RoomClient", bytes, bool], "Callable[[], None] | None"]


class Superseded(Protocol):
    """A document to which clients may still write, though what they write to is gone in the room's."""

    @property
    def size(self) -> int:
        """The bytes that it takes to remember it."""
        ...

    @property
    def after(self) -> Mapping[int, int]:
        """The state vector of the room's document when it was done."""
        ...

    def is_over(self, state: bytes) -> bool:
        """Whether a client with this state vector has what came instead."""
        ...

    def note(self, update: bytes, *, live: bool) -> None:
        """An update that a client made before it had what came instead.

        ``live``: it is what the client has just done, and not what it has when it connects or is asked.
        """
        ...

    def settle(self) -> None:
        """A client that wrote to it has what came instead from now on, or has left. Called in no transaction."""
        ...


TakeIn = Callable[[RoomClient, bytes], "Superseded | None"]
"""Bring a client's whole document, as an update, together with the room's. ``None``: it is part of the room's
history and is applied as it is. Raises an error with a close code when that cannot be."""

LookBack = Callable[[bytes, Mapping[int, int]], "Superseded | None"]
"""A client's whole document, which is a part of the room's history, was applied; the state vector before that. What of
it the client may still write to though it is gone in the room's, if there is anything."""


class Room:
    """A document, its presence and its clients. It knows no file, no kernel and no HTTP.

    Args:
        name: for the log.
        doc: the document. It may still be empty: clients are served only inside ``open``.
        backlog: see ``Settings.client_backlog``.
        save: what a client's wish to save does; it returns when the file has the document's state of the
            moment it was called, and raises when that is impossible. None: there is no file.
        execute: takes a client's request to run cells, and answers it. None: there are no cells.
        before_update: called with every update of a client before it is applied. It may write, and may raise a
            ``YdocExecError`` to refuse the update and its sender. What it returns is called when it was applied.
            The last argument says whether it is what the client has just done, or what it has when it connects or is
            asked.
        hear: applies what a client has when it connects, and is told the state vector that it came with. It may have
            been away for long.
        look_back: see there.
    """

    def __init__(
        self,
        name: str,
        doc: Doc[Any],
        *,
        backlog: int,
        save: Callable[[RoomClient, int], None] | None = None,
        execute: Callable[[RoomClient, sync.Execute], None] | None = None,
        before_update: BeforeUpdate = lambda client, update, live: None,
        hear: Callable[[bytes, bytes], None] | None = None,
        look_back: LookBack = lambda state, before: None,
    ) -> None:
        self.name = name
        self.doc = doc
        self.clients: set[RoomClient] = set()
        self._backlog = backlog
        self._save = save
        self._execute = execute
        self._before_update = before_update
        self._hear = hear
        self._look_back = look_back
        # It is never ready, so it does not observe the document: see ``room_client.py``.
        self._yroom = YRoom(ready=False, ydoc=doc, log=logger)
        self._talks: dict[RoomClient, _Talk] = {}
        self._left = Event()
        self._superseded: deque[Superseded] = deque()
        self._forgotten: dict[int, int] = {}
        self._sinks: list[Sink] = []
        self._writer: Origin | None = None
        self._barriers_reached: OrderedDict[str, None] = OrderedDict()
        self._barriers_awaited: dict[str, list[Event]] = {}
        self._changes_awaited: list[Event] = []

    @property
    def awareness(self) -> Awareness:
        """The presence of everybody in the room."""
        return self._yroom.awareness

    def presence_of_writers(self) -> list[dict[str, Any]]:
        """What those say of themselves who may change the document."""
        writers = self._writers
        return [state for number, state in self.awareness.states.items() if state and number in writers]

    def add_sink(self, sink: Sink) -> None:
        """Have ``sink`` called with every update and who wrote it. It must return at once and not write."""
        self._sinks.append(sink)

    @contextmanager
    def writing(self, origin: Origin) -> Iterator[None]:
        """The one door: a transaction that carries who wrote. There must be no ``await`` inside.

        Inside another it is a part of that one: of the same writer's, or the server's bookkeeping in a kernel's.
        """
        outer = self._writer
        part = isinstance(outer, FromKernel) and isinstance(origin, FromServer)
        assert outer is None or outer == origin or part, "two writers at once"
        self._writer = origin if outer is None else outer
        try:
            with self.doc.transaction(origin=self._writer):
                yield
        finally:
            self._writer = outer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The room's life. The document is loaded before; clients can be served inside."""
        subscription: Subscription = self.doc.observe(self._on_update)
        try:
            async with self._yroom:
                yield
        finally:
            self.doc.unobserve(subscription)
            self._sinks.clear()
            # ``YRoom`` never closes it (pycrdt-websocket 0.16.5), and anyio complains of each that is freed so.
            updates = getattr(self._yroom, "_update_send_stream", None)
            if updates is not None:
                updates.close()

    async def serve(
        self,
        client: RoomClient,
        take_in: TakeIn | None = None,
        *,
        is_known: Callable[[], bool] = lambda: False,
    ) -> None:
        """Let a client take part until it leaves. A client's failure ends its own part and nothing else.

        With ``take_in`` the client may have a document of another history. It is asked for all of it, and sent
        nothing of the room's before ``take_in`` has brought them together. While it ``is_known`` to have none of
        another, it is asked only if it has not all that the room has forgotten (``forget_before``).
        """
        client.join(
            self, Outbox(self._backlog, self.doc.get_update, self.doc.get_state), PATIENCE * self._backlog
        )
        self._talks[client] = _Talk()
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(client.write_regularly)
                if take_in is None or await self._arrive(client, take_in, is_known):
                    self.clients.add(client)
                    # Who is here already: YRoom would tell a newcomer only about the next change.
                    client.put(self._everybody())
                    await self._yroom.serve(client)
                tasks.cancel_scope.cancel()
        finally:
            self.clients.discard(client)
            talk = self._talks.pop(client)
            client.end()
            self._say_left(client)
            self._settle(client, talk.all_notes())
            self._left.set()

    def receive(self, client: RoomClient, frame: bytes) -> bool:
        """Take a frame of a client; whether it is for ``YRoom`` (presence). Raises ``ProtocolError``."""
        message = sync.parse(frame)
        if isinstance(message, sync.SyncStep1):
            client.put(sync.step2(self._diff(message.state)))
            client.came_with = message.state
            client.caught_up()
            self._begin_notes(client, message.state)
        elif isinstance(message, sync.SyncUpdate):
            self._apply(client, message.update, self.doc.apply_update, live=True)
        elif isinstance(message, sync.SyncStep2):
            # First, as the answer tells what the room has deleted too, and the rest of it has come already.
            self._settle(client, self._talks[client].answer())
            self._apply(client, message.update, self._hear_of(client), live=False)
        elif isinstance(message, sync.Awareness):
            if not client.may_write and not self._writers.isdisjoint(one.client_id for one in message.states):
                # It repeats what it was told (see ``_news``), or speaks for somebody who may do more than itself.
                return False
            client.awareness_ids.update(self._news(client, message.states))
            return True
        elif isinstance(message, sync.Barrier):
            # Frames of one client are taken one after the other: all that came before is in the document.
            self._reach(message.token)
            client.put(sync.barrier_reply(message.token))
        elif isinstance(message, sync.Save):
            if self._save is None:
                client.put(sync.save_reply(message.save_id, "failed"))
            else:
                self._save(client, message.save_id)
        elif isinstance(message, sync.Execute):
            if self._execute is None:
                client.put(
                    sync.execute_reply(message.request_id, 404, {"message": "There are no cells here."})
                )
            else:
                self._execute(client, message)
        else:
            client.put(self._everybody())
        return False

    async def barrier(self, token: str, timeout: float) -> None:
        """Wait until some client's barrier with this token has come. Raises ``BarrierNotReached``."""
        if token in self._barriers_reached:
            return
        event = Event()
        self._barriers_awaited.setdefault(token, []).append(event)
        try:
            with fail_after(timeout):
                await event.wait()
        except TimeoutError:
            raise BarrierNotReached(token, timeout) from None
        finally:
            self._barriers_awaited[token].remove(event)
            if not self._barriers_awaited[token]:
                del self._barriers_awaited[token]

    async def until(self, what: Callable[[], bool], timeout: float) -> bool:
        """Wait until something is so of the document, which is looked at after every change. Whether it came to that."""
        with move_on_after(timeout):
            while not what():
                event = Event()
                self._changes_awaited.append(event)
                try:
                    await event.wait()
                finally:
                    self._changes_awaited.remove(event)
        return what()

    def supersede(self, superseded: Superseded, by: RoomClient | None = None) -> None:
        """Have noted what clients still write to a document that the room has just replaced, until they know.

        One of them may have done it (``by``), and knows.

        Those who are here are asked a question: whoever answers it has what was sent before. A few such documents are
        remembered for clients that were away.
        """
        self._superseded.append(superseded)
        while len(self._superseded) > SUPERSEDED_REMEMBERED and (
            len(self._superseded) > SUPERSEDED_MOST
            or sum(each.size for each in self._superseded) > SUPERSEDED_BYTES
        ):
            self.forget_before(self._superseded.popleft().after)
        for client, talk in self._talks.items():
            if talk.told and client.may_write and client is not by:
                talk.waiting.append(superseded)
                self._ask(client, talk)

    def forget_before(self, state: Mapping[int, int]) -> None:
        """Nothing is remembered of what was replaced before this state: who has not all of it may still write there."""
        for author, clock in state.items():
            self._forgotten[author] = max(clock, self._forgotten.get(author, 0))

    def is_noting(self, client: RoomClient) -> bool:
        """Whether something is noted of what the client writes."""
        return bool(self._talks[client].all_notes())

    @property
    def notes(self) -> bool:
        """Whether something is noted of what anybody writes."""
        return any(map(self.is_noting, self._talks))

    def disconnect(self, code: int, reason: str) -> None:
        """End every client's connection. What those who take part send before they hear of it is taken."""
        for client in self._talks:
            if client in self.clients:
                client.dismiss(code, reason)
            else:
                client.close(code, reason)

    async def until_left(self, patience: float) -> None:
        """Return when nobody is here any more: what they wrote last is in the document then.

        Of those who are here after ``patience`` seconds no more is read.
        """
        with move_on_after(patience):
            await self._nobody_here()
        for client in self._talks:
            client.left()
        await self._nobody_here()

    # Private

    async def _nobody_here(self) -> None:
        while self._talks:
            self._left = Event()
            await self._left.wait()

    def _on_update(self, event: TransactionEvent) -> None:
        update: bytes = event.update
        if self.clients:
            frame = sync.update(update)
            for client in self.clients:
                client.put(frame)
        for sink in self._sinks:
            sink(update, self._writer)
        for awaited in self._changes_awaited:
            awaited.set()

    async def _arrive(self, client: RoomClient, take_in: TakeIn, is_known: Callable[[], bool]) -> bool:
        """Whether what the client has is in the room now, or is what the room expects."""
        frames: list[bytes] = []
        try:
            if not is_known():
                return await self._take_in(client, take_in, frames)
            if not self._forgotten or not client.may_write:
                return True
            # Some clients speak only when they are asked.
            client.put(sync.step1(self.doc.get_state()))
            self._talks[client].ask()
            async for frame in client.frames():
                frames.append(frame)
                message = sync.parse(frame)
                if not isinstance(message, (sync.SyncStep1, sync.SyncStep2)):
                    continue
                answers = 0
                lacks = False
                if isinstance(message, sync.SyncStep1):
                    answers, lacks = 1, self._lacks_forgotten(message.state)
                # Others may have come meanwhile with another history, which is the room's now.
                if lacks or not is_known():
                    return await self._take_in(client, take_in, frames, answers=answers)
                break
            client.unread(frames)
            return True
        except TimeoutError:
            client.close(1013, "Your document did not come. Connect again.")
        except YdocExecError as error:
            logger.warning("%s cannot be taken in: %s", client.name, error)
            client.close(error.close_code, error.close_reason)
        return False

    async def _take_in(
        self, client: RoomClient, take_in: TakeIn, frames: list[bytes], *, answers: int = 0
    ) -> bool:
        """Ask the client for its whole document, and take it in; False if it leaves.

        ``frames`` are to be taken when it is clear what they mean. So many ``answers`` to other questions come first.
        """
        client.put(sync.step1(EMPTY_STATE))
        with fail_after(ANSWER_SECONDS):
            async for frame in client.frames():
                message = sync.parse(frame)
                if not isinstance(message, sync.SyncStep2) or answers:
                    answers -= isinstance(message, sync.SyncStep2)
                    frames.append(frame)
                    continue
                talk = self._talks[client]
                superseded = take_in(client, message.update)
                if superseded is None:
                    # It may have written over a connection that is lost, of which nobody knows yet. The room has that, and
                    # what of it is in cells that are gone has to be brought over from what was noted of that one.
                    for other, its in self._talks.items():
                        self._settle(other, its.all_notes())
                    client.came_with = get_state(message.update)
                    before = clocks(self.doc.get_state())
                    self._apply(client, message.update, self._hear_of(client), live=False)
                    superseded = self._look_back(message.update, before)
                    if superseded is not None:
                        # What it has typed already should not depend on its staying here.
                        self._settle(client, [superseded])
                if superseded is not None:
                    talk.waiting.append(superseded)
                client.unread(frames)
                return True
        return False

    def _lacks_forgotten(self, state: bytes) -> bool:
        """Whether a client with this state vector may write to what was replaced before the room can remember."""
        with guarded("a state vector could not be read"):
            there = clocks(state)
        # Who has nothing writes nowhere.
        return bool(there) and any(there.get(author, 0) < clock for author, clock in self._forgotten.items())

    def _begin_notes(self, client: RoomClient, state: bytes) -> None:
        """The client, which has this state, was sent the room's document."""
        talk = self._talks[client]
        if not talk.told:
            talk.told = True
            if not talk.waiting:  # otherwise it was taken in, and that has said what it may still write to
                talk.waiting += self._not_over(client, state)
        self._ask(client, talk)

    def _not_over(self, client: RoomClient, state: bytes) -> list[Superseded]:
        if not client.may_write:
            return []
        with guarded("a state vector could not be read"):
            return [each for each in self._superseded if not each.is_over(state)]

    def _ask(self, client: RoomClient, talk: _Talk) -> None:
        """Ask what the client has, behind all that it is sent until now, if its answer is waited for."""
        if talk.waiting:
            client.put(sync.step1(self.doc.get_state()))
            talk.ask()

    def _settle(self, client: RoomClient, due: Iterable[Superseded]) -> None:
        for superseded in due:
            try:
                superseded.settle()
            except YdocExecError as error:
                logger.warning("What %s wrote last is not brought over: %s", client.name, error)

    def _hear_of(self, client: RoomClient) -> Callable[[bytes], None]:
        hear = self._hear
        return self.doc.apply_update if hear is None else lambda update: hear(update, client.came_with)

    def _apply(
        self, client: RoomClient, update: bytes, apply: Callable[[bytes], None], *, live: bool
    ) -> None:
        if not client.may_write or update == EMPTY_UPDATE:
            return
        afterwards = self._before_update(client, update, live)
        for superseded in self._talks[client].all_notes():
            try:
                superseded.note(update, live=live)
            except YdocExecError as error:
                # If it is the update's fault, it cannot be applied either; others may have written what cannot be read.
                logger.warning("What %s writes is not noted: %s", client.name, error)
        with guarded("an update could not be applied"), self.writing(FromClient(client.number)):
            apply(update)
        if afterwards is not None:
            try:
                afterwards()
            except YdocExecError as error:
                logger.warning(
                    "What %s had not seen when it removed a cell is not kept: %s", client.name, error
                )

    def _diff(self, state: bytes) -> bytes:
        with guarded("a state vector could not be read"):
            return self.doc.get_update(state)

    def _reach(self, token: str) -> None:
        # Those who wait are not among the remembered: no flood of barriers can make one forget them.
        for event in self._barriers_awaited.get(token, ()):
            event.set()
        self._barriers_reached[token] = None
        while len(self._barriers_reached) > BARRIERS_REMEMBERED:
            self._barriers_reached.popitem(last=False)

    def _news(self, client: RoomClient, states: Sequence[sync.AwarenessState]) -> set[int]:
        """Of whom a client says something that is not known: of itself.

        y-websocket also repeats what it was told of others. A new connection begins with what may be known already.
        """
        if len(states) == 1 and not client.awareness_ids:
            return {states[0].client_id}
        known = self.awareness.meta
        return {
            one.client_id
            for one in states
            if one.state is not None
            and (one.client_id not in known or one.clock > known[one.client_id]["clock"])
        }

    @property
    def _writers(self) -> set[int]:
        """Under which numbers those are present who may write."""
        return _present(client for client in self.clients if client.may_write)

    def _everybody(self) -> bytes:
        awareness = self._yroom.awareness
        return sync.awareness(
            sync.AwarenessState(client_id, awareness.meta[client_id]["clock"], state)
            for client_id, state in awareness.states.items()
        )

    def _say_left(self, client: RoomClient) -> None:
        awareness = self._yroom.awareness
        # The same presence may have come over a newer connection of the same tab.
        still_here = _present(self.clients)
        gone = [number for number in client.awareness_ids - still_here if number in awareness.states]
        if not gone:
            return
        awareness.remove_awareness_states(gone, "left")
        # The same clock with no state means that it left (y-protocols, ``awareness.js``).
        frame = sync.awareness(
            sync.AwarenessState(number, awareness.meta[number]["clock"], None) for number in gone
        )
        for other in self.clients:
            other.put(frame)


@dataclass(slots=True)
class _Talk:
    """What one client was asked and told on its connection."""

    told: bool = False
    """Whether it was sent the room's document."""
    waiting: list[Superseded] = field(default_factory=list)
    """What is noted for, and no question was asked for yet."""
    _asked: int = 1
    """How many questions it was sent that it answers: the first is the greeting."""
    _answered: int = 0
    _noted: list[tuple[int, Superseded]] = field(default_factory=list)
    """What is noted for until a question is answered, and the number of that question."""

    def all_notes(self) -> list[Superseded]:
        return [superseded for _, superseded in self._noted] + self.waiting

    def ask(self) -> None:
        """A question was sent for all that wait for one."""
        self._asked += 1
        self._noted += [(self._asked, superseded) for superseded in self.waiting]
        self.waiting.clear()

    def answer(self) -> list[Superseded]:
        """A question was answered: what nothing is noted for any more."""
        self._answered += 1
        due = [superseded for number, superseded in self._noted if number <= self._answered]
        self._noted = [noted for noted in self._noted if noted[0] > self._answered]
        return due


def _present(clients: Iterable[RoomClient]) -> set[int]:
    return {number for client in clients for number in client.awareness_ids}


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever pycrdt raises over a client's bytes into a ``ProtocolError``.

    A panic in Rust arrives as ``pyo3_runtime.PanicException``, which is a ``BaseException`` and cannot be
    imported; its name is all there is to know it by.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ProtocolError(f"{what} ({error})") from error
