"""What comes for a notebook that nobody has open any more, and what its displays are known by."""

from __future__ import annotations

import json
import logging

import pytest

from tests.documents.conftest import ROOM, Site, Tab, ab
from tests.documents.runs import a_run, begin, end, ran_and_closed, run_to_its_end, said, target_of
from tests.notebook.edits import change, prints, show
from tests.notebook.messages import Output, display_output
from tests.notebooks import cell, notebook
from tests.room.waiting import until
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.notebook.edits import AppendOutput, EditTail
from ydoc_exec.notebook.payload import NextInput

pytestmark = pytest.mark.anyio


def outputs(document: OpenDocument, index: int = 0) -> list[Output]:
    found: list[Output] = document.read()["cells"][index]["outputs"]
    return found


def printed(site: Site, index: int = 0) -> str:
    try:
        written = json.loads(site.file.read_text())["cells"][index]["outputs"]
    except ValueError:
        return ""
    return "".join("".join(output.get("text", "")) for output in written)


async def test_it_opens_the_document_and_is_saved(site: Site) -> None:
    site.write(ab())
    run = a_run("one")
    async with site.serving() as life:
        target = await ran_and_closed(life, run, prints("early\n"))
        said(target, run, prints("late 1\n"))
        said(target, run, prints("late 2\n"))
        await until(lambda: printed(site) == "early\nlate 1\nlate 2\n")
        await life.closed()
        said(target, run, EditTail("stdout", "2\n", "3\n"))
        await until(lambda: printed(site) == "early\nlate 1\nlate 3\n")


async def test_who_opened_it_again_sees_it_come(site: Site) -> None:
    site.write(ab())
    run = a_run("one")
    async with site.serving() as life:
        target = await ran_and_closed(life, run, prints("early\n"))
        tab = Tab()
        async with life.documents.open(ROOM) as document:
            assert target_of(document) is target
            await tab.come_to(document)
            said(target, run, prints("late\n"))
            await until(lambda: tab.notebook.ycells[0]["outputs"][0]["text"].to_py() == "early\nlate\n")
        tab.leave()


async def test_a_cell_that_was_run_again_is_the_new_runs(site: Site) -> None:
    site.write(ab())
    old, new = a_run("old"), a_run("new")
    async with site.serving() as life:
        target = await ran_and_closed(life, old, prints("old\n"))
        said(target, old, prints("while nobody was there\n"))
        async with life.documents.open(ROOM) as document:
            run_to_its_end(target, new, prints("new\n"))
            said(target, old, prints("too late\n"))
            assert [output["text"] for output in outputs(document)] == ["new\n"]
        await life.closed()
        said(target, old, prints("far too late\n"))
        said(target, new, prints("late\n"))
        await until(lambda: printed(site) == "new\nlate\n")


async def test_a_notebook_that_is_gone_is_asked_for_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(ab())
    run = a_run("one")
    async with site.serving() as life:
        target = await ran_and_closed(life, run)
        site.file.unlink()
        reads = site.contents.reads
        with caplog.at_level(logging.WARNING, "ydoc_exec"):
            said(target, run, prints("lost\n"))
            await until(lambda: "is lost" in caplog.text)
            for _ in range(10):
                said(target, run, prints("lost\n"))
            assert caplog.text.count("is lost") == 1
            assert site.contents.reads <= reads + 1
        site.write(ab())
        async with life.documents.open(ROOM) as document:  # somebody has brought it back
            said(target, run, prints("found\n"))
            assert [output["text"] for output in outputs(document)] == ["found\n"]


async def test_output_for_a_server_that_stops_is_no_failure(site: Site) -> None:
    site.write(ab())
    run = a_run("one")
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            target = target_of(document)
            run_to_its_end(target, run)
        await life.documents.close()
        said(target, run, prints("lost\n"))


@pytest.mark.parametrize("from_file", [False, True])
async def test_displays_are_known_again(site: Site, from_file: bool) -> None:
    """Replayed from the log, and built from the file, where numbers may have become others."""
    site.write(ab())
    first, second = a_run("first"), a_run("second", "cell-b")
    number = AppendOutput(
        {"output_type": "display_data", "data": {"application/json": {"n": 1, "m": 2.0}}, "metadata": {}}, "y"
    )
    async with site.serving() as life:
        target = await ran_and_closed(life, first, show("1", "x"), number, show("other"))
        if from_file:
            await site.log.forget(ROOM)
        async with life.documents.open(ROOM) as document:
            run_to_its_end(target, second, show("1 again", "x"), change("2", "x"), change("json", "y"))
            assert outputs(document) == [display_output("2"), display_output("json"), display_output("other")]
            assert outputs(document, 1) == [display_output("2")]


