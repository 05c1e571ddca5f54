"""Characters that are used once, so that each can be followed wherever it goes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

_RANGES = (
    range(0x4E00, 0x9FA6),  # three bytes in UTF-8, one unit in UTF-16
    range(0xAC00, 0xD7A4),
    range(0x20000, 0x2A6D7),  # four bytes, two units
    range(0x1F300, 0x1F3FB),
    range(0x0400, 0x0482),  # two bytes, one unit
)


class Characters:
    """Gives every character once. Which ones follow one another depends on the seed only."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self._left: list[Iterator[int]] = [iter(codes) for codes in _RANGES]

    def take(self, count: int) -> str:
        """So many characters that were never given before."""
        return "".join(self._take() for _ in range(count))

    # Private

    def _take(self) -> str:
        while True:
            codes = self._random.choice(self._left)
            code = next(codes, None)
            if code is not None:
                return chr(code)
            self._left.remove(codes)


def followed(text: str) -> list[str]:
    """The characters of a text that can be followed."""
    return [char for char in text if any(ord(char) in codes for codes in _RANGES)]
