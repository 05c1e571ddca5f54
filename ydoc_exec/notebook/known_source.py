"""The text of a cell as whoever wants it run knows it."""

from __future__ import annotations

from dataclasses import dataclass

_M = 0x5BD1E995
_32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class KnownSource:
    """Either the whole text, or its hash as jupyter-server-documents makes it (``murmur2``)."""

    text: str | None = None
    hash: str | None = None

    def is_of(self, source: str) -> bool:
        """Whether this is the text that is meant."""
        return source == self.text if self.hash is None else murmur2(source) == self.hash


def murmur2(text: str) -> str:
    """MurmurHash2 (32 bits, seed 0) of the text in UTF-8, as a decimal number.

    Browsers have no better hash without HTTPS. It finds out what differs by accident; it proves nothing.
    """
    data = text.encode()
    value = len(data) & _32
    whole = len(data) & ~3
    for position in range(0, whole, 4):
        part = int.from_bytes(data[position : position + 4], "little") * _M & _32
        part = (part ^ part >> 24) * _M & _32
        value = value * _M & _32 ^ part
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _32
    value = (value ^ value >> 13) * _M & _32
    return str(value ^ value >> 15)
