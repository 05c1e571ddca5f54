"""What two documents that are united look like to those who have one of them open."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from tests.notebooks import cell, notebook
from ydoc_exec.documents.document_types import become
from ydoc_exec.documents.union import cell_items, unite


def opened(author: int, content: dict[str, Any]) -> YNotebook:
    document = YNotebook(Doc(client_id=author))
    document.set(copy.deepcopy(content))
    return document


@pytest.mark.parametrize("keep_theirs", [True, False], ids=["theirs stay", "ours stay"])
@pytest.mark.parametrize("authors", [(1, 2), (2, 1)], ids=["ours lie first", "theirs lie first"])
def test_cells_that_stay_are_not_touched(authors: tuple[int, int], keep_theirs: bool) -> None:
    """Whoever's items lie first: new cells above them, and cells that are gone."""
    ours = opened(authors[0], notebook(*(cell(name) for name in ("a", "new", "b", "d", "newer"))))
    theirs = opened(authors[1], notebook(*(cell(name) for name in ("a", "b", "c", "d", "other"))))
    united = notebook(*(cell(name) for name in ("a", "new", "b", "d", "newer", "other")))
    side = theirs if keep_theirs else ours
    before, names = cell_items(side), {item["id"] for item in side.ycells}
    with ours.ydoc.transaction():
        kept = unite(ours, theirs, lambda: become(ours, united), keep_theirs=keep_theirs)
    assert [item["id"] for item in ours.get()["cells"]] == [item["id"] for item in united["cells"]]
    wanted = names & {item["id"] for item in united["cells"]}
    assert len(cell_items(ours) & before) == len(wanted)
    assert kept == (wanted if keep_theirs else frozenset())


def test_a_cell_that_has_other_trust_is_none_of_theirs() -> None:
    """An open tab believes a cell what it believed it before, so it is another one."""
    shown = {"output_type": "stream", "name": "stdout", "text": "1"}
    united = notebook({**cell("a"), "metadata": {"trusted": True}, "outputs": [shown]}, cell("b"))
    ours = opened(1, united)
    theirs = opened(2, notebook(cell("a"), cell("b")))
    with ours.ydoc.transaction():
        kept = unite(ours, theirs, lambda: become(ours, united), keep_theirs=True)
    assert len(cell_items(ours) & cell_items(theirs)) == 1
    assert kept == {"b"}


def test_a_cell_that_is_made_anew_is_in_its_place() -> None:
    ours = opened(1, notebook(*(cell(name, "ours") for name in ("a", "b", "c"))))
    theirs = opened(2, notebook(*(cell(name, "theirs") for name in ("a", "b", "c"))))
    before = cell_items(theirs)
    with ours.ydoc.transaction():
        kept = unite(
            ours,
            theirs,
            lambda: become(ours, notebook(*(cell(name, "both") for name in ("a", "b", "c")))),
            keep_theirs=True,
            anew=["b"],
        )
    assert [(item["id"], item["source"]) for item in ours.get()["cells"]] == [
        ("a", "both"),
        ("b", "both"),
        ("c", "both"),
    ]
    assert len(cell_items(ours) & before) == 2
    assert kept == {"a", "c"}
