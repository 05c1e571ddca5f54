"""Scripts in outputs run in every tab for what an authorised user ran, and in none for what a file only claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, WebSocketRoute, expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.conftest import Servers
from tests.server import LabServer, code_cell, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SCRIPTS = """
from IPython.display import HTML, Javascript, display
display(HTML('''
<p class="shown">sanitized</p>
<script>
    window.scripts = [...(window.scripts ?? []), 'inline'];
    document.querySelectorAll('.shown').forEach(shown => { shown.textContent = 'by script'; });
</script>
'''))
display(Javascript('''
    window.scripts = [...(window.scripts ?? []), 'javascript'];
    element.append('by javascript');
'''))
"""
BY_SCRIPTS = ["inline", "javascript"]

FORGED = """<p class="shown">sanitized</p>
<script>window.forged = true; document.body.append('forged')</script>
<img src="x:" onerror="window.forged = true">"""


def forged(source: str = "", html: str = FORGED) -> dict[str, Any]:
    """A cell as it comes with somebody else's notebook, which claims to be trusted."""
    javascript = "window.forged = true; document.body.append('forged')"
    return code_cell(source) | {
        "execution_count": 1,
        "metadata": {"trusted": True},
        "outputs": [
            {"output_type": "display_data", "data": {"text/html": html}, "metadata": {}},
            {
                "output_type": "display_data",
                "data": {"application/javascript": javascript, "text/plain": "<Javascript>"},
                "metadata": {},
            },
        ],
    }


async def expect_scripts(page: NotebookPage, index: int = 0) -> None:
    """Wait until both scripts of ``SCRIPTS`` have done what they do."""
    await page.expect_output(index, "by script")
    await page.expect_output(index, "by javascript")
    assert await scripts(page) == BY_SCRIPTS


async def scripts(page: NotebookPage) -> list[str]:
    """Which of them have run; in a tab that is opened afterwards in any order."""
    return sorted(await page.evaluate("() => window.scripts"))


async def expect_none(page: NotebookPage, index: int = 0) -> None:
    """Wait until the forged output is shown, and see that none of its scripts runs."""
    await page.expect_output(index, "sanitized")
    await page.expect_output(index, "<Javascript>")
    # A script that is going to run does so before the browser is idle.
    await page.evaluate("() => new Promise(done => requestIdleCallback(() => setTimeout(done)))")
    assert await page.evaluate("() => window.forged") is None
    assert await page.output(index).locator("script").count() == 0


async def trusted(page: NotebookPage) -> list[bool]:
    """What the models of the code cells say."""
    answer: list[bool] = await page.evaluate(
        """() => [...window.jupyterapp.shell.currentWidget.model.cells]
            .filter(cell => cell.type === 'code').map(cell => cell.trusted)"""
    )
    return answer


def with_outputs(path: Path) -> dict[str, Any] | None:
    """The notebook in the file, once the outputs of its first cell are there."""
    try:
        notebook: dict[str, Any] = json.loads(path.read_text())
    except ValueError:  # it is being written
        return None
    return notebook if notebook["cells"][0]["outputs"] else None


async def run_first(page: NotebookPage) -> None:
    """Run the first cell as a person does."""
    await page.select(0)
    await page.press("ControlOrMeta+Enter")


@pytest.mark.parametrize("before", ["nothing", "forged"])
async def test_what_one_runs_is_trusted_in_all_tabs(
    server: LabServer, open_notebook: OpenNotebook, before: str
) -> None:
    server.write_notebook("a.ipynb", forged(SCRIPTS) if before == "forged" else SCRIPTS)
    passive = await open_notebook(server, "a.ipynb")
    active = await open_notebook(server, "a.ipynb")
    if before == "forged":
        for page in (passive, active):
            await expect_none(page)
    await passive.expect_kernel("idle")
    await passive.watch_writes()
    await run_first(active)
    for page in (active, passive):
        await page.expect_prompt(0, "[1]")
        await expect_scripts(page)
        assert await trusted(page) == [True]
        assert await page.evaluate("() => window.forged") is None
    late = await open_notebook(server, "a.ipynb")
    await expect_scripts(late)
    assert await trusted(late) == [True]
    assert await passive.writes() == []


class Connection:
    """The room's websocket of one window, which can be cut."""

    def __init__(self) -> None:
        self._cut = False
        self._socket: WebSocketRoute | None = None

    async def prepare(self, context: BrowserContext) -> None:
        """For ``open_notebook``."""
        await context.route_web_socket("**/api/collaboration/room/json:**", self._connect)

    async def cut(self) -> None:
        """End it. The tab tries again and again, and is not let through."""
        self._cut = True
        assert self._socket is not None, "it was never there"
        await self._socket.close()

    def mend(self) -> None:
        """Let the tab through when it tries the next time: it gets what it has missed as one update."""
        self._cut = False

    async def _connect(self, socket: WebSocketRoute) -> None:
        if self._cut:
            await socket.close()
        else:
            self._socket = socket
            socket.connect_to_server()


