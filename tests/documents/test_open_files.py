"""What others save to an open file by the contents API goes through its document."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, create_task_group, current_time, sleep
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager, LargeFileManager
from tornado.web import HTTPError

from tests.documents.conftest import ROOM, TEXT, Life, Site, Tab, ab, sources
from tests.documents.runs import a_run, begin, end, target_of
from tests.files.disk import small_disk
from tests.notebook.edits import prints
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents import open_files
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_files import OpenFiles
from ydoc_exec.handlers.contents_manager import taken_over
from ydoc_exec.ids import RoomId
from ydoc_exec.origin import FromServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]

PATH = ROOM.file_id


@asynccontextmanager
async def opened(site: Site, room: RoomId = ROOM) -> AsyncIterator[tuple[Life, OpenDocument, Tab]]:
    """A document that is open, and a tab with it, on a server whose contents manager knows of open files."""
    async with site.serving() as life:
        with taken_over(site.contents, OpenFiles(life.documents, lambda path: path)):
            async with life.documents.open(room) as document:
                tab = Tab()
                await tab.come_to(document)
                yield life, document, tab
            await life.documents.close()


def model(content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"type": "file", "format": "text", "content": content}
    return {"type": "notebook", "format": "json", "content": content}


def on_disk(site: Site) -> Any:
    return json.loads(site.file.read_text())


async def edit(document: OpenDocument, tab: Tab, index: int, text: str) -> None:
    """The tab's edit, which has arrived."""
    await tab.edit(index, text)
    await until(lambda: sources(document)[index] == text)


async def looked(document: OpenDocument) -> None:
    """Return after the file was looked at a few times."""
    for _ in range(3):
        await sleep(0.015)
        async with document.mirror._lock:
            pass


def once(work: Callable[[], object]) -> Callable[..., None]:
    """A hook of the contents manager that does it at the first save."""
    todo = [work]

    def hook(**_: Any) -> None:
        while todo:
            todo.pop()()

    return hook


# Through the document


async def test_what_a_program_saves_and_what_a_tab_has_not_saved_go_together(site: Site) -> None:
    site.write(ab())
    site.set(save_delay=60, save_interval=60)
    async with opened(site) as (_, document, tab):
        await edit(document, tab, 1, "ours")
        saved = await site.contents.save(model(ab("theirs")), PATH)
        assert saved["type"] == "notebook"
        assert saved["content"] is None
        assert saved["path"] == PATH
        assert saved["last_modified"].timestamp() == pytest.approx(site.file.stat().st_mtime)
        assert site.on_disk == sources(document) == ["theirs", "ours"]
        assert not document.mirror.dirty
        await until(lambda: tab.sources == ["theirs", "ours"])
        await until(lambda: tab.state["dirty"] is False)
        # Nothing is left to do for whoever watches the file.
        version, state = site.file.stat().st_ino, document.room.doc.get_update()
        reads = site.contents.reads
        await looked(document)
        assert (site.file.stat().st_ino, document.room.doc.get_update()) == (version, state)
        assert site.contents.reads == reads
    assert site.copies == []


