"""Valid but unusual files: their bytes stay as they are while nobody edits them, and an edit makes nothing worse."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from anyio import sleep
from pycrdt import Text

from tests.documents.conftest import ROOM, TEXT, Site, Tab
from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import LoadFailed
from ydoc_exec.origin import FromServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore::nbformat.warnings.MissingIDFieldWarning"),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]

STREAM = {"name": "stdout", "output_type": "stream", "text": "x\n"}
OLDEST = {
    "metadata": {"name": ""},
    "nbformat": 3,
    "nbformat_minor": 0,
    "worksheets": [
        {
            "cells": [
                {"cell_type": "code", "collapsed": False, "input": "1", "language": "python", "outputs": []},
                {"cell_type": "heading", "level": 2, "metadata": {}, "source": "Title"},
            ],
            "metadata": {},
        }
    ],
}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def text(content: Any, **options: Any) -> bytes:
    return json.dumps(content, **options).encode()


PLAIN = notebook(cell("a", "x"), cell("b", "y"))

NOTEBOOKS = {
    "as nbformat writes it": text(PLAIN, indent=1) + b"\n",
    "lines end as on Windows": text(PLAIN, indent=1).replace(b"\n", b"\r\n"),
    "no line ends": text(PLAIN),
    "four spaces, sorted otherwise": text(dict(reversed(PLAIN.items())), indent=4) + b"\n\n\n",
    "letters written out": text(notebook(cell("a", "é📊"))),
    "letters as they are": text(notebook(cell("a", "é📊")), ensure_ascii=False),
    "lines as lists": text(notebook(cell("a", ["1\n", "2"]), cell("b", []))),  # type: ignore[arg-type]
    "carriage returns in a cell": text(notebook(cell("a", "1\r\n2\r3"))),
    "no cells": text(notebook()),
    "nbformat 3": text(OLDEST),
    **{f"nbformat 4.{minor}": text(notebook(cell(None, "x"), cell(None, "x"), minor=minor)) for minor in range(5)},
    "ids before there were any": text(notebook(cell("a", "x"), cell("b", "y"), minor=4)),
    "ids missing": text(notebook(cell(None, "x"), cell("b", "y"))),
    "ids twice": text(notebook(cell("a", "x"), cell("a", "y"), cell("b", "z"))),
    "no ids at all, alike": text(notebook(cell(None, "x"), cell(None, "x"))),
    "a later minor version": text({**notebook(cell("a", "x")), "nbformat_minor": 9}),
    "unknown keys": text({**notebook(cell("a", "x", strange={"a": [1]}), language="R"), "stranger": 1}),
    "an output of an unknown kind": text(notebook(cell("a", "x", outputs=[{"output_type": "hologram", "x": 1}]))),
    "an output with a transient": text(
        notebook(cell("a", "x", outputs=[{**STREAM, "transient": {"display_id": "d"}}]))
    ),
    "numbers that are none": text(notebook(cell("a", "x", metadata={"n": [float("nan"), float("inf")]}))),
    "huge numbers": text(notebook(cell("a", "x", metadata={"n": 10**30, "m": 2**60, "f": 1e308}))),
    "numbers of other kinds": text(notebook(cell("a", "x", metadata={"a": 1.0, "b": 1, "c": True, "d": -0.0}))),
    "deep": text(notebook(cell("a", "x", metadata={"deep": deep(60)}))),
    "empty names": text(notebook(cell("a", "x", metadata={"": {"": []}}))),
    "what only runs have": text(notebook(cell("a", "x", execution_state="running"))),
    "trusted by itself": text(notebook(cell("a", "x", metadata={"trusted": True}, outputs=[STREAM]))),
    "markdown with attachments": text(
        notebook({"id": "a", "cell_type": "markdown", "metadata": {}, "source": "![](attachment:a)",
                  "attachments": {"a": {"image/png": "aGk="}}})
    ),
    "raw": text(notebook({"id": "a", "cell_type": "raw", "metadata": {"format": "text/latex"}, "source": "x"})),
    "timings": text(notebook(cell("a", "x", metadata={"execution": {"iopub.status.busy": "2020"}}))),
    "a count as a float": text(notebook(cell("a", "x", execution_count=3.0))),
}  # fmt: skip

REFUSED = {
    "nothing": b"",
    "not all of it": text(PLAIN)[:-10],
    "no JSON": b"hello",
    "no notebook": b"[]",
    "other letters": "ä".encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbf" + text(PLAIN),
    "half an emoji, of which Jupyter Server makes no signature": text(notebook(cell("a", "\ud83d"))),
    "cells without a type": text({**PLAIN, "cells": [{}]}),
    "too deep": b'{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {"a": ' + b"[" * 100_000,
}

TEXTS = {
    "nothing": b"",
    "no line end": b"one",
    "lines end as on Windows": b"one\r\ntwo\r\n",
    "lines end as on old Macs": b"one\rtwo\r",
    "lines end in all ways": b"one\r\ntwo\nthree\rfour",
    "a byte order mark": b"\xef\xbb\xbfone\n",
    "letters": "é📊\u2028\x00\x1b".encode(),
}


class StockTab(Tab):
    """It does in a notebook that it has opened what JupyterLab does without being asked."""

    async def open(self, document: OpenDocument) -> None:
        await self.come_to(document)
        with self.doc.transaction():
            self.notebook.ystate["document_id"] = document.room_id.file_id
        if not len(self.notebook.ycells):  # ``notebook/src/widget.ts``: a notebook has a cell
            self.notebook.append_cell(cell("new", ""))
        await self.flush()


def is_valid(content: Any) -> bool:
    try:
        nbformat.validate(content)  # type: ignore[no-untyped-call, unused-ignore]
    except nbformat.ValidationError:
        return False
    return True


async def looked(document: OpenDocument) -> None:
    for _ in range(3):
        await sleep(0.012)
        async with document.mirror._lock:
            pass


@pytest.mark.parametrize("data", NOTEBOOKS.values(), ids=NOTEBOOKS.keys())
async def test_opening_and_closing_changes_no_byte(site: Site, data: bytes) -> None:
    site.file.write_bytes(data)
    for _ in range(2):  # the second time from the log
        async with site.serving() as life:
            async with life.documents.open(ROOM) as document:
                tab = StockTab()
                await tab.open(document)
                await looked(document)
                assert not document.mirror.dirty
                site.file.touch()
                await looked(document)
                await document.mirror.save(recreate=True)
                tab.leave()
            await life.closed()
        assert site.file.read_bytes() == data


@pytest.mark.parametrize("data", NOTEBOOKS.values(), ids=NOTEBOOKS.keys())
async def test_an_edit_leaves_a_valid_notebook_with_the_same_cells(site: Site, data: bytes) -> None:
    site.file.write_bytes(data)
    before = json.loads(data)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = StockTab()
            await tab.open(document)
            ids = tab.ids
            await tab.edit(0, "edited")
            await until(lambda: site.file.read_bytes() != data and not document.mirror.dirty)
            written = json.loads(site.file.read_bytes())
            assert is_valid(written) >= is_valid(before)
            assert "".join(written["cells"][0]["source"]) == "edited"
            # Another program's change leaves every cell the one that it was.
            written["cells"][-1]["metadata"]["touched"] = True
            site.file.write_text(json.dumps(written))
            await until(lambda: tab.notebook.ycells[-1]["metadata"].get("touched"))
            assert tab.ids == ids
            await document.mirror.save()
            tab.leave()
        await life.closed()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.cell_ids() == ids
    forgotten = {key for key in before if key not in written} - {"worksheets", "stranger"}
    assert not forgotten
    if before["nbformat"] == 4:
        assert len(written["cells"]) == max(1, len(before["cells"]))
        assert written["nbformat_minor"] >= before["nbformat_minor"]
        for old, new in list(zip(before["cells"], written["cells"], strict=False))[1:]:
            assert "".join(old["source"]) == "".join(new["source"])


@pytest.mark.parametrize("minor", range(5))
async def test_cells_without_ids_stay_the_same_without_a_log(site: Site, minor: int) -> None:
    site.write(notebook(cell(None, "x"), cell(None, "y"), cell(None, "x"), minor=minor))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        ids = document.cell_ids()
        assert len(set(ids)) == 3
    site.log = type(site.log)()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.cell_ids() == ids
        site.write(
            notebook(cell(None, "x"), cell(None, "new"), cell(None, "y!"), cell(None, "x"), minor=minor)
        )
        await until(lambda: len(document.cell_ids()) == 4)
        now = document.cell_ids()
        assert (now[0], now[3]) == (ids[0], ids[2])


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_notebook_is_not_touched(site: Site, data: bytes) -> None:
    site.file.write_bytes(data)
    async with site.serving() as life:
        with pytest.raises(LoadFailed) as failed:
            async with life.documents.open(ROOM):
                pass
        assert failed.value.close_code == 4500
    assert site.file.read_bytes() == data


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS.keys())
async def test_text_stays_as_it_is(site: Site, data: bytes) -> None:
    site.file.write_bytes(data)
    for _ in range(2):
        async with site.serving() as life:
            async with life.documents.open(TEXT) as document:
                peer = Peer()
                document.admit(peer.client)
                await peer.greet()
                await until(lambda peer=peer: peer.synced)  # type: ignore[misc]
                await looked(document)
                assert not document.mirror.dirty
                peer.client.left()
            await life.closed(TEXT)
        assert site.file.read_bytes() == data
    async with site.serving() as life, life.documents.open(TEXT) as document:
        with document.room.writing(FromServer()):
            source = document.room.doc.get("source", type=Text)
            source += "!"
        await document.mirror.save()
        assert site.file.read_bytes() == data + b"!"


async def test_text_in_other_letters_is_not_touched(site: Site) -> None:
    site.file.write_bytes("ä".encode("latin-1"))
    async with site.serving() as life:
        with pytest.raises(LoadFailed):
            async with life.documents.open(TEXT):
                pass
    assert site.file.read_bytes() == "ä".encode("latin-1")
