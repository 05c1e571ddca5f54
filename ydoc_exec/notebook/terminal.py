"""Control characters and cursor movements in the text of a stream."""

from __future__ import annotations

import re

from ydoc_exec.common_prefix import common_prefix
from ydoc_exec.notebook.shareable import shareable_text

# What the cursor can reach is kept apart from the text and can be erased: this bounds memory and the size of an
# edit, whatever a kernel sends.
LINES = 100
"""The cursor reaches this many lines, the last one included: a screen, and a tall one."""
REACH = 2**16
"""The cursor reaches this many characters of a line: hundreds of columns, each of them with its own colours."""
COLUMNS = 512
"""Where no text is, the cursor goes no further right than this: wider than a screen, and a blank line is cheap."""

# Each alternative begins with a character, not with a repetition: so Python's scanner is four times as fast.
_OVERWRITING = re.compile("\r|\b\b*")
_MOVING = re.compile("\r|\b\b*|\x1b\\[(?:[0-9]{0,8}[A-G]|[012]?K|0?J|\\?25[hl])")

# What a control sequence begins with (ECMA-48, 5.4). Those that are obeyed are much shorter than this allows.
_UNFINISHED_SEQUENCE = re.compile("\x1b(?:\\[[0-?]{0,60}[ -/]{0,2})?")
_LONGEST_UNFINISHED = 64

# A line is kept as the bytes of this encoding, because they are quick to overwrite in place.
_ENCODING = "utf-32-le"
_SIZE = 4
_SPACE = " ".encode(_ENCODING)


