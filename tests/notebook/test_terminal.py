"""Control characters in stream text: a table, and JupyterLab's own function as the judge."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.notebook.terminal import TerminalText


def process_text(index: int, new: str, text: str) -> tuple[str, int]:
    """``Private.processText`` of ``@jupyterlab/outputarea`` (``model.ts``), line by line."""
    piece = ""
    for char in [*new, ""]:
        if char not in ("\n", "\b", "\r", ""):
            piece += char
            continue
        text = text[:index] + piece + text[index + len(piece) :]
        index += len(piece)
        piece = ""
        if char == "\b":
            if index > 0 and text[index - 1] != "\n":
                text = text[: index - 1] + text[index + 1 :]
                index -= 1
        elif char == "\r":
            while index > 0 and text[index - 1] != "\n":
                index -= 1
        elif char == "\n":
            text += "\n"
            index = len(text)
    return text, index


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (["plain"], "plain"),
        (["one\n", "two"], "one\ntwo"),
        (["é 10%", "\ré 20%"], "é 20%"),
        (["█ 10%\r█ 20%\r█ 30%"], "█ 30%"),
        (["100%\r9%"], "9%0%"),
        (["abc\r", "\n", "d"], "abc\nd"),
        (["line\r\nline\r\n"], "line\nline\n"),
        (["abc\b\bX"], "aX"),
        (["a\n\b\bb"], "a\nb"),
        (["\b\r\n"], "\n"),
        (["abcd\ra\b"], "cd"),  # away from the end a backspace takes two
        (["😀x\ry"], "yx"),
        (["\ud83d\ude00 \ud800"], "😀 \ufffd"),
        (["ab\rc\nd"], "cb\nd"),
    ],
)
def test_text(messages: list[str], text: str) -> None:
    terminal = TerminalText()
    for message in messages:
        terminal.feed(message)
    assert terminal.take() == ("", text)


@pytest.mark.parametrize(
    ("before", "after", "edit"),
    [
        ("10%", "\r20%", ("10%", "20%")),
        ("10%", "\r11%", ("0%", "1%")),
        ("10%", "\r10%", ("", "")),
        ("10%", "\r10% of 9", ("", " of 9")),
        ("one\ntwo", "\rten\nend", ("wo", "en\nend")),
        ("one\ntwo", "", ("", "")),
        ("ab", "\b", ("b", "")),
        ("ab\r", "\n", ("", "\n")),
        ("█é", "\r😀", ("█é", "😀é")),
    ],
)
def test_edit(before: str, after: str, edit: tuple[str, str]) -> None:
    terminal = TerminalText()
    terminal.feed(before)
    terminal.take()
    terminal.feed(after)
    assert terminal.take() == edit
    assert not terminal.changed
    assert terminal.take() == ("", "")


@given(st.lists(st.one_of(st.none(), st.text(alphabet="abcé█😀\n\r\b", max_size=12)), max_size=20))
def test_any_text_cut_and_taken_anywhere_is_what_jupyterlab_makes_of_it(steps: list[str | None]) -> None:
    terminal = TerminalText()
    expected, index = "", 0
    taken = ""
    for step in [*steps, None]:
        if step is not None:
            terminal.feed(step)
            expected, index = process_text(index, step, expected)
            continue
        erase, append = terminal.take()
        assert taken.endswith(erase)
        assert not erase or not append or erase[0] != append[0]
        taken = taken.removesuffix(erase) + append
        assert taken == expected


@pytest.mark.parametrize("piece", ["x", "x\r", "xyz\b", "\rxx", "x\r\n"])
def test_many_small_messages_cost_no_more_than_their_text(piece: str) -> None:
    def seconds(count: int) -> float:
        terminal = TerminalText()
        terminal.feed("0" * count)
        begin = time.process_time()
        for _ in range(count):
            terminal.feed(piece)
        terminal.take()
        return time.process_time() - begin

    # Quadratic would be a factor of 256, and minutes.
    assert seconds(320_000) < 64 * max(seconds(20_000), 0.02)
