"""What of a kernel's JSON can be put into a shared document as it is, and what becomes of the rest.

*Measured* (pycrdt 0.14.13): a lone surrogate and an integer beyond 64 bits panic in Rust, and a panic is a
``BaseException`` that would take the room along; an integer beyond 53 bits may arrive in a browser as a
``BigInt``, which ``JSON.stringify`` refuses; a NaN or an infinity makes ``YNotebook.get`` raise from then on
(jupyter_ydoc 4.2.1), so that the notebook could not be saved any more. Kernels may send all of them.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

_LARGEST_EXACT = 2**53


def shareable(value: Any) -> Any:
    """A deep copy of a JSON value that every party of a shared document can read.

    Integers that a browser could not hold exactly become floats, as they would have when it parsed the
    kernel's message itself, and strings if even that is impossible. What is not finite becomes a string too,
    as ``jupyter_client`` makes it one when a Python kernel sends it.
    """
    if isinstance(value, str):
        return shareable_text(value)
    if isinstance(value, dict):
        return {shareable_text(str(key)): shareable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shareable(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, int):
        if -_LARGEST_EXACT <= value <= _LARGEST_EXACT:
            return value
        try:
            return float(value)
        except OverflowError:
            return str(value)
    return shareable_text(str(value))


def shareable_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
