"""What people see of runs: which cells wait and run, for how long and for whom, in every tab at every time."""

from __future__ import annotations

import os
import re
import signal

import pytest
from anyio import to_thread
from playwright.async_api import Locator, expect

from tests.browser.conftest import SCREENSHOTS, OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(150)]

LABEL = "data-ydoc-exec-run"
BY = "data-ydoc-exec-by"
SECONDS = re.compile(r"^[1-9]\d*s$")
RUNNING = re.compile(r"^Running for ")


def until(file: str) -> str:
    """A cell that runs until there is such a file."""
    return f"import os, time\nwhile not os.path.exists({file!r}): time.sleep(0.05)"


def labelled(page: NotebookPage) -> Locator:
    """All cells that say more of themselves than ``[*]``."""
    return page.panel().locator(f"[{LABEL}], .jp-InputPrompt[role], .jp-InputPrompt[title]")


async def expect_progress(page: NotebookPage, text: str) -> None:
    """JupyterLab's own indicator says this when one points at it."""
    await expect(page.kernel_indicator()).to_contain_text(text, timeout=30_000)


async def expect_queue(page: NotebookPage, running: int, places: dict[int, str], by: str) -> None:
    """These cells run and wait, for this person, and the kernel is shown as busy."""
    for index in (running, *places):
        await page.expect_prompt(index, "[*]")
        await expect(page.prompt(index)).to_have_attribute(BY, by, timeout=30_000)
    await expect(page.prompt(running)).to_have_attribute(LABEL, SECONDS, timeout=30_000)
    await expect(page.prompt(running)).to_have_attribute("aria-label", RUNNING)
    for index, place in places.items():
        await expect(page.prompt(index)).to_have_attribute(LABEL, place, timeout=30_000)
    await expect(labelled(page)).to_have_count(1 + len(places))
    await page.expect_kernel("busy")


async def test_everybody_sees_what_waits_and_runs(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "1", until("one"), "3", until("two"), "5")
    active = await open_notebook(server, "a.ipynb")
    passive = await open_notebook(server, "a.ipynb")
    name = await active.evaluate("() => window.jupyterapp.serviceManager.user.identity.display_name")
    await active.run_all()
    places = {2: "#1", 3: "#2", 4: "#3"}
    for page, by in ((active, ""), (passive, name)):
        await expect_queue(page, 1, places, by)
        await expect_progress(page, "Executed 1/5 cells")
    await active.page.screenshot(path=SCREENSHOTS / "runs-light.png")

    # Who comes in the middle of it sees the same.
    await passive.reload()
    await passive.loaded()
    await passive.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })"
    )
    await expect_queue(passive, 1, places, name)
    await expect_progress(passive, "Executed 1/5 cells")
    await passive.kernel_indicator().hover()
    await passive.page.screenshot(path=SCREENSHOTS / "runs-dark.png")
    shown = await passive.prompt(1).get_attribute("title")
    assert shown is not None
    assert shown.endswith(f"asked for by {name}")

    # A cell that is taken out, and brought back while it waits, and one that is brought back when it has run.
    for index in (2, 4):
        await passive.select(index)
        await passive.press("Escape")
        await passive.press("d")
        await passive.press("d")
        if index == 2:
            await expect(labelled(active)).to_have_count(3)
            await passive.press("z")
            for page, by in ((active, ""), (passive, name)):
                await expect_queue(page, 1, places, by)
    await expect(labelled(active)).to_have_count(3)
    (server.root / "one").touch()
    for page, by in ((active, ""), (passive, name)):
        await page.expect_prompt(2, "[3]")
        await expect_queue(page, 3, {}, by)
        await expect_progress(page, "Executed 3/5 cells")

    # Who does not want it sees what JupyterLab shows.
    setting = {"raw": '{"showBesidePrompt": false}'}
    server.api("PUT", "/lab/api/settings/@ydoc-exec/lab:status", setting).raise_for_status()
    await active.reload()
    await active.loaded()
    await active.expect_prompt(3, "[*]")
    await active.expect_kernel("busy")
    await expect_progress(active, "Executed 3/5 cells")
    await expect(labelled(active)).to_have_count(0)

    (server.root / "two").touch()
    for page in (active, passive):
        await page.expect_prompt(3, "[4]")
        await page.expect_kernel("idle")
        await expect_progress(page, "Executed 5 cells")
        await expect(labelled(page)).to_have_count(0)
    await passive.press("z")
    for page in (active, passive):
        await page.expect_prompt(4, "[5]")
        await expect(labelled(page)).to_have_count(0)


async def test_nothing_claims_to_run_when_its_kernel_is_gone(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    server.write_notebook("a.ipynb", "import os\nprint(os.getpid())", "import time\ntime.sleep(600)", "3")
    page = await open_notebook(server, "a.ipynb")

    async def run() -> None:
        await page.expect_kernel("idle")
        await page.run_all()
        await page.expect_prompt(0, "[1]")
        await expect(labelled(page)).to_have_count(2, timeout=30_000)

    async def expect_nothing() -> None:
        for index in (1, 2):
            await page.expect_prompt(index, "[ ]")
        await expect(labelled(page)).to_have_count(0)

    await run()
    kernel = server.kernel_of("a.ipynb")
    server.api("POST", f"/api/kernels/{kernel}/restart").raise_for_status()
    await expect_nothing()
    await page.expect_kernel("idle")

    # With nobody there.
    await run()
    [pid] = (await page.cell(0)).lines
    await page.close()
    os.kill(int(pid), signal.SIGKILL)
    await eventually(lambda: "KernelDied" in (server.root / "a.ipynb").read_text())
    await page.reopen()
    await page.expect_output(1, "The kernel died")
    await expect_nothing()
    await page.expect_kernel("idle")

    # With the whole server, while one looks on.
    await run()
    async with page.coming_back():
        await to_thread.run_sync(server.kill)
        await to_thread.run_sync(server.start)
    await expect_nothing()
    await expect(page.kernel_indicator()).not_to_have_attribute("data-status", "busy", timeout=30_000)
