"""The bytes of a room's websocket, and nothing else: no document, no socket, no state.

A frame is one message. ``parse`` reads what a client sent, the other functions build what a server sends. The
encoding is lib0's (``lib0/encoding.js``, ``lib0/decoding.js``), the message types are those of y-protocols
and y-websocket, and type 2 is the raw message of ``jupyter-docprovider`` (``yprovider.ts``), to which we add
the barrier and requests to execute:

    0 0 <bytes state>                       sync step 1: what I have; answer with what I lack
    0 1 <bytes update>                      sync step 2: the answer
    0 2 <bytes update>                      an update
    1 <bytes presence>                      awareness; presence: <uint n> then n times
                                            <uint client id> <uint clock> <string JSON>
    2 <string "save"> <uint id>             from a client: save now, say when it is done
    2 <string "barrier"> <string token>     from a client: say when you have read everything before this
    2 <string "execute"> <string id>        from a client: run cells, in the document as everything before this
      <string JSON>                         has left it
    2 <string JSON>                         from the server: the answers to these, and other news
    3                                       tell me everybody's awareness

``<uint>`` is little endian in groups of seven bits, ``<bytes>`` and ``<string>`` start with their length in
bytes.

Frames come from anyone who could open the websocket, so ``parse`` accepts exactly these and raises
``ProtocolError`` for everything else. Whether the update inside a frame can be applied is for the document to
say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from ydoc_exec.errors import ProtocolError

MAX_UINT = 2**53 - 1
"""The largest number lib0 can read exactly (``Number.MAX_SAFE_INTEGER``)."""

MAX_TOKEN = 128
"""The longest barrier token and the longest id of a request, in characters."""

_SYNC = 0
_AWARENESS = 1
_RAW = 2
_QUERY_AWARENESS = 3

_STEP1 = 0
_STEP2 = 1
_UPDATE = 2


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The state vector of the sender, who wants to be sent what it lacks."""

    state: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """What the receiver lacked, by the state vector it sent."""

    update: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """One change."""

    update: bytes


