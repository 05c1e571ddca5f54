"""What was typed and what became of it: who may complain about what in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from tests.simulation.characters import followed
from tests.simulation.doubles import Doubles
from tests.simulation.replica import Cell
from ydoc_exec.settings import Settings

LOG_WINDOW = Settings().log_delay + 0.45
"""Seconds after which what the server has is in its log: ``Settings.log_delay``, and what a disk takes."""

FILE_WINDOW = 14.0
"""The same for the file: ``Settings.save_interval``."""

PROGRAM = "another program"
"""Whoever writes the file, and is no tab."""


@dataclass(slots=True)
class Typed:
    """One character: by whom, into which cell, and as which of those that came together."""

    by: str
    cell: str
    burst: int
    index: int


@dataclass(slots=True)
class Ledger:
    """The account of all characters."""

    typed: dict[str, Typed] = field(default_factory=dict)
    removed: dict[str, set[str]] = field(default_factory=dict)
    """Characters that were taken away by those who saw them."""
    answerable: dict[str, float] = field(default_factory=dict)
    """Characters that the server has said it has, since when."""
    lives: Counter[str] = field(default_factory=Counter)
    """How often a character came back after it was removed. What the server said before is about an earlier life."""
    saved_without: set[str] = field(default_factory=set)
    """Characters that were in the file until the server saved it without them."""
    unheard: dict[str, dict[str, int]] = field(default_factory=dict)
    """Characters that came back and of which these tabs, which had removed them, do not know that the server has them
    again; and how many histories were lost when they removed them."""
    unaware: dict[str, frozenset[str]] = field(default_factory=dict)
    """By tab, characters that came back while it knew that they were removed, and that it has not been shown since."""
    indistinct: dict[str, frozenset[str]] = field(default_factory=dict)
    """Those of them that it lacks as if it had removed them just now, for a server that knew of nothing but a file that
    has them."""
    outdated: dict[str, frozenset[str]] = field(default_factory=dict)
    """By tab, characters that it shows because it does not know yet that they were removed, and have come back since."""
    reordered: set[str] = field(default_factory=set)
    """Characters that are out of their order since somebody's own document put them so: pycrdt does by chance when
    it brings back a cell with a text in which something was brought back before. Yjs does not."""
    nameless: bool = False
    """Whether the file has no ids of its cells."""
    lost_histories: int = 0
    """How often the server began with no history, so that it knew of nothing but its file."""
    dissolved: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    """Cells that were removed, or replaced by a copy: the cell, by whom, and which characters they knew."""
    doubles: Doubles = field(default_factory=Doubles)
    _bursts: int = 0
    _removed_when: dict[tuple[str, str], int] = field(default_factory=dict)
    _removed_with_cell: set[tuple[str, str]] = field(default_factory=set)
    _brought_by: dict[str, str] = field(default_factory=dict)

    def note_typed(self, by: str, cell: str, text: str) -> None:
        """Somebody has typed characters that nobody had typed before."""
        self._bursts += 1
        for index, char in enumerate(followed(text)):
            assert char not in self.typed
            self.typed[char] = Typed(by, cell, self._bursts, index)

    def note_change(
        self,
        by: str,
        before: Iterable[Cell],
        after: Iterable[Cell],
        replaced: Iterable[str] = (),
        in_file: Container[str] = (),
    ) -> None:
        """Somebody has changed what they saw. ``in_file``: what is in the file still, for all that they have been told."""
        before, after = list(before), list(after)
        had, has = chars_of(before), chars_of(after)
        stayed = {cell.id for cell in after}
        with_cell = chars_of(cell for cell in before if cell.id not in stayed)
        for char in had - has:
            self.removed.setdefault(char, set()).add(by)
            (self._removed_with_cell.add if char in with_cell else self._removed_with_cell.discard)(
                (char, by)
            )
            self._removed_when[char, by] = self.lost_histories
        for char in has - had:
            self._note_back(char, by, char in in_file)
        self.doubles.note(by, before, after, self.removed.keys())
        if by != PROGRAM:
            self.reordered |= self._out_of_order(after).keys() - self._out_of_order(before).keys()
        gone = {cell.id for cell in before} - {cell.id for cell in after} | set(replaced)
        self.dissolved += [(cell, by, had) for cell in sorted(gone)]

    def as_they_are(self, chars: Iterable[str]) -> dict[str, int]:
        """The characters, each with the life it has now."""
        return {char: self.lives[char] for char in chars}

    def once_removed(self, chars: frozenset[str]) -> frozenset[str]:
        """Those of the characters that were ever taken away."""
        return chars & self.removed.keys()

    def note_answered(self, chars: Mapping[str, int], now: float) -> None:
        """The server has said that it has these, of which ``as_they_are`` told the lives then."""
        for char in sorted(chars):
            if chars[char] == self.lives[char]:
                self.answerable.setdefault(char, now)

    def note_shown(self, tab: str, chars: frozenset[str]) -> None:
        """A tab shows these, after it was sent something. What it has brought back itself it shows anyway."""
        self.outdated[tab] = self.outdated.get(tab, frozenset()) & chars
        self.unaware[tab] = self.unaware.get(tab, frozenset()) - chars
        self.indistinct[tab] = self.indistinct.get(tab, frozenset()) - chars
        for char in chars:
            if self._brought_by.get(char) != tab:
                self.unheard.get(char, {}).pop(tab, None)

    def note_heard(self, tab: str, chars: Iterable[str]) -> None:
        """The server has told a tab that it got these: one that still has the history in which they were removed."""
        for char in chars:
            if self.unheard.get(char, {}).get(tab) == self.lost_histories:
                del self.unheard[char][tab]

    def waits_for_news(self, tab: str) -> bool:
        """Whether ``note_shown`` is of interest."""
        return bool(self.outdated.get(tab) or self.unaware.get(tab)) or any(
            tab in tabs for tabs in self.unheard.values()
        )

    def note_others(self, by: str, back: frozenset[str], shown: Mapping[str, frozenset[str]]) -> None:
        """Somebody has brought back what others show, or lack, because they have not been told what became of it."""
        for tab, chars in shown.items():
            if tab == by:
                continue
            self.unaware[tab] = self.unaware.get(tab, frozenset()) | (back - chars)
            if by != PROGRAM:
                self.outdated[tab] = self.outdated.get(tab, frozenset()) | (back & chars)

    def note_indistinct(self, tab: str, chars: frozenset[str]) -> None:
        """A server has begun with no history, and a tab that may come lacks these, which are in cells of the file.

        As it knows the file, those cells are what they are now. The tab may have removed them since; or others have, and
        it was gone when that was saved, and when they came back. Nothing that every tab has tells which.
        """
        self.indistinct[tab] = self.indistinct.get(tab, frozenset()) | (
            chars & self.unaware.get(tab, frozenset())
        )

    def note_saved_without(self, chars: Iterable[str]) -> None:
        """The server has saved the file without these, which were in it."""
        self.saved_without.update(chars)

    def note_ended(
        self, now: float, loaded: float | None, *, flushed: bool, log_left: bool, file: frozenset[str]
    ) -> None:
        """The server has ended without saving, and this is what is left of it.

        Nobody saves a document that was never opened: without its log it is what the file is. ``loaded`` is when it
        was, or None.
        """
        if log_left:
            window = 0.0 if flushed else LOG_WINDOW
            left = {char for char, since in self.answerable.items() if since <= now - window}
        elif loaded is None:
            left = set()
        else:
            left = {c for c, since in self.answerable.items() if max(since, loaded) <= now - FILE_WINDOW}
        self.answerable = {
            char: since for char, since in self.answerable.items() if char in file or char in left
        }

    def note_begun(self, now: float, *, log_left: bool) -> None:
        """The server is there again. What it has may be in its log only, for a while."""
        self.answerable = dict.fromkeys(self.answerable, now)
        self.lost_histories += not log_left

    def verdict(
        self, cells: list[Cell], kept: frozenset[str], owed: Iterable[str]
    ) -> tuple[list[str], Counter[str]]:
        """What is wrong in the end, and how many characters ended in which way.

        Args:
            kept: the characters in recovery copies.
            owed: those that clients who came back had.
        """
        counted = Counter(char for cell in cells for char in followed(cell.source))
        wrong = [
            f"{char} of {self.typed[char].by} is there {count} times, {self._story(char)}"
            if char in self.typed
            else f"{char} was never typed"
            for char, count in counted.items()
            if char not in self.typed or count > self.doubles.allowed(char) + self._unrecognized(char, cells)
        ]
        ends: Counter[str] = Counter()
        required = set(owed) | set(self.answerable)
        for char in self.typed:
            if char in counted:
                ends["there"] += 1
            elif char in kept:
                ends["in a copy"] += 1
            elif self.removed.get(char):
                ends["removed"] += 1
            elif char not in required:
                ends["never arrived"] += 1
            elif self._removed_as_before(char):
                ends["removed by who had not heard that it was there again"] += 1
            elif any(char in chars for chars in self.indistinct.values()):
                ends["removed, as it seems, by who had not heard that it was there again"] += 1
            elif char not in self.answerable and self._dissolved_unseen(char):
                # By a tab that was away, and the server that removed the cell has ended since.
                ends["typed into a cell while it was removed"] += 1
            else:
                ends["lost"] += 1
                wrong.append(f"{char} of {self.typed[char].by} is lost, {self._story(char)}")
        unordered = self.reordered | {char for char, count in counted.items() if count > 1}
        wrong += [
            f"{char} is behind what {self.typed[char].by} typed after it, in {cell}"
            for char, cell in self._out_of_order(cells, unordered).items()
        ]
        return wrong, ends

    # Private

    def _note_back(self, char: str, by: str, in_file: bool) -> None:
        takers = self.removed.get(char)
        if not takers:
            return
        if by == PROGRAM and char not in self.saved_without:
            # The file is what it was before that program took it out; what somebody else did meanwhile holds.
            takers.discard(PROGRAM)
        elif in_file and {by, PROGRAM} <= takers:
            # The document is what it was before they took it out, and what the program did to the file meanwhile holds.
            takers.intersection_update({PROGRAM})
        elif by in takers and any((char, taker) in self._removed_with_cell for taker in takers - {by}):
            # It was there for who brings it back because they did not know yet of the other's removal, which holds: a cell
            # that is gone takes what is in it along.
            takers.discard(by)
        else:
            self.unheard[char] = {
                taker: self._removed_when[char, taker] for taker in takers if taker != PROGRAM
            }
            self._brought_by[char] = by
            takers.clear()
        self.saved_without.discard(char)
        if not takers:
            self.lives[char] += 1
            self.answerable.pop(char, None)

    def _unrecognized(self, char: str, cells: list[Cell]) -> int:
        """How often it may be there once more since nobody can tell two cells for one.

        Where neither the file has ids nor anybody the history, a cell that a tab and a program have changed, or a tab has
        brought back that a program has changed, is recognized by its text only. Two that are equal are still one too many.
        """
        sources = [cell.source for cell in cells if char in cell.source]
        return self.lost_histories if self.nameless and len(set(sources)) == len(sources) else 0

    def _removed_as_before(self, char: str) -> bool:
        """Whether a tab that had removed it, and not heard that it is there again, came to a server that knew of nothing.

        What such a tab has, and what of the file it knows, is then the same as if it had removed it just now, or, if it has
        brought it back itself, as if it had never removed it and somebody else had. Nobody can tell.
        """
        return any(then < self.lost_histories for then in self.unheard.get(char, {}).values())

    def _dissolved_unseen(self, char: str) -> bool:
        home = self.typed[char].cell
        return any(cell == home and char not in known for cell, _, known in self.dissolved)

    def _out_of_order(self, cells: Iterable[Cell], unordered: Container[str] = ()) -> dict[str, str]:
        """The characters that are behind one that was typed after them, each with the cell that it is in."""
        found = {}
        for cell in cells:
            last: dict[tuple[int, int], int] = {}
            for char in followed(cell.source):
                typed = self.typed.get(char)
                if typed is None or char in unordered:
                    continue
                together = typed.burst, self.doubles.placed.get(char, 0)
                if typed.index < last.get(together, -1):
                    found[char] = cell.id
                else:
                    last[together] = typed.index
        return found

    def _story(self, char: str) -> str:
        typed = self.typed[char]
        by = [who for cell, who, _ in self.dissolved if cell == typed.cell]
        return (
            f"typed into {typed.cell}, removed by {sorted(self.removed.get(char, ()))}, the cell dissolved by {by}, "
            f"the server had it since {self.answerable.get(char)}"
        )


def chars_of(cells: Iterable[Cell]) -> frozenset[str]:
    """All characters in the sources of cells."""
    return frozenset(char for cell in cells for char in followed(cell.source))
