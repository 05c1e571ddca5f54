"""What may be there more than once, because tabs and programs do that by themselves, whatever a server does.

``test_doubles.py`` shows each case with plain documents that exchange their updates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tests.simulation.characters import followed
from tests.simulation.replica import Cell


class Doubles:
    """How often each character may be there.

    * JupyterLab moves a cell, and changes its type, by deleting it and inserting a copy. Two who do that to the same
      item, which only those can who have not seen what the other did, leave two copies.
    * Undoing inserts again what was deleted, whatever has come since in its place. If another one has brought back the
      same, or a copy of the same cell is there already, it is there twice; the user who undoes sees that.
    """

    def __init__(self) -> None:
        self.placed: dict[str, int] = {}
        """Characters that the file brought back: they were inserted anew, and lie where they do since the change with
        this number. What is restored around them by undoing lies where it was."""
        self._more: Counter[str] = Counter()
        self._brought_back: dict[str, set[str]] = {}
        self._replaced: dict[str, list[tuple[str, set[str]]]] = {}
        self._changes = 0

    def allowed(self, char: str) -> int:
        """So often may it be there."""
        return max(1, len(self._brought_back.get(char, ()))) + self._more[char]

    def note(
        self, by: str, before: Sequence[Cell], after: Sequence[Cell], once_removed: Collection[str]
    ) -> None:
        """Somebody has changed what they saw. ``once_removed``: what was ever taken away."""
        self._changes += 1
        had, has = _counted(before), _counted(after)
        for char in had.keys() - has.keys():
            self._brought_back.pop(char, None)
        back = [char for char in has - had if char in once_removed]
        for char in back:
            self._brought_back.setdefault(char, set()).add(by)
        if any(cell.item for cell in (*before, *after)):
            self._note_items(by, before, after, back)
        else:
            self.placed.update(dict.fromkeys(back, self._changes))

    # Private

    def _note_items(
        self, by: str, before: Sequence[Cell], after: Sequence[Cell], back: Collection[str]
    ) -> None:
        items = {cell.item for cell in before}, {cell.item for cell in after}
        new = {cell.id: cell for cell in after if cell.item not in items[0]}
        for cell in before:
            if cell.item in items[1] or cell.id not in new:
                continue
            chars = set(_counted([new[cell.id]]))
            others = self._replaced.setdefault(cell.item, [])
            for other, known in others:
                if other != by:
                    self._more.update(chars & known)
            others.append((by, chars))
        names = [Counter(cell.id for cell in cells) for cells in (before, after)]
        staying = _counted([cell for cell in after if cell.item in items[0]])
        for name, cell in new.items():
            if names[1][name] > names[0][name] > 0:
                self._more.update(set(_counted([cell])))
            else:
                # It may be called otherwise by now, where files have no ids.
                self._more.update((set(_counted([cell])) & staying.keys()).difference(back))


def _counted(cells: Sequence[Cell]) -> Counter[str]:
    return Counter(char for cell in cells for char in followed(cell.source))
