"""Opening, typing together, saving and renaming in JupyterLab with its stock front ends."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenNotebook
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_typing_in_two_tabs_merges(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "", "")
    one = await open_notebook(server, "a.ipynb")
    two = await open_notebook(server, "a.ipynb")
    await one.select(0)
    await two.select(1)
    for number in range(10):
        await one.page.keyboard.type(f"a{number} ")
        await two.page.keyboard.type(f"b{number} ")
    texts = ["".join(f"{who}{number} " for number in range(10)) for who in "ab"]
    for page in (one, two):
        for index, text in enumerate(texts):
            await expect(page.cell_at(index).locator(".cm-line")).to_have_text(text.strip())

    await two.select(0)  # now both in the same cell
    await two.press("Home")
    await one.press("End")
    await one.page.keyboard.type("tail")
    await two.page.keyboard.type("head ")
    for page in (one, two):
        await expect(page.cell_at(0).locator(".cm-line")).to_have_text(f"head {texts[0]}tail")


async def test_a_cell_that_one_adds_the_other_sees(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "1")
    one = await open_notebook(server, "a.ipynb")
    two = await open_notebook(server, "a.ipynb")
    await one.select(0)
    await one.press("Escape")
    await one.press("b")
    await one.press("Enter")
    await one.page.keyboard.type("print('new')")
    await expect(two.cell_at(1).locator(".cm-line")).to_have_text("print('new')")
    await two.select(1)
    await two.press("ControlOrMeta+Enter")
    await one.expect_output(1, "new")


async def test_the_other_persons_cursor_is_shown(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "some text")
    one = await open_notebook(server, "a.ipynb")
    two = await open_notebook(server, "a.ipynb")
    await one.select(0)
    await two.select(0)
    await expect(one.cell_at(0).locator(".jp-remote-cursor")).to_have_count(1)


async def test_saving(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "")
    page = await open_notebook(server, "a.ipynb")
    await page.select(0)
    await page.page.keyboard.type("x = 1")
    await page.save()
    [cell] = server.read_notebook("a.ipynb")["cells"]
    assert "".join(cell["source"]) == "x = 1"


async def test_renaming(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("old.ipynb", "x = 1")
    page = await open_notebook(server, "old.ipynb")
    other = await open_notebook(server, "old.ipynb")
    await page.rename("new.ipynb")
    await page.select(0)
    await page.press("End")
    await page.page.keyboard.type(" + 1")
    await expect(other.cell_at(0).locator(".cm-line")).to_have_text("x = 1 + 1")
    await page.save()
    [cell] = server.read_notebook("new.ipynb")["cells"]
    assert "".join(cell["source"]) == "x = 1 + 1"
    assert not (server.root / "old.ipynb").exists()

    await page.select(0)
    await page.press("ControlOrMeta+Enter")
    await page.expect_prompt(0, "[1]")
    await other.expect_prompt(0, "[1]")


async def test_closing_and_opening_again(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "")
    page = await open_notebook(server, "a.ipynb")
    await page.select(0)
    await page.page.keyboard.type("typed and not saved")
    await expect(page.cell_at(0).locator(".cm-line")).to_have_text("typed and not saved")
    await page.close()
    await page.reopen()
    await expect(page.cell_at(0).locator(".cm-line")).to_have_text("typed and not saved")


async def test_saving_after_the_server_has_saved(server: LabServer, open_notebook: OpenNotebook) -> None:
    """A file that only this server wrote is no "File Changed" to anybody, whichever tab saves."""
    server.write_notebook("a.ipynb", "print('ran')")
    one = await open_notebook(server, "a.ipynb")
    two = await open_notebook(server, "a.ipynb")
    await one.run_all()
    await two.expect_prompt(0, "[1]")
    await eventually(lambda: server.read_notebook("a.ipynb")["cells"][0]["execution_count"])
    late = await open_notebook(server, "a.ipynb")
    for page in (two, one, late):
        await page.select(0)
        await page.save()
        await expect(page.page.locator(".jp-Dialog")).to_have_count(0)
    await one.page.keyboard.type("#")
    await expect(two.cell_at(0).locator(".cm-line")).to_contain_text("#")
    await two.save()
    await expect(two.page.locator(".jp-Dialog")).to_have_count(0)


async def test_saving_after_another_program_has_written(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    """What another program wrote is taken up, and then it is no surprise to anybody any more."""
    server.write_notebook("a.ipynb", "old", "mine")
    page = await open_notebook(server, "a.ipynb")
    server.write_notebook("a.ipynb", "new", "mine")
    await expect(page.cell_at(0).locator(".cm-line")).to_have_text("new")
    await page.select(1)
    await page.press("End")
    await page.page.keyboard.type("!")
    await page.save()
    await expect(page.page.locator(".jp-Dialog")).to_have_count(0)
    assert ["".join(cell["source"]) for cell in server.read_notebook("a.ipynb")["cells"]] == ["new", "mine!"]
