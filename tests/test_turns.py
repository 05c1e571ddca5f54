"""Tests that share the machine, and tests that have it for themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.turns import Turns


class Visitor:
    """Takes one turn in a thread of its own, and leaves when it is told to."""

    def __init__(self, directory: Path, *, alone: bool = False) -> None:
        self.is_in = threading.Event()
        self._may_leave = threading.Event()
        self._turns = Turns(directory)
        self._thread = threading.Thread(target=self._visit, args=(alone,))
        self._thread.start()

    def leave(self) -> None:
        self._may_leave.set()
        self._thread.join()

    def _visit(self, alone: bool) -> None:
        with self._turns.take(alone=alone):
            self.is_in.set()
            self._may_leave.wait()


@contextmanager
def visiting(directory: Path, *, alone: bool = False) -> Iterator[Visitor]:
    visitor = Visitor(directory, alone=alone)
    try:
        yield visitor
    finally:
        visitor.leave()


def test_turns_are_taken_together(tmp_path: Path) -> None:
    with visiting(tmp_path) as one, visiting(tmp_path) as two:
        assert one.is_in.wait(30)
        assert two.is_in.wait(30)


def test_who_is_alone_waits_for_the_others_and_they_for_it(tmp_path: Path) -> None:
    with visiting(tmp_path) as first:
        assert first.is_in.wait(30)
        with visiting(tmp_path, alone=True) as alone:
            assert not alone.is_in.wait(0.2)
            with visiting(tmp_path) as later:
                assert not later.is_in.wait(0.2)  # it would have its turn, if nobody waited
                first.leave()
                assert alone.is_in.wait(30)
                assert not later.is_in.wait(0.2)
                alone.leave()
                assert later.is_in.wait(30)


def test_a_turn_ends_with_an_error_in_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Turns(tmp_path).take(alone=True):
        raise KeyError
    with visiting(tmp_path) as other:
        assert other.is_in.wait(30)
