"""What a document is told of its file: whether it has everything, and why not."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from anyio import Event, create_task_group

from tests.files.conftest import QUICK, Desk
from tests.files.test_file_mirror import ab, on_disk, sources, write
from tests.room.waiting import until
from ydoc_exec.errors import SaveFailed
from ydoc_exec.files.decision import Base

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    write(desk.file, ab())
    return desk


async def test_the_first_edit_is_said_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, settings=replace(QUICK, save_delay=60, save_interval=60))
    write(desk.file, ab())
    async with desk.running():
        desk.paper.edit(ab("1"))
        assert desk.paper.said == []  # not from inside the change
        await until(lambda: desk.paper.said == ["unsaved"])
        for number in range(5):
            desk.paper.edit(ab(f"{number}"))
        await desk.mirror.save(recreate=True)
        assert desk.paper.said == ["unsaved", "saved"]
        # While the delay of the first edit still runs.
        desk.paper.edit(ab("again"))
        await until(lambda: desk.paper.said == ["unsaved", "saved", "unsaved"])


async def test_an_edit_during_a_save_leaves_it_unsaved(desk: Desk) -> None:
    async with desk.running():
        desk.contents.gate = Event()
        desk.paper.edit(ab("1"))
        await desk.contents.saving.wait()
        desk.paper.edit(ab("2"))
        desk.contents.gate.set()
        await until(lambda: len(desk.contents.saves) == 1)
        assert "saved" not in desk.paper.said
        await until(lambda: desk.paper.said[-1] == "saved")
        assert on_disk(desk) == ["2", "b"]


async def test_what_was_unsaved_when_it_was_loaded_is_said(desk: Desk) -> None:
    file = await desk.mirror.load()
    desk.paper.content = ab("from the log")
    desk.mirror.start(file, Base(file.fingerprint, file.fingerprint), unsaved=True)
    assert desk.mirror.dirty
    async with create_task_group() as tasks:
        tasks.start_soon(desk.mirror.run)
        await until(lambda: desk.paper.said == ["unsaved", "saved"])
        tasks.cancel_scope.cancel()
    assert on_disk(desk) == ["from the log", "b"]


async def test_a_failure_is_said_once_and_when_it_is_over(desk: Desk) -> None:
    async with desk.running():
        desk.contents.broken = OSError(errno.ENOSPC, "No space left on device")
        desk.paper.edit(ab("1"))
        await until(lambda: len(desk.contents.tries) >= 3)
        assert len(desk.paper.troubles) == 1
        assert "No space left" in str(desk.paper.troubles[0])
        assert "saved" not in desk.paper.said
        desk.contents.broken = PermissionError(errno.EACCES, "Permission denied")
        with pytest.raises(SaveFailed, match="Permission denied"):
            await desk.mirror.save(recreate=True)
        assert len(desk.paper.troubles) == 2
        desk.contents.broken = None
        await until(lambda: desk.paper.said[-1] == "saved")
        assert desk.paper.troubles[2:] == [None]
    assert on_disk(desk) == ["1", "b"]


async def test_what_keeps_failing_is_tried_less_and_less_often(desk: Desk) -> None:
    async with desk.running():
        desk.contents.broken = OSError(errno.EROFS, "Read-only file system")
        desk.paper.edit(ab("1"))
        await until(lambda: len(desk.contents.tries) == 5)
    pauses = [later - sooner for sooner, later in pairwise(desk.contents.tries)]
    assert all(pause >= QUICK.save_retry * 2**number for number, pause in enumerate(pauses))


async def test_a_deleted_file_is_said_once_and_nothing_is_written_any_more(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk.running():
        desk.file.unlink()
        await until(lambda: desk.mirror.missing)
        assert desk.mirror.dirty
        assert desk.paper.said == ["unsaved"]
        desk.paper.edit(ab("1"))
        await desk.looked(5)
        await desk.mirror.save()
        assert [str(why) for why in desk.paper.troubles] == [
            "the file was deleted; it is written again only when somebody saves it"
        ]
        assert caplog.text.count("is gone") == 1
        assert os.listdir(desk.root) == []
        await desk.mirror.save(recreate=True)
        assert on_disk(desk) == ["1", "b"]
        assert desk.paper.troubles[1:] == [None]
        assert desk.paper.said[-1] == "saved"


async def test_a_file_that_comes_back_as_it_was_is_saved(desk: Desk) -> None:
    async with desk.running():
        away = desk.root / "away"
        desk.file.rename(away)
        await until(lambda: desk.paper.said == ["unsaved"])
        away.rename(desk.file)
        await until(lambda: desk.paper.said == ["unsaved", "saved"])
        assert not desk.mirror.dirty
        assert desk.paper.troubles[-1] is None
    assert desk.contents.saves == []


async def test_an_edit_and_an_outside_change_at_once_settle_in_one_reload_and_one_save(desk: Desk) -> None:
    async with desk.running():
        for number in range(5):
            desk.contents.saves.clear()
            desk.paper.taken_up = 0
            desk.paper.edit(ab(sources(desk.paper.content)[0], f"ours {number}"))
            write(desk.file, ab(f"theirs {number}", sources(json.loads(desk.file.read_text()))[1]))
            await until(lambda: not desk.mirror.dirty)
            await desk.looked(5)
            assert sources(desk.paper.content) == on_disk(desk) == [f"theirs {number}", f"ours {number}"]
            assert len(desk.contents.saves) == 1
            assert desk.paper.taken_up == 1


class TypesMeanwhile(tuple[str, ...]):
    """No live cells; but when they are asked for, in a thread, somebody types."""

    desk: Desk

    def __contains__(self, name: object) -> bool:
        if sources(self.desk.paper.content)[1] != "typed":
            self.desk.paper.edit(ab(b="typed"))
        return False


async def test_an_edit_while_an_outside_change_is_compared_is_not_lost(desk: Desk) -> None:
    """Large notebooks are compared in a thread."""
    await desk.load()
    write(desk.file, ab("theirs"))
    desk.paper.live = TypesMeanwhile()
    desk.paper.live.desk = desk
    await desk.mirror.save()
    assert sources(desk.paper.content) == on_disk(desk) == ["theirs", "typed"]
