"""Tabs that come back to a document which the server had to build anew, with the stock conversation and no log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import Event, fail_after
from anyio.lowlevel import checkpoint
from jupyter_ydoc import YUnicode
from pycrdt import Text, UndoManager

from tests.documents.conftest import ROOM, TEXT, LastingLog, Life, Site, Tab, ab, sources
from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.ids import Lineage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]


class Away:
    """A tab that was connected once, and what it has."""

    def __init__(self, tab: Tab, lineage: Lineage) -> None:
        self.state = tab.doc.get_update()
        self.lineage = lineage

    def again(self, change: Callable[[Tab], None] | None = None, **options: Any) -> Tab:
        """The same tab before it connects again; ``change`` is what its user did meanwhile."""
        tab = Tab(**options)
        tab.doc.apply_update(self.state)
        if change is not None:
            with tab.doc.transaction():
                change(tab)
        tab._unsent.clear()
        return tab


async def come_back(tab: Peer, document: OpenDocument, lineage: str) -> None:
    """The conversation of a y-websocket that connects again, to its end."""
    document.admit(tab.client, lineage)
    await until(lambda: bool(tab.frames))
    await tab.greet()
    await tab.flush()
    await tab.until_synced()
    if tab.closed is None:
        # The room's question came behind its document, and the answer ends the conversation.
        await tab.flush()
        await tab.send(b"\x02\x07barrier\x02it")
        await document.room.barrier("it", 5)


async def hear(document: OpenDocument, tab: Peer) -> None:
    """Let a tab read what it was sent, and answer, until nothing is noted for it any more."""
    tab.reading.set()
    with fail_after(10):
        while document.room.is_noting(tab.client):
            await tab.flush()
            await checkpoint()


async def greet_and_wait(tab: Tab, document: OpenDocument, lineage: str) -> None:
    """The tab comes back, and what the server says to it takes its time."""
    document.admit(tab.client, lineage)
    await until(lambda: bool(tab.frames))
    tab.reading = Event()
    await tab.greet()
    await tab.flush()


@asynccontextmanager
async def unanswered(tab: Tab, document: OpenDocument, lineage: str) -> AsyncIterator[None]:
    """The tab comes back, and what is done meanwhile it does before the server's answer is there."""
    await greet_and_wait(tab, document, lineage)
    yield
    await tab.flush()
    tab.reading.set()
    await tab.until_synced()
    await tab.flush()


async def move_and_type(tab: Tab, document: OpenDocument, lineage: str) -> None:
    """The tab comes back, moves its first cell to the end before it was answered, and types into that.

    The server has let it go by then; the tab has been answered, and does not know that yet.
    """
    await greet_and_wait(tab, document, lineage)
    cells = len(tab.ids)
    with tab.doc.transaction():
        moved = {**tab.notebook.get_cell(0), "id": tab.ids[0]}
        del tab.notebook.ycells[0]
        tab.notebook.append_cell(moved)
        source = tab.notebook.ycells[cells - 1]["source"]
    await tab.flush()
    tab.reading.set()
    # Answered are the greeting, and the question behind the document.
    await until(lambda: tab.synced and len(tab._answers) == 2)
    tab.reading = Event()
    await tab.flush()
    await until(lambda: len(sources(document)) == cells)
    source += ", and more"
    await tab.flush()
    await hear(document, tab)


async def meet(
    life: Life, change: Callable[[Tab], None] | None = None, *, save: bool = True, leave: bool = False
) -> Away:
    """A tab that opens the document, changes it, and goes away: in mid-connection, or it takes its leave."""
    tab = Tab()
    async with life.documents.open(ROOM) as document:
        await tab.come_to(document)
        if change is not None:
            with tab.doc.transaction():
                change(tab)
            await tab.flush()
        await until(lambda: tab.sources == sources(document))
        if save:
            await document.mirror.save()
            await until(lambda: tab.state.get("dirty") is False)
        if leave:
            tab.leave()
        return Away(tab, document.lineage)


def retype(index: int, text: str) -> Callable[[Tab], None]:
    def change(tab: Tab) -> None:
        source = tab.notebook.ycells[index]["source"]
        source.clear()
        source += text

    return change


def forget(site: Site) -> None:
    """The log is gone."""
    site.log = LastingLog()


