"""What tabs say of results when they come back, and of which of them they knew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycrdt import Map

from tests.documents.conftest import ROOM, Site, Tab, ab
from tests.documents.runs import a_run, begin, end, run_to_its_end, target_of
from tests.documents.test_returning_tabs import Away
from tests.notebook.edits import prints
from tests.notebook.messages import display_output, stream_output
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.origin import FromServer

pytestmark = pytest.mark.anyio


def shown(tab: Tab) -> tuple[list[object], object, object]:
    cell = tab.notebook.ycells[0].to_py()
    return cell["outputs"], cell["execution_count"], cell["execution_state"]


def clear(tab: Tab) -> None:
    """As JupyterLab does it."""
    cell = tab.notebook.ycells[0]
    cell["outputs"].clear()
    cell["execution_count"] = None


async def away_after_a_run(document: OpenDocument) -> Away:
    tab = Tab()
    await tab.come_to(document)
    run_to_its_end(target_of(document), a_run("first"), prints("first"))
    await until(lambda: tab.notebook.ycells[0]["execution_count"] == 1)
    tab.leave()
    return Away(tab, document.lineage)


async def come_back(tab: Tab, document: OpenDocument, away: Away) -> None:
    """Until the document has everything that the tab has, and the other way round."""
    await tab.come_to(document, away.lineage)
    await tab.send(b"\x02\x07barrier\x02it")
    await document.room.barrier("it", 5)


async def test_results_that_were_cleared_before_the_run(site: Site) -> None:
    async with site.opened(ab()) as document:
        away = await away_after_a_run(document)
        end_it = a_run("second")
        begin(target_of(document), end_it, prints("second"))
        end(target_of(document), end_it, count=2)
        tab = away.again()
        with tab.doc.transaction():
            clear(tab)
        await come_back(tab, document, away)
        await until(lambda: shown(tab) == ([stream_output("second")], 2, "idle"))


def add_output(tab: Tab) -> None:
    tab.notebook.ycells[0]["outputs"].append(Map(display_output("of a server that was killed")))


@pytest.mark.parametrize("change", [clear, add_output])
async def test_while_the_cell_runs(site: Site, change: Callable[[Tab], None]) -> None:
    async with site.opened(ab()) as document:
        away = await away_after_a_run(document)
        run = a_run("second")
        begin(target_of(document), run, prints("second"))
        tab = away.again()
        with tab.doc.transaction():
            change(tab)
        await come_back(tab, document, away)
        await until(lambda: shown(tab) == ([stream_output("second")], None, "running"))
        end(target_of(document), run, prints(", third"), count=2)
        await until(lambda: shown(tab) == ([stream_output("second, third")], 2, "idle"))


async def test_outputs_that_only_the_tab_has_of_an_earlier_run(site: Site) -> None:
    async with site.opened(ab()) as document:
        away = await away_after_a_run(document)
        run_to_its_end(target_of(document), a_run("second"), prints("second"))
        tab = away.again()
        with tab.doc.transaction():
            add_output(tab)
        await come_back(tab, document, away)
        await until(lambda: shown(tab) == ([stream_output("second")], 1, "idle"))


async def test_results_that_were_seen_and_cleared(site: Site) -> None:
    async with site.opened(ab()) as document:
        away = await away_after_a_run(document)
        tab = away.again()
        with tab.doc.transaction():
            clear(tab)
        await come_back(tab, document, away)
        assert shown(tab) == ([], None, "idle")
        other = Tab()
        await other.come_to(document)
        assert shown(other) == ([], None, "idle")


async def test_what_somebody_else_cleared_meanwhile_stays_cleared(site: Site) -> None:
    async with site.opened(ab()) as document:
        away = await away_after_a_run(document)
        run_to_its_end(target_of(document), a_run("second"), prints("second"))
        other = Tab()
        await other.come_to(document)
        with other.doc.transaction():
            clear(other)
        tab = away.again()
        with tab.doc.transaction():
            add_output(tab)
        await other.flush()
        await come_back(tab, document, away)
        await until(lambda: shown(tab) == ([], None, "idle"))
        assert shown(other) == shown(tab)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("kill", [True, False])
async def test_a_cell_that_a_tab_moved_before_it_ran_and_the_server_was_restarted(
    site: Site, kill: bool, trusted: bool
) -> None:
    """As JupyterLab moves it: what the tab inserts is a copy of what it had."""
    site.write(ab())
    async with site.serving(kill=kill) as life, life.documents.open(ROOM) as document:
        tab = Tab()
        await tab.come_to(document)
        tab.leave()
        away = Away(tab, document.lineage)
        run_to_its_end(target_of(document), a_run("first"), prints("first"))
        if not trusted:
            with document.room.writing(FromServer()):
                document.document.ycells[0]["metadata"]["trusted"] = False  # type: ignore[attr-defined]

    def move(tab: Tab) -> None:
        cell = tab.notebook.ycells.pop(0)
        tab.notebook.ycells.append(tab.notebook.create_ycell(cell))

    async with site.serving() as life, life.documents.open(ROOM) as document:
        tab = away.again(move)
        await come_back(tab, document, away)
        moved = document.document.ycells[1].to_py()  # type: ignore[attr-defined]
        assert (moved["id"], moved["outputs"]) == ("cell-a", [stream_output("first")])
        assert (moved["execution_count"], moved["execution_state"]) == (1, "idle")
        assert moved["metadata"].get("trusted", False) is trusted


async def test_a_cell_whose_results_a_tab_has_seen_and_cleared_and_moved_away(site: Site) -> None:
    """It knew them, so that they are gone is what its user wants, after a restart too."""
    site.write(ab())
    async with site.serving() as life, life.documents.open(ROOM) as document:
        away = await away_after_a_run(document)

    def move(tab: Tab) -> None:
        clear(tab)
        cell = tab.notebook.ycells.pop(0)
        tab.notebook.ycells.append(tab.notebook.create_ycell(cell))

    async with site.serving() as life, life.documents.open(ROOM) as document:
        with document.room.writing(FromServer()):
            document.document.ystate["something"] = "that the tab has not seen"
        tab = away.again(move)
        await come_back(tab, document, away)
        moved = document.document.ycells[1].to_py()  # type: ignore[attr-defined]
        assert (moved["id"], moved["outputs"], moved["execution_count"]) == ("cell-a", [], None)
