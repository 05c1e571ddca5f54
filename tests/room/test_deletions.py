"""What an update deletes, as Yjs and pycrdt themselves say it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, TransactionEvent

from tests.node_process import NodeProcess
from ydoc_exec.errors import ProtocolError
from ydoc_exec.room.deletions import MAX_DEPTH, Deletions, all_but, read_deletions, without_deletions
from ydoc_exec.room.state_vector import clocks

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
places = st.integers(0, 30)
lengths = st.integers(0, 12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), places, values),
        st.tuples(st.just("bytes"), places, lengths),
        st.tuples(st.just("bigint"), places),
        st.tuples(st.just("type"), places, st.integers(0, 6)),
        st.tuples(st.just("document"), places),
        st.tuples(st.just("remove"), places, lengths),
        st.tuples(st.just("set"), st.sampled_from("ab"), values),
        st.tuples(st.just("unset"), st.sampled_from("ab")),
        st.tuples(st.just("write"), places, texts),
        st.tuples(st.just("cut"), places, lengths),
        st.tuples(st.just("format"), places, lengths),
        st.tuples(st.just("embed"), places, values),
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def yjs() -> Iterator[NodeProcess]:
    process = NodeProcess("deletions.mjs")
    yield process
    process.stop()


class Recorded:
    """A document whose updates are kept."""

    def __init__(self) -> None:
        self.updates: list[bytes] = []
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self.list = self.doc.get("list", type=Array)
        self.map = self.doc.get("map", type=Map)
        self.subscription = self.doc.observe(self._keep)

    def _keep(self, event: TransactionEvent) -> None:
        self.updates.append(event.update)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    recorded = Recorded()
    yield recorded
    recorded.doc.unobserve(recorded.subscription)


@given(edits=edits)
def test_as_yjs_says_it_of_its_own_updates(yjs: NodeProcess, edits: list[tuple[Any, ...]]) -> None:
    for update, deleted in yjs.ask({"edits": edits})["updates"]:
        assert read_deletions(b64decode(update)).units == deleted


@given(edits=edits)
def test_as_yjs_says_it_of_updates_of_pycrdt(yjs: NodeProcess, edits: list[tuple[Any, ...]]) -> None:
    recorded = Recorded()
    for name, *given_ in edits:
        with recorded.doc.transaction():
            play(recorded, name, *given_)
    recorded.doc.unobserve(recorded.subscription)
    for update in [*recorded.updates, recorded.doc.get_update()]:
        assert read_deletions(update).units == yjs.ask({"count": b64encode(update).decode()})["deleted"]


def play(recorded: Recorded, name: str, *given_: Any) -> None:
    text, list_, map_ = recorded.text, recorded.list, recorded.map
    match name, *given_:
        case "insert" | "bytes", at, value:
            list_.insert(at % (len(list_) + 1), value if name == "insert" else bytes(value))
        case "type", at, kind:
            made: list[Any] = [Array(["a"]), Map({"key": Text("in a map")}), Text("some text 😀")]
            list_.insert(at % (len(list_) + 1), made[kind % len(made)])
        case "remove", at, length:
            start = at % (len(list_) + 1)
            if start < len(list_) and length:
                del list_[start : min(start + length, len(list_))]
        case "set", key, value:
            map_[key] = value
        case "unset", key:
            map_.pop(key, None)
        case "write", at, words:
            start = len(str(text)[: at % (len(str(text)) + 1)].encode())
            text.insert(start, words)
        case "cut", at, length:
            start = at % (len(str(text)) + 1)
            before, gone = (len(part.encode()) for part in (str(text)[:start], str(text)[start:][:length]))
            if gone:
                del text[before : before + gone]
        case "embed", at, value:
            # Behind all text, as an embedded value counts in the places of what follows, and is in no string.
            text.insert_embed(len(text), {"value": value})


@given(pieces=st.lists(texts, min_size=1, max_size=6), keep=st.integers(0, 6))
def test_deleted_text_counts_in_utf_16(pieces: list[str], keep: int) -> None:
    recorded = Recorded()
    for piece in pieces:
        recorded.text += piece
    kept = "".join(pieces[:keep])
    gone = "".join(pieces[keep:])
    recorded.updates.clear()
    if gone:
        del recorded.text[len(kept.encode()) :]
    recorded.doc.unobserve(recorded.subscription)
    assert (
        sum(read_deletions(update).units for update in recorded.updates) == len(gone.encode("utf-16-le")) // 2
    )


@given(edits=edits)
def test_without_deletions_an_update_inserts_what_it_did(edits: list[tuple[Any, ...]]) -> None:
    recorded = Recorded()
    for name, *given_ in edits:
        with recorded.doc.transaction():
            play(recorded, name, *given_)
    recorded.doc.unobserve(recorded.subscription)
    other: Doc[Any] = Doc()
    for update in recorded.updates:
        inserting = without_deletions(update)
        assert read_deletions(inserting).units == 0
        other.apply_update(inserting)
    assert clocks(other.get_state()) == clocks(recorded.doc.get_state())


def test_what_was_deleted_stays_without_deletions(recorded: Recorded) -> None:
    recorded.text += "some text"
    with recorded.doc.transaction():
        del recorded.text[0:5]
        recorded.list.append("and more")
    other: Doc[Any] = Doc()
    for update in recorded.updates:
        other.apply_update(without_deletions(update))
    assert str(other.get("text", type=Text)) == "some text"
    assert list(other.get("list", type=Array)) == ["and more"]


def test_deletions_and_all_that_was_before() -> None:
    both = Deletions({1: [(2, 4), (7, 9)], 2: [(5, 6)]}).and_before({1: 3, 2: 1, 3: 2})
    assert both == Deletions({1: [(0, 4), (7, 9)], 2: [(0, 1), (5, 6)], 3: [(0, 2)]})


def test_deletions_of_what_a_document_never_had() -> None:
    beyond = Deletions({1: [(2, 4), (7, 9)], 2: [(5, 6)], 3: [(0, 2)]}).beyond({1: 8, 2: 6})
    assert beyond == Deletions({1: [(8, 9)], 2: [], 3: [(0, 2)]})


def test_what_a_cell_contained_counts_with_it(recorded: Recorded) -> None:
    recorded.list.append(Map({"source": Text("x" * 1000), "outputs": Array([Map({"data": "y"})])}))
    recorded.list.clear()
    # The cell and its two values, 1000 characters, an output and its value.
    assert read_deletions(recorded.updates[-1]).units == 1 + 2 + 1000 + 1 + 1


def test_the_delete_set_of_an_event_can_be_counted_as_an_update(recorded: Recorded) -> None:
    seen: list[bytes] = []
    subscription = recorded.doc.observe(lambda event: seen.append(event.delete_set))
    recorded.text += "some text"
    del recorded.text[2:5]
    recorded.doc.unobserve(subscription)
    assert [read_deletions(b"\0" + delete_set).units for delete_set in seen] == [0, 3]


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x00")
@example(b"\xff" * 20)
@example(b"\x01\x01\x01\x00\x08\x01\x01a\x7f")  # what follows is missing
@example(b"\x01\x01\x01\x00\x8b\x01\x00\x02\x01\x00\x00")  # a move, which only some versions of yrs make
@example(b"\x01\x01\x01\x00\x07\x01\x01a\x07\x00")  # a weak link, likewise
def test_of_garbage_it_says_that_it_cannot_be_read(garbage: bytes) -> None:
    count_or_refuse(garbage)


@given(
    edits=edits,
    which=st.integers(0, 100),
    place=st.integers(0, 10_000),
    bytes_=st.binary(max_size=3),
    length=st.integers(0, 3),
)
def test_of_a_damaged_update_too(
    yjs: NodeProcess, edits: list[tuple[Any, ...]], which: int, place: int, bytes_: bytes, length: int
) -> None:
    updates = [b64decode(update) for update, _ in yjs.ask({"edits": edits})["updates"]]
    update = updates[which % len(updates)]
    place %= len(update) + 1
    count_or_refuse(update[:place] + bytes_ + update[place + length :])
    count_or_refuse(update[:place])


def count_or_refuse(update: bytes) -> None:
    with suppress(ProtocolError):
        assert read_deletions(update).units >= 0


def test_an_update_that_ends_too_early_or_too_late() -> None:
    doc: Doc[Any] = Doc()
    doc.get("text", type=Text).insert(0, "some text")
    update = doc.get_update()
    for place in range(len(update)):
        with pytest.raises(ProtocolError):
            read_deletions(update[:place])
    with pytest.raises(ProtocolError, match="follow"):
        read_deletions(update + b"\0")


def nested(depth: int) -> bytes:
    """An item of the list ``a`` that is nothing but lists in lists."""
    return b"\x01\x01\x07\x00\x08\x01\x01a\x01" + b"\x75\x01" * depth + b"\x7e\x00"


def test_what_would_end_the_process_is_refused() -> None:
    assert read_deletions(nested(MAX_DEPTH)).units == 0
    with pytest.raises(ProtocolError, match="nested"):
        read_deletions(nested(MAX_DEPTH + 1))
    with pytest.raises(ProtocolError, match="nested"):
        read_deletions(nested(1_000_000))
    doc: Doc[Any] = Doc()
    doc.apply_update(nested(MAX_DEPTH))
    assert len(doc.get("a", type=Array)) == 1


units = st.dictionaries(st.integers(0, 3), st.frozensets(st.integers(0, 30)), max_size=4)


def of_units(units: Mapping[int, Iterable[int]]) -> Deletions:
    """Deletions of these, each in a range of its own, the last first; as they are read."""
    encoded = b"".join(
        bytes([author, len(set(clocks))])
        + b"".join(bytes([clock, 1]) for clock in sorted(clocks, reverse=True))
        for author, clocks in units.items()
    )
    return read_deletions(b"\0" + bytes([len(units)]) + encoded)


@given(units, units)
def test_what_is_deleted(one: dict[int, frozenset[int]], other: dict[int, frozenset[int]]) -> None:
    deletions = of_units(one)
    there = {(author, clock) for author in range(4) for clock in range(31) if (author, clock) in deletions}
    assert there == {(author, clock) for author, clocks in one.items() for clock in clocks}
    assert deletions.units == len(there)
    assert deletions.common_units(of_units(other)) == sum(
        len(clocks & other.get(author, frozenset())) for author, clocks in one.items()
    )


@given(units, st.dictionaries(st.integers(0, 3), st.integers(0, 30), max_size=4))
def test_all_but_what_is_deleted(units: dict[int, frozenset[int]], clocks: dict[int, int]) -> None:
    rest = read_deletions(all_but(of_units(units), clocks))
    assert {(author, clock) for author in range(4) for clock in range(40) if (author, clock) in rest} == {
        (author, clock)
        for author, end in clocks.items()
        for clock in range(end)
        if clock not in units.get(author, ())
    }