@pytest.mark.parametrize("before", ["nothing", "forged"])
async def test_a_tab_that_missed_the_beginning(
    server: LabServer, open_notebook: OpenNotebook, before: str
) -> None:
    """It gets the beginning of the run and its outputs at once, and then what follows."""
    wait = "import os, time\nwhile not os.path.exists('go on'): time.sleep(0.05)"
    source = f"{SCRIPTS}print('one')\n{wait}\nprint('two')"
    server.write_notebook("a.ipynb", forged(source) if before == "forged" else source)
    connection = Connection()
    passive = await open_notebook(server, "a.ipynb", connection.prepare)
    active = await open_notebook(server, "a.ipynb")
    await passive.expect_kernel("idle")
    await passive.watch_writes()
    await connection.cut()
    await run_first(active)
    await active.expect_output(0, "one")
    await expect_scripts(active)
    assert "one" not in "".join((await passive.cell(0)).outputs)
    connection.mend()
    await expect_scripts(passive)
    (server.root / "go on").touch()
    for page in (active, passive):
        await page.expect_prompt(0, "[1]")
        await page.expect_output(0, "two")
        assert (await page.cell(0)).outputs[-1] == "one\ntwo\n"
    assert await passive.evaluate("() => window.forged") is None
    assert await trusted(passive) == [True]
    assert await passive.writes() == []


async def test_a_file_that_says_that_it_is_trusted(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", forged(), "print('ran')")
    for _ in range(2):
        page = await open_notebook(server, "a.ipynb")
        await expect_none(page)
        assert await trusted(page) == [False, False]
    # Running another cell does not change that, nor does a new life of the server with the log or with the file.
    await page.select(1)
    await page.press("ControlOrMeta+Enter")
    await page.expect_prompt(1, "[1]")
    await page.save()
    await expect_none(page)
    server.restart()
    again = await open_notebook(server, "a.ipynb")
    await expect_none(again)
    await again.expect_output(1, "ran")


async def test_results_that_were_forged_under_open_tabs(
    servers: Servers, open_notebook: OpenNotebook
) -> None:
    server = servers("--YdocExec.poll_interval=0.2")
    path = server.write_notebook("a.ipynb", SCRIPTS)
    active = await open_notebook(server, "a.ipynb")
    passive = await open_notebook(server, "a.ipynb")
    await run_first(active)
    for page in (active, passive):
        await expect_scripts(page)
    notebook = await eventually(lambda: with_outputs(path))
    notebook["cells"][0] |= forged(SCRIPTS)
    path.write_text(json.dumps(notebook))
    for page in (active, passive):
        await expect_none(page)
        assert await trusted(page) == [False]
    # Who runs it again is trusted again.
    await run_first(passive)
    for page in (active, passive):
        await page.expect_prompt(0, "[2]")
        await page.expect_output(0, "by javascript")
        assert await scripts(page) == sorted(BY_SCRIPTS * 2)
        assert await page.evaluate("() => window.forged") is None


async def test_cells_that_are_not_in_view(server: LabServer, open_notebook: OpenNotebook) -> None:
    """JupyterLab makes the parts of a cell when they are scrolled to."""
    server.set_notebook_option(windowingMode="full")
    server.write_notebook("a.ipynb", *(["\n" * 40] * 8), SCRIPTS)
    passive = await open_notebook(server, "a.ipynb")
    active = await open_notebook(server, "a.ipynb")
    await passive.expect_kernel("idle")
    await passive.watch_writes()
    await active.run_all()
    await passive.page.wait_for_function(
        """() => {
            const cells = [...window.jupyterapp.shell.currentWidget.model.cells];
            return cells[cells.length - 1].executionCount !== null;
        }""",
        timeout=60_000,
    )
    await passive.evaluate(
        """() => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            return notebook.scrollToItem(notebook.widgets.length - 1);
        }"""
    )
    last = passive.panel().locator(".jp-Notebook-cell").last
    await expect(last).to_contain_text("by javascript", timeout=30_000)
    await expect(last).to_contain_text("by script")
    assert await scripts(passive) == BY_SCRIPTS
    assert await passive.writes() == []


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_request_says_whether_timings_are_wanted(
    server: LabServer, open_notebook: OpenNotebook, wanted: bool
) -> None:
    server.set_notebook_option(recordTiming=wanted)
    server.write_notebook("a.ipynb", "1", "2")
    page = await open_notebook(server, "a.ipynb")
    await page.watch_requests()
    await page.run_all()
    await page.expect_prompt(1, "[2]")
    [asked] = await page.requests()
    assert (asked["record_timing"], asked["cell_ids"]) == (wanted, ["cell-0", "cell-1"])
