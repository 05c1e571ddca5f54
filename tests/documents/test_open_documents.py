"""Documents are opened once, closed when nobody needs them, and what fails leaves nothing behind."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from anyio import Event, create_task_group, fail_after, move_on_after, sleep
from anyio.lowlevel import checkpoint
from jupyter_ydoc import YNotebook

from tests.documents.conftest import ROOM, TEXT, Site, Tab, ab, sources
from tests.documents.runs import a_run, begin, end, target_of
from tests.notebook.edits import prints
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.errors import (
    BadRoomId,
    DocumentNotFound,
    LoadFailed,
    OpenAsOtherType,
    SaveFailed,
    ServerStopping,
)
from ydoc_exec.ids import RoomId
from ydoc_exec.origin import FromServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]


def exclaim(document: OpenDocument) -> None:
    """An edit of the first cell."""
    assert isinstance(document.document, YNotebook)
    source = document.document.ycells[0]["source"]
    with document.room.writing(FromServer()):
        source += "!"


# Opening


async def test_who_comes_together_waits_for_one_load(site: Site) -> None:
    site.write(ab())
    opened: list[OpenDocument] = []
    go_on = Event()
    async with site.serving() as life, create_task_group() as tasks:

        async def come() -> None:
            async with life.documents.open(ROOM) as document:
                opened.append(document)
                await go_on.wait()

        for _ in range(10):
            tasks.start_soon(come)
        await until(lambda: len(opened) == 10)
        assert len(set(opened)) == 1
        assert site.contents.reads == 1
        go_on.set()


async def test_a_load_that_fails_leaves_nothing_behind(site: Site) -> None:
    site.file.write_text("{")
    async with site.serving() as life:
        for _ in range(3):
            with pytest.raises(LoadFailed):
                async with life.documents.open(ROOM):
                    pass
        assert life.documents.all() == []
        assert await site.log.read(ROOM) is None
        assert site.file.read_text() == "{"
        site.write(ab())
        async with life.documents.open(ROOM) as document:
            assert sources(document) == ["a", "b"]


@pytest.mark.parametrize("written", [b"", b'{"cells": [', b"\xff"], ids=["empty", "half of it", "no text"])
async def test_a_file_that_another_program_is_about_to_write(site: Site, written: bytes) -> None:
    """Whoever opens it in the middle of that gets it when it is there."""
    site.set(load_patience=30.0)
    site.file.write_bytes(written)
    async with site.serving() as life, create_task_group() as tasks:

        async def finish() -> None:
            await until(lambda: site.contents.reads >= 2)
            site.write(ab())

        tasks.start_soon(finish)
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            await tab.come_to(document)
            assert tab.sources == ["a", "b"]
        tab.leave()


async def test_no_turn_is_kept_for_files_that_nobody_opens(site: Site) -> None:
    async with site.serving() as life:
        for number in range(5):
            with pytest.raises(DocumentNotFound):
                async with life.documents.open(RoomId("json", "notebook", f"{number}")):
                    pass
        assert life.documents._turns == {}


async def test_types_that_are_none(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        with pytest.raises(BadRoomId):
            async with life.documents.open(RoomId("json", "nothing", ROOM.file_id)):
                pass


async def test_who_gives_up_waiting_for_a_load_leaves_nothing_behind(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        for rounds in range(15):
            async with create_task_group() as tasks:

                async def come() -> None:
                    async with life.documents.open(ROOM):
                        await sleep(5)

                tasks.start_soon(come)
                for _ in range(rounds):
                    await checkpoint()
                tasks.cancel_scope.cancel()
            await life.closed()
        async with life.documents.open(ROOM) as document:
            assert sources(document) == ["a", "b"]


STRANGE: dict[str, Any] = {
    "no source": notebook({"id": "a", "cell_type": "markdown", "metadata": {}}),
    "sources are numbers": notebook(cell("a", 5)),  # type: ignore[arg-type]
    "outputs are a text": notebook({**cell("a", "x"), "outputs": "no"}),
    "metadata is a list": notebook({**cell("a", "x"), "metadata": []}),
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE.keys())
async def test_a_file_that_no_document_can_be_made_of(site: Site, content: dict[str, Any]) -> None:
    """Loaded or refused: in any case it stays as it is, and the server too."""
    site.write(content)
    before = site.file.read_bytes()
    async with site.serving() as life:
        try:
            async with life.documents.open(ROOM):
                await sleep(0.03)
        except LoadFailed as error:
            assert error.path == ROOM.file_id
        site.write(ab())
        async with life.documents.open(ROOM) as document:
            await until(lambda: sources(document) == ["a", "b"])
            # And the same when it gets there while it is open.
            site.write(content)
            await sleep(0.05)
            assert site.file.read_bytes() == before
            site.write(ab("again"))
            await until(lambda: sources(document) == ["again", "b"])
            await document.mirror.save()
    assert site.on_disk == ["again", "b"]


@pytest.mark.parametrize(
    "value",
    [10**30, 2**60, float("nan"), float("-inf"), "\ud83d", {"x": [float("nan"), 10**20]}],
    ids=repr,
)
async def test_values_that_no_shared_document_holds(site: Site, value: Any) -> None:
    site.write(notebook(cell("a", "x", metadata={"v": value}), v=value))
    before = site.file.read_bytes()
    async with site.serving() as life:
        try:
            async with life.documents.open(ROOM) as document:
                await sleep(0.03)
                assert site.file.read_bytes() == before
                tab = Tab()
                await tab.come_to(document)
                await tab.edit(0, "edited")
                await until(lambda: site.on_disk == ["edited"])
        except LoadFailed:
            assert isinstance(value, str), "only Jupyter Server itself may refuse"


@pytest.mark.parametrize("minor", [4, 5])
async def test_opening_and_closing_leaves_the_bytes(site: Site, minor: int) -> None:
    text = json.dumps(notebook(cell(None, "a"), cell(None, "a"), minor=minor)).replace(", ", ",\r\n")
    site.file.write_bytes(text.encode())
    async with site.serving() as life:
        for _ in range(3):
            async with life.documents.open(ROOM) as document:
                tab = Tab()
                await tab.come_to(document)
                await sleep(0.03)
                tab.leave()
            await life.closed()
    assert site.file.read_bytes() == text.encode()


async def test_a_notebook_without_cells_gets_one_that_is_the_same_for_everybody(site: Site) -> None:
    site.write(notebook())
    ids = set()
    for _ in range(2):
        async with site.serving() as life, life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            ids.update(tab.ids)
            assert tab.sources == [""]
    assert len(ids) == 1
    assert site.on_disk == []


@pytest.mark.parametrize("type", ["file", "unknown"])
async def test_texts(site: Site, type: str) -> None:
    room = RoomId("text", type, "a.txt")
    (site.root / "a.txt").write_bytes(b"a\r\nb\n")
    async with site.serving() as life:
        async with life.documents.open(room) as document:
            assert document.notebook is None
            assert document.document.get() == "a\r\nb\n"
            await sleep(0.03)
            assert (site.root / "a.txt").read_bytes() == b"a\r\nb\n"
            with document.room.writing(FromServer()):
                document.document.set("new")
        await life.closed(room)
    assert (site.root / "a.txt").read_bytes() == b"new"


# Needing


async def test_a_document_goes_when_nobody_needs_it(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            await sleep(0.03)
            assert life.documents.get(ROOM) is document
        await life.closed()
        assert life.documents.get(ROOM) is None


async def test_it_waits_for_those_who_come_back(site: Site) -> None:
    site.write(ab())
    site.set(linger=60.0)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            pass
        await sleep(0.03)
        async with life.documents.open(ROOM) as again:
            assert again is document


async def test_a_client_keeps_it(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            document.admit(tab.client)
        await sleep(0.03)
        assert life.documents.get(ROOM) is document
        tab.leave()
        await life.closed()


async def test_what_a_client_did_is_in_the_log_when_it_has_left(site: Site) -> None:
    """Nobody else may have it, should the server be killed."""
    site.write(ab())
    site.set(log_delay=3600.0, save_delay=3600.0, save_interval=3600.0)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await life.writer.flush()
        await tab.edit(0, "the last word")
        await until(lambda: sources(document)[0] == "the last word")
        before = await site.log.read(ROOM)
        tab.leave()
        with fail_after(10):
            while await site.log.read(ROOM) == before:
                await checkpoint()
        log = await site.log.read(ROOM)
        assert log is not None
        read = YNotebook()
        for update in log.updates:
            read.ydoc.apply_update(update)
        assert str(read.ycells[0]["source"]) == "the last word"
        await document.mirror.save()


async def test_a_run_keeps_it(site: Site) -> None:
    site.write(ab())
    run = a_run()
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            target = target_of(document)
            begin(target, run)
        await sleep(0.03)
        assert life.documents.get(ROOM) is document
        end(target, run, prints("done\n"), count=3)
        await life.closed()
    written = json.loads(site.file.read_text())["cells"][0]
    assert written["execution_count"] == 3
    assert "".join(written["outputs"][0]["text"]) == "done\n"
    # What is live is not in the file.
    assert "execution_state" not in written


async def test_a_change_keeps_it_until_it_is_saved(site: Site) -> None:
    site.write(ab())
    site.contents.broken = OSError("no space left")
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.edit(0, "edited")
            await until(lambda: document.mirror.dirty)
            tab.leave()
        await sleep(0.1)
        assert life.documents.get(ROOM) is document
        site.contents.broken = None
        await life.closed()
    assert site.on_disk == ["edited", "b"]


async def test_waiting_for_a_save_is_no_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write(ab())
    site.set(save_retry=60.0, poll_interval=0.05)
    site.contents.broken = OSError("no space left")
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            exclaim(document)
        asked = 0
        may_autosave = document.may_autosave

        def count() -> bool:
            nonlocal asked
            asked += 1
            return may_autosave()

        monkeypatch.setattr(document, "may_autosave", count)
        await sleep(0.3)
        assert asked < 20
        site.contents.broken = None


async def test_unsaved_changes_of_a_deleted_file_are_left_to_the_log(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            site.file.unlink()
            await until(lambda: document.mirror.missing)
            exclaim(document)
        await life.closed()
        assert not site.file.exists()
        site.write(ab())
        async with life.documents.open(ROOM) as document:
            assert sources(document) == ["a!", "b"]


async def test_what_was_done_without_autosave_waits_for_somebody_who_wants_it_saved(site: Site) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with site.serving() as life:
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            await tab.come_to(document)
            await tab.say_here({"autosave": False})
            await until(lambda: not document.may_autosave())
            await tab.edit(0, "edited")
            await sleep(0.1)
        tab.leave()
        await life.closed()
    assert site.file.read_bytes() == before
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["edited", "b"]
        await sleep(0.1)
        assert site.file.read_bytes() == before
        tab = Tab()
        await tab.come_to(document)
        assert tab.state["dirty"]
        await tab.say_here({"autosave": True})
        await until(lambda: site.on_disk == ["edited", "b"])
        await until(lambda: not tab.state["dirty"])


async def test_who_comes_while_it_closes_gets_it_fresh_with_everything(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            tab = Tab()
            await tab.come_to(document)
            await tab.edit(0, "edited")
            await until(lambda: sources(document) == ["edited", "b"])
            site.contents.gate = Event()
            document.stop()
            assert life.documents.get(ROOM) is None
            await until(lambda: tab.closed)
            assert tab.closed is not None
            assert tab.closed[0] == 1001
            async with create_task_group() as tasks:
                again: list[list[str]] = []

                async def come() -> None:
                    async with life.documents.open(ROOM) as fresh:
                        assert fresh is not document
                        again.append(sources(fresh))

                tasks.start_soon(come)
                await sleep(0.03)
                assert again == []
                # Whoever comes too late to the old one is sent away at once, and comes again.
                late = Tab()
                document.admit(late.client)
                assert late.closed is not None
                site.contents.gate.set()
        assert again == [["edited", "b"]]


async def test_nothing_is_opened_when_the_server_stops(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            exclaim(document)
            await life.documents.close()
        assert site.on_disk == ["a!", "b"]
        with pytest.raises(ServerStopping):
            async with life.documents.open(ROOM):
                pass


async def test_one_that_is_loading_when_the_server_stops_is_closed_too(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, create_task_group() as tasks:

        async def look() -> None:
            with suppress(ServerStopping):
                async with life.documents.open(ROOM) as document:
                    await document.closed.wait()

        tasks.start_soon(look)
        await until(lambda: site.contents.reads)
        assert not life.documents.all()
        await life.documents.close()


async def test_the_end_of_one_does_not_concern_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(ab())
    (site.root / "b.ipynb").write_text(site.file.read_text())
    other_room = RoomId("json", "notebook", "b.ipynb")
    async with (
        site.serving() as life,
        life.documents.open(ROOM) as document,
        life.documents.open(other_room) as other,
    ):

        async def fail() -> None:
            raise ZeroDivisionError

        document._tasks.start_soon(fail)  # type: ignore[union-attr]
        await life.closed()
        assert life.documents.get(other_room) is other
        async with life.documents.open(ROOM) as again:
            assert again is not document
            assert sources(again) == ["a", "b"]


# Two types of one file


async def test_one_file_is_open_as_one_type(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            with pytest.raises(OpenAsOtherType) as refused:
                async with life.documents.open(TEXT):
                    pass
            assert refused.value.status == 409
            assert refused.value.close_code == 4400
            assert ROOM.file_id in str(refused.value)
            assert life.documents.get(ROOM) is document
        async with life.documents.open(TEXT) as text:
            with text.room.writing(FromServer()):
                text.document.set(json.dumps(ab("typed as text")))
        async with life.documents.open(ROOM) as document:
            assert sources(document) == ["typed as text", "b"]


async def test_what_only_lingers_makes_way(site: Site) -> None:
    site.write(ab())
    site.set(linger=60.0)
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            exclaim(document)
        async with life.documents.open(TEXT) as text:
            assert json.loads(str(text.document.get()))["cells"][0]["source"] == ["a!"]
            assert life.documents.get(ROOM) is None


async def test_two_types_that_come_together(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, create_task_group() as tasks:
        outcomes: list[str] = []
        go_on = Event()

        async def come(room: RoomId) -> None:
            try:
                async with life.documents.open(room):
                    outcomes.append("open")
                    await go_on.wait()
            except OpenAsOtherType:
                outcomes.append("refused")

        tasks.start_soon(come, ROOM)
        tasks.start_soon(come, TEXT)
        await until(lambda: len(outcomes) == 2)
        assert sorted(outcomes) == ["open", "refused"]
        go_on.set()


# What a client may do to saving


async def test_numbers_that_are_none_do_not_stop_saving(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        tab.notebook.ycells[0]["metadata"]["deep"] = {"x": [1.0, float("nan"), {"y": float("inf")}]}
        tab.notebook.ycells[0]["outputs"].append(
            {"output_type": "display_data", "data": {"application/json": float("nan")}, "metadata": {}}
        )
        tab.notebook.ycells[1]["execution_count"] = float("nan")
        await tab.edit(1, "edited")
        await until(lambda: site.on_disk == ["a", "edited"])
        written = json.loads(site.file.read_text(), parse_constant=lambda name: pytest.fail(name))
        assert written["cells"][0]["metadata"]["deep"] == {"x": [1, None, {"y": None}]}
        assert written["cells"][1]["execution_count"] is None


async def test_what_cannot_be_read_is_said_and_tried_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(ab())
    (site.root / "b.ipynb").write_text(site.file.read_text())
    other_room = RoomId("json", "notebook", "b.ipynb")
    async with (
        site.serving() as life,
        life.documents.open(ROOM) as document,
        life.documents.open(other_room) as other,
    ):
        tab, other_tab = Tab(), Tab()
        await tab.come_to(document)
        await other_tab.come_to(other)
        tab.notebook.ycells.append("no cell")
        await tab.edit(0, "edited")
        await until(lambda: "cannot be read" in caplog.text)
        with pytest.raises(SaveFailed):
            await document.mirror.save(recreate=True)
        await tab.send(b"\x02\x04save\x01")
        await until(lambda: tab.news)
        assert b'"failed"' in tab.news[0]
        await other_tab.edit(0, "fine")
        await until(lambda: '"fine"' in (site.root / "b.ipynb").read_text())
        del tab.notebook.ycells[2]
        await tab.flush()
        await until(lambda: site.on_disk == ["edited", "b"])


async def test_a_reader_cannot_have_it_saved(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        site.file.unlink()
        reader, writer = Tab(may_write=False), Tab()
        await reader.come_to(document)
        await writer.come_to(document)
        await reader.send(b"\x02\x04save\x07")
        await until(lambda: reader.news)
        assert b'"failed"' in reader.news[0]
        assert not site.file.exists()
        await writer.send(b"\x02\x04save\x08")
        await until(lambda: writer.news)
        assert b'"success"' in writer.news[0]
        assert site.on_disk == ["a", "b"]


@pytest.mark.parametrize("wish", [True, False])
async def test_a_reader_has_no_say_in_whether_it_is_saved(site: Site, wish: bool) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with site.serving() as life, life.documents.open(ROOM) as document:
        writer, reader = Tab(), Tab(may_write=False)
        await reader.come_to(document)
        await reader.say_here({"autosave": wish})
        await writer.come_to(document)
        await writer.say_here({"autosave": not wish})
        await until(lambda: len(document.room.awareness.states) == 3)
        await writer.edit(0, "edited")
        await until(lambda: writer.state["dirty"] or not wish)
        writer.leave()
        await until(lambda: document.room.clients == {reader.client})
        if wish:
            await sleep(0.1)
            assert site.file.read_bytes() == before
        else:
            await until(lambda: site.on_disk == ["edited", "b"])
        assert reader.state.get("autosave", True) is not wish


async def test_the_state_says_where_and_whether(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        assert tab.state["path"] == ROOM.file_id
        assert tab.state["dirty"] is False
        site.contents.gate = Event()
        await tab.edit(0, "edited")
        await until(lambda: tab.state["dirty"] is True)
        site.contents.gate.set()
        await until(lambda: tab.state["dirty"] is False)
        first = tab.state["hash"]
        await tab.edit(0, "again")
        await until(lambda: tab.state.get("hash") not in (None, first))
        site.file.rename(site.root / "c.ipynb")
        site.paths[ROOM.file_id] = "c.ipynb"
        await until(lambda: tab.state["path"] == "c.ipynb")


async def test_a_running_cell_survives_what_others_do_to_the_file(site: Site) -> None:
    """Also without cell ids in the file."""
    for minor in (4, 5):
        site.write(notebook(cell(None, "a"), cell(None, "b"), minor=minor))
        async with site.serving() as life:
            async with life.documents.open(ROOM) as document:
                assert document.notebook is not None
                target = target_of(document)
                run = a_run(f"run {minor}", document.notebook.order()[0])
                begin(target, run, prints("so far "))
                site.write(
                    notebook(
                        cell(None, "new"),
                        cell(None, "a", execution_count=9),
                        cell(None, "theirs"),
                        minor=minor,
                    )
                )
                await until(lambda document=document: "theirs" in sources(document))  # type: ignore[misc]
                assert run.cell in document.notebook.order()
                end(target, run, prints("and on"))
            await life.closed()
        assert site.on_disk == ["new", "a", "theirs"]
        written = json.loads(site.file.read_text())
        assert "".join(written["cells"][1]["outputs"][0]["text"]) == "so far and on"
        assert written["cells"][1]["execution_count"] == 1
        assert ("id" in written["cells"][1]) == (minor == 5)
        assert site.copies == []
        site.log = type(site.log)()


async def test_cells_without_ids_are_merged_with_what_is_typed_here(site: Site) -> None:
    site.write(notebook(cell(None, "a"), cell(None, "b"), minor=4))
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        ids = tab.ids
        site.contents.gate = Event()
        await tab.edit(1, "ours")
        await until(lambda: sources(document) == ["a", "ours"])
        site.write(notebook(cell(None, "theirs"), cell(None, "b"), minor=4))
        await until(lambda: tab.sources == ["theirs", "ours"])
        assert tab.ids == ids
        site.contents.gate.set()
        await until(lambda: site.on_disk == ["theirs", "ours"])
    assert site.copies == []


async def test_closing_does_not_wait_for_ever_for_a_save(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ydoc_exec.documents.open_document.LAST_SAVE_SECONDS", 0.05)
    site.write(ab())
    site.contents.gate = Event()
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            exclaim(document)
        with move_on_after(5) as waiting:
            await life.documents.close()
        assert not waiting.cancelled_caught
    site.contents.gate = None
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert sources(document) == ["a!", "b"]
