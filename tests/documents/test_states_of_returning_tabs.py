"""Tabs that come back with cells that were running when they saw them last."""

from __future__ import annotations

import pytest

from tests.documents.conftest import ROOM, Site, Tab, ab
from tests.documents.runs import a_run, begin, end, target_of
from tests.documents.test_returning_tabs import Away, come_back, forget
from tests.room.waiting import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(30),
]


def states(tab: Tab) -> list[str]:
    return [str(cell["execution_state"]) for cell in tab.notebook.ycells]


async def left_while_running(site: Site, *, killed: bool) -> Away:
    """A tab that was cut off while a cell ran. With ``killed`` the run has left no trace in the file."""
    site.write(ab())
    site.set(save_delay=60.0)
    async with site.serving(kill=killed) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        target, run = target_of(document), a_run()
        begin(target, run)
        await until(lambda: states(tab) == ["running", "idle"])
        away = Away(tab, document.lineage)
        tab.leave()
        if not killed:
            end(target, run)
    forget(site)
    return away


@pytest.mark.parametrize("killed", [True, False], ids=["the same lineage", "another lineage"])
@pytest.mark.parametrize("alone", [False, True], ids=["somebody is there", "nobody is there"])
async def test_nothing_seems_to_run(site: Site, killed: bool, alone: bool) -> None:
    away = await left_while_running(site, killed=killed)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert (document.lineage == away.lineage) == killed
        if not alone:
            await Tab().come_to(document)
        tab = away.again()
        await come_back(tab, document, away.lineage)
        await until(lambda: states(tab) == ["idle", "idle"])
        assert document.notebook is not None
        assert not document.notebook.runs()


async def test_what_runs_now_seems_to_run(site: Site) -> None:
    away = await left_while_running(site, killed=True)
    async with site.serving() as life, life.documents.open(ROOM) as document:
        begin(target_of(document), a_run("two", "cell-b"))
        tab = away.again()
        await come_back(tab, document, away.lineage)
        await until(lambda: states(tab) == ["idle", "running"])
        assert document.notebook is not None
        assert list(document.notebook.runs()) == ["cell-b"]
        end(target_of(document), a_run("two", "cell-b"))
