"""What documents that exchange their updates, with no server, do by themselves; and that no more is let pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.characters import followed
from tests.simulation.doubles import Doubles
from tests.simulation.replica import PycrdtReplica

TEXT = "一丁七"
OTHER = "万"


class Users:
    """Two who have a notebook of two cells, and an account of what they do."""

    def __init__(self) -> None:
        self.replicas = PycrdtReplica(1), PycrdtReplica(2)
        self.doubles = Doubles()
        self._removed: set[str] = set()
        self.act(0, "insert", 0, "a", "code", TEXT)
        self.act(0, "insert", 1, "b", "code", OTHER)
        self.meet()

    def act(self, who: int, action: str, *parameters: Any) -> None:
        replica = self.replicas[who]
        before = replica.cells()
        replica.act(action, *parameters)
        after = replica.cells()
        had, has = ({char for cell in cells for char in followed(cell.source)} for cells in (before, after))
        self._removed |= had - has
        self.doubles.note(f"user {who}", before, after, self._removed)

    def meet(self) -> None:
        for one, other in (self.replicas, self.replicas[::-1]):
            one.apply(other.diff(one.state()))

    def counted(self) -> int:
        """How often the text is there."""
        self.meet()
        sources = [[cell.source for cell in replica.cells()] for replica in self.replicas]
        assert sources[0] == sources[1]
        counted = Counter(char for source in sources[0] for char in followed(source))
        assert len({counted[char] for char in TEXT}) == 1
        return counted[TEXT[0]]


def both_move(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.act(1, "move", 0, 1)


def one_moves_and_one_changes_the_type(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.act(1, "set_type", 0, "markdown")


def a_type_is_changed_back_after_the_cell_was_moved(users: Users) -> None:
    users.act(0, "set_type", 0, "markdown")
    users.meet()
    users.act(1, "move", 0, 1)
    users.meet()
    users.act(0, "undo_last")


def a_move_is_undone_while_the_type_is_changed(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.meet()
    users.act(1, "set_type", 1, "markdown")
    users.act(0, "undo_last")


def erasing_is_undone_after_another_has_typed_the_same(users: Users) -> None:
    users.act(0, "erase", 0, 0, 3)
    users.meet()
    users.act(1, "type", 0, 0, TEXT)
    users.meet()
    users.act(0, "undo_last")


def removing_is_undone_after_another_has_brought_the_cell_back(users: Users) -> None:
    users.act(0, "remove", 0)
    users.meet()
    users.act(1, "insert", 0, "a", "code", TEXT)
    users.act(0, "undo_last")


def a_move_is_undone_of_a_cell_that_has_another_id_by_now(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.meet()
    for action in (("insert", 2, "c", "code", TEXT), ("remove", 1)):
        users.replicas[1].act(*action)
    users.meet()
    users.act(0, "undo_last")


@pytest.mark.parametrize(
    "happens",
    [
        both_move,
        one_moves_and_one_changes_the_type,
        a_type_is_changed_back_after_the_cell_was_moved,
        a_move_is_undone_while_the_type_is_changed,
        erasing_is_undone_after_another_has_typed_the_same,
        removing_is_undone_after_another_has_brought_the_cell_back,
        a_move_is_undone_of_a_cell_that_has_another_id_by_now,
    ],
)
def test_it_is_there_twice(happens: Callable[[Users], None]) -> None:
    users = Users()
    happens(users)
    assert users.counted() == 2
    assert [users.doubles.allowed(char) for char in TEXT + OTHER] == [2, 2, 2, 1]


def both_move_one_after_the_other(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.meet()
    users.act(1, "move", 1, 0)


def moving_and_removing_is_undone_and_done_again(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.act(0, "remove", 1)
    users.meet()
    for action in ("undo_last", "undo_last", "redo_last", "undo_last"):
        users.act(0, action)
        users.meet()


def each_moves_a_cell(users: Users) -> None:
    users.act(0, "move", 0, 1)
    users.act(1, "move", 1, 0)


def one_erases_and_undoes_while_the_other_moves(users: Users) -> None:
    users.act(0, "erase", 0, 0, 2)
    users.act(0, "undo_last")
    users.act(1, "move", 1, 0)


@pytest.mark.parametrize(
    "happens",
    [
        both_move_one_after_the_other,
        moving_and_removing_is_undone_and_done_again,
        each_moves_a_cell,
        one_erases_and_undoes_while_the_other_moves,
    ],
)
def test_it_is_there_once(happens: Callable[[Users], None]) -> None:
    users = Users()
    happens(users)
    assert users.counted() == 1
    assert {users.doubles.allowed(char) for char in TEXT + OTHER} == {1}
