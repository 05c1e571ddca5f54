"""Tabs that come back to a server that was away, or that was not: what their people see.

A person is in the middle of a long notebook with the cursor in a cell. Whatever became of the server, its store and
the file meanwhile, there is nothing to answer, the content is right, what was in view is where it was, and typing goes
on. That the server cannot be reached JupyterLab says in a dialog of its own, whatever is open, when it happens to ask
at that time; here it has been told not to say it again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from playwright.async_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage, Place
from tests.conftest import Servers
from tests.server import LabServer, code_cell, eventually, markdown_cell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(150)]

NAME = "a.ipynb"
HERE = 15
"""The cell in the middle of the window."""
RAN = 13
"""A cell in view that has an output."""
PIXELS = 3.0
"""So little is no move."""
UNREACHABLE = "A connection to the Jupyter server could not be established"
FINDS_SLEEPERS = "--ServerApp.tornado_settings={'ws_ping_interval': 1000, 'ws_ping_timeout': 4000}"
"""Milliseconds. By itself Jupyter Server takes a minute to find that nobody answers any more."""
CONFLICT = "changed in a tab that was away"

Notebook = dict[str, Any]


def text(index: int) -> str:
    if index % 5 == 4:
        return f"## Part {index}\n\nSome text about it,\n\nof several lines."
    return "\n".join([f"# cell {index}", *(f"value_{index}_{line} = {line}" for line in range(4))])


def notebook_cells() -> list[dict[str, Any]]:
    cells = [(markdown_cell if index % 5 == 4 else code_cell)(text(index)) for index in range(30)]
    output = {"output_type": "stream", "name": "stdout", "text": "it ran\n"}
    cells[RAN] |= {"execution_count": 1, "outputs": [output]}
    return cells


@dataclass
class Desk:
    """A server and its notebook, of which it is known what must be in it."""

    server: LabServer
    open: OpenNotebook
    store: Path
    owners: Path
    sources: list[str]

    async def sit_down(self, index: int = HERE) -> NotebookPage:
        """A window whose person types something into the cell in its middle."""
        page = await self.open(self.server, NAME)
        await be_told_once(page)
        await page.watch_dialogs()
        await page.scroll_to(index)
        await page.cell_at(index).locator(".cm-content").click()
        await page.press("ControlOrMeta+End")
        await self.type(page, index, " # now")
        await self.everybody_has(page)
        return page

    async def type(self, page: NotebookPage, index: int, text: str) -> None:
        """Type at the end of a cell in which the cursor is there already."""
        await page.page.keyboard.type(text)
        self.sources[index] += text
        await expect(page.cell_at(index).locator(".cm-line").last).to_contain_text(text)

    async def everybody_has(self, *pages: NotebookPage) -> None:
        """Wait until the file and these windows have what they must have."""
        await eventually(lambda: self.on_disk() == self.sources)
        for page in pages:
            await page.expect_sources(self.sources)
            assert (await page.cell(self.sources.index(text(RAN)))).lines == ["it ran"]

    def on_disk(self) -> list[str]:
        cells = self.server.read_notebook(NAME)["cells"]
        assert len({cell["id"] for cell in cells}) == len(cells)
        return ["".join(cell["source"]) for cell in cells]

    async def end(self, *pages: NotebookPage, wiped: bool) -> None:
        """Kill the server when these pages have been told that their text is saved, and delete its store or not."""
        for page in pages:
            await page.save()
        self.server.kill()
        found = list(self.store.parent.glob(f"{self.store.name}*"))
        assert found
        for path in found if wiped else ():
            path.unlink()

    async def closed(self) -> None:
        """Wait until the document is in nobody's memory."""
        await eventually(lambda: not list(self.owners.glob("*.json")))

    def write(self, change: Callable[[Notebook], None]) -> None:
        """Have another program change the file."""
        notebook = self.server.read_notebook(NAME)
        change(notebook)
        (self.server.root / NAME).write_text(json.dumps(notebook, indent=1) + "\n")
        self.sources = self.on_disk()

    @asynccontextmanager
    async def away(self, *pages: NotebookPage, wiped: bool) -> AsyncIterator[None]:
        """In the block the server is dead; after it all pages are connected to the new one."""
        await self.end(*pages, wiped=wiped)
        async with back(*pages):
            yield
            await to_thread.run_sync(self.server.start)

    async def goes_on(self, page: NotebookPage, index: int, before: Place) -> None:
        """The person is where it was, and what it types arrives; it can be undone, with what was typed before."""
        name = before.active
        await same_place(page, before)
        await self.type(page, index, "!")
        await self.everybody_has(page)
        await same_place(page, before)
        typed = self.sources[index]
        await page.press("ControlOrMeta+z")
        self.sources[index] = typed.removesuffix("!")
        await self.everybody_has(page)
        await page.press("ControlOrMeta+Shift+z")
        self.sources[index] = typed
        await self.everybody_has(page)
        assert (await page.place()).active == name


