"""Control characters and cursor movements in stream text.

The judges: tables; what tqdm and rich wrote once, with what a terminal (pyte) showed then; JupyterLab's own function; and
for everything a screen made of lists of characters.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ydoc_exec.notebook import terminal as limits
from ydoc_exec.notebook.terminal import TerminalText

_NODE = Path(__file__).parent.parent / "node"


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


def text_of(messages: list[str], *, cursor_movement: bool = True) -> str:
    terminal = TerminalText(cursor_movement=cursor_movement)
    for message in messages:
        terminal.feed(message)
    terminal.end()
    erase, append = terminal.take()
    assert erase == ""
    return append


class Screen:
    """The same rules, one character at a time, for a text that came in one piece."""

    def __init__(self, text: str) -> None:
        self.final = ""
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        while text:
            sequence = re.match(r"\x1b\[(\??)(\d{0,8})([A-Za-z])", text)
            if sequence and self.obey(*sequence.groups()):
                text = text[sequence.end() :]
            else:
                self.character(text[0])
                text = text[1:]

    @property
    def text(self) -> str:
        lines = ["".join(line) for line in self.lines]
        while len(lines) - 1 > self.row and lines[-1] == "":
            lines.pop()
        return self.final + "\n".join(lines)

    def character(self, character: str) -> None:
        line = self.lines[self.row]
        if character == "\r":
            self.column = 0
        elif character == "\b":
            if self.column > len(line):
                self.column -= 1
            elif self.column > 0:
                self.column -= 1
                del line[self.column : self.column + 2]
        elif character == "\n":
            if self.row == len(self.lines) - 1:
                self.lines.append([])
            self.row += 1
            self.column = 0
            if len(self.lines) > limits.LINES:
                self.forget_a_line()
        else:
            line.extend(" " * (self.column - len(line)))
            line[self.column : self.column + 1] = [character]
            self.column += 1
            while len(line) > limits.REACH:
                while self.row > 0:
                    self.forget_a_line()
                self.final += line.pop(0)
                self.column -= 1

    def forget_a_line(self) -> None:
        self.final += "".join(self.lines.pop(0)) + "\n"
        self.row -= 1

    def obey(self, mark: str, digits: str, command: str) -> bool:
        if mark:
            return digits == "25" and command in "lh"
        if command in "KJ":
            if digits not in ("", "0") and (command == "J" or digits not in ("1", "2")):
                return False
            line = self.lines[self.row]
            if digits == "1" and self.column + 1 < len(line):
                line[: self.column + 1] = " " * (self.column + 1)
            else:
                del line[0 if digits in ("1", "2") else self.column :]
            if command == "J":
                for below in self.lines[self.row + 1 :]:
                    below.clear()
        elif command in "ABCDEFG":
            count = max(1, int(digits or "1"))
            self.row += {"A": -count, "F": -count, "B": count, "E": count}.get(command, 0)
            self.column += {"C": count, "D": -count}.get(command, 0)
            self.row = max(0, min(self.row, len(self.lines) - 1))
            if command in "EFG":
                self.column = count - 1 if command == "G" else 0
        else:
            return False
        self.column = max(0, min(self.column, max(limits.COLUMNS, len(self.lines[self.row]))))
        return True


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
    assert text_of(messages) == text
    assert text_of(messages, cursor_movement=False) == text


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo\x1b[A!", "one!\ntwo"),
        ("one\ntwo\x1b[1A\r!", "!ne\ntwo"),
        ("one\ntwo\x1b[0A!", "one!\ntwo"),
        ("one\ntwo\x1b[9A!", "one!\ntwo"),
        ("one\ntwo\x1b[A\x1b[B!", "one\ntwo!"),
        ("one\x1b[B!", "one!"),  # never below the last line
        ("one\ntwo\x1b[A\nT", "one\nTwo"),
        ("one\ntwo\x1b[A\n\nthree", "one\ntwo\nthree"),
        ("one\ntwo\nthree\x1b[A\rT\nT\nF", "one\nTwo\nThree\nF"),
        ("a\x1b[3Cb", "a   b"),
        ("abc\x1b[2Dx", "axc"),
        ("abc\x1b[9Dx", "xbc"),
        ("a\nb\x1b[Fx", "x\nb"),
        ("a\nb\x1b[A\x1b[Ex", "a\nx"),
        ("abc\x1b[2Gx\x1b[Gy\x1b[5Gz", "yxc z"),
        ("abc\x1b[2G\x1b[K", "a"),
        ("abcd\x1b[2G\x1b[1Kx", " xcd"),
        ("abc\x1b[1Kx", "   x"),
        ("abc\x1b[D\x1b[1K", ""),
        ("abc\x1b[2Kx", "   x"),
        ("abc\x1b[2K\rx", "x"),
        ("abc\x1b[2K\b\bx", " x"),
        ("a\nbc\nd\x1b[A\x1b[J", "a\nb"),
        ("a\nb\x1b[A\x1b[2K", "\nb"),
        ("a\nb\x1b[2K\x1b[A", "a"),  # an empty line below the cursor
        ("a\nb\x1b[2K\x1b[A\n", "a\n"),
        ("\x1b[?25lab\x1b[?25h", "ab"),
        ("ab\ncd\x1b[A\b\bx", "x\ncd"),
        ("\x1b[31ma\x1b[0m\x1b[K", "\x1b[31ma\x1b[0m"),
        ("abc\r\x1b[31mx", "\x1b[31mx"),
        ("a\x1b[2Jb\x1b[3Kc\x1b[1;2Ad\x1b[?7le", "a\x1b[2Jb\x1b[3Kc\x1b[1;2Ad\x1b[?7le"),
        ("\x1b]8;;http://x\x1b\\x\x1b]8;;\x1b\\", "\x1b]8;;http://x\x1b\\x\x1b]8;;\x1b\\"),
        ("ab\x1b[", "ab\x1b["),
        ("\x1b[123456789Ax", "\x1b[123456789Ax"),
        ("\x1b[99999999Cx", " " * limits.COLUMNS + "x"),
        ("x" * 600 + "\n\x1b[A\x1b[700Cy", "x" * 600 + "y"),
        ("x" * 600 + "\x1b[2Ky", " " * limits.COLUMNS + "y"),
    ],
)
def test_cursor_movement(text: str, shown: str) -> None:
    assert text_of([text]) == shown
    assert text_of(list(text)) == shown
    assert Screen(text).text == shown


# Recorded: what tqdm 4.70 (ncols=40 or 32) and rich 15.0 (Console(force_terminal=True, width=40)) wrote, a message
# for each call of write. pyte 0.8.2 was the terminal.
NESTED = [
    "\ro:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\n",
    "\ri:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\x1b[A",
    "\n",
    "\ri:  50%|█ | 1/2 [00:00<00:00, 99.12it/s]",
    "\x1b[A",
    "\n",
    "\ri: 100%|██| 2/2 [00:00<00:00, 98.39it/s]",
    "\x1b[A",
    "\ri: 100%|██| 2/2 [00:00<00:00, 97.97it/s]",
    "\n",
    "\ro:  50%|█ | 1/2 [00:00<00:00, 48.71it/s]",
    "\n",
    "\ri:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\x1b[A",
    "\n",
    "\ri:  50%|█ | 1/2 [00:00<00:00, 98.78it/s]",
    "\x1b[A",
    "\n",
    "\ri: 100%|██| 2/2 [00:00<00:00, 98.44it/s]",
    "\x1b[A",
    "\ri: 100%|██| 2/2 [00:00<00:00, 98.06it/s]",
    "\n",
    "\ro: 100%|██| 2/2 [00:00<00:00, 48.69it/s]",
    "\ro: 100%|██| 2/2 [00:00<00:00, 48.64it/s]",
    "\n",
    "done\n",
]
NESTED_THAT_GO = [
    "\ro:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\n",
    "\ri:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\x1b[A",
    "\n",
    "\ri:  50%|█ | 1/2 [00:00<00:00, 99.03it/s]",
    "\x1b[A",
    "\n",
    "\ri: 100%|██| 2/2 [00:00<00:00, 98.19it/s]",
    "\x1b[A",
    "\n",
    "\r                                        ",
    "\x1b[A",
    "\ro:  50%|█ | 1/2 [00:00<00:00, 48.61it/s]",
    "\n",
    "\ri:   0%|          | 0/2 [00:00<?, ?it/s]",
    "\x1b[A",
    "\n",
    "\ri:  50%|█ | 1/2 [00:00<00:00, 98.53it/s]",
    "\x1b[A",
    "\n",
    "\ri: 100%|██| 2/2 [00:00<00:00, 97.87it/s]",
    "\x1b[A",
    "\n",
    "\r                                        ",
    "\x1b[A",
    "\ro: 100%|██| 2/2 [00:00<00:00, 48.42it/s]",
    "\ro: 100%|██| 2/2 [00:00<00:00, 48.40it/s]",
    "\n",
    "done\n",
]
SIDE_BY_SIDE = [
    "\rw0:   0%| | 0/2 [00:00<?, ?it/s]",
    "\n",
    "\rw1:   0%| | 0/2 [00:00<?, ?it/s]",
    "\x1b[A",
    "\rw0:  50%|▌| 1/2 [00:00<00:00, 20",
    "\n",
    "\rw1:  50%|▌| 1/2 [00:00<00:00, 20",
    "\x1b[A",
    "\rw0: 100%|█| 2/2 [00:00<00:00, 15",
    "\n",
    "\rw1: 100%|█| 2/2 [00:00<00:00, 18",
    "\x1b[A",
    "\r                                ",
    "\r",
    "\n",
    "\r                                ",
    "\r",
    "\x1b[A",
    "between",
    "\n",
    "\rw0: 100%|█| 2/2 [00:00<00:00, 15",
    "\n",
    "\rw1: 100%|█| 2/2 [00:00<00:00, 18",
    "\x1b[A",
    "\rw0: 100%|█| 2/2 [00:00<00:00, 67",
    "\n",
    "\rw1: 100%|█| 2/2 [00:00<00:00, 69",
    "\n",
]
RICH_PROGRESS = [
    "\x1b[?25l",
    "\r\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m",
    "\r\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m",
    "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m",
    "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m  0%\x1b[0m \x1b[36m-:--:--\x1b[0m",
    "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m",
    "\r\x1b[2K\x1b[1A\x1b[2Kbetween\none \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m",
    "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\ntwo \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\n\x1b[?25h",
    "done\n",
]
RICH_LIVE = [
    "\x1b[?25l",
    "┏━━━┓\n┃ n ┃\n┡━━━┩\n│ 0 │\n└───┘",
    "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K┏━━━┓\n┃ n ┃\n┡━━━┩\n│ 0 │\n│ 1 │\n└───┘",
    "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K┏━━━┓\n┃ n ┃\n┡━━━┩\n│ 0 │\n│ 1 │\n└───┘\n\x1b[?25h\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K",
    "gone\n",
]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        pytest.param(
            NESTED,
            "i: 100%|██| 2/2 [00:00<00:00, 97.97it/s]\n"
            "i: 100%|██| 2/2 [00:00<00:00, 98.06it/s]\n"
            "o: 100%|██| 2/2 [00:00<00:00, 48.64it/s]\n"
            "done\n",
            id="tqdm, nested",
        ),
        pytest.param(
            NESTED_THAT_GO,
            "o: 100%|██| 2/2 [00:00<00:00, 48.40it/s]\ndone                                    \n",
            id="tqdm, nested, leave=False",
        ),
        pytest.param(
            SIDE_BY_SIDE,
            "between                         \n"
            "w0: 100%|█| 2/2 [00:00<00:00, 67\n"
            "w1: 100%|█| 2/2 [00:00<00:00, 69\n",
            id="tqdm, position=0 and 1, tqdm.write",
        ),
        pytest.param(
            RICH_PROGRESS,
            "between\n"
            "one \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\n"
            "two \x1b[90m━━━━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[35m100%\x1b[0m \x1b[36m0:00:00\x1b[0m\n"
            "done\n",
            id="rich, Progress",
        ),
        pytest.param(RICH_LIVE, "gone\n", id="rich, Live(transient=True)"),
    ],
)
def test_recorded_bars(messages: list[str], text: str) -> None:
    assert text_of(messages) == text
    assert text_of(["".join(messages)]) == text
    assert text_of([*"".join(messages)]) == text
    assert Screen("".join(messages)).text == text


def test_without_cursor_movement_escape_sequences_are_text() -> None:
    for messages in (NESTED, RICH_PROGRESS, RICH_LIVE):
        expected, index = "", 0
        for message in messages:
            expected, index = process_text(index, message, expected)
        assert text_of(messages, cursor_movement=False) == expected


def test_a_nested_bar_costs_an_edit_from_its_own_line_on() -> None:
    terminal = TerminalText()
    terminal.feed("above\n0%\n10%\n20%")
    terminal.take()
    terminal.feed("\x1b[A\r11%\n")
    assert terminal.take() == ("0%\n20%", "1%\n20%")
    terminal.feed("\r21%")
    assert terminal.take() == ("0%", "1%")
    terminal.feed("\x1b[3A\r\x1b[3B")
    assert not terminal.changed
    assert terminal.take() == ("", "")


def test_empty_lines_below_the_cursor_come_and_go() -> None:
    terminal = TerminalText()
    terminal.feed("a\n\n")
    assert terminal.take() == ("", "a\n\n")
    terminal.feed("\x1b[A")
    assert terminal.changed
    assert terminal.take() == ("\n", "")
    terminal.feed("\x1b[B")
    assert terminal.take() == ("", "\n")
    assert not terminal.changed


@pytest.mark.parametrize(
    ("messages", "taken"),
    [
        (["ab\x1b", "[", "1", "Dx"], ["ab", "", "", "x"]),
        (["ab\x1b", "]"], ["ab", "\x1b]"]),
        (["ab\x1b[3", "1m", "\x1b[38;5;", "1m"], ["ab", "\x1b[31m", "", "\x1b[38;5;1m"]),
        (["\x1b\x1b", "x"], ["\x1b", "\x1bx"]),
        (["\x1b[\r", "A"], ["\x1b[", "A["]),
        (["\x1b[" + "1" * 60, "1" * 9, "Ax"], ["", "\x1b[" + "1" * 69, "Ax"]),
        (["\ud83d", "\ude00"], ["", "😀"]),
        (["\ud83d", "x", "\ude00"], ["", "\ufffdx", "\ufffd"]),
        (["\ud83d", "\x1b", "[A"], ["", "\ufffd", ""]),
    ],
)
def test_what_is_unfinished_waits(messages: list[str], taken: list[str]) -> None:
    terminal = TerminalText()
    for message, expected in zip(messages, taken, strict=True):
        terminal.feed(message)
        assert terminal.changed is bool(expected)
        assert terminal.take()[1] == expected


@pytest.mark.parametrize(
    ("unfinished", "text"), [("\x1b", "\x1b"), ("\x1b[1;", "\x1b[1;"), ("\ud83d", "\ufffd")]
)
def test_the_end_writes_what_is_unfinished(unfinished: str, text: str) -> None:
    terminal = TerminalText()
    terminal.feed(unfinished)
    assert not terminal.changed
    terminal.end()
    assert terminal.changed
    assert terminal.take() == ("", text)
    terminal.end()
    assert not terminal.changed
    terminal.feed("Ax")
    assert terminal.take() == ("", "Ax")


def test_the_cursor_reaches_a_screen() -> None:
    lines = [f"{row}\n" for row in range(300)]
    terminal = TerminalText()
    terminal.feed("".join(lines) + "last")
    terminal.take()
    terminal.feed("\x1b[500A\x1b[2K\rfirst")
    first = 300 - (limits.LINES - 1)
    erase, append = terminal.take()
    assert erase == "".join([*lines[first:], "last"])
    assert append == "".join(["first\n", *lines[first + 1 :], "last"])


def test_the_cursor_reaches_so_much_of_a_line() -> None:
    for cut in (1000, 10**6):
        text = "above\n" + "x" * 100_000 + "\r<\x1b[A\r>"
        terminal = TerminalText()
        for begin in range(0, len(text), cut):
            terminal.feed(text[begin : begin + cut])
        terminal.feed("\b")
        expected = "above\n" + "x" * (100_000 - limits.REACH) + ">" + "x" * (limits.REACH - 1)
        assert terminal.take() == ("", expected.replace(">x", "", 1))


fragments = st.sampled_from(
    [
        *["a", "bc", "defgh", "é", "█", "😀", " ", "\r", "\b", "\b\b\b", "\n", "\n\n", "\r\n"],
        *[f"\x1b[{count}{command}" for command in "ABCDEFG" for count in ("", "0", "1", "2", "3", "700")],
        *["\x1b[A", "\x1b[K", "\x1b[0K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[0J", "\x1b[?25l", "\x1b[?25h"],
        *[
            "\x1b[31m",
            "\x1b[0m",
            "\x1b[1;38;5;3m",
            "\x1b]8;;x\x1b\\",
            "\x1b[2J",
            "\x1b[3K",
            "\x1b[1;2H",
            "\x1b[?7h",
        ],
        *["\x1b", "\x1b[", "\x1b[?", "\ud83d", "\ude00", "m" * 20],
    ]
)
pieces = st.lists(st.tuples(fragments, st.integers(0, 3), st.booleans()), max_size=40)


def cut(steps: list[tuple[str, int, bool]]) -> Iterator[tuple[str, bool]]:
    """Each fragment cut somewhere, and whether to take after the cut: the rest comes with the next fragment."""
    rest = ""
    for fragment, position, take in steps:
        yield rest + fragment[:position], take
        rest = fragment[position:]
    yield rest, False


@pytest.mark.parametrize("small", [False, True])
@settings(max_examples=300)
@given(pieces)
@example([("a\n", 3, True), ("b\x1b[A", 3, True), ("\x1b[2K", 1, True), ("\n\x1b[K", 3, True)])
def test_any_text_cut_and_taken_anywhere_is_what_a_screen_shows(
    small: bool, steps: list[tuple[str, int, bool]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(limits, "LINES", 3)
            patch.setattr(limits, "REACH", 12)
            patch.setattr(limits, "COLUMNS", 7)
        terminal = TerminalText()
        taken = fed = ""

        def take() -> None:
            nonlocal taken
            erase, append = terminal.take()
            assert not terminal.changed
            assert taken.endswith(erase)
            assert not erase or not append or erase[0] != append[0]
            taken = taken.removesuffix(erase) + append

        for message, taking in cut(steps):
            terminal.feed(message)
            fed += message
            if taking:
                take()
                unfinished = re.search(r"(\x1b(\[[0-?]*[ -/]*)?|[\ud800-\udbff])\Z", fed)
                ready = fed[: unfinished.start()] if unfinished else fed
                assert taken == Screen(without_surrogates(ready)).text
        terminal.end()
        take()
        assert taken == Screen(without_surrogates(fed)).text


def without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# What JupyterLab and this one agree on: everything but movements, and movements too where they are not obeyed.
coloured = st.text(alphabet="abcé█\n\r\b", max_size=5) | st.sampled_from(
    ["\x1b[31m", "\x1b[0m", "\x1b[38;5;1m", "\x1b]8;;x\x1b\\", "\x1b[2J", "\x1b[?7l", "\x1b"]
)
moving = coloured | st.sampled_from(["\x1b[A", "\x1b[2K", "\x1b[J", "\x1b[?25l", "\x1b[3C", "\x1b["])


def streams(pieces: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.lists(pieces, max_size=5).map("".join), max_size=10)


modes = st.tuples(st.just(True), streams(coloured)) | st.tuples(st.just(False), streams(moving))


@given(modes, st.sets(st.integers(0, 9)))
def test_any_text_cut_and_taken_anywhere_is_what_jupyterlab_makes_of_it(
    mode: tuple[bool, list[str]], taking: set[int]
) -> None:
    cursor_movement, messages = mode
    terminal = TerminalText(cursor_movement=cursor_movement)
    expected, index = "", 0
    taken = ""
    for position, message in enumerate(messages):
        terminal.feed(message)
        expected, index = process_text(index, message, expected)
        if position in taking or position == len(messages) - 1:
            terminal.end()
            erase, append = terminal.take()
            assert taken.endswith(erase)
            assert not erase or not append or erase[0] != append[0]
            taken = taken.removesuffix(erase) + append
            assert taken == expected


class JupyterLab:
    """JupyterLab's own output model, in Node."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("Node is not installed")
        if not (_NODE / "node_modules").is_dir():
            pytest.skip(f"JupyterLab's packages are not installed: run npm ci in {_NODE}")
        self._process = subprocess.Popen(
            [node, "process_text.mjs"], cwd=_NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def text_of(self, messages: list[str]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(messages) + "\n")
        self._process.stdin.flush()
        text: str = json.loads(self._process.stdout.readline())
        return text

    def stop(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def jupyterlab() -> Iterator[JupyterLab]:
    jupyterlab = JupyterLab()
    yield jupyterlab
    jupyterlab.stop()


@given(mode=modes)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_jupyterlab_itself_says_the_same(jupyterlab: JupyterLab, mode: tuple[bool, list[str]]) -> None:
    cursor_movement, messages = mode
    shown = jupyterlab.text_of(messages)
    assert text_of(messages, cursor_movement=cursor_movement) == shown
    assert process_text(0, "".join(messages), "")[0] == shown


@pytest.mark.parametrize("taking", [False, True])
@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "x\r",
        "xyz\b",
        "\rxx",
        "x\r\n",
        "\n\rx\x1b[A",
        "\r\x1b[2K\x1b[Axx\ny",
        "\x1b[99Ax\x1b[99B\x1b[J",
        "\x1b[31mx",
    ],
)
def test_many_small_messages_cost_no_more_than_their_text(piece: str, taking: bool) -> None:
    def seconds(count: int) -> float:
        terminal = TerminalText()
        terminal.feed("0" * limits.REACH)
        terminal.take()
        begin = time.process_time()
        for _ in range(count):
            terminal.feed(piece)
            if taking:
                terminal.take()
        terminal.take()
        return time.process_time() - begin

    # Quadratic would be a factor of 256. An edit of the longest line that can change is a thousand times a message.
    count = 1_000 if taking else 10_000
    assert seconds(16 * count) < 64 * max(seconds(count), 0.02)