async def test_of_one_cell_the_documents_version_stays_and_the_other_is_kept(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(ab())
    async with opened(site) as (_, document, tab):
        await edit(document, tab, 0, "ours")
        await site.contents.save(model(ab("theirs", "theirs too")), PATH)
        assert site.on_disk == sources(document) == ["ours", "theirs too"]
    assert ["".join(cell["source"]) for cell in site.copies[0]["cells"]] == ["theirs", "theirs too"]
    assert "cell-a" in caplog.text


async def test_what_is_saved_again_as_it_is_changes_nothing(site: Site) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with opened(site) as (_, document, _tab):
        saved = await site.contents.save(model(ab()), PATH)
        assert saved["size"] == len(before)
        assert not document.mirror.dirty
    assert site.file.read_bytes() == before


async def test_results_of_running_cells_stay(site: Site) -> None:
    site.write(ab())
    async with opened(site) as (_, document, _tab):
        run = a_run()
        begin(target_of(document), run, prints("new\n"))
        old = {"output_type": "stream", "name": "stdout", "text": "old\n"}
        stale = notebook(cell("cell-a", "a", outputs=[old], execution_count=7), cell("cell-b", "theirs"))
        await site.contents.save(model(stale), PATH)
        assert sources(document) == ["a", "theirs"]
        end(target_of(document), run, prints("more\n"), count=1)
        await document.mirror.save()
        first = on_disk(site)["cells"][0]
        assert first["execution_count"] == 1
        assert ["".join(output["text"]) for output in first["outputs"]] == ["new\nmore\n"]


async def test_a_writer_makes_nothing_trusted(site: Site) -> None:
    site.write(ab())
    page = {"output_type": "display_data", "data": {"text/html": "<script>"}, "metadata": {}}
    evil = notebook(cell("cell-a", "a", outputs=[page], metadata={"trusted": True}), cell("cell-b", "b"))
    async with opened(site) as (_, document, _tab):
        await site.contents.save(model(evil), PATH)
        [first, _second] = document.read()["cells"]
        assert first["outputs"] == [page]
        assert not first["metadata"]["trusted"]
        read = await site.contents.get(PATH, content=True)
        assert not read["content"]["cells"][0]["metadata"]["trusted"]


async def test_ids_stay_for_notebooks_that_have_none(site: Site) -> None:
    site.write(notebook(cell(None, "a"), cell(None, "b"), minor=4))
    async with opened(site) as (_, document, tab):
        ids = tab.ids
        await site.contents.save(model(notebook(cell(None, "a"), cell(None, "b!"), minor=4)), PATH)
        assert site.on_disk == ["a", "b!"]
        await until(lambda: tab.sources == ["a", "b!"])
        assert tab.ids == ids
        assert "id" not in on_disk(site)["cells"][0]
        assert document.mirror.dirty is False


async def test_a_program_may_leave_ids_away_and_write_lines(site: Site) -> None:
    site.write(ab())
    async with opened(site) as (_, _document, tab):
        lines: Any = ["one\n", "two"]
        await site.contents.save(model(notebook(cell(None, "a"), cell(None, lines), cell(None, "b"))), PATH)
        await until(lambda: tab.sources == ["a", "one\ntwo", "b"])
        assert (tab.ids[0], tab.ids[2]) == ("cell-a", "cell-b")
        assert site.on_disk == tab.sources


@pytest.mark.parametrize("content", [{}, {"cells": [{}]}, {"cells": 1}, {"nbformat": 4, "cells": [None]}])
async def test_what_cannot_be_a_notebook_is_refused(site: Site, content: Any) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with opened(site) as (_, document, _tab):
        with pytest.raises(HTTPError) as refused:
            await site.contents.save(model(content), PATH)
        assert refused.value.status_code == 400
        assert sources(document) == ["a", "b"]
        assert not document.mirror.dirty
    assert site.file.read_bytes() == before


async def test_text(site: Site) -> None:
    site.file.write_bytes(b"one\r\n")
    async with opened(site, TEXT) as (_, document, _tab):
        await site.contents.save(model("two\r\n"), PATH)
        assert document.read() == "two\r\n"
        assert site.file.read_bytes() == b"two\r\n"
        with document.room.writing(FromServer()):
            document.document.set("ours")
        await site.contents.save(model("theirs"), PATH)
        assert document.read() == site.file.read_text() == "ours"
    [copy] = site.settings.recovery_dir.glob("*/content*")
    assert copy.read_text() == "theirs"


async def test_what_goes_past_the_document_is_found_in_the_file(site: Site) -> None:
    site.write(ab())
    async with opened(site) as (_, _document, tab):
        text = json.dumps(ab("theirs"))
        await site.contents.save({**model(text), "path": PATH}, PATH)  # a notebook as text
        await until(lambda: tab.sources == ["theirs", "b"])
        halves = text.replace("theirs", "in chunks")[:40], text.replace("theirs", "in chunks")[40:]
        for chunk, part in zip((1, -1), halves, strict=True):
            await site.contents.save({**model(part), "chunk": chunk}, PATH)
        await until(lambda: tab.sources == ["in chunks", "b"])


async def test_what_is_not_open_is_saved_as_ever(site: Site) -> None:
    site.write(ab())
    async with opened(site) as (life, document, _tab):
        other = await site.contents.save(model(ab("x")), "other.ipynb")
        assert other["path"] == "other.ipynb"
        assert (await site.contents.get("other.ipynb"))["content"]["cells"][0]["source"] == "x"
        new = await site.contents.new(model(ab("y")), "new.ipynb")  # type: ignore[no-untyped-call]
        assert new["path"] == "new.ipynb"
        document.stop()
        await site.contents.save(model(ab("z")), PATH)
        assert life.documents.get(ROOM) is None
    assert site.on_disk == ["z", "b"]


async def test_a_writer_waits_for_the_documents_own_save(site: Site) -> None:
    site.write(ab())
    async with opened(site) as (_, document, tab):
        site.contents.gate = Event()
        await edit(document, tab, 0, "ours")
        await until(lambda: document.mirror._lock.locked())
        async with create_task_group() as tasks:
            tasks.start_soon(site.contents.save, model(ab(b="theirs")), PATH)
            await sleep(0.02)
            assert site.on_disk == ["a", "b"]
            site.contents.gate.set()
        assert site.on_disk == sources(document) == ["ours", "theirs"]


async def test_a_writer_is_told_what_went_wrong(site: Site) -> None:
    site.write(ab())
    before = site.file.read_bytes()
    async with opened(site) as (_, document, tab):
        site.contents.broken = HTTPError(403, "Permission denied: a.ipynb")
        with pytest.raises(HTTPError) as refused:
            await site.contents.save(model(ab("theirs")), PATH)
        assert (refused.value.status_code, refused.value.log_message) == (403, "Permission denied: a.ipynb")
        assert site.file.read_bytes() == before
        assert document.mirror.dirty
        await until(lambda: tab.state["dirty"])
        site.contents.broken = None
        await until(lambda: site.on_disk == ["theirs", "b"])


async def test_a_manager_that_does_not_wait(site: Site) -> None:
    """There the document takes it up in a hook before the file is written."""
    site.write(ab())
    site.contents = LargeFileManager(root_dir=str(site.root))  # type: ignore[assignment]
    site.set(save_delay=60, save_interval=60)
    async with opened(site) as (_, document, tab):
        await edit(document, tab, 1, "ours")
        saved: Any = site.contents.save(model(ab("theirs")), PATH)
        assert saved["path"] == PATH
        assert site.on_disk == sources(document) == ["theirs", "ours"]
        await document.mirror.save()
        assert not document.mirror.dirty
        assert site.on_disk == sources(document) == ["theirs", "ours"]
    assert site.copies == []


# The file in one piece, and in the right version


@pytest.fixture(params=[AsyncLargeFileManager, LargeFileManager])
def managed(site: Site, request: pytest.FixtureRequest) -> Site:
    """With the contents managers that Jupyter Server has for files."""
    site.contents = request.param(root_dir=str(site.root))
    return site


async def test_a_file_that_somebody_wrote_while_it_was_saved_is_not_written_over(managed: Site) -> None:
    managed.write(ab())
    async with opened(managed) as (_, document, tab):
        managed.contents.register_pre_save_hook(once(lambda: managed.write(ab("theirs"))))  # type: ignore[no-untyped-call]
        await edit(document, tab, 1, "ours")
        await document.mirror.save()
        assert managed.on_disk == sources(document) == ["theirs", "ours"]
    assert managed.copies == []


async def test_a_file_that_somebody_writes_right_after_it_was_saved(managed: Site) -> None:
    managed.write(ab())
    async with opened(managed) as (_, document, tab):
        managed.contents.register_post_save_hook(once(lambda: managed.write(ab("theirs", "ours"))))  # type: ignore[no-untyped-call]
        await edit(document, tab, 1, "ours")
        await document.mirror.save()
        await until(lambda: tab.sources == ["theirs", "ours"])
    assert managed.on_disk == ["theirs", "ours"]
    assert managed.copies == []


async def test_a_file_that_is_renamed_while_it_is_saved_is_one_file(managed: Site) -> None:
    managed.write(ab())

    def rename() -> None:
        managed.file.rename(managed.root / "new.ipynb")
        managed.paths[ROOM.file_id] = "new.ipynb"

    async with opened(managed) as (_, document, tab):
        managed.contents.register_pre_save_hook(once(rename))  # type: ignore[no-untyped-call]
        await edit(document, tab, 1, "ours")
        await document.mirror.save()
        assert [path.name for path in managed.root.glob("*.ipynb")] == ["new.ipynb"]
        written = json.loads((managed.root / "new.ipynb").read_text())
        assert "".join(written["cells"][1]["source"]) == "ours"
        await until(lambda: tab.state["path"] == "new.ipynb")


async def test_a_file_that_is_deleted_while_it_is_saved_stays_deleted(managed: Site) -> None:
    managed.write(ab())
    async with opened(managed) as (_, document, tab):
        managed.contents.register_pre_save_hook(once(managed.file.unlink))  # type: ignore[no-untyped-call]
        await edit(document, tab, 1, "ours")
        await document.mirror.save()
        assert document.mirror.missing
        await until(lambda: tab.state["dirty"])
    assert not managed.file.exists()


async def test_what_fails_after_the_save_does_not_undo_it(
    managed: Site, caplog: pytest.LogCaptureFixture
) -> None:
    managed.write(ab())

    def fail(**_: Any) -> None:
        raise RuntimeError("the hook fails")

    async with opened(managed) as (_, document, tab):
        managed.contents.register_post_save_hook(fail)  # type: ignore[no-untyped-call]
        await edit(document, tab, 1, "ours")
        await document.mirror.save()
        assert not document.mirror.dirty
        await looked(document)
    assert managed.on_disk == ["a", "ours"]
    assert "the hook fails" in caplog.text


async def test_a_full_disk(tmp_path: Path, site: Site) -> None:
    with small_disk(tmp_path / "disk", 200) as disk:
        site.root = disk
        site.contents.root_dir = str(disk)
        site.write(ab())
        async with opened(site) as (_, document, tab):
            before = site.file.read_bytes()
            await edit(document, tab, 1, "large" * 50_000)
            with pytest.raises(Exception, match="No space left"):
                await document.mirror.save(recreate=True)
            assert site.file.read_bytes() == before
            assert document.mirror.dirty
            await until(lambda: tab.state["dirty"])
            assert sorted(os.listdir(disk)) == [PATH]
            await edit(document, tab, 1, "small")
            await until(lambda: site.on_disk == ["a", "small"])
            await until(lambda: tab.state["dirty"] is False)
            assert not [name for name in os.listdir(disk) if name.startswith(".~")]


async def test_the_hash_is_told_with_the_file(site: Site) -> None:
    """A tab that finds a hash it was not told asks its user about a file that has changed on disk."""
    site.write(ab())
    async with opened(site) as (_, document, tab):
        wrong = []
        done = Event()

        async def compare() -> None:
            while not done.is_set():
                answer = await site.contents.get(PATH, content=False, require_hash=True)
                wrong.append(answer["hash"] != document.document.ystate["hash"])

        async with create_task_group() as tasks:
            tasks.start_soon(compare)
            for number in range(10):
                await edit(document, tab, 1, f"{number}")
                await document.mirror.save()
                await sleep(0.05 * (number % 3))
            done.set()
        assert wrong
        assert not any(wrong)


async def test_a_tab_has_time_to_hear_of_a_save(site: Site) -> None:
    """JupyterLab's asks for the file before it believes a new hash (``jupyter-docprovider``, ``ydrive.ts``)."""
    site.write(ab())
    async with opened(site) as (_, document, tab):
        early = []
        done = Event()

        async def ask() -> None:
            while not done.is_set():
                answer = await site.contents.get(PATH, content=False, require_hash=True)
                new = answer["hash"] == document.document.ystate["hash"]
                early.append(new and current_time() < document.hash_said_at + open_files.HEARING)

        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            for number in range(4):
                await edit(document, tab, 1, f"{number}")
                await document.mirror.save()
                seen = len(early)
                await until(lambda seen=seen: len(early) > seen)  # type: ignore[misc]
            done.set()
        assert not any(early)


async def test_managers_are_given_back_as_they_were(managed: Site) -> None:
    before = type(managed.contents)
    with taken_over(managed.contents, OpenFiles(None, lambda path: path)):  # type: ignore[arg-type]
        assert type(managed.contents) is not before
        assert isinstance(managed.contents, before)
    assert type(managed.contents) is before


@pytest.mark.parametrize("options", [{"use_atomic_writing": False}, {"keep_inodes": True}])
async def test_files_are_written_in_place_where_that_is_wanted(site: Site, options: dict[str, bool]) -> None:
    site.write(ab())
    site.contents.use_atomic_writing = options.get("use_atomic_writing", True)
    inode = site.file.stat().st_ino
    with taken_over(
        site.contents,
        OpenFiles(None, lambda path: path),  # type: ignore[arg-type]
        lambda: options.get("keep_inodes", False),
    ):
        await AsyncLargeFileManager.save(site.contents, model(ab("x")), PATH)  # type: ignore[no-untyped-call]
    assert site.file.stat().st_ino == inode
    assert site.on_disk == ["x", "b"]
