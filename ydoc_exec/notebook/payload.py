"""What a kernel asks of its front end in the reply to an execution: more output, or source for a next cell.

Payloads are deprecated in the messaging protocol ("Payloads (DEPRECATED)" in ``jupyter_client``'s docs) and
ipykernel still sends them: ``%load`` and ``%recall`` set the next input, ``print?`` sends a page. Others
(``ask_exit``, ``edit_magic``) ask for what a document cannot do, and JupyterLab ignores them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NextInput:
    """Source that the kernel wants to see: instead of the cell's own (``replace``), or in a new cell below."""

    text: str
    replace: bool


@dataclass(frozen=True, slots=True)
class Payload:
    """All that a reply asks for."""

    pages: tuple[Mapping[str, Any], ...] = ()
    """Contents of ``display_data`` messages: a document has no pager, so pages are outputs, as in JupyterLab
    (``OutputArea._onExecuteReply``)."""

    next_input: NextInput | None = None

    @classmethod
    def read(cls, reply: Mapping[str, Any]) -> Payload:
        """From the content of an ``execute_reply``; what is malformed is taken for absent.

        JupyterLab takes the first of each kind; so does this for the next input. ipykernel sends no more.
        """
        payload = reply.get("payload")
        items = [item for item in payload if isinstance(item, Mapping)] if isinstance(payload, list) else []
        pages = tuple(
            {"data": item["data"], "metadata": {}}
            for item in items
            if item.get("source") == "page" and isinstance(item.get("data"), Mapping)
        )
        for item in items:
            if item.get("source") == "set_next_input" and isinstance(item.get("text"), str):
                return cls(pages, NextInput(item["text"], bool(item.get("replace"))))
        return cls(pages)
