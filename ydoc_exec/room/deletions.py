"""What an update deletes, read from its bytes. Pure.

A Yjs update in its first version (``yjs/src/utils/updates.js``, ``encoding.js``, ``DeleteSet.js``), which is what
the sync messages carry, is a list of structs and, behind it, the delete set:

    update      <uint n>, then n times <uint structs> <uint client> <uint clock>, the structs; the delete set
    struct      GC <len>, Skip <len>, or an item: <ids of its neighbours or its parent> <content>
    delete set  <uint n>, then n times <uint client> <uint ranges>, then as often <uint clock> <uint len>

The lengths of structs are nowhere said in bytes, so all of them are read to find the delete set.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from pycrdt import Encoder

from ydoc_exec.errors import ProtocolError

_SKIP = 10
"""The whole info byte of a Skip; of an Item's the lower five bits say what its content is."""

_HAS_LEFT = 0x80
_HAS_RIGHT = 0x40
_HAS_KEY = 0x20

MAX_DEPTH = 128
"""How deeply values may be nested, as in JSON for pycrdt. *Measured* (0.14.13): it calls itself once for each level
of other values, and an update of 200 kB that is nothing but nested lists ends the process."""

_XML_ELEMENT = 3
_XML_HOOK = 5
_LAST_TYPE = 6


@dataclass(frozen=True, slots=True)
class Deletions:
    """What an update says is deleted.

    A unit is what has a clock of its own: an item of a list, a value of a map, a UTF-16 code unit of a text; what a
    deleted cell contained, as far as its author knew it, is named with it. The answer to a sync step 1 repeats all
    deletions that its sender has ever heard of, so this is a limit from above: less may be new.
    """

    ranges: Mapping[int, Sequence[tuple[int, int]]]
    """For each author the clocks, in ascending order: where each range begins, and where it ends (behind its last)."""

    @property
    def units(self) -> int:
        """How many there are."""
        return sum(end - begin for ranges in self.ranges.values() for begin, end in ranges)

    def __contains__(self, item: object) -> bool:
        """Whether this unit, a pair of author and clock, is among them."""
        if not isinstance(item, tuple):
            return False
        author, clock = item
        ranges = self.ranges.get(author, ())
        place = bisect_right(ranges, clock, key=itemgetter(0))
        return place > 0 and clock < ranges[place - 1][1]

    def units_beyond(self, state: Mapping[int, int]) -> int:
        """How many there are that a document with this state vector never had."""
        return self.beyond(state).units

    def beyond(self, state: Mapping[int, int]) -> Deletions:
        """Those of what a document with this state vector never had."""
        return Deletions(
            {
                author: [(max(begin, had), end) for begin, end in ranges if end > had]
                for author, ranges in self.ranges.items()
                for had in (state.get(author, 0),)
            }
        )

    def and_before(self, state: Mapping[int, int]) -> Deletions:
        """These, and all that a document with this state vector has."""
        ranges = {author: list(pairs) for author, pairs in self.ranges.items()}
        for author, clock in state.items():
            ranges[author] = _merged([*ranges.get(author, ()), (0, clock)])
        return Deletions(ranges)

    def common_units(self, other: Deletions) -> int:
        """How much is in both."""
        return sum(_common(ranges, other.ranges.get(author, ())) for author, ranges in self.ranges.items())


def all_but(deletions: Deletions, clocks: Mapping[int, int]) -> bytes:
    """An update that deletes everything else in a document.

    Args:
        clocks: the document's state vector: how much there is of each author.
    """
    authors = []
    for author, end in clocks.items():
        places = [0, *(place for each in deletions.ranges.get(author, ()) for place in each), end]
        pairs = zip(places[::2], places[1::2], strict=True)
        ranges = [(begin, min(stop, end)) for begin, stop in pairs if begin < min(stop, end)]
        if ranges:
            authors.append((author, ranges))
    encoder = Encoder()
    encoder.write_var_uint(0)  # nothing is inserted
    encoder.write_var_uint(len(authors))
    for author, ranges in authors:
        encoder.write_var_uint(author)
        encoder.write_var_uint(len(ranges))
        for begin, stop in ranges:
            encoder.write_var_uint(begin)
            encoder.write_var_uint(stop - begin)
    return encoder.to_bytes()


