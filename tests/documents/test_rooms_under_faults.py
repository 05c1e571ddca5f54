"""What happens to rooms everywhere: tabs come back, sockets break and servers end, with every kind of store.

A store is a database, or is in memory and ends with the server, or is wiped whenever the document is closed. In each
case nothing is lost, nothing is there twice, and who was away takes nothing away from the others.
"""

from __future__ import annotations

import errno
import json
import logging
import random
from base64 import b64encode
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group, fail_after, sleep
from anyio.lowlevel import checkpoint
from jupyter_ydoc import YNotebook, YUnicode
from pycrdt import Map

from tests.documents.collaborating import Server, is_closed, of
from tests.documents.conftest import ROOM, TEXT, Life, Site, Tab, sources
from tests.documents.runs import a_run, begin, end, said, target_of
from tests.documents.test_fuzz import clocks
from tests.documents.test_returning_tabs import Away, come_back, meet, retype
from tests.documents.test_unload import PANIC
from tests.node_process import NodeProcess
from tests.notebook.edits import prints, show
from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec import sync
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import DocumentNotFound
from ydoc_exec.ids import RoomId
from ydoc_exec.origin import FromServer
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(60),
]

ABC = notebook(cell("cell-a", "a"), cell("cell-b", "b"), cell("cell-c", "c"))


class StoredSite(Site):
    """A site with one of the stores."""

    def __init__(self, root: Path, store: str) -> None:
        super().__init__(root)
        self.store = store
        if store == "database":
            self.log = SqliteUpdateLog(root / "log.sqlite")
        elif store == "memory":
            self.log = MemoryUpdateLog()

    @property
    def remembers(self) -> bool:
        """Whether it knows after a restart what was done before."""
        return self.store == "database"

    def restart(self) -> None:
        """What a restart does to the store."""
        if not self.remembers:
            self.log = type(self.log)()

    async def evicted(self, life: Life) -> None:
        """The document was closed, and the store is what it is then."""
        await life.closed()
        if self.store == "wiped":
            await life.writer.flush()
            await self.log.forget(ROOM)


