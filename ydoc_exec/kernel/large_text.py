"""Printed text that is long, and may not be wanted any more when there is more of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

LARGE = 2**20
"""Bytes of content from which on printed text may be left out."""

CONTENT = 4  # a message is signature, header, parent's header, metadata, content, buffers

Parts = list[Any]
"""A message from its signature on: bytes, or a memoryview of a large content."""


class LargeText:
    """Holds back one large piece of printed text, to see whether there is more of the same behind it.

    A kernel can print faster than anybody can check signatures and parse JSON (ipykernel gathers what is
    printed while it sends, so its messages grow to hundreds of megabytes), and nobody will ever read it. So a
    large piece waits until there is nothing more to be read, or something else is. If more of the same comes
    instead, ``skip`` is asked, with the id of the parent and the bytes of the message's content, whether it may be
    left out; then it has been left out.

    Messages are lists of their parts from the signature on. They come out in the order in which they came in.
    """

    def __init__(self, unpack: Callable[[bytes], Any], skip: Callable[[str, int], bool]) -> None:
        self._unpack = unpack
        self._skip = skip
        self._parts: Parts = []
        self._parent = ""

    def rest(self) -> Iterator[Parts]:
        """What waits: there is nothing more to be read now."""
        if self._parts:
            parts, self._parts = self._parts, []
            yield parts

    def before(self, parts: Parts) -> Iterator[Parts]:
        """What has to be read now that this message has come."""
        large = len(parts) > CONTENT and len(parts[CONTENT]) >= LARGE
        if not large and not self._parts:
            yield parts
            return
        try:
            kind, parent = self._unpack(parts[1])["msg_type"], self._unpack(parts[2]).get("msg_id", "")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            large, kind, parent = False, "", ""  # whoever takes it will say what is wrong with it
        large = large and kind == "stream"
        if self._parts and not (
            large and parent == self._parent and self._skip(parent, len(self._parts[CONTENT]))
        ):
            yield from self.rest()
        if large:
            self._parts, self._parent = parts, parent
        else:
            yield parts
