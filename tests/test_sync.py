"""The frames of a room, compared with pycrdt, with the bytes of the stock front end, and with rubbish."""

from __future__ import annotations

import json
from typing import Any

import pycrdt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ydoc_exec import sync
from ydoc_exec.errors import ProtocolError
from ydoc_exec.sync import (
    Awareness,
    AwarenessState,
    Barrier,
    Execute,
    Frame,
    QueryAwareness,
    Save,
    SyncStep1,
    SyncStep2,
    SyncUpdate,
    parse,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
uints = st.integers(0, sync.MAX_UINT)
state_dicts = st.dictionaries(st.text(max_size=8), json_values, max_size=3)
states = st.lists(st.builds(AwarenessState, uints, uints, st.none() | state_dicts), max_size=4)


def var_bytes(data: bytes) -> bytes:
    return pycrdt.write_var_uint(len(data)) + data


def save(save_id: int) -> bytes:
    return b"\x02" + var_bytes(b"save") + pycrdt.write_var_uint(save_id)


def barrier(token: str) -> bytes:
    return b"\x02" + var_bytes(b"barrier") + var_bytes(token.encode())


def execute(request_id: str, body: str) -> bytes:
    return b"\x02" + var_bytes(b"execute") + var_bytes(request_id.encode()) + var_bytes(body.encode())


def presence(text: bytes) -> bytes:
    """The awareness frame of client 1 at clock 1 with a state of these bytes."""
    return b"\x01" + var_bytes(b"\x01\x01\x01" + var_bytes(text))


valid_frames = st.one_of(
    st.binary().map(sync.step1),
    st.binary().map(sync.step2),
    st.binary().map(sync.update),
    states.map(sync.awareness),
    uints.map(save),
    st.text(max_size=sync.MAX_TOKEN).map(barrier),
    st.builds(execute, st.text(max_size=sync.MAX_TOKEN), st.text()),
    st.just(b"\x03"),
)


def read_raw(frame: bytes) -> Any:
    """What ``readVarUint`` and ``JSON.parse(readVarString)`` of the browser make of a frame."""
    assert frame[0] == 2
    place = shift = length = 0
    while True:
        place += 1
        length |= (frame[place] & 0x7F) << shift
        shift += 7
        if frame[place] < 0x80:
            break
    assert len(frame) == place + 1 + length
    return json.loads(frame[place + 1 :].decode())


@given(st.binary(max_size=300))
def test_sync_frames(data: bytes) -> None:
    assert sync.step1(data) == b"\x00\x00" + var_bytes(data)
    assert sync.step2(data) == b"\x00\x01" + var_bytes(data)
    assert sync.update(data) == pycrdt.create_update_message(data)
    assert parse(sync.step1(data)) == SyncStep1(data)
    assert parse(sync.step2(data)) == SyncStep2(data)
    assert parse(sync.update(data)) == SyncUpdate(data)


def test_a_conversation_with_pycrdt() -> None:
    ours: pycrdt.Doc[Any] = pycrdt.Doc()
    theirs: pycrdt.Doc[Any] = pycrdt.Doc()
    theirs["text"] = pycrdt.Text("für alle")
    assert sync.step1(theirs.get_state()) == pycrdt.create_sync_message(theirs)
    reply = pycrdt.handle_sync_message(sync.step1(ours.get_state())[1:], theirs)
    assert reply == sync.step2(theirs.get_update(ours.get_state()))
    message = parse(reply)
    assert isinstance(message, SyncStep2)
    ours.apply_update(message.update)
    assert str(ours.get("text", type=pycrdt.Text)) == "für alle"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("02047361766501", Save(1)),
        ("020473617665ac02", Save(300)),
        ("0204736176658080808010", Save(2**32)),
        ("020473617665ffffffffffffff0f", Save(2**53 - 1)),
        ("0207626172726965720161", Barrier("a")),
        ("0207626172726965720b5a6fc3ab20f09f98802074", Barrier("Zoë 😀 t")),
        ("00000401922108", SyncStep1(bytes.fromhex("01922108"))),
        (
            "0001160101922100040101740b68c3a96c6c6f20f09f988000",
            SyncStep2(bytes.fromhex("0101922100040101740b68c3a96c6c6f20f09f988000")),
        ),
        (
            "0002160101922100040101740b68c3a96c6c6f20f09f988000",
            SyncUpdate(bytes.fromhex("0101922100040101740b68c3a96c6c6f20f09f988000")),
        ),
        (
            "012f019221012a7b2275736572223a7b226e616d65223a225a6fc3ab20f09f9880227d2c22637572736f7273223a5b5d7d",
            Awareness(
                (AwarenessState(4242, 1, {"user": {"name": "Zoë 😀"}, "cursors": []}),),
                bytes.fromhex(
                    "019221012a7b2275736572223a7b226e616d65223a225a6fc3ab20f09f9880227d2c22637572736f7273223a5b5d7d"
                ),
            ),
        ),
        ("010901922102046e756c6c", Awareness((AwarenessState(4242, 2, None),), b"\x01\x92\x21\x02\x04null")),
        ("010100", Awareness((), b"\x00")),
        ("03", QueryAwareness()),
    ],
)
def test_frames_written_in_a_browser(written: str, read: Frame) -> None:
    """Recorded from lib0 0.2 and y-protocols 1.0, called as y-websocket and the provider call them."""
    assert parse(bytes.fromhex(written)) == read


