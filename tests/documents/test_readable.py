"""Notebooks whose cells cannot be told apart."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from tests.notebooks import cell, notebook
from ydoc_exec.documents.readable import tell_apart


@pytest.mark.parametrize("minor", [4, 5])
def test_every_cell_gets_an_id_of_its_own(minor: int) -> None:
    document = YNotebook()
    document.set(notebook(cell("x", "one"), cell("y", "two"), minor=minor))
    for other in (cell("x", "one"), cell("x", "another"), cell("z", "nameless")):
        document.append_cell(other)
    cells = document.ycells
    cells[0]["execution_state"] = cells[3]["execution_state"] = "running"
    del cells[4]["id"]
    names = tell_apart(document)
    assert names[:3] == ["x", "y", None]
    assert names[3:] == [each["id"] for each in cells][3:]
    assert len(set(names)) == len(names)
    # What runs has the id, and only one has that.
    assert [each["execution_state"] for each in cells] == ["running", "idle", "idle", "idle", "idle"]
    assert tell_apart(document) == names


def test_a_cell_has_the_same_id_in_every_document_that_has_it() -> None:
    document = YNotebook()
    document.set(notebook(cell("x", "one"), cell("y", "two")))
    document.append_cell(cell("x", "another"))
    doc: Doc[Any] = Doc()
    doc.apply_update(document.ydoc.get_update())
    assert tell_apart(YNotebook(doc)) == tell_apart(document)
