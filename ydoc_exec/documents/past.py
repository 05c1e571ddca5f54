"""Leaving a document's past behind.

A shared document keeps a trace of all that was ever deleted from it. Neighbouring traces become one, but 100,000 keys
here and there leave 30 times what is still to be seen, and everybody who opens the document takes all of it. So when
nobody has needed a document for a while, and most of it is past, the log gets one with the same content that begins
anew. It is of another lineage: a tab that was away all that time is brought together with it as any such tab is.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from ydoc_exec.documents import document_types
from ydoc_exec.documents.union import hand_over
from ydoc_exec.files.decision import Fingerprint, fingerprint
from ydoc_exec.ids import Lineage, RoomId

TIMES = 2
SLACK_BYTES = 64 * 1024


def is_mostly_past(document_bytes: int, file_bytes: int | None) -> bool:
    """Whether a shared document of this size is much larger than what it shows, which is in a file of that size.

    A document without a past is smaller than its file. A file whose size is not known says nothing.
    """
    return file_bytes is not None and document_bytes > TIMES * file_bytes + SLACK_BYTES


def without_past(room: RoomId, document: YBaseDoc) -> tuple[Lineage, bytes, Fingerprint]:
    """The document begun anew: its lineage, the update that makes it, and the fingerprint of its content.

    It has the content, which its file must have too, and what the server says of the document. Called inside a
    transaction, as reading the content may write.
    """
    content = document_types.content_of(document)
    # Of no content: so there is no other document with this author, as one that is built from a file may be.
    print_ = Fingerprint(token_hex(20))
    doc: Doc[Any] = Doc()
    doc.apply_update(document_types.build(room, content, print_))
    fresh = document_types.wrap(room, doc)
    with doc.transaction():
        hand_over(fresh, document)
    return document_types.first_lineage(room, content, print_), doc.get_update(), fingerprint(fresh.get())
