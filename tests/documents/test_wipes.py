"""Who clears a document takes nothing from anybody: what was there is kept, and the file stays as it is."""

from __future__ import annotations

import pytest
from jupyter_ydoc import YUnicode

from tests.documents.conftest import ROOM, TEXT, Life, Site, Tab, ab, sources
from tests.documents.test_returning_tabs import come_back, forget, meet, retype
from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]

LONG = notebook(*(cell(f"cell-{number}", f"value_{number} = compute({number})") for number in range(6)))
TEXTS = [one["source"] for one in LONG["cells"]]


def clear(tab: Tab) -> None:
    """As tabs do that have lost their way: everything goes, and JupyterLab puts a blank cell there."""
    tab.notebook.ycells.clear()
    tab.notebook.append_cell(cell("blank", ""))


def notices(document: OpenDocument) -> list[str]:
    live = document.room.doc.get("execution", type=type(document.document.ystate)).to_py() or {}
    return sorted(entry["kind"] for entry in (live.get("notices") or {}).values())


async def wiped(site: Site, life: Life, document: OpenDocument) -> Tab:
    """A tab that has cleared the document."""
    tab = Tab()
    await tab.come_to(document)
    with tab.doc.transaction():
        clear(tab)
    await tab.flush()
    await until(lambda: sources(document) == [""])
    return tab


async def test_what_was_there_is_kept(site: Site) -> None:
    site.write(LONG)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = await wiped(site, life, document)
        assert [[one["source"] for one in copy["cells"]] for copy in site.copies] == [TEXTS]
        await until(lambda: notices(document) == ["emptied", "wiped"])
        assert {event.kind for event in life.events} == {"emptied", "wiped"}
        assert site.on_disk == TEXTS
        # Whoever goes on in the blank cell is saved, as by then it is no accident.
        await tab.edit(0, "something new")
        await until(lambda: site.on_disk == ["something new"])
        await until(lambda: notices(document) == ["wiped"])


async def test_who_asks_for_it_gets_it_saved(site: Site) -> None:
    site.write(LONG)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = await wiped(site, life, document)
        await until(lambda: "emptied" in notices(document))
        await tab.send(b"\x02\x04save\x01")
        await until(lambda: site.on_disk == [""])
        await until(lambda: notices(document) == ["wiped"])
        await until(lambda: tab.state.get("dirty") is False)


@pytest.mark.parametrize("logged", [True, False], ids=["with a log", "without"])
async def test_the_next_who_opens_it_gets_the_file(site: Site, logged: bool) -> None:
    site.write(LONG)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = await wiped(site, life, document)
            await until(lambda: "emptied" in notices(document))
            tab.leave()
        await life.closed()
        assert site.on_disk == TEXTS
    if not logged:
        forget(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == TEXTS


@pytest.mark.parametrize("logged", [True, False], ids=["with a log", "without"])
async def test_a_tab_that_comes_back_empty(site: Site, logged: bool) -> None:
    site.write(LONG)
    async with site.serving() as life:
        away = await meet(life, retype(0, "edited = True"))
    if not logged:
        forget(site)
    expected = ["edited = True", *TEXTS[1:]]
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(clear)
        await come_back(tab, document, away.lineage)
        await until(lambda: tab.sources == sources(document))
        await document.mirror.save()
        assert [text for text in site.on_disk if text] == expected
        if logged:
            assert [[one["source"] for one in copy["cells"]] for copy in site.copies] == [expected]
        else:
            # Of another lineage it can add (a blank cell), and not take everything away from all others.
            assert sorted(sources(document)) == sorted(["", *expected])


async def test_what_people_do_every_day_is_no_wipe(site: Site) -> None:
    site.write(LONG)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        with tab.doc.transaction():
            del tab.notebook.ycells[2]
            moved = tab.notebook.get_cell(0)
            del tab.notebook.ycells[0]
            tab.notebook.append_cell(moved)
        await tab.flush()
        await tab.edit(1, "another text altogether, which is about as long as before")
        await until(lambda: sources(document) == tab.sources)
        await until(lambda: site.on_disk == tab.sources)
        assert site.copies == []
        assert notices(document) == []


async def test_a_copy_that_cannot_be_kept_stops_the_wipe(site: Site) -> None:
    site.write(LONG)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        site.settings.recovery_dir.write_text("in the way")
        with tab.doc.transaction():
            clear(tab)
        await tab.flush()
        await until(lambda: tab.closed is not None)
        assert sources(document) == TEXTS


async def test_text(site: Site) -> None:
    text = "a line of text that somebody wrote\n" * 20
    site.file.write_text(text)
    async with site.serving() as life, life.documents.open(TEXT) as document:
        tab = Peer()
        await come_back(tab, document, document.lineage)
        YUnicode(tab.doc).set("")
        await tab.flush()
        await until(lambda: document.read() == "")
        [copy] = site.settings.recovery_dir.glob("*/content*")
        assert copy.read_text() == text
        await until(lambda: notices(document) == ["emptied", "wiped"])
        assert site.file.read_text() == text


async def test_an_emptied_file_is_saved_as_it_is(site: Site) -> None:
    """Nothing is missed where nothing was."""
    site.write(ab("", ""))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        with tab.doc.transaction():
            del tab.notebook.ycells[0]
        await tab.flush()
        await until(lambda: site.on_disk == [""])
        assert site.copies == []