@pytest.mark.parametrize(
    "chunk", ["x" * 100_000, "█x" * 50_000, "x" * 100_000 + "\r", "line\n" * 20_000, "\x1b[Kx\n" * 500]
)
def test_what_is_kept_does_not_grow(chunk: str) -> None:
    terminal = TerminalText()
    kept = []
    tracemalloc.start()
    try:
        for _ in range(40):
            terminal.feed(chunk)
            terminal.take()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert kept[-1] < kept[4] + 10_000
    assert kept[-1] < 4 * limits.REACH * 4


@pytest.mark.parametrize("text", ["x" * 5_000_000, "a line of text\n" * 333_333, "é█\n" * 1_666_666])
def test_one_enormous_text_costs_a_few_copies(text: str) -> None:
    begin = time.process_time()
    for _ in range(5):
        assert (text + "x").encode().decode() != text
    copies = time.process_time() - begin

    terminal = TerminalText()
    tracemalloc.start()
    try:
        terminal.feed(text)
        erase, append = terminal.take()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (erase, append == text) == ("", True)
    assert peak < 3 * max(sys.getsizeof(text), len(text.encode()))

    terminal = TerminalText()
    begin = time.process_time()
    terminal.feed(text)
    terminal.take()
    # A list of characters would cost a hundred times as much.
    assert time.process_time() - begin < 4 * copies + 0.05
