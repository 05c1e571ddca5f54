"""A slow client costs bounded memory and misses nothing."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ydoc_exec import sync
from ydoc_exec.room.outbox import MAX_AWARENESS, Outbox
from ydoc_exec.sync import AwarenessState


class SourceAndClient(RuleBasedStateMachine):
    """A document that others edit and a client that edits its own copy, with an outbox in between."""

    @initialize(limit=st.sampled_from([0, 1, 30, 100, 1_000, 100_000]), others=st.integers(0, 5))
    def open(self, limit: int, others: int) -> None:
        self.limit = limit
        self.source: pycrdt.Doc[Any] = pycrdt.Doc()
        self.text = self.source.get("text", type=pycrdt.Text)
        self.map = self.source.get("map", type=pycrdt.Map)
        self.client: pycrdt.Doc[Any] = pycrdt.Doc()
        self.client_text = self.client.get("text", type=pycrdt.Text)
        for i in range(others):
            self.text.insert(0, str(i))
        self.outbox = Outbox(limit, self.source.get_update, self.source.get_state)
        self.from_client = False
        self.replies_put: list[bytes] = []
        self.replies_taken: list[bytes] = []
        self.unsent: list[bytes] = []
        self.subscriptions = [
            self.source.observe(self.changed),
            self.client.observe(lambda event: self.client_changed(event.update)),
        ]
        self.receiving = False
        self.put_step2(self.client.get_state())

    def changed(self, event: pycrdt.TransactionEvent) -> None:
        if not self.from_client:
            self.outbox.put(sync.update(event.update))

    def client_changed(self, update: bytes) -> None:
        if not self.receiving:
            self.unsent.append(update)

    def put_step2(self, state: bytes) -> None:
        self.outbox.put(sync.step2(self.source.get_update(state)))
        self.outbox.caught_up()

    @rule(at=st.integers(0, 10**6), text=st.sampled_from(["a", "bcd", "é😀", "x" * 50]))
    def insert(self, at: int, text: str) -> None:
        characters = str(self.text)
        self.text.insert(len(characters[: at % (len(characters) + 1)].encode()), text)

    @rule(at=st.integers(0, 10**6), length=st.integers(1, 5))
    def delete(self, at: int, length: int) -> None:
        characters = str(self.text)
        if characters:
            start = at % len(characters)
            before = len(characters[:start].encode())
            del self.text[before : before + len(characters[start : start + length].encode())]

    @rule(key=st.sampled_from("abc"), value=st.integers(0, 9))
    def set(self, key: str, value: int) -> None:
        self.map[key] = value

    @rule(text=st.sampled_from(["client", "ß"]))
    def client_types(self, text: str) -> None:
        self.client_text.insert(0, text)

    @rule()
    def client_edits_arrive(self) -> None:
        self.from_client = True
        for update in self.unsent:
            self.source.apply_update(update)
        self.from_client = False
        self.unsent = []

    @rule()
    def client_asks_again(self) -> None:
        self.put_step2(self.client.get_state())

    @rule()
    def reply(self) -> None:
        reply = sync.save_reply(len(self.replies_put), "success")
        self.replies_put.append(reply)
        self.outbox.put(reply)

    @rule(client_id=st.integers(0, 3), clock=st.integers(1, 9))
    def presence(self, client_id: int, clock: int) -> None:
        self.outbox.put(sync.awareness([AwarenessState(client_id, clock, {})]))

    @rule(frames=st.integers(1, 4))
    def take(self, frames: int) -> None:
        for _ in range(frames):
            self.take_one()

    def take_one(self) -> bool:
        size = len(self.outbox)
        frame = self.outbox.take()
        assert (frame is None) == (size == 0)
        if frame is None:
            return False
        assert len(self.outbox) == size - 1
        if frame[0] == 2:
            self.replies_taken.append(frame)
            return True
        message = sync.parse(frame)
        if isinstance(message, sync.SyncStep2 | sync.SyncUpdate):
            self.receiving = True
            self.client.apply_update(message.update)
            self.receiving = False
        return True

    @invariant()
    def bounded(self) -> None:
        waiting = [frame for frame in self.outbox._frames.values() if frame is not None]
        assert self.outbox.pending_bytes == sum(map(len, waiting))
        updates = [frame for frame in waiting if sync.is_update(frame)]
        assert sum(map(len, updates[1:])) <= self.limit  # besides the first
        assert sum(map(sync.is_step2, waiting)) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.client_edits_arrive()
        while self.take_one():
            pass
        assert self.outbox.pending_bytes == 0
        assert self.replies_taken == self.replies_put
        assert str(self.client_text) == str(self.text)
        assert self.client.get("map", type=pycrdt.Map).to_py() == self.map.to_py()
        assert pycrdt.get_state(self.client.get_update()) == pycrdt.get_state(self.source.get_update())
        # Nothing waits for something that never came.
        state = self.source.get_state()
        assert self.client.get_update(state) == self.source.get_update(state)


TestSourceAndClient = SourceAndClient.TestCase


def outbox(limit: int = 10) -> Outbox:
    """An outbox over a document whose state and diff can be read."""
    return Outbox(limit, lambda state: b"since " + state, lambda: b"now")


def all_of(box: Outbox) -> list[bytes | None]:
    return [box.take() for _ in range(len(box))]


def test_frames_come_out_in_order() -> None:
    box = outbox(100)
    frames = [sync.update(b"1"), sync.barrier_reply("t"), sync.update(b"2"), sync.awareness([]), b"", b"\xff"]
    for frame in frames:
        box.put(frame)
    assert len(box) == 6
    assert box.pending_bytes == sum(map(len, frames))
    assert all_of(box) == frames
    assert box.take() is None
    assert box.pending_bytes == 0


def test_too_many_updates_become_one_diff_in_the_place_of_the_first() -> None:
    box = outbox(10)
    box.put(sync.save_reply(1, "success"))
    box.put(sync.update(b"1"))
    box.put(sync.save_reply(2, "success"))
    for _ in range(100):
        box.put(sync.update(b"234"))
    assert all_of(box) == [
        sync.save_reply(1, "success"),
        sync.update(b"since \x00"),
        sync.save_reply(2, "success"),
    ]
    box.put(sync.update(b"5" * 20))
    box.put(sync.update(b"6"))  # the first does not count
    assert all_of(box) == [sync.update(b"5" * 20), sync.update(b"6")]
    box.put(sync.update(b"5" * 20))
    box.put(sync.update(b"6"))
    box.put(sync.update(b"7" * 10))
    assert all_of(box) == [sync.update(b"since now")]
    box.put(sync.update(b"7"))
    assert all_of(box) == [sync.update(b"7")]


def test_one_large_update_alone_may_wait() -> None:
    box = outbox(10)
    box.put(sync.update(b"large" * 10))
    assert all_of(box) == [sync.update(b"large" * 10)]


@pytest.mark.parametrize("first", ["put", "caught_up"])
def test_a_reply_to_step_1_makes_updates_before_it_needless(first: str) -> None:
    box = outbox(10)
    box.put(sync.update(b"1"))
    if first == "put":
        box.put(sync.step2(b"all"))
        box.caught_up()
    else:
        box.caught_up()
        box.put(sync.step2(b"all"))
    box.put(sync.update(b"2"))
    assert all_of(box) == [sync.step2(b"all"), sync.update(b"2")]
    box.put(sync.update(b"3" * 20))
    box.put(sync.update(b"4"))
    box.put(sync.step2(b"all again"))
    box.caught_up()
    assert all_of(box) == [sync.step2(b"all again")]


def test_a_client_that_asks_and_does_not_read_gets_one_answer() -> None:
    box = outbox(10)
    for i in range(100):
        box.put(sync.step2(b"%d" % i))
        box.caught_up()
    assert all_of(box) == [sync.step2(b"99")]


def test_of_presence_only_the_newest_waits() -> None:
    box = outbox(1000)
    old, other = (sync.awareness([AwarenessState(i, 1, {})]) for i in (1, 2))
    new = sync.awareness([AwarenessState(1, 2, {"user": {"name": "Zoë"}})])
    both = sync.awareness([AwarenessState(1, 2, {}), AwarenessState(2, 1, {})])
    for frame in (old, other, both, new):
        box.put(frame)
    assert box.pending_bytes == len(new + other + both)
    assert all_of(box) == [new, other, both]
    box.put(old)
    assert all_of(box) == [old]


@given(st.lists(st.integers(0, 300), min_size=150, max_size=400))
def test_presence_is_bounded_whoever_claims_to_be_present(clients: list[int]) -> None:
    box = outbox(100_000)
    for clock, client in enumerate(clients):
        box.put(sync.awareness([AwarenessState(client, clock, {})]))
    newest = list(dict.fromkeys(reversed(clients)))[:MAX_AWARENESS]
    assert len(box) == len(newest)
    assert {message_clients(frame) for frame in all_of(box)} == {(client,) for client in newest}
    assert box.pending_bytes == 0


def test_presence_is_bounded_in_bytes() -> None:
    box = outbox(1000)
    for client in range(50):
        box.put(sync.awareness([AwarenessState(client, 1, {"name": "n" * 300})]))
    assert [message_clients(frame) for frame in all_of(box)] == [(47,), (48,), (49,)]
    box.put(sync.awareness([AwarenessState(1, 1, {"name": "n" * 3000})]))
    assert [message_clients(frame) for frame in all_of(box)] == [(1,)]


def message_clients(frame: bytes | None) -> tuple[int, ...]:
    assert frame is not None
    message = sync.parse(frame)
    assert isinstance(message, sync.Awareness)
    return tuple(state.client_id for state in message.states)


@given(st.lists(st.binary(max_size=12)))
def test_rubbish_is_kept_and_never_raises(frames: list[bytes]) -> None:
    box = outbox(0)
    for frame in frames:
        box.put(frame)
    all_of(box)
    assert len(box) == 0
    assert box.pending_bytes == 0


def test_a_diff_that_fails_is_not_lost() -> None:
    failing = True

    def diff(state: bytes) -> bytes:
        if failing:
            raise RuntimeError("the document is being written")
        return b"diff"

    box = Outbox(0, diff, lambda: b"now")
    box.put(sync.update(b"1"))
    box.put(sync.update(b"2"))
    with pytest.raises(RuntimeError):
        box.take()
    failing = False
    assert all_of(box) == [sync.update(b"diff")]