@asynccontextmanager
async def back(*pages: NotebookPage) -> AsyncIterator[None]:
    """Waits behind the block until these pages have a connection again."""
    async with AsyncExitStack() as stack:
        for page in pages:
            await stack.enter_async_context(page.coming_back())
        yield


async def be_told_once(page: NotebookPage) -> None:
    """Have JupyterLab say that there is no server, and not say it again."""
    await page.evaluate(
        "() => window.jupyterapp.serviceManager.connectionFailure.emit(new Error('nobody there'))"
    )
    dialog = page.dialog(UNREACHABLE)
    await dialog.get_by_role("checkbox").check()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)


async def same_place(page: NotebookPage, before: Place) -> None:
    """What was in view is where it was, and typing goes to where it went."""
    after = await page.place()
    moved = {
        name: (top, after.tops.get(name))
        for name, top in before.tops.items()
        if abs(after.tops.get(name, float("inf")) - top) > PIXELS
    }
    assert not moved
    assert (after.active, after.focused) == (before.active, True)


async def nothing_asked(page: NotebookPage) -> None:
    """Nobody had to answer anything about the document."""
    assert await page.dialogs() == []


@pytest.fixture
def make_desk(servers: Servers, open_notebook: OpenNotebook, tmp_path: Path) -> Callable[..., Desk]:
    def make(*args: str, store: Path = tmp_path / "store" / "updates.db") -> Desk:
        owners = tmp_path / "owners"
        server = servers(
            "--YdocExec.poll_interval=0.2",
            "--YdocExec.save_delay=0.2",
            f"--YdocExec.log_path={store}",
            f"--YdocExec.owners_dir={owners}",
            *args,
        )
        server.write_notebook(NAME, *notebook_cells())
        return Desk(server, open_notebook, store, owners, [text(index) for index in range(30)])

    return make


@pytest.mark.parametrize("wiped", [False, True], ids=["store kept", "store wiped"])
async def test_the_file_is_as_it_was(make_desk: Callable[..., Desk], wiped: bool) -> None:
    desk = make_desk()
    page = await desk.sit_down()
    before = await page.place()
    async with desk.away(page, wiped=wiped):
        pass
    await desk.everybody_has(page)
    await desk.goes_on(page, HERE, before)

    before = await page.place()
    async with desk.away(page, wiped=wiped):
        await desk.type(page, HERE, " while away")
    await desk.everybody_has(page)
    await desk.goes_on(page, HERE, before)
    # What was typed before and after can be undone as if nothing had been.
    for typed in ("!", " while away", "!"):
        await page.press("ControlOrMeta+z")
        desk.sources[HERE] = desk.sources[HERE].removesuffix(typed)
        await desk.everybody_has(page)
    await nothing_asked(page)
    await desk.everybody_has(await desk.open(desk.server, NAME))


@pytest.mark.parametrize("wiped", [False, True], ids=["store kept", "store wiped"])
async def test_another_program_has_changed_the_file(make_desk: Callable[..., Desk], wiped: bool) -> None:
    desk = make_desk()
    page = await desk.sit_down()
    before = await page.place()
    async with desk.away(page, wiped=wiped):
        desk.write(lengthen)
    await desk.everybody_has(page)
    await desk.goes_on(page, HERE, before)

    before = await page.place()
    async with desk.away(page, wiped=wiped):
        await desk.type(page, HERE, " while away")
        typed = desk.sources[HERE]
        desk.write(rearrange)
        here = desk.sources.index(typed.removesuffix(" while away"))
        desk.sources[here] = typed
    await desk.everybody_has(page)
    await desk.goes_on(page, here, before)

    # The same cell: that is said, and both versions are there.
    before = await page.place()
    async with desk.away(page, wiped=wiped):
        await desk.type(page, here, " and away again")
        typed = desk.sources[here]
        desk.write(lambda notebook: notebook["cells"][here].update(source="# theirs\n" * 4 + "# all theirs"))
    await desk.everybody_has(page)
    await expect(page.notification(CONFLICT)).to_be_visible()
    await same_place(page, before)
    await nothing_asked(page)
    [kept] = desk.server.api("GET", f"/api/collaboration/recovery/{NAME}").json()["copies"]
    assert kept["reason"] == "conflict"
    copy = desk.server.api("GET", f"/api/collaboration/recovery/{NAME}?copy={kept['id']}").json()
    assert copy["content"]["cells"][here]["source"] == typed
    # Who comes now is told too, and can have it for all.
    other = await desk.open(desk.server, NAME)
    await expect(other.notification(CONFLICT)).to_be_visible()
    await desk.everybody_has(other)
    await other.notification(CONFLICT).get_by_text("Restore").click()
    desk.sources[here] = typed
    await desk.everybody_has(page, other)
    await expect(page.notification(CONFLICT)).to_have_count(0)