def read_deletions(update: bytes) -> Deletions:
    """What the update says is deleted. Raises ``ProtocolError`` and nothing else.

    It takes time in proportion to the number of structs, and to the number of values in them. An update that is refused
    should not be applied: what is nested more deeply than ``MAX_DEPTH`` would end the process.
    """
    reader = _Reader(update)
    deleted: dict[int, list[tuple[int, int]]] = {}
    try:
        _skip_structs(reader)
        for _ in range(reader.uint()):
            ranges = deleted.setdefault(reader.uint(), [])
            for _ in range(reader.uint()):
                clock = reader.uint()
                ranges.append((clock, clock + reader.uint()))
    except IndexError:
        raise ProtocolError("an update ends too early") from None
    if reader.place != len(update):
        raise ProtocolError(f"{len(update) - reader.place} bytes follow the end of an update")
    return Deletions({author: _merged(ranges) for author, ranges in deleted.items()})


def without_deletions(update: bytes) -> bytes:
    """What the update inserts, of which ``read_deletions`` has said that it can be read."""
    reader = _Reader(update)
    _skip_structs(reader)
    return update[: reader.place] + b"\x00"


# Private


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def _common(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> int:
    common, place = 0, 0
    for begin, end in one:
        while place < len(other) and other[place][1] <= begin:
            place += 1
        for start, stop in islice(other, place, None):
            if start >= end:
                break
            common += min(end, stop) - max(begin, start)
    return common


class _Reader:
    """A place in an update. Reading past its end raises ``IndexError``, sooner or later."""

    __slots__ = ("data", "place")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def byte(self) -> int:
        byte = self.data[self.place]
        self.place += 1
        return byte

    def uint(self) -> int:
        byte = self.data[self.place]
        self.place += 1
        if byte < 0x80:
            return byte
        number = byte & 0x7F
        for shift in range(7, 70, 7):  # pycrdt's client ids and lengths have at most 64 bits
            byte = self.data[self.place]
            self.place += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ProtocolError("a number in an update is too large")

    def skip(self, length: int) -> None:
        self.place += length

    def skip_bytes(self) -> None:
        length = self.uint()
        self.place += length

    def skip_id(self) -> None:
        self.uint()
        self.uint()


def _skip_structs(reader: _Reader) -> None:
    for _ in range(reader.uint()):
        structs = reader.uint()
        reader.uint()  # client
        reader.uint()  # clock
        for _ in range(structs):
            _skip_struct(reader)


def _skip_struct(reader: _Reader) -> None:
    info = reader.byte()
    kind = info & 0x1F
    if info == _SKIP or kind == 0:
        reader.uint()
        return
    if info & _HAS_LEFT:
        reader.skip_id()
    if info & _HAS_RIGHT:
        reader.skip_id()
    if not info & (_HAS_LEFT | _HAS_RIGHT):
        # It has no neighbour to know its place from.
        if reader.uint() == 1:
            reader.skip_bytes()  # the name of a root type
        else:
            reader.skip_id()
        if info & _HAS_KEY:
            reader.skip_bytes()
    _skip_content(reader, kind)


def _skip_content(reader: _Reader, kind: int) -> None:
    match kind:
        case 1:  # deleted
            reader.uint()
        case 2:  # JSON, one text for each value
            for _ in range(reader.uint()):
                reader.skip_bytes()
        case 3 | 4 | 5:  # binary, string, embed
            reader.skip_bytes()
        case 6:  # format: key and value
            reader.skip_bytes()
            reader.skip_bytes()
        case 7:
            _skip_type(reader)
        case 8:
            _skip_values(reader, reader.uint())
        case 9:  # document: its name and options
            reader.skip_bytes()
            _skip_values(reader, 1)
        case _:
            raise ProtocolError(f"an update has content of the unknown kind {kind}")


def _skip_type(reader: _Reader) -> None:
    type_ = reader.uint()
    if type_ in (_XML_ELEMENT, _XML_HOOK):
        reader.skip_bytes()
    elif type_ > _LAST_TYPE:
        raise ProtocolError(f"an update has the unknown type {type_}")


def _skip_values(reader: _Reader, count: int) -> None:
    """Values of lib0 (``encoding.writeAny``)."""
    open_: list[tuple[int, bool]] = []
    left, named = count, False
    while True:
        if not left:
            if not open_:
                return
            left, named = open_.pop()
            continue
        left -= 1
        if named:
            reader.skip_bytes()
        kind = reader.byte()
        match kind:
            case 127 | 126 | 121 | 120:  # undefined, null, false, true
                pass
            case 125:  # integer
                while reader.byte() >= 0x80:
                    pass
            case 124:  # float of 32 bits
                reader.skip(4)
            case 123 | 122:  # float of 64 bits, big integer
                reader.skip(8)
            case 119 | 116:  # string, bytes
                reader.skip_bytes()
            case 118 | 117:  # object, list
                if len(open_) == MAX_DEPTH:
                    raise ProtocolError("an update has values that are nested too deeply")
                open_.append((left, named))
                left, named = reader.uint(), kind == 118
            case _:
                raise ProtocolError(f"an update has a value of the unknown kind {kind}")
