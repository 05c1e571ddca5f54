"""Changes of a shared text that leave alone what stays."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text, UndoManager

from ydoc_exec.documents.text_edits import edits, replace_text, unite_texts

texts = st.text(alphabet="ab\nä📊", max_size=30)


def shared(content: str) -> Text:
    doc: Doc[Text] = Doc()
    text = doc.get("source", type=Text)
    text += content
    return text


@given(texts, texts)
def test_it_becomes_the_other_text(have: str, wanted: str) -> None:
    text = shared(have)
    replace_text(text, wanted)
    assert str(text) == wanted


@given(texts, texts)
def test_edits_are_in_order_and_change_something(have: str, wanted: str) -> None:
    end = -1
    for start, stop, new in edits(have, wanted):
        assert end < start <= stop
        assert have[start:stop] != new
        end = stop


def test_two_places_are_two_edits() -> None:
    assert edits("one 📊 two\nthree", "1 one 📊 two\nthree!") == [(0, 0, "1 "), (15, 15, "!")]


def test_lines_that_are_too_long_to_compare_leave_the_others_alone() -> None:
    long, other = "x" * 1000, "y" * 1000
    have, wanted = f"a\n{long}\nb\n{long}\nc", f"A\n{other}\nb\n{other}\nC"
    assert edits(have, wanted) == [(0, 1003, f"A\n{other}\n"), (1005, 2007, f"{other}\nC")]


@pytest.mark.parametrize("piece", ["a", "a\n", "ab\n"])
def test_nothing_takes_long(piece: str) -> None:
    began = perf_counter()
    have, wanted = piece * 50_000 + "end", "begin" + piece * 40_000
    text = shared(have)
    replace_text(text, wanted)
    assert str(text) == wanted
    assert perf_counter() - began < 5


def test_what_was_erased_meanwhile_comes_back_once() -> None:
    """The other one erases, changes at both ends come from the file, and then the erasing is undone."""
    text = shared("before, middle, after")
    other: Doc[Text] = Doc()
    other.apply_update(text.doc.get_update())
    theirs = other.get("source", type=Text)
    undo = UndoManager(scopes=[theirs], capture_timeout_millis=0)
    del theirs[8:16]
    replace_text(text, "(before, middle, after)")
    with other.transaction(origin="the server"):
        other.apply_update(text.doc.get_update())
    assert str(theirs) == "(before, after)"
    undo.undo()
    assert str(theirs) == "(before, middle, after)"


@given(texts, texts, texts)
def test_united_texts_have_what_each_side_has_added(base: str, ours: str, theirs: str) -> None:
    united = unite_texts(base, ours, theirs)
    if base in (ours, theirs):
        assert united == (theirs if ours == base else ours)
    elif ours == theirs:
        assert united == ours


def test_what_both_sides_do_to_a_text_is_done_once() -> None:
    assert unite_texts("one two", "one, two", "one two!") == "one, two!"
    assert unite_texts("one two three", "two three", "one two") == "two"
    assert sorted(unite_texts("", "a", "b")) == ["a", "b"]