def test_kinds_of_frames() -> None:
    frames = [
        sync.step1(b"s"),
        sync.step2(b"u"),
        sync.update(b"u"),
        sync.awareness([]),
        sync.barrier_reply("t"),
    ]
    assert [sync.is_step2(frame) for frame in frames] == [False, True, False, False, False]
    assert [sync.is_update(frame) for frame in frames] == [False, False, True, False, False]
    assert [sync.is_awareness(frame) for frame in frames] == [False, False, False, True, False]


@given(states)
def test_awareness_comes_back(given_states: list[AwarenessState]) -> None:
    message = parse(sync.awareness(given_states))
    assert isinstance(message, Awareness)
    assert message.states == tuple(given_states)
    assert sync.awareness(message.states) == b"\x01" + var_bytes(message.raw)


@given(uints, uints.filter(bool), state_dicts)
def test_awareness_is_understood_by_pycrdt(client_id: int, clock: int, state: dict[str, Any]) -> None:
    message = parse(sync.awareness([AwarenessState(client_id, clock, state)]))
    assert isinstance(message, Awareness)
    awareness = pycrdt.Awareness(pycrdt.Doc())
    awareness.apply_awareness_update(message.raw, None)
    assert awareness.states[client_id] == state


@given(uints)
def test_save_ids(save_id: int) -> None:
    assert parse(save(save_id)) == Save(save_id)


@given(st.text(max_size=sync.MAX_TOKEN))
def test_barrier_tokens(token: str) -> None:
    assert parse(barrier(token)) == Barrier(token)
    assert read_raw(sync.barrier_reply(token)) == {"type": "barrier", "responseTo": token}


@given(st.text(max_size=sync.MAX_TOKEN), st.text(), state_dicts)
def test_requests_to_execute(request_id: str, body: str, answer: dict[str, Any]) -> None:
    assert parse(execute(request_id, body)) == Execute(request_id, body)
    said = {"type": "execute", "responseTo": request_id, "status": 202, "body": answer}
    assert read_raw(sync.execute_reply(request_id, 202, answer)) == said


@pytest.mark.parametrize("status", ["success", "failed", "skipped"])
def test_save_replies(status: Any) -> None:
    assert read_raw(sync.save_reply(300, status)) == {"type": "save", "responseTo": 300, "status": status}