def lengthen(notebook: Notebook) -> None:
    """Change a cell above what is in view, and one below."""
    notebook["cells"][2]["source"] = "# longer\n" * 10 + "# than it was"
    notebook["cells"][26]["source"] = "# changed"


def rearrange(notebook: Notebook) -> None:
    """Change, add and delete cells above what is in view, and below."""
    cells = notebook["cells"]
    cells[3]["source"] = "# once more"
    del cells[27]
    del cells[5]
    cells.insert(1, code_cell("# new") | {"id": "new-above"})
    cells.insert(2, code_cell("# new too") | {"id": "new-above-too"})
    cells.append(code_cell("# the last") | {"id": "new-below"})


async def test_a_tab_that_slept(make_desk: Callable[..., Desk]) -> None:
    """With no store on disk, and the document was closed meanwhile."""
    desk = make_desk("--YdocExec.linger=0.2", FINDS_SLEEPERS, store=Path("memory"))
    page = await desk.sit_down()
    before = await page.place()
    async with back(page):
        await page.page.context.set_offline(True)
        await desk.type(page, HERE, " while asleep")
        asleep = desk.sources[HERE]
        desk.sources[HERE] = asleep.removesuffix(" while asleep")
        await desk.closed()
        other = await desk.sit_down(20)
        await other.close()
        await desk.closed()
        desk.write(lengthen)
        desk.sources[HERE] = asleep
        await page.page.context.set_offline(False)
    await desk.everybody_has(page)
    await desk.goes_on(page, HERE, before)
    await nothing_asked(page)
    await desk.everybody_has(await desk.open(desk.server, NAME))


async def test_two_old_tabs(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    one, two = [await desk.sit_down(index) for index in (HERE, 8)]
    places = [await page.place() for page in (one, two)]
    async with desk.away(one, two, wiped=True):
        await desk.type(one, HERE, " of one")
        await desk.type(two, 8, " of two")
        typed = desk.sources[:]
        desk.sources[HERE] = typed[HERE].removesuffix(" of one")
        desk.sources[8] = typed[8].removesuffix(" of two")
        desk.write(lambda notebook: notebook["cells"][26].update(source="# changed"))
        desk.sources[HERE], desk.sources[8] = typed[HERE], typed[8]
    await desk.everybody_has(one, two)
    await desk.goes_on(one, HERE, places[0])
    await desk.goes_on(two, 8, places[1])
    await desk.everybody_has(one, two)
    for page in (one, two):
        await nothing_asked(page)


async def test_somebody_is_there_already(make_desk: Callable[..., Desk]) -> None:
    """The cells of those who look at the document stay; in the tab that comes back all are made anew, and
    ``frontend/src/places.ts`` brings its person back to where it was."""
    desk = make_desk()
    page = await desk.sit_down()
    before = await page.place()
    async with back(page):
        await desk.end(page, wiped=True)
        await page.page.context.set_offline(True)
        await desk.type(page, HERE, " while away")
        away = desk.sources[HERE]
        desk.sources[HERE] = away.removesuffix(" while away")
        desk.write(lengthen)
        await to_thread.run_sync(desk.server.start)
        other = await desk.sit_down(20)
        there = await other.place()
        desk.sources[HERE] = away
        await page.page.context.set_offline(False)
    await desk.everybody_has(page, other)
    await desk.goes_on(other, 20, there)
    await desk.goes_on(page, HERE, before)
    await desk.everybody_has(page, other)
    for tab in (page, other):
        await nothing_asked(tab)
