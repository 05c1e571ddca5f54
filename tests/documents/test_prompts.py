"""What runs wait for, in the document: it is live, it is the runs', and what people type into it is no content."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import sleep
from jupyter_ydoc import YNotebook
from pycrdt import Map, Text

from tests.documents.conftest import ROOM, Site, Tab, ab
from tests.documents.runs import a_run, begin, end, said, target_of
from tests.notebook.edits import prints
from tests.room.waiting import until
from ydoc_exec.documents.notebook_target import NotebookTarget
from ydoc_exec.execution.prompts import Prompt
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import PromptId
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_target import Ended, RunOutput

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


def ask(
    target: NotebookTarget, run: Run, name: str = "p", *, password: bool = False, before: str = ""
) -> None:
    """The run waits for something."""
    run.started_at = run.started_at or run.queued_at
    run.prompt = Prompt(
        id=PromptId(name),
        run=run.id,
        kernel=run.kernel,
        cell=run.cell,
        user=run.user,
        text="Name?",
        password=password,
        policy="writers",
        asked_at=run.queued_at,
    )
    target.waits(RunOutput(run, [prints(before)] if before else []))


def go_on(target: NotebookTarget, run: Run) -> None:
    """It was answered."""
    run.prompt = None
    target.waits(RunOutput(run, []))


class Typist(Tab):
    """A tab whose user types into what a cell asks for."""

    @property
    def live(self) -> dict[str, Any]:
        now = (self.doc.get("execution", type=Map).to_py() or {}).get("now") or {}
        assert isinstance(now, dict)
        return now

    @property
    def prompts(self) -> dict[str, dict[str, Any]]:
        return dict(self.live.get("prompts", {}))

    def draft(self, run: Run) -> Text:
        value: Text = self.doc.get("execution", type=Map)["now"]["prompts"][run.id]["value"]
        return value

    def again(self) -> Typist:
        """The same tab on a new connection."""
        other = Typist()
        other.doc.apply_update(self.doc.get_update())
        return other

    async def types(self, run: Run, text: str) -> None:
        self.draft(run).insert(len(self.draft(run)), text)
        await self.flush()


async def test_a_draft_is_no_content(site: Site) -> None:
    """Nothing is saved for it, nothing is dirty, nothing can be undone, and it is in no file."""
    async with site.opened(ab()) as document:
        assert isinstance(document.document, YNotebook)
        target, tab, other = target_of(document), Typist(), Typist()
        await tab.come_to(document)
        await other.come_to(document)
        run = a_run()
        begin(target, run)
        ask(target, run, before="before\n")
        await until(lambda: not document.mirror.dirty and tab.state["dirty"] is False)
        before = site.file.stat()
        dirty: list[object] = []
        subscription = tab.notebook.ystate.observe(lambda event: dirty.append(tab.notebook.ystate["dirty"]))
        history = document.document.undo_manager
        steps = len(history.undo_stack)
        for character in "half a draft":
            await tab.types(run, character)
        await until(lambda: other.prompts[run.id]["value"] == "half a draft")
        await other.types(run, "!")
        await until(lambda: tab.prompts[run.id]["value"] == "half a draft!")
        await sleep(0.05)  # longer than it takes to save
        tab.notebook.ystate.unobserve(subscription)
        assert dirty == []
        assert not document.mirror.dirty
        assert site.file.stat() == before
        assert len(history.undo_stack) == steps
        assert "half a draft" not in str(document.read())
        go_on(target, run)
        await until(lambda: not tab.prompts)
        end(target, run)


async def test_it_goes_in_the_transaction_that_says_so(site: Site) -> None:
    """Nobody sees a run that has ended and still asks, or one that goes on and still shows its question."""
    async with site.opened(ab()) as document:
        target, tab = target_of(document), Typist()
        await tab.come_to(document)
        run, seen = a_run(), []

        live = tab.doc.get("execution", type=Map)

        def look(event: object) -> None:
            now = (live.to_py() or {}).get("now", {})
            state = now.get("runs", {}).get(run.cell, {}).get("state")
            seen.append((state, run.id in now.get("prompts", {})))

        begin(target, run)
        subscription = live.observe_deep(look)
        for number in range(3):
            ask(target, run, f"p{number}")
            await until(lambda number=number: tab.prompts.get(run.id, {}).get("prompt_id") == f"p{number}")  # type: ignore[misc]
            if number < 2:
                go_on(target, run)
        run.outcome, run.prompt = Outcome(RunState.ERROR, "the cell was interrupted", 1), None
        target.ended([Ended(run, [])])
        await until(lambda: tab.live["runs"].get(run.cell, {}).get("state") in (None, "error"))
        live.unobserve(subscription)
        asked = [pair for pair in seen if pair[1]]
        assert {state for state, _ in asked} == {"input"}
        assert ("input", False) not in seen
        assert ("error", False) in seen


async def test_a_password_has_no_draft(site: Site) -> None:
    async with site.opened(ab()) as document:
        target, tab = target_of(document), Typist()
        await tab.come_to(document)
        run = a_run()
        begin(target, run)
        ask(target, run, password=True)
        await until(lambda: tab.prompts)
        assert "value" not in tab.prompts[run.id]
        end(target, run)


async def test_a_cell_that_is_another_runs_and_one_that_is_gone(site: Site) -> None:
    async with site.opened(ab()) as document:
        target, tab = target_of(document), Typist()
        await tab.come_to(document)
        first, second, third = a_run("one"), a_run("two"), a_run("three", "cell-b")
        begin(target, first)
        ask(target, first)
        target.queued([second])
        await until(lambda: tab.live["runs"].get("cell-a", {}).get("run_id") == second.id)
        assert tab.prompts.keys() == {first.id}
        # There is nothing that waits any more, and then something else: the map is not made anew under the question.
        second.outcome = Outcome(RunState.CANCELLED, "it was taken out of the queue")
        target.ended([Ended(second, [])])
        await until(lambda: not tab.live["runs"])
        target.queued([third])
        await until(lambda: tab.live["runs"])
        assert tab.prompts.keys() == {first.id}
        await tab.types(first, "Ada")
        with tab.doc.transaction():
            tab.notebook.ycells.clear()
        await tab.flush()
        await until(lambda: not document.notebook or not document.notebook.has(first.cell))
        assert tab.prompts[first.id]["value"] == "Ada"
        go_on(target, first)
        await until(lambda: not tab.prompts)
        for run in (first, third):
            end(target, run)


async def test_a_document_that_failed_and_is_opened_again(site: Site) -> None:
    site.write(ab())
    async with site.serving() as life:
        async with life.documents.open(ROOM) as document:
            target, run = target_of(document), a_run()
            begin(target, run)
            ask(target, run)
            document.stop()
            await life.closed()
        async with life.documents.open(ROOM) as document:
            tab = Typist()
            await tab.come_to(document)
            assert tab.prompts[run.id]["prompt"] == "Name?"
            assert tab.live["runs"]["cell-a"]["state"] == "input"
            end(target, run)
            await until(lambda: not tab.prompts)


@pytest.mark.parametrize("kill", [True, False])
async def test_a_server_that_is_started_again_asks_nothing(site: Site, kill: bool) -> None:
    site.write(ab())
    async with site.serving(kill=kill) as life, life.documents.open(ROOM) as document:
        tab, run = Typist(), a_run()
        await tab.come_to(document)
        begin(target_of(document), run)
        ask(target_of(document), run)
        await until(lambda: tab.prompts)
        await tab.types(run, "draft")
    async with site.serving() as life, life.documents.open(ROOM) as document:
        assert document.notebook is not None
        assert document.notebook.prompts() == {}
        again = tab.again()
        again.draft(run).insert(0, "typed meanwhile ")
        await again.come_to(document, document.lineage)
        await until(lambda: not again.prompts)
        assert document.notebook.prompts() == {}
        assert "draft" not in site.file.read_text()


async def test_who_comes_back_brings_what_was_typed_and_nothing_else(site: Site) -> None:
    """Its word does not count about what runs, but what it typed is anybody's."""
    async with site.opened(ab()) as document:
        target, tab, other = target_of(document), Typist(), Typist()
        await tab.come_to(document)
        await other.come_to(document)
        run = a_run()
        begin(target, run)
        ask(target, run)
        await until(lambda: tab.prompts and other.prompts)
        tab.leave()
        again = tab.again()
        again.draft(run).insert(0, "Ada")
        with again.doc.transaction():
            live = again.doc.get("execution", type=Map)["now"]
            live["prompts"][run.id]["policy"] = "anyone"
            live["runs"]["cell-a"] = {"state": "ok"}
        await other.types(run, "B")
        await again.come_to(document, document.lineage)
        await until(lambda: sorted(other.prompts[run.id]["value"]) == sorted("AdaB"))
        await until(lambda: again.prompts == other.prompts)
        assert other.prompts[run.id]["policy"] == "writers"
        assert other.live["runs"]["cell-a"]["state"] == "input"
        said(target, run, prints("after"))
        end(target, run)


async def test_questions_leave_little(site: Site) -> None:
    """What a run of ten questions leaves in the document is not more than what one leaves, but for their order."""
    sizes = {}
    for questions in (1, 11):
        async with site.opened(ab()) as document:
            target = target_of(document)
            before = len(document.room.doc.get_update())
            for number in range(20):
                run = a_run(f"run-{number}")
                begin(target, run)
                for question in range(questions):
                    ask(target, run, f"p-{question}")
                    go_on(target, run)
                end(target, run)
                target.tidy()
            sizes[questions] = (len(document.room.doc.get_update()) - before) / 20
    assert sizes[11] - sizes[1] < 100, sizes
