"""What a document has seen, as Yjs says it."""

from __future__ import annotations

from pycrdt import Decoder


def clocks(state: bytes) -> dict[int, int]:
    """A state vector (Yjs' ``encodeStateVector``): for each author how much of it is there."""
    decoder = Decoder(state)
    return {decoder.read_var_uint(): decoder.read_var_uint() for _ in range(decoder.read_var_uint())}
