"""A room brings everybody's edits to everybody, and whoever misbehaves hurts nobody else."""

from __future__ import annotations

import gc
import random
import weakref
from asyncio import Future
from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest
from anyio import ClosedResourceError, Event, create_task_group, fail_after, sleep
from anyio.lowlevel import checkpoint
from jupyter_ydoc import YNotebook
from pycrdt import Doc, Map, Text

from tests.room.conftest import Peer, open_place
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.errors import BarrierNotReached
from ydoc_exec.origin import FromClient, FromServer, Origin
from ydoc_exec.room.room import BARRIERS_REMEMBERED, Room
from ydoc_exec.room.room_client import RoomClient

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def save_frame(number: int) -> bytes:
    return b"\x02\x04save" + bytes([number])


def barrier_frame(token: str) -> bytes:
    return b"\x02\x07barrier" + bytes([len(token)]) + token.encode()


# Convergence


async def test_everybody_has_everything() -> None:
    async with open_place() as place:
        peers = [await place.join() for _ in range(4)]
        for number in range(20):
            await peers[number % 4].type(f"{number} ")
            with place.room.writing(FromServer()):
                place.text += "server "
        await until(lambda: all(str(peer.text) == str(place.text) for peer in peers))
    assert str(place.text).count("server") == 20
    assert all(f"{number} " in str(place.text) for number in range(20))


async def test_who_comes_with_edits_brings_them() -> None:
    async with open_place() as place:
        early = await place.join()
        await early.type("early")
        late = Peer()
        late.text += "late"
        place.admit(late)
        await until(lambda: late.frames)
        await late.greet()
        await until(lambda: late.synced)
        await late.flush()
        await until(lambda: str(early.text) == str(late.text) == str(place.text))
    assert "early" in str(place.text)
    assert "late" in str(place.text)
    assert str(place.text).count("late") == 1


async def test_edits_during_the_handshake_of_another_are_not_missed() -> None:
    async with open_place() as place:
        typist = await place.join()
        others: list[Peer] = []
        async with create_task_group() as tasks:

            async def keep_typing() -> None:
                for number in range(200):
                    await typist.type(f"{number},")
                    await checkpoint()

            tasks.start_soon(keep_typing)
            for _ in range(10):
                others.append(await place.join())
        await until(lambda: all(str(peer.text) == str(place.text) for peer in [typist, *others]))
    assert str(place.text) == "".join(f"{number}," for number in range(200))


async def test_any_number_of_updates_in_one_step_reaches_everybody() -> None:
    async with open_place() as place:
        peer = await place.join()
        for _ in range(2**16 + 10):
            with place.room.writing(FromServer()):
                place.text += "x"
        await until(lambda: str(peer.text) == str(place.text))


async def test_who_does_not_read_for_a_while_misses_nothing() -> None:
    async with open_place(backlog=2_000) as place:
        writer, sleeper = await place.join(), await place.join()
        sleeper.reading = Event()
        for number in range(300):
            await writer.type(f"{number} and more,")
        await until(lambda: str(place.text) == str(writer.text))
        assert sleeper.closed is None
        sleeper.reading.set()
        await until(lambda: str(sleeper.text) == str(writer.text))


async def test_random_edits_by_peers_that_come_and_go() -> None:
    dice = random.Random(7)
    async with open_place(backlog=300) as place:
        peers = [await place.join() for _ in range(3)]
        for step in range(300):
            peer = dice.choice(peers)
            match dice.randrange(8):
                case 0 if len(peers) > 2:
                    peer.leave()
                    peers.remove(peer)
                case 1 if len(peers) < 6:
                    peers.append(await place.join())
                case 2 if len(peer.text):
                    del peer.text[0:1]
                    await peer.flush()
                case 3:
                    peer.reading = Event()
                case 4:
                    peer.reading.set()
                case 5:
                    with place.room.writing(FromServer()):
                        place.text += "s"
                case _:
                    await peer.type("abc"[step % 3])
        for peer in peers:
            peer.reading.set()
        await until(lambda: all(str(peer.text) == str(place.text) for peer in peers))


# What clients may send


GARBAGE = [
    b"",
    b"\x00",
    b"\x07",
    b"\xff" * 20,
    b"\x00\x02\x05ab",
    b"\x00\x00\x03\xff\xff\xff",
    b"\x00\x02\x03\xff\xff\xff",
    b"\x00\x01\x01\x00",
    b"\x00\x02\x0a" + b"\x01" * 10,
    b"\x01\x03abc",
    b"\x02\x04what",
    b"\x01\x07\x01\x01\x01\x04nope",
    b"\x00\x02\x08\x01\x01\xff\xff\xff\xff\x0f\x00",
]