class TerminalText:
    """The text of one stream output, as it stands after the control characters in it were obeyed.

    The rules are those of JupyterLab (``processText`` in ``@jupyterlab/outputarea``, ``model.ts``), so that a
    notebook looks the same whoever ran it, and they hold across message boundaries:

    - a carriage return goes to the start of the line, and what follows overwrites;
    - a line feed goes to the *end* of the text, wherever in its line it was met;
    - a backspace removes the character before it, never a line feed; away from the end of the line it takes
      the character after it along (surely not meant there, but it is what readers see).

    With ``cursor_movement`` it also obeys what progress bars send, as a terminal does and JupyterLab does not
    (it shows nothing in their place):

    - ``ESC [ n A``, ``B``, ``C``, ``D``: n lines up or down, n columns right or left;
    - ``ESC [ n E``, ``F``, ``G``: to the start of the n-th line below or above, to the n-th column;
    - ``ESC [ K``, ``1K``, ``2K``: erases the line from the cursor on, up to the cursor, all of it;
    - ``ESC [ J``: erases the text from the cursor on;
    - ``ESC [ ? 25 l``, ``h`` (hide and show the cursor) is left out.

    The cursor never goes below the last line. On a line above it a line feed goes to the start of the next line,
    and a backspace never takes the line's end along. Where the cursor is beyond the end of its line, a backspace
    only goes left, and what is written is preceded by spaces. Below the cursor's line empty lines at the end are
    no part of the text: a display that erased itself leaves nothing.

    Every other escape sequence stays in the text, for whoever renders it, and *counts as characters*, colours
    included: JupyterLab overwrites ``abc`` with a carriage return and a red ``x`` to nothing but the red ``x``.
    Two rules, one for texts with cursor movements and one for the others, would make a bar jump when the first
    movement comes.

    Differences from JupyterLab: it counts UTF-16 units and can overwrite half an emoji, this counts code points.
    Only the last ``LINES`` lines can change, and when a line gets longer than ``REACH`` characters, only the last of
    them; everything before that, the lines above included, is final, and for the cursor the text begins there.

    The outcome depends neither on how the text was cut nor on when it was taken. The cost is linear in the text,
    however many messages it came in, and that of ``take`` in what it returns.
    """

    def __init__(self, *, cursor_movement: bool = True) -> None:
        self._cursor_movement = cursor_movement
        self._controls = _MOVING if cursor_movement else _OVERWRITING
        self._unfinished = ""  # the beginning of a sequence or of a surrogate pair, until the rest comes
        self._plain: list[str] = []  # text to be written at the cursor, without controls
        self._settled: list[str] = []  # text that went out of reach since the last take
        self._lines = [bytearray()]  # what is in reach
        self._row = 0
        self._column = 0
        self._kept = (0, 0)  # up to this row and column the lines are as they were at the last take
        self._erased: list[str] = []  # what was taken and has been changed since, the last piece first

    @property
    def changed(self) -> bool:
        """Whether anything was written since the last take, be it the same characters again."""
        return bool(self._plain or self._erased or self._settled) or self._kept != self._end()

    def feed(self, text: str) -> None:
        """Write ``text`` at the cursor. Lone surrogates, which no browser could be sent, become U+FFFD.

        If it ends within an escape sequence or a surrogate pair, that much (at most 64 characters) waits
        for the next call, or for ``end``.
        """
        text = shareable_text(self._hold_back(self._unfinished + text))
        begin = 0
        if "\r" in text or "\b" in text or (self._cursor_movement and "\x1b" in text):
            for control in self._controls.finditer(text):
                if control.start() > begin:
                    self._plain.append(text[begin : control.start()])
                self._write_plain()
                self._obey(control[0])
                begin = control.end()
        if begin < len(text):
            self._plain.append(text[begin:])

    def end(self) -> None:
        """Nothing comes that could complete what ``feed`` left waiting: it is written as the text it is."""
        if self._unfinished:
            self._plain.append(shareable_text(self._unfinished))
            self._unfinished = ""

    def take(self) -> tuple[str, str]:
        """What to erase at the end of everything taken before, and what to append then.

        The two do not begin alike; both are empty if the text is what it was.
        """
        self._write_plain()
        end = self._end()
        self._touch(*end)
        erase = "".join(reversed(self._erased))
        append = "".join([*self._settled, self._between(self._kept, end)])
        self._settled.clear()
        self._erased.clear()
        self._kept = end
        same = common_prefix(erase, append)
        return erase[same:], append[same:]

    # Private: what arrives

    def _hold_back(self, text: str) -> str:
        """Keep what is unfinished at the end of ``text`` for later, and return the rest."""
        begin = len(text)
        if "\ud800" <= text[-1:] <= "\udbff":
            begin -= 1
        elif self._cursor_movement:
            escape = text.rfind("\x1b", -_LONGEST_UNFINISHED)
            if escape >= 0 and _UNFINISHED_SEQUENCE.fullmatch(text, escape):
                begin = escape
        self._unfinished = text[begin:]
        return text[:begin]

    def _write_plain(self) -> None:
        if not self._plain:
            return
        text = "".join(self._plain)
        self._plain.clear()
        begin = 0
        while (end := text.find("\n", begin)) >= 0:
            self._overwrite(text[begin:end])
            begin = end + 1
            if self._row + 1 == len(self._lines):
                self._append_lines(text, begin)
                return
            self._move(self._row + 1, 0)
        self._overwrite(text[begin:])

    def _obey(self, control: str) -> None:
        row, column = self._row, self._column
        match control[-1]:
            case "\r":
                self._column = 0
            case "\b":
                self._backspace(len(control))
            case "A":
                self._move(row - _count(control), column)
            case "B":
                self._move(row + _count(control), column)
            case "C":
                self._move(row, column + _count(control))
            case "D":
                self._move(row, column - _count(control))
            case "E":
                self._move(row + _count(control), 0)
            case "F":
                self._move(row - _count(control), 0)
            case "G":
                self._move(row, _count(control) - 1)
            case "K":
                self._erase_in_line(control[2:-1])
            case "J":
                self._erase_in_line("0")
                self._touch(row, self._length(row))
                for line in self._lines[row + 1 :]:
                    line.clear()

    # Private: the lines in reach

    def _move(self, row: int, column: int) -> None:
        self._row = max(0, min(row, len(self._lines) - 1))
        self._column = max(0, min(column, max(COLUMNS, self._length(self._row))))

    def _overwrite(self, text: str) -> None:
        """Write a piece of one line at the cursor."""
        if not text:
            return
        line, missing = self._lines[self._row], self._column - self._length(self._row)
        if missing > 0:
            self._touch(self._row, self._column - missing)
            line += _SPACE * missing
        else:
            self._touch(self._row, self._column)
        if len(text) > REACH:
            del line[self._column * _SIZE :]
            self._settle(self._row, self._column)
            self._settled.append(text[:-REACH])
            text = text[-REACH:]
        cells = text.encode(_ENCODING)
        begin = self._column * _SIZE
        line[begin : begin + len(cells)] = cells
        self._column += len(text)
        excess = self._length(self._row) - REACH
        if excess > 0:
            self._settle(self._row, excess)

    def _append_lines(self, text: str, begin: int) -> None:
        """Write what ``text`` contains from ``begin`` on to a new line below the last."""
        self._append_line()
        cut = len(text)
        for _ in range(LINES):
            cut = text.rfind("\n", begin, cut)
            if cut < 0:
                break
        else:
            # Nothing of what was in reach, nor of the text up to there, will be.
            self._settle(self._row, 0)
            self._settled.append(text[begin : cut + 1])
            begin = cut + 1
        first, *others = text[begin:].split("\n")
        self._overwrite(first)
        for other in others:
            self._append_line()
            self._overwrite(other)

    def _append_line(self) -> None:
        self._lines.append(bytearray())
        self._row, self._column = len(self._lines) - 1, 0
        if len(self._lines) > LINES:
            self._settle(len(self._lines) - LINES, 0)

    def _backspace(self, count: int) -> None:
        row, length = self._row, self._length(self._row)
        beyond = min(max(0, self._column - length), count)
        self._column -= beyond
        count = min(count - beyond, self._column)
        if count:
            self._column -= count
            self._touch(row, self._column)
            del self._lines[row][self._column * _SIZE : (self._column + 2 * count) * _SIZE]

    def _erase_in_line(self, part: str) -> None:
        row, line, length = self._row, self._lines[self._row], self._length(self._row)
        if part == "1" and self._column + 1 < length:
            self._touch(row, 0)
            line[: (self._column + 1) * _SIZE] = _SPACE * (self._column + 1)
            return
        column = self._column if part in ("", "0") else 0
        if column < length:
            self._touch(row, column)
            del line[column * _SIZE :]
        self._move(row, self._column)

    def _touch(self, row: int, column: int) -> None:
        """Remember what was taken, from there on: it is about to change."""
        if (row, column) < self._kept:
            self._erased.append(self._between((row, column), self._kept))
            self._kept = (row, column)

    def _settle(self, row: int, column: int) -> None:
        """Put everything before this row and column, which is not behind the cursor, out of reach."""
        if self._kept < (row, column):
            self._settled.append(self._between(self._kept, (row, column)))
            self._kept = (0, 0)
        else:
            kept_row, kept_column = self._kept
            self._kept = (kept_row - row, kept_column - column if kept_row == row else kept_column)
        if self._row == row:
            self._column -= column
        self._row -= row
        del self._lines[:row]
        del self._lines[0][: column * _SIZE]

    def _length(self, row: int) -> int:
        return len(self._lines[row]) // _SIZE

    def _end(self) -> tuple[int, int]:
        """The row and column where the text ends that is to be seen."""
        row = len(self._lines) - 1
        while row > self._row and not self._lines[row]:
            row -= 1
        return row, self._length(row)

    def _between(self, begin: tuple[int, int], end: tuple[int, int]) -> str:
        """The text between two pairs of row and column."""
        (row, column), (last_row, last_column) = begin, end
        if row == last_row:
            return self._lines[row][column * _SIZE : last_column * _SIZE].decode(_ENCODING)
        return "\n".join(
            [
                self._lines[row][column * _SIZE :].decode(_ENCODING),
                *(line.decode(_ENCODING) for line in self._lines[row + 1 : last_row]),
                self._lines[last_row][: last_column * _SIZE].decode(_ENCODING),
            ]
        )


def _count(sequence: str) -> int:
    """How often a sequence is meant: nothing and 0 say once."""
    return int(sequence[2:-1] or "1") or 1