async def test_late_output_changes_a_display_of_a_closed_notebook(site: Site) -> None:
    site.write(ab())
    first, second = a_run("first"), a_run("second", "cell-b")
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            target = target_of(document)
            run_to_its_end(target, first, show("1", "x"))
            run_to_its_end(target, second)
        await life.closed()
        said(target, second, change("2", "x"))
        await until(lambda: '"2"' in site.file.read_text())
        async with life.documents.open(ROOM) as document:
            assert outputs(document) == [display_output("2")]
            assert outputs(document, 1) == []


async def test_the_end_of_a_run_that_has_lost_its_cell_changes_displays_elsewhere(site: Site) -> None:
    old, new = a_run("old"), a_run("new")
    async with site.opened(ab()) as document:
        target = target_of(document)
        run_to_its_end(target, a_run("first", "cell-b"), show("1", "x"))
        target.queued([old])
        target.queued([new])
        end(target, old, change("2", "x"), show("3"))
        assert outputs(document, 1) == [display_output("2")]
        assert outputs(document) == []
        end(target, new)


async def test_what_another_program_wrote_is_no_display_of_ours(site: Site) -> None:
    site.write(ab())
    first, second = a_run("first"), a_run("second", "cell-b")
    async with site.serving() as life:
        target = await ran_and_closed(life, first, show("1", "x"))
        theirs = notebook(cell("cell-a", "a", outputs=[display_output("theirs")]), cell("cell-b", "b"))
        site.write(theirs)
        async with life.documents.open(ROOM) as document:
            run_to_its_end(target, second, change("2", "x"))
            assert outputs(document) == [display_output("theirs")]


async def test_a_run_that_outlived_a_failure_of_its_document_goes_on(site: Site) -> None:
    site.write(ab())
    run = a_run("one")
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            target = target_of(document)
            begin(target, run, prints("before\n"))
            document.stop()  # as when it failed: whoever needs it
        await life.closed()
        said(target, run, prints("meanwhile\n"))
        await until(lambda: life.documents.get(ROOM) is not None)
        again = life.documents.get(ROOM)
        assert again is not None
        assert again.notebook is not None
        assert (again.notebook.run(run.cell) or {})["run_id"] == run.id
        assert again.document.ycells[0]["execution_state"] == "running"  # type: ignore[attr-defined]
        end(target, run, prints("after\n"), count=4)
        assert again.document.ycells[0]["execution_state"] == "idle"  # type: ignore[attr-defined]
        await life.closed()
        assert printed(site) == "before\nmeanwhile\nafter\n"


async def test_timings_are_written_with_the_rest(site: Site) -> None:
    run = a_run("one", record_timing=True)
    async with site.opened(ab()) as document:
        target = target_of(document)
        target.queued([run])
        run.note_time("iopub.status.busy", "2026-01-02T03:04:05+02:00")
        said(target, run)
        expected = {"iopub.status.busy": "2026-01-02T01:04:05Z"}
        assert document.read()["cells"][0]["metadata"]["execution"] == expected
        target.queued([a_run("two")])  # not asked for any more
        assert "execution" not in document.read()["cells"][0]["metadata"]


async def test_the_next_input_comes_below(site: Site) -> None:
    run = a_run("one")
    async with site.opened(ab()) as document:
        target = target_of(document)
        target.queued([run])
        end(target, run, next_input=NextInput("next\né", replace=False))
        cells = document.read()["cells"]
        assert [cell["source"] for cell in cells] == ["a", "next\né", "b"]
        assert cells[1]["cell_type"] == "code"
        assert cells[1]["metadata"] == {"trusted": False}
        assert len({cell["id"] for cell in cells}) == 3


async def test_the_next_input_of_a_cell_that_is_gone_comes_at_the_end(site: Site) -> None:
    run = a_run("one")
    async with site.opened(ab()) as document:
        target = target_of(document)
        target.queued([run])
        del document.document.ycells[0]  # type: ignore[attr-defined]
        end(target, run, next_input=NextInput("next", replace=False))
        assert [cell["source"] for cell in document.read()["cells"]] == ["b", "next"]


@pytest.mark.parametrize("typed", [False, True])
async def test_the_next_input_replaces_what_ran_and_nothing_else(site: Site, typed: bool) -> None:
    run = a_run("one")
    async with site.opened(ab()) as document:
        target = target_of(document)
        tab = Tab()
        await tab.come_to(document)
        target.queued([run])
        if typed:
            await tab.edit(0, "typed since")
            await until(lambda: document.read()["cells"][0]["source"] == "typed since")
        end(target, run, next_input=NextInput("loaded", replace=True))
        sources = [cell["source"] for cell in document.read()["cells"]]
        assert sources == (["typed since", "loaded", "b"] if typed else ["loaded", "b"])
        tab.leave()
