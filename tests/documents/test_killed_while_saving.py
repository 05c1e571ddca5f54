"""A server is killed right after a save has replaced the file, before anything else is written anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.documents.conftest import ROOM, Contents, Site, Tab, ab, sources
from tests.documents.test_restart import come_back
from tests.room.waiting import until
from ydoc_exec.documents.loading import STATES_TRIED
from ydoc_exec.ids import Lineage
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]


class LastSave(Contents):
    """A contents manager that keeps what a kill would have left right after a save had replaced the file."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        answer = await super().save(model, path)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return answer


def make_site(folder: Path, **settings: float) -> Site:
    site = Site(folder)
    site.contents = LastSave(site.root)
    site.log = SqliteUpdateLog(folder / "log.sqlite")
    site.set(**settings)
    return site


async def killed(
    folder: Path, before: str, saved: str, after: Sequence[str] = ()
) -> tuple[Site, Tab, Lineage]:
    """A tab typed something that the log has, then something that was saved, and more before the save had ended.

    What is left then.
    """
    (folder / "first").mkdir()
    site = make_site(folder / "first", log_delay=60.0, save_delay=60.0, save_interval=60.0)
    site.write(ab())
    assert isinstance(site.contents, LastSave)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        await tab.edit(0, before)
        await until(lambda: sources(document)[0] == before)
        await life.writer.flush()
        await tab.edit(0, saved)
        await until(lambda: sources(document)[0] == saved)

        async def die() -> None:
            for text in after:
                await tab.edit(0, text)
            await until(lambda: sources(document)[0] == [saved, *after][-1])
            if after:
                await life.writer.flush()
            shutil.copytree(folder / "first", folder / "left")

        site.contents.meanwhile = die
        await document.mirror.save()
        lineage = document.lineage
    shutil.move(folder / "left" / "files", folder / "files")
    left = make_site(folder / "left")
    shutil.rmtree(left.root)
    shutil.move(folder / "files", left.root)
    return left, tab, lineage


@pytest.mark.parametrize("before", ["a", "unsaved"])
async def test_what_was_saved_is_neither_lost_nor_doubled(tmp_path: Path, before: str) -> None:
    site, tab, lineage = await killed(tmp_path, before, "saved")
    assert site.on_disk == ["saved", "b"]
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == lineage
        assert sources(document) == ["saved", "b"]
        again = await come_back(tab, document)
        assert again.sources == ["saved", "b"]
    assert site.on_disk == ["saved", "b"]
    assert site.copies == []


async def test_it_is_our_own_save_however_much_was_typed_meanwhile(tmp_path: Path) -> None:
    texts = [f"after {number}" for number in range(STATES_TRIED + 8)]
    site, tab, lineage = await killed(tmp_path, "unsaved", "saved", texts)
    assert site.on_disk == ["saved", "b"]
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.lineage == lineage
        assert sources(document) == [texts[-1], "b"]
        await come_back(tab, document)
        assert sources(document) == [texts[-1], "b"]
        await until(lambda: site.on_disk == [texts[-1], "b"])
    assert site.copies == []
