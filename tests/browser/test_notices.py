"""What people see of a notebook that somebody has wiped, and how they get it back."""

from __future__ import annotations

import pytest
from anyio import to_thread
from playwright.async_api import Locator, expect

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_wipe_is_said_to_everybody_and_undone_with_one_click(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    texts = [f"print('this is cell number {number}')" for number in range(5)]
    before = server.write_notebook("a.ipynb", *texts).read_bytes()
    one = await open_notebook(server, "a.ipynb")
    await one.select(0)
    await one.press("Escape")
    await one.press("ControlOrMeta+a")
    await one.press("d")
    await one.press("d")
    await expect(one.panel().locator(".jp-Notebook-cell")).to_have_count(1)
    two = await open_notebook(server, "a.ipynb")
    for tab in (one, two):
        await expect(toast(tab, "Most of this document was deleted at once")).to_be_visible()
    await two.watch_writes()

    await toast(one, "Most of this").get_by_text("Dismiss").click()
    await expect(toast(one, "Most of this")).to_have_count(0)
    # That was for this tab alone; and nothing is saved over the file unasked.
    await expect(toast(two, "Most of this")).to_be_visible()
    assert (server.root / "a.ipynb").read_bytes() == before

    await toast(two, "Most of this").get_by_text("Restore").click()
    for tab in (one, two):
        for index, text in enumerate(texts):
            await expect(tab.cell_at(index).locator(".cm-line")).to_have_text(text)
        await expect(toast(tab, "Most of this")).to_have_count(0)
        await expect(toast(tab, "Nothing is left")).to_have_count(0)
    await expect(toast(two, "was restored")).to_be_visible()
    assert await two.writes() == []
    assert [cell["source"] for cell in server.read_notebook("a.ipynb")["cells"]] == texts
    await two.save()
    await one.reload()
    await one.loaded()
    assert await eventually(lambda: len(server.read_notebook("a.ipynb")["cells"]) == 5)
    assert await one.page.locator(".Toastify__toast").count() == 0


async def test_what_was_neither_saved_nor_recorded_is_offered_to_the_next(
    servers: Servers, open_notebook: OpenNotebook
) -> None:
    """The store is switched off, and so was autosave when the server was stopped."""
    server = servers("--YdocExec.log_path=memory")
    server.write_notebook("a.ipynb", "one", "two")
    async with RoomClient(server, "a.ipynb") as client:
        client.awareness.set_local_state_field("autosave", False)
        client.send_presence()
        client.type_into(0, ", typed")
        await client.wait(lambda: client.state["dirty"])
        await client.barrier()
        await to_thread.run_sync(server.stop)
    assert server.read_notebook("a.ipynb")["cells"][0]["source"] == "one"
    await to_thread.run_sync(server.start)
    tab = await open_notebook(server, "a.ipynb")
    said = toast(tab, "could neither be saved nor recorded when it was closed")
    await expect(said).to_be_visible()
    await said.get_by_text("Restore").click()
    await expect(tab.cell_at(0).locator(".cm-line")).to_have_text("one, typed")
    await expect(said).to_have_count(0)
    await eventually(lambda: "".join(server.read_notebook("a.ipynb")["cells"][0]["source"]) == "one, typed")


def toast(tab: NotebookPage, text: str) -> Locator:
    """A notification that is shown in the corner."""
    return tab.page.locator(".Toastify__toast").filter(has_text=text)