@dataclass(frozen=True, slots=True)
class AwarenessState:
    """The presence of one client; ``None`` says that it left. Of two states the one with the higher clock
    holds.
    """

    client_id: int
    clock: int
    state: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Awareness:
    """The presence of some clients.

    ``raw`` is the same as bytes, without the frame around it: what pycrdt's ``apply_awareness_update`` takes.
    """

    states: tuple[AwarenessState, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Save:
    """A wish to save now. ``save_reply`` with the same id answers it."""

    save_id: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """A mark in the stream. ``barrier_reply`` with the same token says that everything before it was read.

    A state vector could not say so: a deletion does not change it.
    """

    token: str


@dataclass(frozen=True, slots=True)
class Execute:
    """A request to run cells, with what it says as JSON (not read here). ``execute_reply`` with the same id answers it."""

    request_id: str
    body: str


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """A wish to be sent the presence of everybody."""


Frame = SyncStep1 | SyncStep2 | SyncUpdate | Awareness | Save | Barrier | Execute | QueryAwareness


def parse(frame: bytes) -> Frame:
    """Read one frame of a client. Raises ``ProtocolError`` and nothing else, whatever the bytes are."""
    reader = _Reader(frame)
    message = _read_message(reader)
    reader.expect_end()
    return message


def is_update(frame: bytes) -> bool:
    """Whether a frame we built or parsed before is an update (and not sync step 1 or 2)."""
    return frame[:2] == b"\x00\x02"


def is_step2(frame: bytes) -> bool:
    """Whether a frame we built or parsed before is sync step 2."""
    return frame[:2] == b"\x00\x01"


def is_awareness(frame: bytes) -> bool:
    """Whether a frame we built or parsed before is about presence."""
    return frame[:1] == b"\x01"


def step1(state: bytes) -> bytes:
    """Ask for what is missing from the state vector ``state``."""
    return bytes((_SYNC, _STEP1)) + _var_bytes(state)


def step2(update: bytes) -> bytes:
    """Answer a sync step 1."""
    return bytes((_SYNC, _STEP2)) + _var_bytes(update)


def update(update: bytes) -> bytes:
    """Tell of a change."""
    return bytes((_SYNC, _UPDATE)) + _var_bytes(update)


def awareness(states: Iterable[AwarenessState]) -> bytes:
    """Tell of the presence of clients. Raises ``ValueError`` for a state that JSON cannot hold."""
    states = tuple(states)
    parts = [_var_uint(len(states))]
    for state in states:
        parts += (_var_uint(state.client_id), _var_uint(state.clock), _var_string(_json(state.state)))
    return bytes((_AWARENESS,)) + _var_bytes(b"".join(parts))


def raw_json(message: Mapping[str, Any]) -> bytes:
    """Tell a client something that is neither document nor presence. Raises ``ValueError`` if JSON cannot
    hold it.
    """
    return bytes((_RAW,)) + _var_string(_json(message))


def save_reply(save_id: int, status: Literal["success", "failed", "skipped"]) -> bytes:
    """Answer a ``Save``: done, impossible, or one was already under way."""
    return raw_json({"type": "save", "responseTo": save_id, "status": status})


def barrier_reply(token: str) -> bytes:
    """Answer a ``Barrier``."""
    return raw_json({"type": "barrier", "responseTo": token})


def execute_reply(request_id: str, status: int, body: Mapping[str, Any]) -> bytes:
    """Answer an ``Execute`` with what HTTP would have: its status and its body."""
    return raw_json({"type": "execute", "responseTo": request_id, "status": status, "body": body})


# Private


class _Reader:
    """A place in a run of bytes. Every read moves it forward or raises ``ProtocolError``."""

    __slots__ = ("_bytes", "_place")

    def __init__(self, data: bytes) -> None:
        self._bytes = data
        self._place = 0

    def var_uint(self) -> int:
        number = 0
        for shift in range(0, 56, 7):  # MAX_UINT has fewer bits
            if self._place >= len(self._bytes):
                raise ProtocolError("it ends inside a number")
            byte = self._bytes[self._place]
            self._place += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    # No encoder writes it, and with it one message could be written in many ways: is_update
                    # and its like would have to know them all.
                    raise ProtocolError("a number is padded")
                if number > MAX_UINT:
                    break
                return number
        raise ProtocolError("a number is too large")

    def var_bytes(self) -> bytes:
        length = self.var_uint()
        end = self._place + length
        if end > len(self._bytes):
            raise ProtocolError(f"it ends {end - len(self._bytes)} bytes too early")
        data = self._bytes[self._place : end]
        self._place = end
        return data

    def var_string(self) -> str:
        try:
            return self.var_bytes().decode()
        except UnicodeDecodeError:
            raise ProtocolError("a string is not UTF-8") from None

    def expect_end(self) -> None:
        if self._place != len(self._bytes):
            raise ProtocolError(f"{len(self._bytes) - self._place} bytes follow its end")


def _read_message(reader: _Reader) -> Frame:
    kind = reader.var_uint()
    if kind == _SYNC:
        return _read_sync(reader)
    if kind == _AWARENESS:
        return _read_awareness(reader.var_bytes())
    if kind == _RAW:
        return _read_raw(reader)
    if kind == _QUERY_AWARENESS:
        return QueryAwareness()
    raise ProtocolError(f"there is no message type {kind}")


def _read_sync(reader: _Reader) -> SyncStep1 | SyncStep2 | SyncUpdate:
    kind = reader.var_uint()
    if kind == _STEP1:
        return SyncStep1(reader.var_bytes())
    if kind == _STEP2:
        return SyncStep2(reader.var_bytes())
    if kind == _UPDATE:
        return SyncUpdate(reader.var_bytes())
    raise ProtocolError(f"there is no sync message type {kind}")


def _read_awareness(raw: bytes) -> Awareness:
    reader = _Reader(raw)
    # The claimed number of states is not trusted with memory: each costs its sender three bytes.
    states = tuple(
        AwarenessState(reader.var_uint(), reader.var_uint(), _read_state(reader.var_string()))
        for _ in range(reader.var_uint())
    )
    reader.expect_end()
    return Awareness(states, raw)


def _read_state(text: str) -> dict[str, Any] | None:
    try:
        state = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        # Passed on, it would stop every other client's reading of the frame.
        raise ProtocolError("an awareness state is not JSON") from None
    if state is None or isinstance(state, dict):
        return state
    raise ProtocolError("an awareness state is neither an object nor null")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # Python reads NaN and Infinity, which no browser does


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)  # Python would write it as Infinity
    return number


def _read_raw(reader: _Reader) -> Save | Barrier | Execute:
    name = reader.var_string()
    if name == "save":
        return Save(reader.var_uint())
    if name == "barrier":
        return Barrier(_read_token(reader, "a barrier token"))
    if name == "execute":
        return Execute(_read_token(reader, "the id of a request"), reader.var_string())
    raise ProtocolError(f"there is no raw message {name[:32]!r}")


def _read_token(reader: _Reader, what: str) -> str:
    token = reader.var_string()
    if len(token) > MAX_TOKEN:
        raise ProtocolError(f"{what} has more than {MAX_TOKEN} characters")
    return token


def _var_uint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(0x80 | (number & 0x7F))
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _var_bytes(data: bytes) -> bytes:
    return _var_uint(len(data)) + data


def _var_string(text: str) -> bytes:
    # pycrdt 0.14's Encoder.write_var_string writes the number of characters, which cuts non-ASCII text short.
    return _var_bytes(text.encode())


def _json(value: Any) -> str:
    # ASCII, because a lone surrogate (half an emoji that a browser cut) has no UTF-8, but has an escape.
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
