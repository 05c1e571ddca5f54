"""Why some characters may be gone although the server had them, and that no others may."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Text

from tests.simulation.ledger import PROGRAM, Ledger
from tests.simulation.replica import Cell, PycrdtReplica

TEXT = "一丁"


def cells(text: str) -> list[Cell]:
    return [Cell("a", "code", text)]


def test_who_has_removed_something_has_what_who_was_told_of_it_has() -> None:
    """To the byte: a deletion does not say whose it is. Only a history for undoing keeps what was deleted."""
    author, remover, witness = (Doc[Any](client_id=number) for number in (1, 2, 3))
    author.get("source", type=Text).insert(0, TEXT)
    for doc in (remover, witness):
        doc.apply_update(author.get_update())
    del remover.get("source", type=Text)[0 : len(TEXT[:1].encode())]
    witness.apply_update(remover.get_update(author.get_state()))
    assert str(witness.get("source", type=Text)) == TEXT[1:]
    assert witness.get_update() == remover.get_update()


class Story:
    """A tab has removed one of two characters, another one was told, and a program has put it back."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ledger.note_typed("the author", "a", TEXT)
        self.ledger.note_answered(self.ledger.as_they_are(TEXT), 0.0)
        self.ledger.note_change("remover", cells(TEXT), cells(TEXT[1:]))
        self.ledger.note_saved_without(TEXT[:1])
        self.ledger.note_change(PROGRAM, cells(TEXT[1:]), cells(TEXT))
        self.ledger.note_answered(self.ledger.as_they_are(TEXT), 1.0)
        self.back = frozenset(TEXT[:1])
        self.ledger.note_others(PROGRAM, self.back, {"witness": frozenset(TEXT[1:])})
        self.ledger.note_shown("remover", frozenset(TEXT))

    def is_lost(self) -> bool:
        """Whether it is wrong that it is gone in the end."""
        wrong, _ = self.ledger.verdict(cells(TEXT[1:]), frozenset(), ())
        return bool(wrong)


def test_what_was_put_back_may_not_be_gone() -> None:
    assert Story().is_lost()


def test_it_may_be_if_nobody_can_tell_that_who_was_told_of_the_removal_has_not_done_it() -> None:
    story = Story()
    story.ledger.note_indistinct("witness", story.back)
    assert not story.is_lost()


def test_it_may_not_be_if_that_one_has_been_shown_that_it_is_there_again() -> None:
    story = Story()
    story.ledger.note_shown("witness", frozenset(TEXT))
    story.ledger.note_indistinct("witness", story.back)
    assert story.is_lost()
    story = Story()
    story.ledger.note_indistinct("witness", story.back)
    story.ledger.note_shown("witness", frozenset(TEXT))
    assert story.is_lost()


def test_nor_if_that_one_lacks_it_only_since_then() -> None:
    story = Story()
    story.ledger.note_indistinct("remover", story.back)
    assert story.is_lost()


@pytest.mark.parametrize("heard", [True, False])
def test_what_a_program_takes_out_while_a_tab_takes_it_out_and_brings_it_back_may_be_gone(
    heard: bool,
) -> None:
    """Compared with the file, the tab has done nothing then, unless it had heard of what the program did."""
    ledger = Ledger()
    ledger.note_typed("the author", "a", TEXT)
    ledger.note_change("tab", cells(TEXT), cells(TEXT[1:]))
    ledger.note_change(PROGRAM, cells(TEXT), cells(TEXT[1:]))
    ledger.note_change("tab", cells(TEXT[1:]), cells(TEXT), in_file="" if heard else TEXT)
    ledger.note_answered(ledger.as_they_are(TEXT), 1.0)
    wrong, _ = ledger.verdict(cells(TEXT[1:]), frozenset(), ())
    assert bool(wrong) == heard


def test_pycrdt_brings_back_a_text_in_any_order() -> None:
    """With one document and no server. Which of them depends on chance, so it is tried again; Yjs keeps the order."""

    def brought_back() -> str:
        replica = PycrdtReplica(1)
        replica.act("insert", 0, "a", "markdown", "x")
        for index, char in enumerate("12345"):
            replica.act("type", 0, 1 + index, char)
        replica.act("undo_last")
        replica.act("erase", 0, 1, 3)
        replica.act("undo_last")
        replica.act("type", 0, 2, "y")
        replica.act("set_type", 0, "code")
        assert replica.cells()[0].source == "x1y234"
        replica.act("undo_last")
        return replica.cells()[0].source

    assert any(brought_back() != "x1y234" for _ in range(100))


@pytest.mark.parametrize("by", ["tab", PROGRAM, None])
def test_what_was_typed_is_in_its_order_unless_it_is_in_another_one_where_it_was_brought_back(
    by: str | None,
) -> None:
    text, reordered = "一丁七万", "一万丁七"
    ledger = Ledger()
    ledger.note_typed("tab", "a", text)
    if by is not None:
        ledger.note_change(by, cells(text), cells(reordered))
    assert bool(ledger.verdict(cells(reordered), frozenset(), ())[0]) == (by != "tab")
    assert ledger.verdict(cells("万一丁七"), frozenset(), ())[0]
    assert not ledger.verdict(cells(text), frozenset(), ())[0]
