"""A tab that stays open while the server is away and a kernel behind a gateway goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.test_input import expect_asked, expect_nothing_asked, field, run
from tests.conftest import make_servers
from tests.gateway_process import GatewayProcess
from tests.headless.client import RoomClient
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ASKING = "print('before')\nname = input('Name?')\nprint(f'hello {name}')"

SESSION = """() => {
    const { session } = window.jupyterapp.shell.currentWidget.sessionContext;
    return session?.kernel?.connectionStatus === 'connected' ? session.id : null;
}"""


@pytest.fixture(scope="module")
def server(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A server whose kernels are all behind the gateway, and stay there when it is stopped."""
    for make in make_servers(tmp_path_factory.mktemp("server")):
        yield make(
            *gateway.flags,
            "--YdocExec.leave_kernels=True",
        )


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_question_that_waits_meanwhile(
    server: LabServer, open_notebook: OpenNotebook, how: str
) -> None:
    name = f"{how}.ipynb"
    server.write_notebook(name, ASKING, "name + '!'")
    page = await open_notebook(server, name)
    await run(page, 0)
    await expect_asked(page, text="Name?")
    before = await page.evaluate(SESSION)
    async with RoomClient(server, name) as other:
        [waiting] = await other.wait(lambda: list(other.prompts))
    await server.until_recorded(waiting, "input")
    # A server that is killed has not written that down.
    await field(page).press_sequentially("Ad")
    if how == "killed":
        server.kill()
    else:
        server.stop()
    server.start()
    sorry = page.page.locator(".jp-Dialog", has_text="Server Connection Error")
    await page.page.add_locator_handler(sorry, lambda: sorry.get_by_role("button", name="Close").click())
    # JupyterLab finds the session of the earlier server gone, and would stay without a kernel.
    await page.page.wait_for_function(f"before => ![null, before].includes(({SESSION})())", arg=before)
    await expect_asked(page, text="Name?", draft="Ad")
    async with RoomClient(server, name) as other:
        await other.wait(lambda: other.prompts.get(waiting, {}).get("value") == "Ad")
    await field(page).press_sequentially("a")
    await field(page).press("Enter")
    await expect_nothing_asked(page)
    await page.expect_prompt(0, "[1]")
    await run(page, 1)
    await page.expect_prompt(1, "[2]")
    await page.expect_output(1, "Ada!")
    await page.expect_kernel("idle")
    # The field that was answered is in the page for half a second.
    await expect(page.panel().locator(".jp-OutputArea-stdin-item")).to_have_count(0)
    assert [cell.lines for cell in await page.cells()] == [["before", "Name? Ada", "hello Ada"], ["'Ada!'"]]
    await expect(page.page.locator(".jp-Dialog")).to_have_count(0)
    assert "was not noted" not in server.log, "somebody listens to events, and they are as their schemas say"
