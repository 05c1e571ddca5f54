"""Another file under the same name.

Jupyter Server's file ids go with paths, so a file that was deleted outside Jupyter and a new one of the same name have
one id, and one history. What the deleted one had must not come into the new one. A file that was changed by another
program, however much, has something of what it had.
"""

from __future__ import annotations

from collections import Counter
from typing import Any


def is_namesake(document: Any, file: Any) -> bool:
    """Whether a file is no version of the document that its history has, but another file of the same name.

    Both are contents as the contents API has them. Notebooks are versions of one another when they have a cell id in
    common, or most of the file's cells are in the document as they are (some programs give all cells new ids). Texts
    are when most of the file's lines are in the document. Blank cells and lines say nothing, and a file that has only
    such is another one unless the document has only such too.
    """
    if document == file:
        return False
    if isinstance(document, dict) and isinstance(file, dict):
        if _ids(document) & _ids(file):
            return False
        ours, theirs = _sources(document), _sources(file)
    else:
        ours, theirs = _lines(document), _lines(file)
    if not ours and not theirs:
        return False
    return 2 * (ours & theirs).total() < max(theirs.total(), 1)


def _ids(notebook: dict[str, Any]) -> set[str]:
    return {cell["id"] for cell in notebook.get("cells", ()) if cell.get("id")}


def _sources(notebook: dict[str, Any]) -> Counter[str]:
    sources = (cell.get("source", "") for cell in notebook.get("cells", ()))
    texts = ("".join(source) if isinstance(source, list) else str(source) for source in sources)
    return Counter(text.strip() for text in texts if text.strip())


def _lines(text: Any) -> Counter[str]:
    return Counter(line.strip() for line in str(text).splitlines() if line.strip())
