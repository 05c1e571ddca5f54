"""What a document says of the trust in its cells is what the contents manager says of the file, or what was run here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_ydoc import YNotebook
from nbformat.sign import NotebookNotary
from pycrdt import Doc

from tests.documents.conftest import ROOM, Site
from tests.documents.runs import a_run, run_to_its_end, target_of
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.ancestry import read_lineage
from ydoc_exec.documents.document_types import build, first_lineage
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.files.decision import fingerprint
from ydoc_exec.notebook.edits import AppendOutput
from ydoc_exec.origin import FromKernel
from ydoc_exec.room.state_vector import clocks

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:Non-unique cell id"),
]


@pytest.fixture
def site(site: Site) -> Site:
    """With signatures of its own."""
    options = {"db_file": str(site.root.parent / "signatures.db"), "secret": b"of this test"}
    site.contents.notary = NotebookNotary(**options)  # type: ignore[no-untyped-call]
    return site


def html(text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {"text/html": text}, "metadata": {}}


def shows(name: str, text: str, source: str = "") -> dict[str, Any]:
    """A cell with an output, which says that it can be trusted."""
    return cell(name, source, outputs=[html(text)], execution_count=1, metadata={"trusted": True})


def run(document: OpenDocument, name: str, text: str) -> None:
    """What a run by somebody who may does to the document."""
    run_to_its_end(target_of(document), a_run(name, name), AppendOutput(html(text)))


def trust(document: OpenDocument) -> dict[str, tuple[str, bool]]:
    """What each cell shows, and whether that may run scripts."""
    assert isinstance(document.document, YNotebook)
    return {
        one["id"]: (
            "".join(output["data"]["text/html"] for output in one["outputs"]),
            one["metadata"]["trusted"],
        )
        for one in document.document.get()["cells"]
        if one["cell_type"] == "code"
    }


async def test_a_file_is_not_believed(site: Site) -> None:
    site.write(notebook(shows("a", "forged"), cell("b", "")))
    for _ in range(2):  # from the file, and from the log
        async with site.opened() as document:
            assert trust(document) == {"a": ("forged", False), "b": ("", False)}


async def test_a_run_is_remembered_though_there_can_be_no_signature(site: Site) -> None:
    """The contents manager signs all cells or none; the log has what was run here."""
    async with site.opened(notebook(shows("a", "forged"), cell("b", ""))) as document:
        run(document, "b", "ran")
        await document.mirror.save()
    async with site.opened() as document:
        assert trust(document) == {"a": ("forged", False), "b": ("ran", True)}
    async with site.log:
        await site.log.forget(ROOM)
    async with site.opened() as document:
        assert trust(document) == {"a": ("forged", False), "b": ("ran", False)}


async def test_results_that_were_forged_while_nobody_looked(site: Site) -> None:
    async with site.opened(notebook(cell("a", ""), cell("b", ""))) as document:
        run(document, "a", "ran")
        await document.mirror.save()
    async with site.opened(notebook(shows("a", "forged"), shows("b", "forged too"))) as document:
        assert trust(document) == {"a": ("forged", False), "b": ("forged too", False)}


async def test_results_that_were_forged_while_both_have_changed(site: Site) -> None:
    site.write(notebook(cell("a", ""), cell("b", "")))
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        await document.mirror.save()
        site.set(save_delay=60)
        run(document, "a", "ran")
    async with site.opened(notebook(shows("a", "forged"), shows("b", "forged too"))) as document:
        assert trust(document) == {"a": ("ran", True), "b": ("", False)}
        [aside] = site.copies
        assert aside["cells"][0]["outputs"] == [html("forged")]


async def test_results_that_are_forged_under_an_open_document(site: Site) -> None:
    async with site.opened(notebook(cell("a", ""), cell("b", ""), cell("gone", ""))) as document:
        run(document, "a", "ran")
        run(document, "b", "ran")
        await document.mirror.save()
        site.write(
            notebook(
                shows("a", "ran"),
                shows("b", "forged"),
                shows("new", "forged too"),
                shows("last", "", "x = 1"),
            )
        )
        await until(lambda: "last" in trust(document))
        assert trust(document) == {
            "a": ("ran", True),
            "b": ("forged", False),
            "new": ("forged too", False),
            "last": ("", False),
        }


async def test_a_forged_twin(site: Site) -> None:
    async with site.opened(notebook(cell("a", ""))) as document:
        run(document, "a", "ran")
        await document.mirror.save()
        site.write(notebook(shows("a", "ran"), shows("a", "forged")))
        await until(lambda: len(trust(document)) == 2)
        assert sorted(trust(document).values()) == [("forged", False), ("ran", True)]


async def test_another_server_has_signed_what_it_ran(site: Site) -> None:
    """Two servers with one user's files and signatures."""
    async with site.opened(notebook(shows("a", "from elsewhere"), cell("b", ""))) as document:
        assert trust(document)["a"] == ("from elsewhere", False)
        content = notebook(shows("a", "from elsewhere"), shows("b", "ran there"))
        await site.contents.save({"type": "notebook", "content": content}, ROOM.file_id)
        await until(lambda: trust(document)["b"] == ("ran there", True))
        assert trust(document)["a"] == ("from elsewhere", True)


async def test_trust_alone_is_saved_and_so_signed(site: Site) -> None:
    async with site.opened(notebook(shows("a", "from elsewhere"))) as document:
        assert isinstance(document.document, YNotebook)
        with document.room.writing(FromKernel()):
            document.document.ycells[0]["metadata"]["trusted"] = True
        await document.mirror.save()
    [saved] = json.loads(site.file.read_text())["cells"]
    assert "trusted" not in saved["metadata"]
    async with site.log:
        await site.log.forget(ROOM)
    async with site.opened() as document:
        assert trust(document) == {"a": ("from elsewhere", True)}


def test_what_is_trusted_is_another_document() -> None:
    """Of two documents with one author every item must mean the same, or those who have the one never see the other."""
    built = []
    for trusted in (True, False):
        content = notebook(cell("a", "1", metadata={"trusted": trusted}))
        print_ = fingerprint(content)
        doc: Doc[Any] = Doc()
        doc.apply_update(build(ROOM, content, print_))
        built.append((print_, read_lineage(doc), frozenset(clocks(doc.get_state()))))
        assert read_lineage(doc) == first_lineage(ROOM, content, print_)
    (print_, lineage, authors), (other_print, other_lineage, other_authors) = built
    assert print_ == other_print
    assert lineage != other_lineage
    assert not authors & other_authors