@given(state_dicts)
@example({"reason": "Größe 😀"})
@example({"half an emoji": "\ud83d"})
def test_raw_messages_are_read_whole(message: dict[str, Any]) -> None:
    assert read_raw(sync.raw_json(message)) == message


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "inside a number"),
        (b"\x00", "inside a number"),
        (b"\x00\x03\x00", "no sync message type 3"),
        (b"\x00\x02", "inside a number"),
        (b"\x00\x02\x05abc", "2 bytes too early"),
        (b"\x00\x02\xff\xff\xff\xff\xff\xff\xff\x0f", "too early"),
        (b"\x00\x02\x01ab", "1 bytes follow"),
        (b"\x03\x00", "1 bytes follow"),
        (b"\x04", "no message type 4"),
        (b"\x80\x00\x02\x00", "padded"),
        (b"\x00\x82\x00\x00", "padded"),
        (b"\x80" * 7, "inside a number"),
        (b"\x80" * 8 + b"\x01", "too large"),
        (save(2**53), "too large"),
        (save(2**64), "too large"),
        (b"\x02", "inside a number"),
        (b"\x02\x04save", "inside a number"),
        (b"\x02\x04save\x01\x01", "1 bytes follow"),
        (b"\x02\x04load\x01", "no raw message 'load'"),
        (b"\x02\x02\xff\xff", "not UTF-8"),
        (barrier("")[:-1], "inside a number"),
        (barrier("t" * 129), "more than 128"),
        (b"\x02" + var_bytes(b"barrier") + var_bytes(b"\xed\xa0\xbd"), "not UTF-8"),
        (execute("t" * 129, "{}"), "the id of a request has more than 128"),
        (execute("", "{}")[:-1], "1 bytes too early"),
        (b"\x02" + var_bytes(b"execute") + var_bytes(b"id"), "inside a number"),
        (b"\x02" + var_bytes(b"execute") + var_bytes(b"id") + var_bytes(b"\xff"), "not UTF-8"),
        (b"\x01\x00", "inside a number"),
        (b"\x01\x01\x01", "inside a number"),
        (b"\x01\x07\xff\xff\xff\xff\xff\xff\x0f", "inside a number"),
        (presence(b"null") + b"\x00", "1 bytes follow"),
        (b"\x01\x02\x00\x00", "1 bytes follow"),
        (presence(b""), "not JSON"),
        (presence(b"{"), "not JSON"),
        (presence(b'{"a":NaN}'), "not JSON"),
        (presence(b'{"a":-Infinity}'), "not JSON"),
        (presence(b'{"a":1e999}'), "not JSON"),
        (presence(b'{"a":' * 100_000), "not JSON"),
        (presence(b'{"a":' + b"9" * 10_000 + b"}"), "not JSON"),
        (presence(b"\xff"), "not UTF-8"),
        (presence(b"[]"), "neither an object nor null"),
        (presence(b"1"), "neither an object nor null"),
        (presence(b'"x"'), "neither an object nor null"),
        (presence(b"true"), "neither an object nor null"),
    ],
)
def test_what_is_no_frame(frame: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        parse(frame)


@given(valid_frames)
def test_no_frame_begins_another(frame: bytes) -> None:
    for end in range(len(frame)):
        with pytest.raises(ProtocolError):
            parse(frame[:end])
    with pytest.raises(ProtocolError):
        parse(frame + b"\x00")


@given(st.binary(max_size=100))
def test_random_bytes(frame: bytes) -> None:
    parse_or_refuse(frame)


@given(valid_frames, st.data())
def test_damaged_frames(frame: bytes, data: st.DataObject) -> None:
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    parse_or_refuse(bytes(damaged))


def parse_or_refuse(frame: bytes) -> None:
    try:
        message = parse(frame)
    except ProtocolError:
        return
    if isinstance(message, Awareness):
        # What was accepted can be passed on: no other client stumbles over it.
        for state in message.states:
            json.dumps(state.state, allow_nan=False)