async def everywhere(site: Site, document: OpenDocument, tab: Tab, expected: list[str]) -> None:
    await until(lambda: sources(document) == expected)
    await until(lambda: tab.sources == expected)
    await until(lambda: site.on_disk == expected)
    assert len(set(tab.ids)) == len(tab.ids)


async def rebuilt(site: Site, *, signed: bool = True) -> Away:
    """A tab of a document whose file is not the one it was built from, and whose log is gone.

    Not ``signed``, it is trusted only since it was saved.
    """
    site.write(ab("a", "b"))
    if signed:
        await site.contents.trust_notebook(ROOM.file_id)  # type: ignore[no-untyped-call]
    async with site.serving() as life:
        away = await meet(life, retype(0, "edited"))
    forget(site)
    return away


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
async def test_nothing_was_changed(site: Site, signed: bool) -> None:
    away = await rebuilt(site, signed=signed)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage != away.lineage
        tab = away.again()
        cells = [item["source"] for item in tab.notebook.ycells]
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "b"])
        # Otherwise the tab is told that it is trusted now, which others like it do not know.
        assert (document.lineage == away.lineage) is signed
        # The tab's own cells are the ones that stayed.
        assert [str(source) for source in cells] == ["edited", "b"]
        assert not site.copies


async def test_the_tab_was_typed_in(site: Site) -> None:
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(1, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "typed while away"])
        assert not site.copies


async def test_the_file_was_changed(site: Site) -> None:
    away = await rebuilt(site)
    site.write(ab("edited", "changed elsewhere"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again()
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "changed elsewhere"])
        assert not site.copies


