"""A tab that stays open while the server ends and comes back."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenNotebook
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_an_open_tab_goes_on_after_the_server_came_back(
    server: LabServer, open_notebook: OpenNotebook, end: str
) -> None:
    server.write_notebook("a.ipynb", "print('ran')", "two")
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.expect_prompt(0, "[1]")
    await page.select(1)
    await page.press("End")
    await page.page.keyboard.type("!")
    if end == "stopped":
        server.stop()
    else:
        server.kill()
    await page.page.keyboard.type("?")  # with nobody there
    server.start()

    await eventually(
        lambda: "".join(server.read_notebook("a.ipynb")["cells"][1]["source"]) == "two!?", timeout=40
    )
    await page.page.keyboard.type(".")
    await eventually(lambda: "".join(server.read_notebook("a.ipynb")["cells"][1]["source"]) == "two!?.")
    assert len(server.read_notebook("a.ipynb")["cells"]) == 2
    shown = await page.cells()
    assert [cell.source for cell in shown] == ["print('ran')", "two!?."]
    assert shown[0].lines == ["ran"]
    assert shown[0].count == 1
    # About the document there is nothing to ask; what JupyterLab says of the kernel that ended is its own.
    await expect(page.page.locator(".jp-Dialog", has_text="Session expired")).to_have_count(0)
    await expect(page.page.locator(".jp-Dialog", has_text="Reload")).to_have_count(0)