@pytest.mark.parametrize("frame", GARBAGE, ids=[frame.hex() for frame in GARBAGE])
async def test_garbage_hurts_only_its_sender(frame: bytes) -> None:
    async with open_place() as place:
        good, bad = await place.join(), await place.join()
        await good.type("before ")
        await bad.send(frame)
        await until(lambda: bad.left)
        assert bad.closed is not None
        assert bad.closed[0] == 1002
        await good.type("after")
        another = await place.join()
        await until(lambda: str(another.text) == "before after")
        assert good.closed is None


async def test_damaged_updates_hurt_only_their_sender() -> None:
    """Whatever pycrdt makes of the bytes, also a panic in Rust."""
    dice = random.Random(3)
    source: Doc[Any] = Doc()
    source.get("text", type=Text).insert(0, "some words 😀 ")
    source.get("map", type=Map)["key"] = {"a": [1, None, "x"]}
    whole = source.get_update()
    async with open_place() as place:
        good = await place.join()
        bad = await place.join()
        for _ in range(300):
            if bad.left or bad.closed:
                bad = await place.join()
            damaged = bytearray(whole)
            for _ in range(dice.randrange(1, 4)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            await bad.send(sync.update(bytes(damaged[: dice.randrange(1, len(damaged) + 1)])))
        await good.type("fine")
        await until(lambda: "fine" in str(place.text))
        assert good.closed is None


async def test_frames_behind_a_bad_one_wait_for_nobody() -> None:
    async with open_place() as place:
        bad = await place.join()
        async with create_task_group() as tasks:

            async def flood() -> None:
                for number in range(500):
                    await bad.send(b"\xff" if number == 100 else b"\x03")

            with fail_after(30):
                tasks.start_soon(flood)
                await until(lambda: bad.left)


async def test_a_client_whose_writing_fails_by_mistake_leaves_alone() -> None:
    async with open_place() as place:
        good, broken = await place.join(), await place.join()
        observers = len(place.room.clients)
        broken.write_error = RuntimeError("a mistake")
        await good.type("a")
        await until(lambda: broken.left)
        await good.type("b")
        await until(lambda: str(place.text) == "ab")
        assert len(place.room.clients) == observers - 1
        assert broken.closed is not None


@pytest.mark.parametrize("error", [OSError("gone"), ClosedResourceError()])
async def test_what_a_client_sent_that_cannot_be_written_to_is_taken_until_it_leaves(
    error: Exception,
) -> None:
    """A tab was closed; the network says so to who writes before all is read that came from it."""
    async with open_place() as place:
        good, gone = await place.join(), await place.join()
        gone.write_error = error
        before = len(gone.frames)
        await good.type("a")
        await until(lambda: str(place.text) == "a")
        await gone.type("b")
        await until(lambda: sorted(str(good.text)) == ["a", "b"])
        assert not gone.left
        assert len(gone.frames) == before
        gone.leave()
        await until(lambda: gone.left)
        await good.type("c")
        await until(lambda: sorted(str(place.text)) == ["a", "b", "c"])
        assert gone.closed is not None
        assert gone.client not in place.room.clients


async def test_a_client_that_never_takes_anything_holds_nobody_up() -> None:
    async with open_place() as place:
        good, stuck, other = await place.join(), await place.join(), await place.join()
        stuck.reading = Event()
        for _ in range(50):
            await good.type("a")
        await until(lambda: str(other.text) == "a" * 50)
        # And it can be let go of.
        stuck.leave()
        await until(lambda: stuck.left)


async def test_who_asks_and_does_not_read_is_closed() -> None:
    async with open_place(backlog=1_000) as place:
        good, flooder = await place.join(), await place.join()
        flooder.reading = Event()
        with fail_after(30):
            for number in range(100_000):
                if flooder.closed:
                    break
                await flooder.send(barrier_frame(f"token {number}"))
        assert flooder.closed is not None
        assert flooder.closed[0] == 1013
        await until(lambda: flooder.left)
        await good.type("a")
        await until(lambda: str(place.text) == "a")


async def test_a_document_larger_than_the_backlog_is_sent_to_a_slow_client() -> None:
    async with open_place(backlog=1_000) as place:
        with place.room.writing(FromServer()):
            place.text += "x" * 100_000
        slow = place.admit(Peer())
        slow.reading = Event()
        await slow.greet()
        for _ in range(5):
            with place.room.writing(FromServer()):
                place.text += "y" * 50_000
            await checkpoint()
        await slow.greet()
        await sleep(0.01)
        slow.reading.set()
        await until(lambda: len(slow.text) == 350_000)
        assert slow.closed is None


async def test_a_reader_changes_nothing() -> None:
    async with open_place() as place:
        writer, reader = await place.join(), await place.join(may_write=False)
        await writer.type("a")
        await until(lambda: str(reader.text) == "a")
        before = place.room.doc.get_update()
        reader.text += "no"
        everything = reader.doc.get_update()
        await reader.send(sync.update(everything))
        await reader.send(sync.step2(everything))
        await reader.flush()
        await reader.send(save_frame(1))
        await reader.send(barrier_frame("all"))
        await place.room.barrier("all", 5)
        assert place.room.doc.get_update() == before
        # It still reads, and is not sent away.
        await writer.type("b")
        await until(lambda: "b" in str(reader.text))
        assert reader.closed is None


async def test_a_room_without_a_file_says_that_saving_failed() -> None:
    async with open_place() as place:
        peer = await place.join()
        await peer.send(save_frame(5))
        await until(lambda: peer.news)
        assert b'"failed"' in peer.news[0]
        assert b'"responseTo":5' in peer.news[0]


# Presence


async def test_newcomers_are_told_who_is_here() -> None:
    async with open_place() as place:
        early = await place.join()
        await early.say_here({"user": "é😀"})
        await until(lambda: early.doc.client_id in place.room.awareness.states)
        late = await place.join()
        await until(lambda: late.presence.get(early.doc.client_id) == {"user": "é😀"})
        await late.say_here({"user": "late"})
        await until(lambda: early.presence.get(late.doc.client_id) == {"user": "late"})
        # Its own presence comes back to it: y-websocket takes silence for a broken connection.
        await until(lambda: late.doc.client_id in late.presence)


async def test_newcomers_are_told_who_came_while_they_were_asked_what_they_have() -> None:
    async with open_place() as place:
        gone, other = await place.join(), await place.join()
        await gone.say_here({"user": "gone"})
        await until(lambda: gone.doc.client_id in other.presence)
        place.room.forget_before({1: 1})
        late = Peer()
        serve = partial(place.room.serve, late.client, lambda client, state: None, is_known=lambda: True)
        place.tasks.start_soon(serve)
        await until(lambda: late.frames)
        gone.leave()
        await other.say_here({"user": "other"})
        await until(
            lambda: other.presence[gone.doc.client_id] is None and other.doc.client_id in other.presence
        )
        await late.greet()
        await until(lambda: late.presence.get(other.doc.client_id) == {"user": "other"})
        assert late.presence.get(gone.doc.client_id) is None


async def test_what_the_server_says_before_anybody_comes_is_heard() -> None:
    async with open_place() as place:
        place.room.awareness.set_local_state({"server": True})
        peer = await place.join()
        number = place.room.awareness.client_id
        await until(lambda: peer.presence.get(number) == {"server": True})
        place.room.awareness.set_local_state({"server": False})
        await until(lambda: peer.presence.get(number) == {"server": False})


async def test_leaving_is_told() -> None:
    async with open_place() as place:
        one, other = await place.join(), await place.join()
        await one.say_here({"user": "one"})
        await until(lambda: one.doc.client_id in other.presence)
        one.leave()
        await until(lambda: other.presence[one.doc.client_id] is None)
        assert one.doc.client_id not in place.room.awareness.states


@pytest.mark.parametrize("clock", [1, 2], ids=["as it was", "with news"])
async def test_a_presence_that_came_back_over_another_connection_stays(clock: int) -> None:
    async with open_place() as place:
        old, watcher = await place.join(), await place.join()
        await old.say_here({"user": "one"})
        await until(lambda: old.doc.client_id in watcher.presence)
        new = await place.join()
        await new.say_here({"user": "one"}, clock, number=old.doc.client_id)
        await until(lambda: old.doc.client_id in new.client.awareness_ids)
        old.leave()
        await until(lambda: old.left)
        await watcher.type("x")
        await until(lambda: str(new.text) == "x")
        assert watcher.presence[old.doc.client_id] == {"user": "one"}


async def test_what_a_client_repeats_of_others_is_not_its_own() -> None:
    """y-websocket sends back whatever it is told of anybody's presence."""
    async with open_place() as place:
        one, other = await place.join(), await place.join()
        await other.say_here({"user": "other"})
        await one.say_here({"user": "one"})
        await until(lambda: one.doc.client_id in other.presence)
        await other.say_here({"user": "one"}, number=one.doc.client_id)
        await other.send(barrier_frame("repeated"))
        await place.room.barrier("repeated", 5)
        one.leave()
        await until(lambda: other.presence[one.doc.client_id] is None)
        assert set(place.room.awareness.states) == {place.room.doc.client_id, other.doc.client_id}


async def test_a_reader_speaks_for_nobody_who_may_write() -> None:
    async with open_place() as place:
        writer, reader = await place.join(), await place.join(may_write=False)
        await writer.say_here({"user": "writer", "autosave": False})
        await until(lambda: place.room.presence_of_writers())
        await reader.say_here({"user": "reader", "autosave": True})
        for state in ({"user": "writer", "autosave": True}, None):
            for clock in (1, 2, 100):
                await reader.say_here(state, clock, number=writer.doc.client_id)
        await reader.send(barrier_frame("said"))
        await place.room.barrier("said", 5)
        assert place.room.presence_of_writers() == [{"user": "writer", "autosave": False}]
        assert writer.presence[reader.doc.client_id] == {"user": "reader", "autosave": True}
        assert writer.presence[writer.doc.client_id] == {"user": "writer", "autosave": False}


async def test_who_asks_for_presence_gets_it() -> None:
    async with open_place() as place:
        one, other = await place.join(), await place.join()
        await one.say_here({"user": "one"})
        await until(lambda: one.doc.client_id in other.presence)
        other.presence.clear()
        await other.send(b"\x03")
        await until(lambda: one.doc.client_id in other.presence)


# Barriers


async def test_a_barrier_is_behind_all_that_was_sent_before_it() -> None:
    async with open_place() as place:
        peer = await place.join()
        async with create_task_group() as tasks:

            async def type_and_mark() -> None:
                for _ in range(300):
                    await peer.type("a")
                await peer.send(barrier_frame("here"))
                await peer.type("b")

            tasks.start_soon(type_and_mark)
            await place.room.barrier("here", 5)
            assert str(place.text).startswith("a" * 300)
        await until(lambda: peer.news)
        assert b'"barrier"' in peer.news[0]


async def test_a_barrier_that_came_first() -> None:
    async with open_place() as place:
        peer = await place.join()
        await peer.send(barrier_frame("here"))
        await until(lambda: peer.news)
        await place.room.barrier("here", 0)


async def test_a_barrier_that_never_comes() -> None:
    async with open_place() as place:
        with pytest.raises(BarrierNotReached):
            await place.room.barrier("never", 0.01)
        # It leaves nothing behind.
        assert not place.room._barriers_awaited


async def test_many_barriers_of_others_do_not_make_one_forgotten() -> None:
    async with open_place() as place:
        peer, other = await place.join(), await place.join()
        async with create_task_group() as tasks:
            tasks.start_soon(place.room.barrier, "mine", 5)
            tasks.start_soon(place.room.barrier, "mine", 5)
            await checkpoint()
            for number in range(BARRIERS_REMEMBERED + 10):
                await other.send(barrier_frame(f"other {number}"))
            await until(lambda: len(other.news) == BARRIERS_REMEMBERED + 10)
            await peer.send(barrier_frame("mine"))


# Whoever reacts


async def test_every_update_is_told_once_and_by_whom() -> None:
    async with open_place() as place:
        told: list[tuple[bytes, Origin | None]] = []
        place.room.add_sink(lambda update, origin: told.append((update, origin)))
        peer, other = await place.join(), await place.join()
        await peer.type("a")
        await until(lambda: str(other.text) == "a")
        with place.room.writing(FromServer()), place.room.writing(FromServer()):
            place.text += "b"
        with place.room.writing(FromServer()):
            pass
        await until(lambda: str(other.text) == "ab")
        await other.type("c")
        await until(lambda: str(place.text) == "abc")
    assert [origin for _, origin in told] == [
        FromClient(peer.number),
        FromServer(),
        FromClient(other.number),
    ]
    copy: Doc[Any] = Doc()
    for update, _ in told:
        copy.apply_update(update)
    assert str(copy.get("text", type=Text)) == "abc"


async def test_a_mistake_of_one_writer_is_over_with_its_transaction() -> None:
    async with open_place() as place:
        with pytest.raises(ZeroDivisionError), place.room.writing(FromServer()):
            raise ZeroDivisionError
        told: list[Origin | None] = []
        place.room.add_sink(lambda update, origin: told.append(origin))
        peer = await place.join()
        await peer.type("a")
        await until(lambda: told)
        assert told == [FromClient(peer.number)]


async def test_nothing_becomes_an_item_of_the_undo_history() -> None:
    doc: Doc[Any] = Doc()
    document = YNotebook(doc)
    room = Room("a room", doc, backlog=2**20)
    async with room.open(), create_task_group() as tasks:
        peer = Peer()
        theirs = YNotebook(peer.doc)
        tasks.start_soon(room.serve, peer.client)
        await until(lambda: peer.frames)
        await peer.greet()
        await until(lambda: peer.synced)
        theirs.append_cell({"id": "a", "cell_type": "markdown", "source": "x", "metadata": {}})
        await peer.flush()
        await until(lambda: document.cell_number == 1)
        with room.writing(FromServer()):
            document.ycells[0]["source"] += "y"
        assert document.undo_manager.undo_stack == []
        tasks.cancel_scope.cancel()


# The end


async def test_closing_the_room_closes_its_clients() -> None:
    async with open_place() as place:
        peers = [await place.join() for _ in range(3)]
        place.room.disconnect(1001, "closing")
        await until(lambda: all(peer.left for peer in peers))
    assert [peer.closed for peer in peers] == [(1001, "closing")] * 3


async def test_what_is_sent_by_who_has_not_heard_that_the_room_is_closed_is_taken_for_a_while() -> None:
    async with open_place() as place:
        peer = await place.join()
        peer.hears = False
        place.room.disconnect(1001, "closing")
        await peer.type("a" * 100)
        await place.room.until_left(0.1)
        await peer.type("dropped")
        assert peer.left
        assert str(place.text) == "a" * 100


async def test_who_is_served_when_the_room_ends_is_closed_too() -> None:
    async with open_place() as place:
        peer = await place.join()
    assert peer.left
    assert peer.closed is not None


async def test_what_was_sent_before_leaving_still_counts() -> None:
    async with open_place() as place:
        peer = await place.join()
        for _ in range(20):
            await peer.type("a")
        peer.leave()
        await until(lambda: peer.left)
        assert str(place.text) == "a" * 20
        await peer.type("dropped")
        assert str(place.text) == "a" * 20


async def test_a_closed_room_is_freed() -> None:
    async def live() -> list[weakref.ref[Any]]:
        async with open_place() as place:
            place.room.add_sink(lambda update, origin: None)
            peer = await place.join()
            await peer.type("a")
            await peer.say_here({"user": "one"})
            await until(lambda: place.room.awareness.states.get(peer.doc.client_id))
            peer.forget()
            return [weakref.ref(thing) for thing in (place.room, place.room.doc, peer.client)]

    refs = await live()
    await checkpoint()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


async def test_a_client_that_was_never_admitted_can_leave() -> None:
    closed: list[int] = []

    async def write(frame: bytes) -> None:
        raise AssertionError

    client = RoomClient(1, write, lambda code, reason: closed.append(code), may_write=True, name="nobody")
    client.left()
    await client.receive(b"x")
    client.close(1001, "first")
    client.close(1002, "second")
    client.end()
    assert closed == [1001]


async def test_writing_begins_in_the_same_step_and_the_next_frame_waits_for_its_end() -> None:
    begun: list[tuple[bytes, Future[None]]] = []

    def write(frame: bytes) -> Awaitable[None]:
        begun.append((frame, Future()))
        return begun[-1][1]

    def frames() -> list[bytes]:
        return [frame for frame, _ in begun]

    async with open_place() as place:
        client = RoomClient(1, write, lambda code, reason: None, may_write=True, name="slow")
        place.tasks.start_soon(place.room.serve, client)
        await until(lambda: begun)
        begun.pop()[1].set_result(None)  # who is here
        while True:
            for _ in range(20):
                await checkpoint()
            if not begun:
                break
            begun.pop()[1].set_result(None)  # the greeting
        one, two, three = (sync.raw_json({"number": number}) for number in (1, 2, 3))
        client.put(one)
        assert frames() == [one]
        client.put(two)
        await checkpoint()
        assert frames() == [one]
        begun[0][1].set_result(None)
        await until(lambda: frames() == [one, two])
        begun[1][1].set_exception(ClosedResourceError())
        for _ in range(20):
            await checkpoint()
        client.put(three)
        assert frames() == [one, two]
