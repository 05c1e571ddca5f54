"""Which messages are left out when a kernel prints faster than anybody can read."""

from __future__ import annotations

import pytest
from jupyter_client.session import Session

from ydoc_exec.kernel.large_text import LARGE, LargeText

Parts = list[bytes]
SESSION = Session(key=b"secret")
CELL, OTHER = SESSION.msg("execute_request"), SESSION.msg("execute_request")


def message(kind: str = "stream", size: int = 10, parent: dict[str, object] = CELL) -> Parts:
    content = {"name": "stdout", "text": "x" * size}
    _, parts = SESSION.feed_identities(SESSION.serialize(SESSION.msg(kind, content, parent=parent)))
    return [bytes(part) for part in parts]  # type: ignore[arg-type]


class Reading:
    """What comes out, and what was asked."""

    def __init__(self, *, skip: bool) -> None:
        self.asked: list[tuple[str, int]] = []
        self.out: list[Parts] = []
        self._skip = skip
        self._large = LargeText(SESSION.unpack, self._may_skip)

    def come(self, *messages: Parts) -> None:
        for parts in messages:
            self.out += self._large.before(parts)

    def rest(self) -> None:
        self.out += self._large.rest()

    def _may_skip(self, parent: str, size: int) -> bool:
        self.asked.append((parent, size))
        return self._skip


LARGE_1, LARGE_2, LARGE_3 = (message(size=LARGE + n) for n in range(3))


def test_small_ones_are_read_at_once() -> None:
    reading = Reading(skip=True)
    small = [message(), message("status"), message(size=LARGE // 2)]
    reading.come(*small)
    assert reading.out == small
    assert reading.asked == []


def test_a_large_one_is_read_when_there_is_nothing_more() -> None:
    reading = Reading(skip=True)
    reading.come(LARGE_1)
    assert reading.out == []
    reading.rest()
    reading.rest()
    assert reading.out == [LARGE_1]
    assert reading.asked == []


def test_of_large_ones_the_last_is_read() -> None:
    reading = Reading(skip=True)
    reading.come(LARGE_1, LARGE_2, LARGE_3)
    reading.rest()
    assert reading.out == [LARGE_3]
    assert reading.asked == [
        (CELL["header"]["msg_id"], len(LARGE_1[4])),
        (CELL["header"]["msg_id"], len(LARGE_2[4])),
    ]


def test_all_are_read_when_they_are_wanted() -> None:
    reading = Reading(skip=False)
    reading.come(LARGE_1, LARGE_2, LARGE_3)
    reading.rest()
    assert reading.out == [LARGE_1, LARGE_2, LARGE_3]


@pytest.mark.parametrize(
    "behind",
    [
        message("status"),
        message(size=3),
        message("display_data", size=LARGE),
        message(size=LARGE, parent=OTHER),
        [b"", b"no", b"JSON", b"{}", b"x" * LARGE],
        [b"", b"[]", b"[]", b"{}", b"x" * LARGE],
        [b"too", b"short"],
    ],
    ids=["status", "a little more", "a display", "another cell's", "no JSON", "no message", "too short"],
)
def test_something_else_behind_it_does_not_overtake_it(behind: Parts) -> None:
    reading = Reading(skip=True)
    reading.come(LARGE_1, behind)
    reading.rest()
    assert reading.out == [LARGE_1, behind]
    assert reading.asked == []