@pytest.fixture(params=["database", "memory", "wiped"])
def stored(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StoredSite:
    monkeypatch.setattr("ydoc_exec.files.file_mirror.SAVE_PAUSE", 0.0)
    return StoredSite(tmp_path, request.param)


async def agreed(site: Site, document: OpenDocument, *tabs: Tab, expected: list[str]) -> None:
    """The document, its file and these tabs have these cells, each once."""
    await until(lambda: sources(document) == expected)
    for tab in tabs:
        await until(lambda tab=tab: tab.sources == expected)  # type: ignore[misc]
        assert len(set(tab.ids)) == len(tab.ids)
    await until(lambda: site.on_disk == expected)


def kept(site: Site) -> list[list[str]]:
    """The sources in the recovery copies."""
    return [["".join(cell["source"]) for cell in copy["cells"]] for copy in site.copies]


# Servers that end


@pytest.mark.parametrize("cells", [['print("hello")'], ["a", "b", 'x = "📊"']], ids=["one cell", "several"])
@pytest.mark.parametrize("added", [False, True], ids=["as it was", "with new cells"])
async def test_a_tab_that_slept_through_a_restart(stored: StoredSite, cells: list[str], added: bool) -> None:
    stored.write(notebook(*(cell(f"cell-{index}", source) for index, source in enumerate(cells))))

    def add(tab: Tab) -> None:
        for number in range(2 if added else 0):
            tab.notebook.append_cell(cell(f"new-{number}", f"new {number}"))

    async with stored.serving() as life:
        away = await meet(life, add)
    expected = cells + (["new 0", "new 1"] if added else [])
    assert stored.on_disk == expected
    stored.restart()
    async with stored.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again()
        ids = tab.ids
        await come_back(tab, document, away.lineage)
        await agreed(stored, document, tab, expected=expected)
        assert tab.ids == ids
    assert kept(stored) == []


async def test_a_text_whose_tab_slept_through_a_restart(stored: StoredSite) -> None:
    stored.file.write_text('print("hello")\n')
    tab = Peer()
    async with stored.serving() as life, life.documents.open(TEXT) as document:
        await come_back(tab, document, document.lineage)
        YUnicode(tab.doc).set('print("hello, 📊")\n')
        await tab.flush()
        await until(lambda: document.read() == 'print("hello, 📊")\n')
        await document.mirror.save()
        lineage = document.lineage
    stored.restart()
    async with stored.serving() as life, life.documents.open(TEXT) as document:
        again = Peer()
        again.doc.apply_update(tab.doc.get_update())
        again._unsent.clear()
        await come_back(again, document, lineage)
        await until(lambda: YUnicode(again.doc).get() == document.read() == 'print("hello, 📊")\n')
        assert stored.file.read_text() == 'print("hello, 📊")\n'


@pytest.mark.parametrize("restarted", [False, True], ids=["closed", "restarted"])
async def test_a_tab_that_comes_back_clears_the_document_and_gets_a_blank_cell(
    stored: StoredSite, restarted: bool
) -> None:
    """Two updates: the tab's own clearing, and then JupyterLab's first cell for a notebook that has none."""
    long = notebook(*(cell(f"cell-{number}", f"value_{number} = compute({number})") for number in range(6)))
    stored.write(long)

    async def wake(life: Life) -> None:
        async with life.documents.open(ROOM) as document:
            tab = away.again()
            await come_back(tab, document, away.lineage)
            before = tab.sources
            tab.notebook.ycells.clear()
            await tab.flush()
            tab.notebook.append_cell(cell("blank", ""))
            await tab.flush()
            await until(lambda: sources(document) == [""])
            assert kept(stored) == [before]
            await until(lambda: "emptied" in {event.kind for event in life.events})
            tab.leave()
        await stored.evicted(life)
        assert stored.on_disk == before
        async with life.documents.open(ROOM) as document:
            assert sources(document) == before

    async with stored.serving() as life:
        away = await meet(life, retype(0, "edited = True"), leave=True)
        await stored.evicted(life)
        if not restarted:
            await wake(life)
    if restarted:
        stored.restart()
        async with stored.serving() as life:
            await wake(life)


@pytest.mark.parametrize("typed_away", [False, True], ids=["no edit", "an edit"])
@pytest.mark.parametrize("outside", ["nothing", "another cell", "the same cell"])
async def test_a_server_that_ends_between_store_and_file(
    stored: StoredSite, outside: str, typed_away: bool
) -> None:
    """The store is ahead of the file, which others may have changed too, when an old tab comes back."""
    stored.write(ABC)
    stored.set(save_delay=60.0, save_interval=60.0)
    async with stored.serving(kill=True) as life:
        away = await meet(life, retype(0, "a, not in the file"), save=False)
    assert stored.on_disk == ["a", "b", "c"]
    stored.set(save_delay=0.01, save_interval=0.1)
    theirs = {
        "nothing": ("a", "b"),
        "another cell": ("a", "b, outside"),
        "the same cell": ("a, outside", "b"),
    }
    if outside != "nothing":
        a, b = theirs[outside]
        stored.write(notebook(cell("cell-a", a), cell("cell-b", b), cell("cell-c", "c")))
    stored.restart()
    async with stored.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(retype(2, "c, typed away") if typed_away else None)
        await come_back(tab, document, away.lineage)
        await until(lambda: tab.sources == sources(document))
        last = "c, typed away" if typed_away else "c"
        found = sources(document)
        assert found[1:] == [theirs[outside][1], last]
        if outside == "the same cell":
            # Both are there, one of them in a copy; and that is said.
            assert found[0] in ("a, not in the file", "a, outside")
            assert {copy[0] for copy in kept(stored)} | {found[0]} == {"a, not in the file", "a, outside"}
            assert "conflict" in {event.kind for event in life.events}
        else:
            assert found[0] == "a, not in the file"
            assert kept(stored) == []
        await agreed(stored, document, tab, expected=found)


async def test_a_tab_that_was_open_for_a_week(stored: StoredSite) -> None:
    """It has not been typed in, and takes nothing back of what was done on all these days."""
    stored.write(ABC)
    async with stored.serving() as life:
        away = await meet(life)
    for day in range(4):
        stored.restart()
        async with stored.serving() as life:
            await meet(life, retype(day % 2, f"day {day}"), leave=True)
            await stored.evicted(life)
            await meet(life, lambda tab, day=day: tab.notebook.append_cell(cell(f"day-{day}", f"new {day}")))  # type: ignore[misc]
        if day == 1:
            content = [cell(name, f"outside {name}") for name in ("cell-c", "cell-a", "day-0", "day-1")]
            stored.write(notebook(*content))
    stored.restart()
    async with stored.serving() as life, life.documents.open(ROOM) as document:
        colleague = Tab()
        await colleague.come_to(document)
        before, file, ids = sources(document), stored.file.read_bytes(), colleague.ids
        assert before[:2] == ["day 2", "day 3"]
        assert "b" not in before
        tab = away.again()
        await come_back(tab, document, away.lineage)
        await agreed(stored, document, tab, colleague, expected=before)
        assert tab.ids == colleague.ids == ids
        await document.mirror.save()
        assert stored.file.read_bytes() == file
    assert kept(stored) == []


@pytest.mark.parametrize("first", ["the one that slept", "the one that typed"])
async def test_one_of_two_tabs_sleeps_while_the_other_types(stored: StoredSite, first: str) -> None:
    """Both come back after a restart, and see the same."""
    stored.write(ABC)
    async with stored.serving() as life:
        asleep = await meet(life)
        awake = await meet(life, retype(1, "b, typed while the other slept"))
    stored.restart()
    async with stored.serving() as life, life.documents.open(ROOM) as document:
        tabs = {"the one that slept": asleep.again(), "the one that typed": awake.again()}
        lineages = {"the one that slept": asleep.lineage, "the one that typed": awake.lineage}
        for name in sorted(tabs, key=lambda name: name != first):
            await come_back(tabs[name], document, lineages[name])
        await agreed(stored, document, *tabs.values(), expected=["a", "b, typed while the other slept", "c"])
    assert kept(stored) == []


# Sockets that break


@pytest.mark.parametrize("linger", [0.0, 60.0])
async def test_a_socket_that_breaks_while_an_outside_edit_is_taken_up(
    stored: StoredSite, linger: float
) -> None:
    """At every moment of it: from before anybody has looked at the file until it is all over."""
    stored.set(linger=linger, poll_interval=0.005)
    stored.write(ABC)
    async with stored.serving() as life:
        away = await meet(life, leave=True)
        moments = [*range(10), 16, 32, 64, 128, 256]
        for number, steps in enumerate(moments):
            tab = away.again()
            async with life.documents.open(ROOM) as document:
                await come_back(tab, document, away.lineage)
                reads = stored.contents.reads
                stored.write(
                    notebook(cell("cell-a", "a"), cell("cell-b", f"outside {number}"), cell("cell-c", "c"))
                )
                if number % 2:
                    await until(lambda reads=reads: stored.contents.reads > reads)  # type: ignore[misc]
                for _ in range(steps):
                    await checkpoint()
                tab.leave()
                away = Away(tab, document.lineage if tab.sources == sources(document) else away.lineage)
            if number % 3 == 0 and not linger:
                await stored.evicted(life)
            async with life.documents.open(ROOM) as document:
                tab = away.again()
                await come_back(tab, document, away.lineage)
                await agreed(stored, document, tab, expected=["a", f"outside {number}", "c"])
                assert tab.ids == ["cell-a", "cell-b", "cell-c"]
                await until(lambda tab=tab: tab.state["dirty"] is False)  # type: ignore[misc]
                tab.leave()
                away = Away(tab, document.lineage)
    assert kept(stored) == []


@pytest.mark.parametrize("seed", range(2))
async def test_tabs_that_come_back_when_the_document_is_being_closed(stored: StoredSite, seed: int) -> None:
    """Around the moment at which nobody is waited for any more: right before it, while the document is closed, and
    after that. Whatever a tab was told that it has arrived is there in the end, once.
    """
    dice = random.Random(seed)
    linger = 0.01
    stored.set(linger=linger, save_delay=0.002)
    stored.write(ABC)
    numbers = count()
    acknowledged: list[str] = []
    opened: list[OpenDocument] = []
    away: dict[str, Away] = {}
    async with stored.serving() as life:

        async def visit(name: str) -> None:
            async with life.documents.open(ROOM) as document:
                opened.append(document)
                tab = away[name].again() if name in away else Tab()
                await come_back(tab, document, away[name].lineage if name in away else document.lineage)
                for _ in range(dice.randrange(1, 3)):
                    word = f"<{name}{next(numbers)}>"
                    source = tab.notebook.ycells[dice.randrange(2)]["source"]
                    source += word
                    await tab.flush()
                    await tab.send(b"\x02\x07barrier" + bytes([len(word)]) + word.encode())
                    await document.room.barrier(word, 5)
                    acknowledged.append(word)
                if dice.random() < 0.3:
                    tab.notebook.ycells[2]["source"].insert(0, f"({next(numbers)})")  # on its way
                    await tab.flush()
                await until(lambda: tab.sources == sources(document))
                if dice.random() < 0.7:
                    await until(lambda: not document.mirror.dirty)
                away[name] = Away(tab, document.lineage)
                tab.leave()

        for _ in range(12):
            async with create_task_group() as tasks:
                for name in dice.choice(["x", "y", "xy"]):
                    tasks.start_soon(visit, name)
            await sleep(
                dice.choice([0, linger / 2, linger - 0.001, linger, linger, linger + 0.001, 3 * linger])
            )
            for _ in range(dice.randrange(10)):
                await checkpoint()
            if dice.random() < 0.1:
                await stored.evicted(life)
        lives = len(set(opened))
        async with life.documents.open(ROOM) as document:
            found = sources(document)
            await document.mirror.save()
            assert stored.on_disk == found
    assert len(found) == 3
    assert lives > 2
    everything = "".join(found)
    assert [word for word in acknowledged if everything.count(word) != 1] == []
    if stored.store != "wiped":  # then nobody can tell an old version of a cell from another one
        assert kept(stored) == []


# What a room records of its beginning


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "from its history"])
async def test_the_history_has_what_is_written_while_a_room_begins(
    stored: StoredSite, known: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of it. One update that was missing would leave all later ones of this writer without effect."""
    dice = random.Random(seed)
    often = dice.choice([0.1, 0.5, 1.0])
    stored.write(ABC)
    written = count()
    done: list[bool] = []
    async with stored.serving() as life, create_task_group() as tasks:
        if known:
            await meet(life, retype(0, "edited"), leave=True)
            await life.closed()
        make = life.documents._make

        async def write_at_every_step(document: OpenDocument) -> None:
            elsewhere = document.room.doc.get("elsewhere", type=Map)
            while not done:
                if dice.random() < often:
                    with document.room.writing(FromServer()):
                        elsewhere[f"{dice.randrange(4)}"] = next(written)
                await checkpoint()

        def make_and_write(room: RoomId) -> OpenDocument:
            document = make(room)
            tasks.start_soon(write_at_every_step, document)
            return document

        monkeypatch.setattr(life.documents, "_make", make_and_write)
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.edit(1, "typed")
            await until(lambda: sources(document)[1] == "typed")
            done.append(True)
            replayed = YNotebook()
            with fail_after(5):
                while clocks(replayed.ydoc) != clocks(document.room.doc):  # it also says that it is saved
                    await life.writer.flush()
                    history = await stored.log.read(ROOM)
                    assert history is not None
                    replayed = YNotebook()
                    for update in history.updates:
                        replayed.ydoc.apply_update(update)
            assert replayed.get() == document.read()
            elsewhere = replayed.ydoc.get("elsewhere", type=Map)
            assert elsewhere.to_py() == document.room.doc.get("elsewhere", type=Map).to_py()
            tab.leave()
    assert next(written) > 5


# Many at once


@pytest.mark.parametrize("seed", range(5))
async def test_random_edits_while_others_connect(site: Site, seed: int) -> None:
    """Whoever connects in the middle of quick edits, as an agent makes them, gets all of them."""
    dice = random.Random(seed)
    site.write(ABC)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        agent = Tab()
        await agent.come_to(document)
        others: list[Tab] = []
        names = count()

        async def connect() -> None:
            tab = Tab()
            for _ in range(dice.randrange(30)):
                await checkpoint()
            await tab.come_to(document)
            others.append(tab)

        async def edit() -> None:
            for _ in range(100):
                cells = agent.notebook.ycells
                index = dice.randrange(len(cells))
                match dice.randrange(5):
                    case 0:
                        agent.notebook.append_cell(cell(f"new-{next(names)}", "new 📊"))
                    case 1 if len(cells) > 2:
                        del cells[index]
                    case 2 if len(cells[index]["source"]):
                        del cells[index]["source"][0:1]
                    case 3:
                        moved = agent.notebook.get_cell(index)
                        with agent.doc.transaction():
                            del cells[index]
                            agent.notebook.append_cell(moved)
                    case _:
                        cells[index]["source"].insert(0, dice.choice("ab日📊"))
                await agent.flush()
                await checkpoint()

        async with create_task_group() as tasks:
            tasks.start_soon(edit)
            for _ in range(5):
                tasks.start_soon(connect)
        tabs = [agent, *others]
        await until(lambda: all(clocks(tab.doc) == clocks(document.room.doc) for tab in tabs))
        for tab in others:
            await until(lambda tab=tab: tab.notebook.ycells.to_py() == agent.notebook.ycells.to_py())  # type: ignore[misc]
        assert sources(document) == agent.sources
        assert [tab.closed for tab in tabs] == [None] * 6


# Edits that the server makes


async def test_an_outside_edit_of_one_cell_leaves_the_others_as_they_are(site: Site) -> None:
    """They are the same shared objects: whoever has the cursor in one of them goes on typing there."""
    cells = [cell(f"cell-{index}", f"text {index}") for index in range(50)]
    site.write(notebook(*cells))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        before = [tab.notebook.ycells[index]["source"] for index in range(50)]
        cells[20] = cell("cell-20", "text 20, changed elsewhere")
        site.write(notebook(*cells))
        await until(lambda: tab.sources[20] == "text 20, changed elsewhere")
        for source in before:
            source += "!"
        await tab.flush()
        expected = [f"text {index}!" for index in range(50)]
        expected[20] = "text 20, changed elsewhere!"
        await agreed(site, document, tab, expected=expected)


WORDS = "a📊b日e\u0301👩‍👧c"


async def test_outside_edits_beside_characters_of_any_size(site: Site) -> None:
    """At every place; a real Yjs document has the same afterwards."""
    process = NodeProcess("replica.mjs")
    try:
        site.write(notebook(cell("cell-a", WORDS), cell("cell-b", "b")))
        async with site.serving() as life, life.documents.open(ROOM) as document:
            updates = [document.room.doc.get_update()]
            document.room.add_sink(lambda update, origin: updates.append(update))
            process.ask({"tab": "yjs", "make": 7})
            places = range(len(WORDS) + 1)
            changed = [WORDS[:place] + "X" + WORDS[place:] for place in places]
            changed += [WORDS[:place] + "🎉日" + WORDS[place + 1 :] for place in places]
            changed += [WORDS[:place] + WORDS[place + 1 :] for place in places]
            for text in [each for one in changed for each in (one, WORDS)]:
                document.take_up("", notebook(cell("cell-a", text), cell("cell-b", "b")))
                assert sources(document) == [text, "b"]
                while updates:
                    update = b64encode(updates.pop(0)).decode()
                    assert process.ask({"tab": "yjs", "apply": update})["errors"] == []
                shown = process.ask({"tab": "yjs", "cells": True})["cells"]
                assert [one["source"] for one in shown] == [text, "b"]
    finally:
        process.stop()


async def test_saves_of_one_document_never_overlap(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks: the document itself, people, and programs; and though each takes its time."""
    site.write(ABC)
    site.set(save_delay=0.001, save_interval=0.002)
    at_once = most = total = 0
    save = site.contents.save

    async def slow(model: dict[str, Any], path: str = "") -> Any:
        nonlocal at_once, most, total
        at_once, total = at_once + 1, total + 1
        most = max(most, at_once)
        try:
            await sleep(0.005)
            return await save(model, path)
        finally:
            at_once -= 1

    monkeypatch.setattr(site.contents, "save", slow)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab, other = Tab(), Tab()
        await tab.come_to(document)
        await other.come_to(document)
        for number in range(10):
            await tab.edit(0, f"{number}")
            await tab.send(b"\x02\x04save" + bytes([number]))
            await other.send(b"\x02\x04save" + bytes([number]))
            await sleep(0.003)
        await until(lambda: len(tab.news) == len(other.news) == 10)
        await until(lambda: site.on_disk == ["9", "b", "c"])
    assert total > 1
    assert most == 1


# Others, and what they do


@pytest.mark.parametrize("fault", ["garbage", "a panic", "an update that is none", "a socket that raises"])
async def test_who_fails_is_said_once_and_missed_by_nobody(
    site: Site, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(ABC)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        one, other, bad = Tab(), Tab(), Tab()
        for tab in (one, other, bad):
            await tab.come_to(document)
        caplog.clear()
        if fault == "a socket that raises":
            bad.write_error = RuntimeError("a mistake")
        else:
            frames = {
                "garbage": b"\xff" * 9,
                "a panic": sync.update(PANIC),
                "an update that is none": sync.update(b"?"),
            }
            await bad.send(frames[fault])
            await bad.send(b"and more of it")
        for number in range(10):
            await one.edit(0, f"{number}")
            await until(lambda number=number: other.sources[0] == f"{number}")  # type: ignore[misc]
        await until(lambda: bad.closed)
        await other.edit(1, "and back")
        await agreed(site, document, one, other, expected=["9", "and back", "c"])
        records = [record for record in caplog.records if record.name.startswith("ydoc_exec")]
        assert len([record for record in records if record.levelno >= logging.WARNING]) == 1
        assert document.room.clients == {one.client, other.client}


async def test_both_versions_of_a_cell_are_kept_and_it_is_said(site: Site) -> None:
    """To whoever has it open, and to whoever listens to the server's events."""
    site.write(ABC)
    site.set(save_delay=60.0, save_interval=60.0)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, "typed here")
        await until(lambda: sources(document)[0] == "typed here")
        site.write(notebook(cell("cell-a", "outside"), cell("cell-b", "b, outside"), cell("cell-c", "c")))
        await until(lambda: tab.sources == ["typed here", "b, outside", "c"])
        assert kept(site) == [["outside", "b, outside", "c"]]
        [event] = [event for event in life.events if event.kind == "conflict"]
        await until(lambda: tab.notices)
        [notice] = tab.notices.values()
        assert (notice["kind"], notice["copy"]) == ("conflict", event.copy)
        await document.mirror.save()
        assert site.on_disk == ["typed here", "b, outside", "c"]


async def test_why_it_is_not_saved_is_said_until_it_is(site: Site) -> None:
    site.write(ABC)
    site.contents.broken = PermissionError(errno.EACCES, "Permission denied")
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        before = site.file.read_bytes()
        await tab.edit(0, "edited")
        await until(lambda: tab.notices)
        [notice] = tab.notices.values()
        assert notice["kind"] == "save-failed"
        assert "Permission denied" in notice["text"]
        assert tab.state["dirty"]
        assert site.file.read_bytes() == before
        # Whoever comes now is told too.
        late = Tab()
        await late.come_to(document)
        assert late.notices == tab.notices
        site.contents.broken = None
        await until(lambda: tab.notices == late.notices == {})
        await agreed(site, document, tab, late, expected=["edited", "b", "c"])
        await until(lambda: tab.state["dirty"] is False)
        assert [(event.kind, event.action) for event in life.events] == [
            ("save-failed", "said"),
            ("save-failed", "cleared"),
        ]


@pytest.mark.parametrize("said", ["save-failed", "emptied"])
async def test_what_an_earlier_life_said_is_over_when_it_is_no_longer_so(site: Site, said: str) -> None:
    """The server was killed before it could take it back, and the log has it."""
    site.write(notebook(*(cell(f"cell-{number}", f"value_{number} = {number}") for number in range(6))))
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        if said == "save-failed":
            site.contents.broken = PermissionError(errno.EACCES, "Permission denied")
            await tab.edit(0, "edited")
        else:
            with tab.doc.transaction():
                tab.notebook.ycells.clear()
                tab.notebook.append_cell(cell("blank", ""))
            await tab.flush()
        await until(lambda: said in {notice["kind"] for notice in tab.notices.values()})
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await until(lambda: said not in {notice["kind"] for notice in tab.notices.values()})
        await tab.edit(0, "edited in the next life")
        await until(lambda: site.on_disk[:1] == ["edited in the next life"])
        assert said not in {notice["kind"] for notice in tab.notices.values()}


async def test_a_file_that_is_renamed_while_a_cell_runs(site: Site) -> None:
    site.write(ABC)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        one, other = Tab(), Tab()
        await one.come_to(document)
        await other.come_to(document)
        run = a_run()
        begin(target_of(document), run, prints("before, "))
        site.file.rename(site.root / "new.ipynb")
        site.paths[ROOM.file_id] = "new.ipynb"
        await other.send(b"\x02\x04save\x01")
        await until(lambda: other.news)
        said(target_of(document), run, prints("and after"))
        end(target_of(document), run)
        for tab in (one, other):
            await until(lambda tab=tab: tab.state["path"] == "new.ipynb")  # type: ignore[misc]
            await until(lambda tab=tab: tab.notebook.ycells[0]["execution_state"] == "idle")  # type: ignore[misc]
        await document.mirror.save()
    assert [path.name for path in site.root.glob("*.ipynb")] == ["new.ipynb"]
    [output] = json.loads((site.root / "new.ipynb").read_text())["cells"][0]["outputs"]
    assert "".join(output["text"]) == "before, and after"


async def test_a_file_that_is_renamed_outside_while_the_server_is_away(tmp_path: Path) -> None:
    """Nobody knows that it is the same one: it has another id. A tab that has the old document brings it along."""
    server = Server(tmp_path)
    (server.root / "a.ipynb").write_text(json.dumps(ABC))
    old = server.room("a.ipynb")
    async with server.serving() as collaboration:
        tab = Tab()
        async with collaboration.documents.open(old) as document:
            await come_back(tab, document, document.lineage)
            await tab.edit(0, "edited")
            await until(lambda: of(document)[0] == "edited")
            await document.mirror.save()
            away = Away(tab, document.lineage)
    (server.root / "a.ipynb").rename(server.root / "b.ipynb")
    new = server.room("b.ipynb")
    async with server.serving() as collaboration:
        with pytest.raises(DocumentNotFound):
            async with collaboration.documents.open(old):
                pass
        async with collaboration.documents.open(new) as document:
            assert of(document) == ["edited", "b", "c"]
            tab = away.again(retype(1, "typed away"))
            await come_back(tab, document, away.lineage)
            await until(lambda: tab.sources == of(document) == ["edited", "typed away", "c"])
            assert len(set(tab.ids)) == 3
            tab.leave()
        await until(lambda: is_closed(collaboration, new))
    assert [path.name for path in server.root.glob("*.ipynb")] == ["b.ipynb"]
    assert not list((server.data / "recovery").glob("*/content*"))


async def test_nothing_goes_back_to_a_checkpoint(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when it is trusted, closed, killed, emptied or found broken."""

    async def restore(*args: Any) -> None:
        pytest.fail("a checkpoint is restored")

    checkpoints = site.contents.checkpoints
    monkeypatch.setattr(checkpoints, "restore_checkpoint", restore)
    output = {"output_type": "stream", "name": "stdout", "text": "x\n"}
    site.write(notebook(cell("cell-a", "a week ago", outputs=[output]), cell("cell-b", "b")))
    await site.contents.create_checkpoint(ROOM.file_id)  # type: ignore[no-untyped-call]
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, "today")
        await until(lambda: site.on_disk == ["today", "b"])
        await tab.edit(1, "not saved yet")
        await site.contents.trust_notebook(ROOM.file_id)  # type: ignore[no-untyped-call]
        await until(lambda: sources(document) == tab.sources == ["today", "not saved yet"])
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            await until(lambda: site.on_disk == ["today", "not saved yet"])
            tab = Tab()
            await tab.come_to(document)
            site.file.write_text("{")
            await sleep(0.05)
            assert tab.sources == ["today", "not saved yet"]
            site.write(notebook(cell("cell-a", "today"), cell("cell-b", "by another program")))
            await agreed(site, document, tab, expected=["today", "by another program"])
            tab.leave()
        await life.closed()
    assert site.on_disk == ["today", "by another program"]
    assert len(await checkpoints.list_checkpoints(ROOM.file_id)) == 1  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("ended", [False, True], ids=["while it runs", "when it has ended, and is not saved"])
async def test_a_stale_copy_that_is_written_takes_no_output_back(site: Site, ended: bool) -> None:
    """A program writes the notebook as it was before the run, with the outputs of the run before it."""

    def outputs() -> list[str]:
        [cell, _] = document.read()["cells"]
        return [output["data"]["text/plain"] for output in cell["outputs"]]

    old = {"output_type": "display_data", "data": {"text/plain": "OLD"}, "metadata": {}}
    site.write(notebook(cell("cell-a", "a", outputs=[old], execution_count=1), cell("cell-b", "b")))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.say_here({"autosave": False})
        await until(lambda: not document.may_autosave())
        run = a_run()
        begin(target_of(document), run, show("X"))
        if ended:
            said(target_of(document), run, show("Y"))
            end(target_of(document), run, count=2)
        site.write(notebook(cell("cell-a", "a", outputs=[old], execution_count=1), cell("cell-b", "stale")))
        await until(lambda: sources(document) == ["a", "stale"])
        assert outputs() == (["X", "Y"] if ended else ["X"])
        if not ended:
            end(target_of(document), run, show("Y"), count=2)
        assert outputs() == ["X", "Y"]
        await document.mirror.save()
        [first, _] = json.loads(site.file.read_text())["cells"]
        assert ["".join(output["data"]["text/plain"]) for output in first["outputs"]] == ["X", "Y"]
        assert first["execution_count"] == 2
    assert kept(site) == []
