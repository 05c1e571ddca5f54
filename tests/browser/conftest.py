"""A Chromium for the browser tests, and windows in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from tests.browser.bare_tab import BareBrowser
from tests.browser.notebook_page import NotebookPage
from tests.server import LabServer

CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    ),
    None,
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=30_000)  # what is not there by then is missing; before, the machine may be busy
Prepare = Callable[[BrowserContext], Awaitable[None]]
SCREENSHOTS = Path(__file__).parents[1] / "screenshots"


class OpenNotebook(Protocol):
    """Opens a notebook in a window of its own: another person, or another machine.

    ``prepare`` is called with the window before anything is loaded.
    """

    async def __call__(
        self, server: LabServer, name: str, prepare: Prepare | None = None
    ) -> NotebookPage: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    """One browser for all tests; without one they are skipped, unless it is said to be required."""
    if CHROMIUM is None:
        reason = "no Chromium was found on the path: install one (chromium) to run the browser tests"
        if os.environ.get("YDOC_EXEC_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture
async def bare_browser(chromium: Browser, tmp_path: Path) -> AsyncIterator[BareBrowser]:
    """A browser that nobody else uses and that Playwright does not listen to."""
    assert CHROMIUM is not None, "there is a browser already"
    async with BareBrowser.start([CHROMIUM, *FLAGS], tmp_path / "profile") as browser:
        yield browser


@pytest.fixture
async def open_notebook(chromium: Browser, request: pytest.FixtureRequest) -> AsyncIterator[OpenNotebook]:
    """Opens notebooks; at the end of the test their windows are pictured and closed."""
    contexts: list[BrowserContext] = []
    pages: list[NotebookPage] = []

    async def open_(server: LabServer, name: str, prepare: Prepare | None = None) -> NotebookPage:
        context = await chromium.new_context(viewport={"width": 1200, "height": 1000})
        contexts.append(context)
        if prepare is not None:
            await prepare(context)
        page = await NotebookPage.open(context, server, name)
        pages.append(page)
        return page

    yield open_
    test = re.sub(r"\W+", "-", request.node.name)
    for number, page in enumerate(pages):
        if not page.page.is_closed():
            await page.page.screenshot(path=SCREENSHOTS / f"{test}-{number}.png")
        if page.errors:
            print(f"errors in window {number}:", *page.errors, sep="\n  ")
    for context in contexts:
        await context.close()
