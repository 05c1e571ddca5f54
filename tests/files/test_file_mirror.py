"""A document and its file stay equal, through everything that disks, people and programs do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, create_task_group, sleep

from tests.files.conftest import NAME, QUICK, Desk
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.errors import CopyFailed, DocumentNotFound, LoadFailed, SaveFailed
from ydoc_exec.files.decision import Base, fingerprint

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
    pytest.mark.filterwarnings("ignore:(Cell is missing an id|Non-unique cell id)"),
]


def ab(a: str = "a", b: str = "b") -> dict[str, Any]:
    return notebook(cell("cell-a", a), cell("cell-b", b))


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def sources(content: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]) for cell in content["cells"]]


def on_disk(desk: Desk) -> list[str]:
    """The sources in the file; none while it is being written."""
    try:
        return sources(json.loads(desk.file.read_text()))
    except ValueError:
        return []


@pytest.fixture
def filled(desk: Desk) -> Desk:
    write(desk.file, ab())
    return desk


# Saving


async def test_edits_are_saved_once_it_is_quiet(filled: Desk) -> None:
    async with filled.running():
        for number in range(5):
            filled.paper.edit(ab(str(number)))
        assert filled.mirror.dirty
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["4", "b"]
    assert len(filled.contents.saves) == 1
    assert filled.paper.said == ["unsaved", "saved"]


async def test_what_never_gets_quiet_is_saved_all_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path, settings=replace(QUICK, save_delay=60, save_interval=0.05))
    write(desk.file, ab())
    async with desk.running():
        desk.paper.edit(ab("1"))
        await until(lambda: len(desk.contents.saves) == 1)
        desk.paper.edit(ab("2"))
        # When the second edit comes, the first save may not be over.
        await until(lambda: not desk.mirror.dirty)
    assert on_disk(desk) == ["2", "b"]


async def test_hurry(tmp_path: Path) -> None:
    desk = Desk(tmp_path, settings=replace(QUICK, save_delay=60, save_interval=60))
    write(desk.file, ab())
    async with desk.running():
        desk.paper.edit(ab("1"))
        desk.mirror.hurry()
        await until(lambda: desk.contents.saves)
        await until(lambda: not desk.mirror.dirty)
        # Without anything to save it means nothing, also for the next edit.
        desk.mirror.hurry()
        desk.paper.edit(ab("2"))
        await sleep(0.05)
        assert len(desk.contents.saves) == 1


async def test_saving_by_hand_saves_the_state_of_that_moment(filled: Desk) -> None:
    filled.contents.gate = Event()
    await filled.load()
    async with create_task_group() as tasks:
        filled.paper.edit(ab("1"))
        tasks.start_soon(filled.mirror.save)
        await filled.contents.saving.wait()
        filled.paper.edit(ab("2"))
        done: list[list[str]] = []

        async def save_by_hand() -> None:
            await filled.mirror.save(recreate=True)
            done.append(on_disk(filled))

        tasks.start_soon(save_by_hand)
        await sleep(0.01)
        assert not done
        filled.contents.gate.set()
    assert done == [["2", "b"]]
    assert not filled.mirror.dirty
    assert [sources(content)[0] for content in filled.contents.saves] == ["1", "2"]


async def test_edits_made_while_saving_are_not_called_saved(filled: Desk) -> None:
    filled.contents.gate = Event()
    async with filled.running():
        filled.paper.edit(ab("1"))
        await filled.contents.saving.wait()
        filled.paper.edit(ab("2"))
        filled.contents.gate.set()
        await until(lambda: len(filled.contents.saves) == 1)
        # What is in the file is known all the same: a server that is killed now must know its own save.
        await until(lambda: filled.paper.bases)
        assert "saved" not in filled.paper.said or not filled.mirror.dirty
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["2", "b"]


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("anything else"),
    ],
)
async def test_a_failed_save_stays_to_be_done(filled: Desk, error: Exception) -> None:
    before = filled.file.read_bytes()
    filled.contents.broken = error
    async with filled.running():
        filled.paper.edit(ab("1"))
        with pytest.raises(SaveFailed) as failed:
            await filled.mirror.save(recreate=True)
        assert failed.value.path == NAME
        await until(lambda: filled.paper.said.count("unsaved") >= 2)
        assert filled.mirror.dirty
        assert filled.file.read_bytes() == before
        filled.contents.broken = None
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["1", "b"]


async def test_a_document_that_cannot_be_read_does_not_stop_saving_for_ever(
    filled: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with filled.running():
        filled.paper.unreadable = True
        filled.paper.edit(ab("1"))
        with pytest.raises(SaveFailed, match="infinity"):
            await filled.mirror.save()
        await until(lambda: filled.paper.said.count("unsaved") >= 2)
        assert "infinity" in caplog.text
        filled.paper.unreadable = False
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["1", "b"]


async def test_nothing_is_saved_before_it_is_loaded(filled: Desk) -> None:
    before = filled.file.read_bytes()
    filled.paper.content = ab("never")
    filled.mirror.changed()
    for recreate in (False, True):
        with pytest.raises(SaveFailed):
            await filled.mirror.save(recreate=recreate)
    assert filled.file.read_bytes() == before
    assert filled.mirror.base is None


async def test_nobody_is_saved_who_does_not_want_it(filled: Desk) -> None:
    filled.paper.autosave = False
    async with filled.running():
        filled.paper.edit(ab("1"))
        await filled.looked(5)
        assert filled.contents.saves == []
        await filled.mirror.save(recreate=True)
        assert on_disk(filled) == ["1", "b"]
        filled.paper.edit(ab("2"))
        await filled.looked(5)
        assert on_disk(filled) == ["1", "b"]
        # Minds are changed, and those who said so leave.
        filled.paper.autosave = True
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["2", "b"]


async def test_a_type_of_its_own_is_in_a_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "a.jcad", "jcad")
    desk.file.write_text("{}")
    async with desk.running():
        desk.paper.edit("{1}")
        await desk.mirror.save(recreate=True)
    assert desk.file.read_text() == "{1}"


# Bytes that stay as they are


ODD = {
    "as nbformat writes it": json.dumps(ab(), indent=1) + "\n",
    "lines end as on Windows": json.dumps(ab(), indent=1).replace("\n", "\r\n"),
    "before cell ids": json.dumps(notebook(cell(None, "a"), cell(None, "a"), minor=4)),
    "without its ids": json.dumps(notebook(cell(None, "a"), cell(None, "b"))),
    "an id twice": json.dumps(notebook(cell("x", "a"), cell("x", "b"))),
    "sources as lists": json.dumps(notebook(cell("x", ["a\n", "b"]))),  # type: ignore[arg-type]
    "no metadata to speak of": json.dumps(notebook()),
    "numbers that are none": json.dumps(notebook(cell("x", "a", metadata={"n": float("nan")}))),
    "huge numbers": json.dumps(notebook(cell("x", "a", metadata={"n": 10**30}))),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
async def test_looking_changes_nothing(desk: Desk, text: str) -> None:
    desk.file.write_bytes(text.encode())
    async with desk.running():
        await desk.looked()
        os.utime(desk.file, (1, 1))
        await desk.looked()
        desk.file.write_bytes(text.encode())
        await desk.looked()
        assert not desk.mirror.dirty
        await desk.mirror.save(recreate=True)
        assert desk.paper.bases == []
    assert desk.contents.saves == []
    assert desk.file.read_bytes() == text.encode()


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
async def test_the_same_file_is_the_same_content(desk: Desk, text: str) -> None:
    desk.file.write_bytes(text.encode())
    assert (await desk.mirror.load()).fingerprint == (await desk.mirror.load()).fingerprint


async def test_ids_that_look_made_up_and_are_not_stay(desk: Desk) -> None:
    write(desk.file, notebook(cell("0123abcd", "a"), cell("deadbeef", "b")))
    file = await desk.mirror.load()
    assert [cell["id"] for cell in file.content["cells"]] == ["0123abcd", "deadbeef"]


# Other programs


async def test_a_change_elsewhere_is_taken_up(filled: Desk) -> None:
    async with filled.running():
        write(filled.file, ab("theirs"))
        await until(lambda: sources(filled.paper.content) == ["theirs", "b"])
        await until(lambda: not filled.mirror.dirty)
    assert filled.contents.saves == []
    assert filled.paper.copies == []


async def test_changes_on_both_sides_go_together(filled: Desk) -> None:
    await filled.load()
    filled.paper.edit(ab(b="ours"))
    write(filled.file, ab("theirs"))
    await filled.mirror.save()
    assert sources(filled.paper.content) == on_disk(filled) == ["theirs", "ours"]
    assert filled.paper.copies == []


async def test_of_two_changes_of_one_cell_both_are_kept(
    filled: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await filled.load()
    filled.paper.edit(ab("ours"))
    write(filled.file, ab("theirs"))
    await filled.mirror.save()
    assert sources(filled.paper.content) == on_disk(filled) == ["ours", "b"]
    assert [sources(content) for content in filled.paper.copies] == [["theirs", "b"]]
    assert "cell-a" in caplog.text


async def test_a_version_that_cannot_be_kept_is_not_written_over(
    filled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filled.running():

        def full(path: str, content: Any, reason: str, text: str) -> str:
            raise CopyFailed("kept", path, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(filled.paper, "keep_copy", full)
            write(filled.file, ab("theirs"))
            filled.paper.edit(ab("ours"))
            with pytest.raises(SaveFailed):
                await filled.mirror.save()
            await until(lambda: filled.paper.said.count("unsaved") >= 3)
            assert on_disk(filled) == ["theirs", "b"]
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["ours", "b"]
    assert [sources(content) for content in filled.paper.copies] == [["theirs", "b"]]


async def test_results_of_live_cells_are_not_taken(filled: Desk) -> None:
    filled.paper.live = ("cell-a",)
    async with filled.running():
        write(filled.file, notebook(cell("cell-a", "a", execution_count=5), cell("cell-b", "theirs")))
        await until(lambda: sources(filled.paper.content) == ["a", "theirs"])
    assert filled.paper.content["cells"][0]["execution_count"] is None


async def test_cells_without_ids_are_merged_too(desk: Desk) -> None:
    write(desk.file, notebook(cell(None, "a"), cell(None, "b"), minor=4))
    await desk.load()
    desk.paper.edit(notebook(cell(None, "a"), cell(None, "ours"), minor=4))
    write(desk.file, notebook(cell(None, "theirs"), cell(None, "b"), minor=4))
    await desk.mirror.save()
    assert sources(desk.paper.content) == ["theirs", "ours"]
    assert desk.paper.cell_ids() == ["cell-0", "cell-1"]
    assert desk.paper.copies == []


async def test_a_live_cell_without_an_id_that_a_program_deletes_and_puts_back_is_there_once(
    desk: Desk,
) -> None:
    """It stays when it is deleted, and the file has nothing by which to know it until it is saved."""
    both = notebook(cell(None, "a"), cell(None, "b"), minor=4)
    write(desk.file, both)
    await desk.load()
    desk.paper.live, desk.paper.autosave = ("cell-0",), False
    async with desk.running():
        for content in (notebook(cell(None, "b"), minor=4), both):
            taken_up = len(desk.paper.bases)
            write(desk.file, content)
            await until(lambda taken_up=taken_up: len(desk.paper.bases) > taken_up)  # type: ignore[misc]
            assert sources(desk.paper.content) == ["a", "b"]
    assert desk.paper.cell_ids() == ["cell-0", "cell-1"]
    assert desk.paper.copies == []


async def test_edits_that_wait_since_another_life_are_merged(filled: Desk) -> None:
    """As after a restart: the document is ahead of its file from the beginning."""
    file = await filled.mirror.load()
    filled.paper.content = ab(b="ours")
    filled.mirror.start(file, Base(file.fingerprint, fingerprint(file.content)), unsaved=True)
    write(filled.file, ab("theirs"))
    await filled.mirror.save()
    assert on_disk(filled) == ["theirs", "ours"]
    assert filled.paper.copies == []


async def test_a_text_that_both_have_changed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "a.txt", "file")
    desk.file.write_text("a")
    await desk.load()
    desk.paper.edit("ours")
    desk.file.write_text("theirs")
    await desk.mirror.save()
    assert desk.paper.content == desk.file.read_text() == "ours"
    assert desk.paper.copies == ["theirs"]


async def test_a_text_that_was_changed_elsewhere(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "a.txt", "file")
    desk.file.write_bytes(b"a\r\n")
    async with desk.running():
        desk.file.write_bytes(b"b\r\n")
        await until(lambda: desk.paper.content == "b\r\n")
        await until(lambda: not desk.mirror.dirty)
    assert desk.file.read_bytes() == b"b\r\n"
    assert desk.contents.saves == []


async def test_our_own_saves_are_no_changes_of_others(filled: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async with filled.running():
        for number in range(10):
            filled.paper.edit(ab(str(number)))
            await filled.mirror.save(recreate=True)
            await filled.looked(1)
        os.utime(filled.file, (1, 1))
        await filled.looked()
    assert "another program" not in caplog.text
    assert on_disk(filled) == ["9", "b"]


async def test_the_document_is_told_the_hash_of_every_state_of_its_file(filled: Desk) -> None:
    def is_right() -> bool:
        return filled.paper.hash == hashlib.sha256(filled.file.read_bytes()).hexdigest()

    async with filled.running():
        await until(is_right)
        filled.paper.edit(ab("mine"))
        await filled.mirror.save(recreate=True)
        assert is_right()
        write(filled.file, ab("theirs"))
        await until(is_right)


async def test_a_change_in_the_same_second_is_seen_by_its_size(filled: Desk) -> None:
    async with filled.running():
        before = filled.file.stat()
        write(filled.file, ab("theirs"))
        os.utime(filled.file, ns=(before.st_atime_ns, before.st_mtime_ns))
        await until(lambda: sources(filled.paper.content) == ["theirs", "b"])


async def test_a_half_written_file_is_left_alone_until_it_is_whole(filled: Desk) -> None:
    whole = json.dumps(ab("theirs"))
    async with filled.running():
        filled.file.write_text(whole[: len(whole) // 2])
        filled.paper.edit(ab(b="ours"))
        await filled.looked(5)
        assert sources(filled.paper.content) == ["a", "ours"]
        assert filled.file.read_text() == whole[: len(whole) // 2]
        assert filled.mirror.dirty
        filled.file.write_text(whole)
        await until(lambda: sources(filled.paper.content) == ["theirs", "ours"])
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["theirs", "ours"]


@pytest.mark.parametrize("rubbish", [b"{", b"", b"\xff\xfe", b"[]", b'{"cells": [{}]}'])
async def test_a_file_that_became_rubbish_is_replaced_only_by_hand(filled: Desk, rubbish: bytes) -> None:
    async with filled.running():
        filled.file.write_bytes(rubbish)
        filled.paper.edit(ab("ours"))
        await until(lambda: filled.paper.said.count("unsaved") >= 2)
        with pytest.raises(SaveFailed):
            await filled.mirror.save()
        assert filled.file.read_bytes() == rubbish
        await filled.mirror.save(recreate=True)
        assert not filled.mirror.dirty
    assert on_disk(filled) == ["ours", "b"]
    assert len(filled.paper.copies) == 1


async def test_what_cannot_be_taken_up_is_not_written_over(filled: Desk) -> None:
    async with filled.running():
        filled.paper.refuses = True
        write(filled.file, ab("strange"))
        filled.paper.edit(ab(b="ours"))
        await until(lambda: filled.paper.said.count("unsaved") >= 2)
        assert on_disk(filled) == ["strange", "b"]
        filled.paper.refuses = False
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["strange", "ours"]


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), OSError(errno.EIO, "I/O error")])
async def test_whatever_fails_while_looking_does_not_end_it(
    filled: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with filled.running():

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise error

        for target, name in (
            (filled.contents, "get"),
            (filled.paper, "take_up"),
            (filled.paper, "live_cells"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(target, name, fail)
                write(filled.file, ab(f"while {name} fails"))
                await filled.looked(3)
            await until(lambda name=name: sources(filled.paper.content)[0] == f"while {name} fails")  # type: ignore[misc]
        filled.paper.edit(ab("ours"))
        await until(lambda: on_disk(filled) == ["ours", "b"])


async def test_a_mistake_while_saving_does_not_end_it(filled: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async with filled.running():
        agreed = filled.paper.agreed

        def fail(base: Any, content: Any) -> None:
            filled.paper.agreed = agreed  # type: ignore[method-assign]
            raise RuntimeError("a mistake")

        filled.paper.agreed = fail  # type: ignore[method-assign]
        filled.paper.edit(ab("1"))
        await until(lambda: not filled.mirror.dirty)
    assert "a mistake" in caplog.text


# Files that go and come


async def test_a_deleted_file_comes_back_only_by_hand(filled: Desk) -> None:
    async with filled.running():
        filled.file.unlink()
        await until(lambda: filled.mirror.missing)
        filled.paper.edit(ab("1"))
        await filled.looked(5)
        await filled.mirror.save()
        assert not filled.file.exists()
        assert filled.mirror.dirty
        await filled.mirror.save(recreate=True)
        assert on_disk(filled) == ["1", "b"]
        assert not filled.mirror.dirty
        filled.paper.edit(ab("2"))
        await until(lambda: on_disk(filled) == ["2", "b"])


async def test_a_deleted_file_is_written_by_hand_without_an_edit(filled: Desk) -> None:
    await filled.load()
    filled.file.unlink()
    await filled.mirror.save(recreate=True)
    assert on_disk(filled) == ["a", "b"]


async def test_a_file_that_comes_back_by_itself_is_saved_to(filled: Desk) -> None:
    aside = filled.root / "elsewhere"
    async with filled.running():
        filled.file.rename(aside)
        await until(lambda: filled.mirror.missing)
        filled.paper.edit(ab("1"))
        await filled.looked(5)
        aside.rename(filled.file)
        await until(lambda: not filled.mirror.dirty)
    assert on_disk(filled) == ["1", "b"]


async def test_a_file_is_followed_where_it_is_moved(filled: Desk) -> None:
    async with filled.running():
        old = filled.file
        old.rename(filled.root / "b.ipynb")
        filled.name = "b.ipynb"
        await until(lambda: filled.paper.path == "b.ipynb")
        filled.paper.edit(ab("1"))
        await until(lambda: on_disk(filled) == ["1", "b"])
        assert not old.exists()


async def test_a_file_whose_id_is_forgotten_stays_where_it_was(filled: Desk) -> None:
    async with filled.running():
        filled.name = None
        filled.paper.edit(ab("1"))
        await until(lambda: not filled.mirror.dirty)
    filled.name = NAME
    assert on_disk(filled) == ["1", "b"]


# Loading


async def test_a_file_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(DocumentNotFound):
        await desk.mirror.load()
    desk.name = None
    with pytest.raises(DocumentNotFound):
        await desk.mirror.load()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.mkdir(),
        lambda path: write(path, {"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
        lambda path: write(path, {"nbformat": 4, "nbformat_minor": 5}),
    ],
)
async def test_a_file_that_cannot_be_loaded(desk: Desk, make: Callable[[Path], object]) -> None:
    make(desk.file)
    with pytest.raises(LoadFailed) as failed:
        await desk.mirror.load()
    assert failed.value.path == NAME
