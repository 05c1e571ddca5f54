"""Carriage returns, backspaces and line feeds in the text of a stream."""

from __future__ import annotations

import re

from ydoc_exec.notebook.shareable import shareable_text

_CONTROLS = re.compile("([\n\r\b])")


class TerminalText:
    """The text of one stream output, as it stands after the control characters in it were obeyed.

    The rules are those of JupyterLab (``processText`` in ``@jupyterlab/outputarea``, ``model.ts``), so that a
    notebook looks the same whoever ran it, and they hold across message boundaries:

    - a carriage return goes to the start of the line, and what follows overwrites;
    - a line feed goes to the *end* of the text, wherever in its line it was met;
    - a backspace removes the character before it, never a line feed; away from the end of the line it takes
      the character after it along (surely not meant there, but it is what readers see).

    One difference: JupyterLab counts UTF-16 units and can overwrite half an emoji; this counts code points.

    Only the last line can still change. It is kept in two halves, before the cursor and (reversed) behind it,
    so that every control character costs no more than what was written since the one before: the whole is
    linear in the text, however many messages it came in.
    """

    def __init__(self) -> None:
        self._committed: list[str] = []  # lines ended since the last take, from ``_kept`` on
        self._before: list[str] = []  # the current line up to the cursor
        self._behind: list[str] = []  # the current line from the cursor on, last character first
        self._kept = 0  # so much of the current line is as it was at the last take
        self._erased = ""  # what of the text taken so far has been changed since

    @property
    def changed(self) -> bool:
        """Whether anything was written since the last take, be it the same characters again."""
        return bool(self._erased or self._committed) or len(self._before) + len(self._behind) > self._kept

    def feed(self, text: str) -> None:
        """Write ``text`` at the cursor. Lone surrogates, which no browser could be sent, become U+FFFD."""
        text = shareable_text(text)
        if "\r" in text or "\b" in text:
            for piece in _CONTROLS.split(text):
                match piece:
                    case "\n":
                        self._end_line()
                    case "\r":
                        self._return()
                    case "\b":
                        self._backspace()
                    case _:
                        self._write(piece)
            return
        first, line_feed, rest = text.partition("\n")
        self._write(first)
        if line_feed:
            self._end_line()
            whole, line_feed, last = rest.rpartition("\n")
            self._committed.append(whole + line_feed)
            self._write(last)

    def take(self) -> tuple[str, str]:
        """What to erase at the end of everything taken before, and what to append then.

        The two do not begin alike; both are empty if the text is what it was.
        """
        erase, append = self._erased, "".join(self._committed) + self._line_from(self._kept)
        self._committed.clear()
        self._erased = ""
        self._kept = len(self._before) + len(self._behind)
        same = _common_prefix(erase, append)
        return erase[same:], append[same:]

    # Private

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._behind:
            self._touch()
            del self._behind[-len(text) :]
        self._before.extend(text)

    def _end_line(self) -> None:
        self._committed.append(self._line_from(self._kept) + "\n")
        self._before.clear()
        self._behind.clear()
        self._kept = 0

    def _return(self) -> None:
        self._before.reverse()
        self._behind.extend(self._before)
        self._before.clear()

    def _backspace(self) -> None:
        if self._before:
            self._behind.append(self._before.pop())
            self._touch()
            del self._behind[-2:]

    def _touch(self) -> None:
        """Remember what was taken, from the cursor on: it is about to change."""
        count = self._kept - len(self._before)
        if count > 0:
            self._erased = "".join(reversed(self._behind[-count:])) + self._erased
            self._kept = len(self._before)

    def _line_from(self, column: int) -> str:
        """The current line from ``column`` on."""
        inside = column - len(self._before)
        if inside > 0:
            return "".join(reversed(self._behind[: len(self._behind) - inside]))
        return "".join(self._before[column:]) + "".join(reversed(self._behind))


def _common_prefix(one: str, other: str) -> int:
    """The length of what both begin with: by halves, since comparing slices is so much faster than a loop."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
