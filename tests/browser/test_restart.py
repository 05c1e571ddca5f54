"""A tab that stays open while the server ends and comes back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from anyio import Event
from playwright.async_api import Route, expect

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
    # Of a server that is away for long JupyterLab says so, in front of everything.
    sorry = page.page.locator(".jp-Dialog", has_text="Server Connection Error")
    await page.page.add_locator_handler(sorry, lambda: sorry.get_by_role("button", name="Close").click())
    await page.select(1)
    await page.press("End")
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


async def test_restarting_the_kernel_and_running_all(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "import os\nprint(os.getpid())", "print(os.getpid())")
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.expect_prompt(1, "[2]")
    before = (await page.cell(0)).lines
    await page.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-run-all'); }")
    await page.page.locator(".jp-Dialog button.jp-mod-accept").click()
    await expect(page.output(0)).not_to_contain_text(before[0], timeout=30_000)
    await page.expect_prompt(1, "[2]")
    first, second = await page.cells()
    assert (first.count, first.lines) == (1, second.lines)
    assert first.lines != before
    await page.expect_kernel("idle")
    [one, two] = await eventually(
        lambda: (n := server.read_notebook("a.ipynb"))["cells"][1]["outputs"] and n["cells"]
    )
    assert one["outputs"] == two["outputs"]


async def test_restarting_and_running_all_three_times(server: LabServer, open_notebook: OpenNotebook) -> None:
    """Before the kernel has restarted, by somebody who is impatient: the cells run once."""
    server.restart_kernels_unasked()
    server.write_notebook(
        "a.ipynb", *(f"ran = [*globals().get('ran', []), {n}]\nprint(ran)" for n in range(5))
    )
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.expect_prompt(4, "[5]")
    kernel = server.kernel_of("a.ipynb")
    before = len(requests(server, kernel))
    pressed, asked = Event(), Event()

    async def restart(route: Route) -> None:
        asked.set()
        await pressed.wait()
        await route.continue_()

    await page.page.route(re.compile(r"/api/kernels/[^/]+/restart\b"), restart)
    await page.evaluate("() => { window.pressed = []; }")
    for _ in range(3):
        await page.evaluate(
            "() => { window.pressed.push(window.jupyterapp.commands.execute('notebook:restart-run-all')); }"
        )
        await asked.wait()
    pressed.set()
    assert await page.evaluate("() => Promise.all(window.pressed)") == [True] * 3
    await page.expect_prompt(4, "[5]")
    assert [(cell.count, cell.lines) for cell in await page.cells()] == [
        (n + 1, [str(list(range(n + 1)))]) for n in range(5)
    ]
    assert [run["state"] for run in requests(server, kernel)[:-before]] == ["ok"] * 5


def requests(server: LabServer, kernel: str) -> list[dict[str, Any]]:
    """All runs of the kernel, the last one first."""
    return list(server.api("GET", f"/api/kernels/{kernel}/requests").json()["requests"])


async def test_interrupting(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "import time\nprint('on')\ntime.sleep(60)", "print('never')")
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.expect_output(0, "on")
    await page.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:interrupt-kernel'); }")
    await page.expect_output(0, "KeyboardInterrupt")
    await page.expect_prompt(0, "[1]")
    await page.expect_prompt(1, "[ ]")
    await page.expect_kernel("idle")
    assert (await page.cell(1)).outputs == []