async def test_both_were_changed_in_other_cells(site: Site) -> None:
    away = await rebuilt(site)
    site.write(ab("edited", "changed elsewhere"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(0, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["typed while away", "changed elsewhere"])
        assert not site.copies


async def test_both_changed_the_same_cell(site: Site) -> None:
    away = await rebuilt(site)
    site.write(ab("edited", "changed elsewhere"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(1, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["edited", "changed elsewhere"])
        assert [item["source"] for item in site.copies[0]["cells"]] == ["edited", "typed while away"]


@pytest.mark.parametrize("logged", [True, False], ids=["with the log", "without it"])
@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
async def test_erasing_in_a_cell_that_both_changed_is_undone(site: Site, alone: bool, logged: bool) -> None:
    """What the tab has erased is there again, as the document's version counts; undoing does not bring it again.

    With the log the document and the tab have the cell in common, and the file's change is of another lineage.
    """
    site.write(ab("one two", "b"))
    async with site.serving() as life:
        away = await meet(life)
    if not logged:
        forget(site)
    site.write(ab("one two and three", "b"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        if not alone:
            await Tab().come_to(document)
        tab = away.again()
        history = UndoManager(scopes=[tab.notebook.ycells], capture_timeout_millis=0)
        history.include_origin("user")
        with tab.doc.transaction(origin="user"):
            del tab.notebook.ycells[0]["source"][0:4]
        tab.notebook.ycells[0]["source"].insert(3, "!")
        tab._unsent.clear()
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["one two and three", "b"])
        assert [item["source"] for item in site.copies[0]["cells"]] == ["two!", "b"]
        history.undo()
        await tab.flush()
        await tab.edit(1, "afterwards")
        await everywhere(site, document, tab, ["one two and three", "afterwards"])


async def test_cells_that_were_added_and_deleted(site: Site) -> None:
    away = await rebuilt(site)
    site.write(notebook(cell("cell-0", "new in the file"), cell("cell-a", "edited"), cell("cell-b", "b")))

    def change(tab: Tab) -> None:
        tab.notebook.append_cell(cell("cell-c", "new in the tab"))
        del tab.notebook.ycells[1]

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(change)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["new in the file", "edited", "new in the tab"])
        assert not site.copies


async def test_somebody_is_there_already(site: Site) -> None:
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        lineage = document.lineage
        other = Tab()
        await other.come_to(document)
        await other.edit(1, "typed by the other")
        seen = len(other.frames)
        tab = away.again(retype(0, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["typed while away", "typed by the other"])
        await until(lambda: other.sources == tab.sources)
        assert document.lineage == lineage
        assert other.ids == ["cell-a", "cell-b"]
        assert len(other.frames) > seen
        # And both go on.
        await tab.edit(1, "and on")
        await other.edit(0, "and on too")
        await everywhere(site, document, tab, ["and on too", "and on"])
        await until(lambda: other.sources == tab.sources)
        assert not site.copies


async def test_coming_back_again_with_the_first_lineage(site: Site) -> None:
    """The address of a tab's websocket names for ever the lineage that it got first."""
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        await other.come_to(document)
        tab = away.again(retype(0, "once"))
        await come_back(tab, document, away.lineage)
        later = Away(tab, away.lineage)
        tab.leave()
        await other.edit(1, "meanwhile")
        tab = later.again(lambda tab: tab.notebook.ycells[0]["source"].insert(0, "at "))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["at once", "meanwhile"])
        assert not site.copies


async def test_a_file_that_is_again_what_the_document_was_built_from(site: Site) -> None:
    """The same content gives the same items, of which the tab knows what became; but the file has them again."""
    first = notebook(cell("cell-a", "a"), cell("cell-b", "b"), cell("cell-c", "c"))
    site.write(first)
    async with site.serving() as life:

        def change(tab: Tab) -> None:
            retype(0, "edited")(tab)
            del tab.notebook.ycells[2]

        away = await meet(life, change)
    forget(site)
    site.write(first)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == away.lineage
        tab = away.again(retype(1, "typed while away"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["a", "typed while away", "c"])
        # It is known by now.
        later = Away(tab, away.lineage)
        tab.leave()
        tab = later.again(retype(2, "later"))
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["a", "typed while away", "later"])


@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
@pytest.mark.parametrize("typed", [True, False])
async def test_what_a_program_puts_back_is_a_change_for_a_tab_that_heard_of_no_save(
    site: Site, typed: bool, alone: bool
) -> None:
    """All it knows of the file is what that was before the save, and so is again: as if it had not been saved at all."""
    site.write(ab("one two"))
    async with site.serving() as life:
        away = await meet(life, retype(0, "one"), save=False)
    assert site.on_disk == ["one", "b"]
    forget(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        if not alone:
            await Tab().come_to(document)
        site.write(ab("one two"))
        await until(lambda: sources(document) == ["one two", "b"])
        tab = away.again(retype(0, "one!") if typed else None)
        await come_back(tab, document, away.lineage)
        await everywhere(site, document, tab, ["one two", "b"])
        assert [item["cells"][0]["source"] for item in site.copies] == (["one!"] if typed else [])


async def test_what_a_program_puts_back_is_known_to_a_tab_that_has_seen_it_since(site: Site) -> None:
    """And what it takes out then is taken out."""
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = away.again(retype(1, "typed while away"))
        site.write(ab("a", "b"))
        await until(lambda: sources(document) == ["a", "b"])
        tab = Tab()
        await tab.come_to(document)
        lineage = document.lineage
        await until(lambda: tab.sources == ["a", "b"] and not document.mirror.dirty)
        tab.leave()
        await until(lambda: not document.room.clients)
        await come_back(other, document, away.lineage)
        assert document.lineage != lineage
        again = Away(tab, lineage).again(retype(0, "taken out"))
        await come_back(again, document, lineage)
        await everywhere(site, document, again, ["taken out", "typed while away"])


async def test_two_old_tabs_one_after_the_other(site: Site) -> None:
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        first = away.again(retype(0, "typed in the first"))
        second = away.again(retype(1, "typed in the second"))
        await come_back(first, document, away.lineage)
        await come_back(second, document, away.lineage)
        await everywhere(site, document, second, ["typed in the first", "typed in the second"])
        await until(lambda: first.sources == second.sources)


async def test_what_is_typed_before_the_answer_is_there(site: Site) -> None:
    """The room keeps its own cells, as somebody looks at them; the tab's user types into the old ones meanwhile."""
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        await other.come_to(document)
        tab = away.again()
        document.admit(tab.client, away.lineage)
        await until(lambda: bool(tab.frames))
        tab.reading = type(tab.reading)()  # what the server says takes its time
        await tab.greet()
        await tab.flush()
        await tab.edit(0, "typed before the answer")
        tab.reading.set()
        await tab.until_synced()
        await tab.flush()
        await everywhere(site, document, tab, ["typed before the answer", "b"])
        await until(lambda: other.sources == tab.sources)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    "same", [True, False], ids=["and nothing tells them apart", "and they have other results"]
)
@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
async def test_a_cell_that_the_tab_has_twice(site: Site, alone: bool, same: bool, typed: bool) -> None:
    """As when its user has moved it while another one did, or undoes that it was moved when the server has done it anew.

    What is typed into the copy before the answer is not lost.
    """
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        if not alone:
            await Tab().come_to(document)
        more = {} if same else {"execution_count": 1}
        tab = away.again(
            lambda tab: tab.notebook.append_cell({**tab.notebook.get_cell(0), "id": "cell-a", **more})
        )
        assert tab.sources == ["edited", "b", "edited"]
        document.admit(tab.client, away.lineage)
        await until(lambda: bool(tab.frames))
        tab.reading = type(tab.reading)()
        await tab.greet()
        await tab.flush()
        if typed:
            await tab.edit(2, "edited and more")
        tab.reading.set()
        await tab.until_synced()
        await tab.flush()
        await everywhere(site, document, tab, ["edited", "b", *(["edited and more"] if typed else [])])


@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
@pytest.mark.parametrize("both", [True, False], ids=["both had changed it", "only the tab"])
async def test_a_cell_is_moved_before_the_answer_is_there(site: Site, alone: bool, both: bool) -> None:
    """Moving is removing and inserting a copy, and the tab's user moves what nobody else sees any more."""
    away = await rebuilt(site)
    if both:
        site.write(ab("changed elsewhere", "b"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        if not alone:
            await other.come_to(document)
        tab = away.again(retype(0, "typed while away"))
        async with unanswered(tab, document, away.lineage):
            with tab.doc.transaction():
                moved = tab.notebook.get_cell(0)
                del tab.notebook.ycells[0]
                tab.notebook.append_cell({**moved, "source": "typed while away, and moved"})
                tab.notebook.append_cell(cell("new", "new"))
        text = "changed elsewhere" if both else "typed while away, and moved"
        await until(lambda: sorted(sources(document)) == sorted([text, "b", "new"]))
        await everywhere(site, document, tab, sources(document))
        assert sorted(tab.ids) == ["cell-a", "cell-b", "new"]
        if both:
            assert site.copies[-1]["cells"][1]["source"] == "typed while away, and moved"
        if not alone:
            await until(lambda: other.sources == tab.sources)


@pytest.mark.parametrize("place", [0, 1], ids=["to the top", "to the end"])
async def test_a_cell_that_was_moved_before_the_answer_was_there_is_once_in_a_file_that_is_saved_meanwhile(
    site: Site, place: int
) -> None:
    """It is there twice for a moment, and saving gives one of them another id."""
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        await other.come_to(document)
        tab = away.again(retype(0, "typed while away"))
        await greet_and_wait(tab, document, away.lineage)
        with tab.doc.transaction():
            moved = tab.notebook.get_cell(0)
            del tab.notebook.ycells[0]
            tab.notebook.ycells.insert(
                place,
                tab.notebook.create_ycell({**moved, "source": "typed while away, and moved"}),
            )
        await tab.flush()
        await until(lambda: len(sources(document)) == 3)
        await document.mirror.save()
        tab.reading.set()
        await hear(document, tab)
        await until(lambda: sorted(sources(document)) == ["b", "typed while away, and moved"])
        await everywhere(site, document, tab, sources(document))
        assert sorted(tab.ids) == ["cell-a", "cell-b"]
        await until(lambda: other.sources == tab.sources)
        assert not site.copies


@pytest.mark.parametrize("alone", [True, False], ids=["nobody is there", "somebody is there"])
@pytest.mark.parametrize("here", ["changed elsewhere", "edited"], ids=["which differs", "which is the same"])
async def test_what_is_typed_into_a_cell_that_was_moved_before_the_answer_was_there_is_in_the_one_that_stays(
    site: Site, here: str, alone: bool
) -> None:
    """The server has answered, and lets the copy go. Its user does not see that yet, and types into it."""
    away = await rebuilt(site)
    if here != "edited":
        site.write(ab(here, "b"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        other = Tab()
        if not alone:
            await other.come_to(document)
        tab = away.again()
        await move_and_type(tab, document, away.lineage)
        await until(lambda: sorted(sources(document)) == ["b", f"{here}, and more"])
        await everywhere(site, document, tab, sources(document))
        if not alone:
            await until(lambda: other.sources == tab.sources)
        assert sorted(tab.ids) == ["cell-a", "cell-b"]


async def test_who_connects_with_the_lineage_that_was_when_another_one_comes_with_its_own(site: Site) -> None:
    """It is asked whether it has what the room has forgotten; the other one is taken in before it has said that."""
    away = await rebuilt(site)
    async with site.serving() as life:
        last = await meet(life)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == last.lineage != away.lineage

        def move(tab: Tab) -> None:
            moved = tab.notebook.get_cell(0)
            del tab.notebook.ycells[0]
            tab.notebook.append_cell({**moved, "source": "edited, and moved"})

        tab, other = last.again(move), away.again(retype(1, "typed while away"))
        document.admit(tab.client, last.lineage)
        await until(lambda: bool(tab.frames))
        await come_back(other, document, away.lineage)
        assert document.lineage != last.lineage
        await tab.greet()
        await tab.until_synced()
        await tab.flush()
        await everywhere(site, document, tab, ["typed while away", "edited, and moved"])
        assert tab.ids == ["cell-b", "cell-a"]
        await until(lambda: other.sources == tab.sources)


async def test_a_reader_cannot_be_taken_in(site: Site) -> None:
    away = await rebuilt(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(0, "of a reader"), may_write=False)
        await come_back(tab, document, away.lineage)
        assert tab.closed is not None
        assert tab.closed[0] == 1003
        assert json.loads(tab.closed[1])["reason"] == "session_changed"
        assert sources(document) == ["edited", "b"]


async def test_a_reader_who_opens_it_for_the_first_time(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab(may_write=False)
        await come_back(tab, document, "another")
        assert tab.sources == ["a", "b"]


async def test_garbage_instead_of_a_document(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        document.admit(tab.client, "another")
        await until(lambda: bool(tab.frames))
        await tab.send(b"\x00\x01\x05\xff\xff\xff\xff\xff")
        await until(lambda: tab.closed is not None)
        assert sources(document) == ["a", "b"]


async def test_text_is_not_doubled(site: Site) -> None:
    site.file.write_text("one\n")
    async with site.serving() as life, life.documents.open(TEXT) as document:
        tab = Peer()
        view = YUnicode(tab.doc)
        await come_back(tab, document, document.lineage)
        view.set("one\ntwo 📊\n")
        await tab.flush()
        await until(lambda: document.read() == "one\ntwo 📊\n")
        await document.mirror.save()
        lineage, state = document.lineage, tab.doc.get_update()
    forget(site)
    async with site.serving() as life, life.documents.open(TEXT) as document:
        assert document.lineage != lineage
        tab = Peer()
        tab.doc.apply_update(state)
        view = YUnicode(tab.doc)
        tab.doc.get("source", type=Text).insert(0, "zero\n")
        tab._unsent.clear()
        await come_back(tab, document, lineage)
        await until(lambda: document.read() == "zero\none\ntwo 📊\n")
        await until(lambda: YUnicode(tab.doc).get() == "zero\none\ntwo 📊\n")
        await until(lambda: site.file.read_text() == "zero\none\ntwo 📊\n")


async def test_a_tab_in_which_everything_was_replaced(site: Site) -> None:
    """It takes nothing away, but what was written there is not lost either."""
    long = notebook(
        *(cell(f"cell-{number}", f"value_{number} = compute_something({number})") for number in range(20))
    )
    site.write(long)
    async with site.serving() as life:
        away = await meet(life, retype(0, "edited = True"))
    forget(site)

    def replace(tab: Tab) -> None:
        tab.notebook.ycells.clear()
        tab.notebook.append_cell(cell("new", "print('all new')"))

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(replace)
        await come_back(tab, document, away.lineage)
        expected = ["edited = True", *(one["source"] for one in long["cells"][1:]), "print('all new')"]
        await until(lambda: sorted(sources(document)) == sorted(expected))
        await everywhere(site, document, tab, sources(document))
