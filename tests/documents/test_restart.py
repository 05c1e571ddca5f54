"""What a document is after the server was restarted or killed, with its log, without it, and beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from anyio import Event, sleep

from tests.documents.conftest import ROOM, LastingLog, Life, Site, Tab, ab, sources
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.origin import FromKernel
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog
from ydoc_exec.store.update_log import History

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]


@pytest.fixture(params=["memory", "sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    site = Site(tmp_path)
    if request.param == "sqlite":
        site.log = SqliteUpdateLog(tmp_path / "log.sqlite")
    return site


async def wipe(site: Site) -> None:
    async with site.log:
        await site.log.forget(ROOM)


async def open_and_edit(life: Life, text: str, *, save: bool) -> tuple[Tab, Lineage]:
    """A tab that has typed, and the lineage it knows. Nothing more reaches the file without ``save``."""
    tab = Tab()
    async with life.documents.open(ROOM) as document:
        await tab.come_to(document)
        await tab.edit(0, text)
        await until(lambda: sources(document)[0] == text)
        if save:
            await document.mirror.save()
        return tab, document.lineage


async def come_back(tab: Tab, document: OpenDocument, lineage: Lineage | None = None) -> Tab:
    """The same tab, with its document, over a new connection."""
    again = Tab()
    again.doc.apply_update(tab.doc.get_update())
    again._unsent.clear()
    await again.come_to(document, lineage)
    await again.send(b"\x02\x07barrier\x02it")
    await document.room.barrier("it", 5)
    await until(lambda: again.sources == sources(document))
    return again


async def test_an_old_tab_continues_after_a_restart(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        tab, lineage = await open_and_edit(life, "edited", save=True)
    await tab.edit(1, "typed while it was away")
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == lineage
        await come_back(tab, document)
        assert sources(document) == ["edited", "typed while it was away"]
        await until(lambda: site.on_disk == ["edited", "typed while it was away"])


@pytest.mark.parametrize("minor", [4, 5])
@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without"])
async def test_an_old_tab_continues_without_a_log(site: Site, minor: int, ids: bool) -> None:
    if minor == 4 and ids:
        pytest.skip("there were none")
    names = ("cell-a", "cell-b") if ids else (None, None)
    site.write(notebook(cell(names[0], "a"), cell(names[1], "b"), minor=minor))
    async with site.serving() as life:
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            await tab.come_to(document)
            lineage, items = document.lineage, document.room.doc.get_state()
    await wipe(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == lineage
        before = tab.ids
        again = await come_back(tab, document)
        assert again.sources == ["a", "b"]
        assert again.ids == before
        assert items
        await again.edit(1, "edited")
        await until(lambda: site.on_disk == ["a", "edited"])


async def test_edits_made_while_the_log_was_lost_are_applied_once(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            await tab.come_to(document)
    await wipe(site)
    await tab.edit(0, "typed while it was away")
    async with site.serving() as life, life.documents.open(ROOM) as document:
        await come_back(tab, document)
        await until(lambda: site.on_disk == ["typed while it was away", "b"])


async def test_another_content_without_a_log_is_another_lineage(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        _, lineage = await open_and_edit(life, "edited", save=True)
    await wipe(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage != lineage
        assert sources(document) == ["edited", "b"]


async def killed_with_unsaved_edits(site: Site) -> Lineage:
    site.write(ab())
    site.set(save_delay=60.0, save_interval=60.0)
    async with site.serving(kill=True) as life:
        _, lineage = await open_and_edit(life, "unsaved", save=False)
    assert site.on_disk == ["a", "b"]
    site.set(save_delay=0.01, save_interval=0.1)
    return lineage


async def test_unsaved_edits_survive_a_kill(site: Site) -> None:
    lineage = await killed_with_unsaved_edits(site)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == lineage
        assert sources(document) == ["unsaved", "b"]
        await until(lambda: site.on_disk == ["unsaved", "b"])
    assert site.copies == []


async def test_a_file_that_was_changed_meanwhile_is_taken_up_in_another_lineage(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        tab, lineage = await open_and_edit(life, "edited", save=True)
    site.write(notebook(cell("cell-a", "edited"), cell("cell-b", "theirs"), cell("cell-c", "new")))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage != lineage
        again = await come_back(tab, document, lineage)
        assert again.sources == ["edited", "theirs", "new"]
        await sleep(0.03)
    assert site.on_disk == ["edited", "theirs", "new"]
    assert site.copies == []


async def test_when_both_were_changed_both_are_kept(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    lineage = await killed_with_unsaved_edits(site)
    site.write(ab("theirs"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage != lineage
        assert sources(document) == ["unsaved", "b"]
        assert [content["cells"][0]["source"] for content in site.copies] == ["theirs"]
        assert "changed by another program" in caplog.text
        await until(lambda: site.on_disk == ["unsaved", "b"])
    assert len(site.copies) == 1


async def test_what_a_program_puts_back_is_a_change_also_for_a_tab_that_knows_no_other_file(
    site: Site,
) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab, lineage = Tab(), document.lineage
        await tab.come_to(document)
        tab.reading = Event()
        await tab.edit(0, "edited")
        await until(lambda: site.on_disk == ["edited", "b"])
    tab.reading.set()
    site.write(ab())
    await tab.edit(0, "edited again")
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage != lineage
        await come_back(tab, document, lineage)
        assert sources(document) == ["a", "b"]
        assert [content["cells"][0]["source"] for content in site.copies] == ["edited again"]


async def test_a_version_that_cannot_be_kept_stays_in_the_file(site: Site) -> None:
    await killed_with_unsaved_edits(site)
    site.write(ab("theirs"))
    site.settings.recovery_dir.write_text("in the way")
    async with site.serving() as life:
        with pytest.raises(Exception, match="could not be kept"):
            async with life.documents.open(ROOM):
                pass
    assert site.on_disk == ["theirs", "b"]
    site.settings.recovery_dir.unlink()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["unsaved", "b"]
    assert len(site.copies) == 1


@pytest.mark.parametrize("then", ["one", "two", "three"])
async def test_a_kill_between_saving_and_saying_so_is_no_conflict(site: Site, then: str) -> None:
    site.write(ab())
    site.set(save_delay=60.0, save_interval=60.0)
    saved = {}
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        for text in ("one", "two", "three"):
            await tab.edit(0, text)
            await until(lambda text=text: sources(document)[0] == text)  # type: ignore[misc]
            saved[text] = document.read()
    site.write(saved[then])  # as our own save would have
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["three", "b"]
        assert document.mirror.dirty == (then != "three")
    assert site.on_disk == ["three", "b"]
    assert site.copies == []


async def test_a_kill_in_the_middle_of_a_long_run_is_no_conflict(site: Site) -> None:
    """The file was saved many times by then, and the document was never equal to it."""
    site.write(ab())
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        for number in range(3):
            site.contents.gate = Event()
            await tab.edit(0, f"{number}")
            await until(lambda number=number: sources(document)[0] == f"{number}")  # type: ignore[misc]
            await until(lambda: document.mirror.dirty)
            await sleep(0.05)
            await tab.edit(1, f"{number} ahead")
            await until(lambda number=number: sources(document)[1] == f"{number} ahead")  # type: ignore[misc]
            gate, site.contents.gate = site.contents.gate, None
            gate.set()
            await until(lambda number=number: site.on_disk[:1] == [f"{number}"])  # type: ignore[misc]
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["2", "2 ahead"]
        await until(lambda: site.on_disk == ["2", "2 ahead"])
    assert site.copies == []


async def test_nothing_claims_to_run_after_a_kill(site: Site) -> None:
    site.write(ab())
    async with site.serving(kill=True) as life, life.documents.open(ROOM) as document:
        assert document.notebook is not None
        name = document.notebook.order()[0]
        with document.room.writing(FromKernel()):
            document.notebook.begin(name)
            document.notebook.set_run(name, {"run_id": "x", "state": "running"})
        await until(lambda: document.mirror.dirty)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        assert tab.notebook.ycells[0]["execution_state"] == "idle"
        assert document.notebook is not None
        assert document.notebook.runs() == {}


# Logs that are no good


@pytest.mark.parametrize(
    "update",
    [b"rubbish", b"\x00\x02\x03", b"\x01\x01\xff\xff\xff\xff\x0f\x00"],
    ids=["text", "short", "damaged"],
)
async def test_a_history_that_cannot_be_replayed_is_kept(site: Site, update: bytes) -> None:
    site.write(ab())
    async with site.log:
        await site.log.begin(ROOM, Lineage("broken"), update, None)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["a", "b"]
        assert document.lineage != "broken"
    assert len(site.copies) <= 1
    assert site.on_disk == ["a", "b"]


async def test_a_history_that_is_no_notebook_is_kept(site: Site) -> None:
    tab = Tab()
    tab.notebook.set(ab("recorded"))
    tab.notebook.ycells.append("no cell")
    async with site.log:
        await site.log.begin(ROOM, Lineage("broken"), tab.doc.get_update(), None)
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["a", "b"]
    assert len(site.copies) == 1


async def test_a_history_without_a_base_does_not_overwrite_the_file_unsaid(site: Site) -> None:
    tab = Tab()
    tab.notebook.set(ab("recorded"))
    async with site.log:
        await site.log.begin(ROOM, Lineage("whole"), tab.doc.get_update(), None)
    site.write(ab("in the file"))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["recorded", "b"]
    assert [content["cells"][0]["source"] for content in site.copies] == ["in the file"]


class Unavailable(LastingLog):
    """A log whose disk is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = True

    def _fail(self) -> None:
        if self.gone:
            raise UpdateLogError("do anything", "the disk is gone")

    async def read(self, room: RoomId) -> History | None:
        self._fail()
        return await super().read(room)

    async def begin(self, room: RoomId, lineage: Lineage, snapshot: bytes, base: str | None) -> None:
        self._fail()
        await super().begin(room, lineage, snapshot, base)

    async def append(self, batch: object) -> None:
        self._fail()
        await super().append(batch)  # type: ignore[arg-type]

    async def set_base(self, room: RoomId, base: str) -> None:
        self._fail()
        await super().set_base(room, base)


async def test_documents_do_without_a_log(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log = log = Unavailable()
    site.write(ab())
    async with site.serving() as life:
        await open_and_edit(life, "edited", save=True)
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.edit(0, "again")
            await until(lambda: site.on_disk == ["again", "b"])
            # And record again when it is back.
            log.gone = False
            await until(lambda: ROOM in log._histories)
            tab.leave()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["again", "b"]


async def test_the_log_is_compacted(site: Site) -> None:
    site.write(ab())
    site.set(log_compact_bytes=2_000)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.say_here({"autosave": False})  # also if nothing is saved for long
            await until(lambda: not document.may_autosave())
            for number in range(400):
                await tab.edit(0, f"{number}" * 10)
                if number % 50 == 49:
                    await sleep(0.02)
            await until(lambda: sources(document)[0] == "399" * 10)
            await sleep(0.05)
            await life.writer.flush()
            whole = len(document.room.doc.get_update())
            assert await site.log.size(ROOM) < 3 * whole + 10_000
            await document.mirror.save(recreate=True)
            tab.leave()
        await life.closed()
    assert site.on_disk == ["399" * 10, "b"]
    assert json.loads(site.file.read_text())["nbformat"] == 4
