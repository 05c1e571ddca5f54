"""The seven things that the product is for, as a person sees them in JupyterLab with its stock front ends.

``tests/headless/test_seven.py`` has the same seven without a browser.
"""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest
from playwright.async_api import BrowserContext, WebSocketRoute

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import NotebookPage
from tests.conftest import Servers
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

TWENTY_SECONDS = "import time\nfor i in range(40):\n    print('line', i)\n    time.sleep(0.5)"
TWENTY_SECONDS_LINES = [f"line {i}" for i in range(40)]


def slow(name: int, seconds: float = 2.0) -> str:
    """A cell that takes its time and says which cells came before it."""
    return f"import time\norder = [*globals().get('order', []), {name}]\ntime.sleep({seconds})\nprint(order)"


async def assert_ran_in_order(page: NotebookPage, number: int) -> None:
    """All cells have run, each once and after the one above it."""
    cells = (await page.cells())[:number]
    assert [cell.count for cell in cells] == list(range(1, number + 1))
    assert [cell.lines for cell in cells] == [[str(list(range(n + 1)))] for n in range(number)]


@pytest.mark.alone
async def test_1_reload_in_the_middle_of_a_run(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", TWENTY_SECONDS)
    began = time.monotonic()
    page = await open_notebook(server, "a.ipynb")
    opening = time.monotonic() - began
    await page.run_all()
    await page.wait_for_lines(0, 6)
    before = (await page.cell(0)).lines

    began = time.monotonic()
    await page.reload()
    await page.wait_for_lines(0, len(before))
    await page.expect_prompt(0, "[*]")
    await page.expect_kernel("busy")
    took = time.monotonic() - began
    shown = await page.cell(0)
    # On a machine on which JupyterLab itself takes its time, no more than that.
    assert took < max(3, opening), f"{took:.2f} s, where opening took {opening:.2f} s"
    assert shown.running
    assert shown.lines == TWENTY_SECONDS_LINES[: len(shown.lines)]

    for more in range(1, 6):  # live: each in its turn, not all at the end
        await page.wait_for_lines(0, len(shown.lines) + more)
        assert (await page.cell(0)).running
    await page.expect_prompt(0, "[1]")
    await page.expect_kernel("idle")
    assert (await page.cell(0)).lines == TWENTY_SECONDS_LINES
    await page.reload()
    await page.expect_prompt(0, "[1]")
    await page.wait_for_lines(0, 40)
    assert (await page.cell(0)).lines == TWENTY_SECONDS_LINES


async def test_2_close_the_tab_and_come_back_after_the_end(
    servers: Servers, open_notebook: OpenNotebook
) -> None:
    server = servers("--YdocExec.linger=1")
    server.write_notebook(
        "a.ipynb", "import time\nfor i in range(20):\n    print('line', i)\n    time.sleep(0.3)\n42"
    )
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.wait_for_lines(0, 3)
    await page.close()

    cell = await eventually(
        lambda: next((c for c in server.read_notebook("a.ipynb")["cells"] if c["execution_count"]), None)
    )
    assert stream_text(cell).splitlines() == [f"line {i}" for i in range(20)]
    assert cell["outputs"][-1]["data"] == {"text/plain": ["42"]}
    assert cell["execution_count"] == 1

    await page.reopen()
    await page.expect_prompt(0, "[1]")
    await page.expect_output(0, "42")
    await page.expect_kernel("idle")
    assert "".join((await page.cell(0)).outputs) == stream_text(cell) + "42"


async def test_3_reload_during_the_second_of_five_cells(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    wait = "\nimport os\nwhile not os.path.exists('go on'): time.sleep(0.05)"
    server.write_notebook("a.ipynb", slow(0), slow(1) + wait, *(slow(n) for n in range(2, 5)))
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.expect_prompt(0, "[1]")
    await page.reload()
    for index in range(1, 5):
        await page.expect_prompt(index, "[*]")
    assert [cell.count for cell in await page.cells()] == [1, None, None, None, None]
    (server.root / "go on").touch()
    await page.expect_prompt(4, "[5]")
    await assert_ran_in_order(page, 5)


@pytest.mark.parametrize("gesture", ["Run All", "Shift+Enter"])
async def test_3_the_order_is_the_documents_even_if_requests_are_delayed(
    server: LabServer, open_notebook: OpenNotebook, gesture: str
) -> None:
    server.write_notebook("a.ipynb", *(slow(n, 0.1) for n in range(5)))
    page = await open_notebook(server, "a.ipynb")
    await page.slow_down()
    if gesture == "Run All":
        await page.run_all()
    else:
        await page.select(0)
        for _ in range(5):
            await page.press(gesture)
    for index in range(5):
        await page.expect_prompt(index, f"[{index + 1}]")
    assert await page.slow_requests() == (1 if gesture == "Run All" else 5)
    await assert_ran_in_order(page, 5)


async def test_4_the_other_tab_shows_the_same_and_writes_nothing(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    server.write_notebook(
        "a.ipynb", "import time\nfor i in range(20):\n    print('line', i)\n    time.sleep(0.3)\n42"
    )
    passive = await open_notebook(server, "a.ipynb")
    active = await open_notebook(server, "a.ipynb")
    await passive.expect_kernel("idle")
    await passive.watch_writes()
    await active.run_all()
    for page in (active, passive):
        await page.expect_prompt(0, "[*]")
        await page.expect_kernel("busy")
        await page.wait_for_lines(0, 3)
        assert (await page.cell(0)).running
    for page in (active, passive):
        await page.expect_prompt(0, "[1]")
        await page.expect_output(0, "42")
        await page.expect_kernel("idle")
    assert await passive.cells() == await active.cells()
    assert (await passive.cell(0)).outputs == ["".join(f"line {i}\n" for i in range(20)), "42"]
    assert await passive.writes() == []


async def test_5_a_new_cell_each_time(server: LabServer, open_notebook: OpenNotebook) -> None:
    """Fifty times: type into the new last cell, Shift+Enter, which makes the next; no pause anywhere."""
    server.write_notebook("a.ipynb", "")
    server.set_notebook_option(windowingMode="none")
    page = await open_notebook(server, "a.ipynb")
    await page.expect_kernel("idle")
    await page.select(0)
    for number in range(50):
        await page.page.keyboard.type(f"print({number * 11})")
        await page.press("Shift+Enter")
    await page.expect_prompt(49, "[50]", timeout=60)
    cells = (await page.cells())[:50]
    assert [cell.source for cell in cells] == [f"print({number * 11})" for number in range(50)]
    assert [cell.lines for cell in cells] == [[str(number * 11)] for number in range(50)]
    assert [cell.count for cell in cells] == list(range(1, 51))


@pytest.mark.parametrize(("delay", "times"), [(0.0, 50), (0.3, 15)], ids=["fast network", "slow websocket"])
async def test_5_another_text_each_time(
    server: LabServer, open_notebook: OpenNotebook, delay: float, times: int
) -> None:
    """Type over the text of the same cell and run it at once. Where the websocket is slow a request that did not come with
    the text would arrive first, and must not run what is still there."""
    server.write_notebook("a.ipynb", "print('not typed')", "")

    held: list[str | bytes] = []

    def hold_back(socket: WebSocketRoute) -> None:
        onward = socket.connect_to_server()

        def later(message: str | bytes) -> None:
            held.append(message)
            asyncio.get_running_loop().call_later(delay, onward.send, message)

        socket.on_message(later)

    async def slow_websocket(context: BrowserContext) -> None:
        if delay:
            await context.route_web_socket("**/api/collaboration/room/json:**", hold_back)

    page = await open_notebook(server, "a.ipynb", slow_websocket)
    await page.expect_kernel("idle")
    ran: list[str] = []
    for number in range(times):
        await page.select(0)
        await page.replace_text(f"print({number})")
        await page.press("Shift+Enter")
        await page.expect_prompt(0, f"[{number + 1}]")
        ran += (await page.cell(0)).lines
    assert bool(held) == bool(delay)
    assert ran == [str(number) for number in range(times)]


async def test_6_nobody_is_there_for_most_of_a_long_run(
    servers: Servers, open_notebook: OpenNotebook
) -> None:
    server = servers("--YdocExec.linger=5")
    server.write_notebook(
        "a.ipynb",
        "import os, time\nfor i in range(90):\n    print('line', i, flush=True)\n    time.sleep(1)\n"
        "    while i == 80 and not os.path.exists('go on'): time.sleep(0.05)",
    )
    page = await open_notebook(server, "a.ipynb")
    await page.run_all()
    await page.wait_for_lines(0, 2)
    await page.close()

    await anyio.sleep(75)  # the claim itself

    await page.reopen()
    await page.wait_for_lines(0, 75)
    assert (await page.cell(0)).running
    await page.expect_kernel("busy")
    (server.root / "go on").touch()
    await page.expect_prompt(0, "[1]", timeout=40)
    assert (await page.cell(0)).lines == [f"line {i}" for i in range(90)]
    await page.select(0)
    await page.save()
    [cell] = server.read_notebook("a.ipynb")["cells"]
    assert stream_text(cell).splitlines() == [f"line {i}" for i in range(90)]


async def test_7_an_error_stops_the_cells_after_it(server: LabServer, open_notebook: OpenNotebook) -> None:
    server.write_notebook("a.ipynb", "print('one')", "1 / 0", "print('three')")
    page = await open_notebook(server, "a.ipynb")
    await page.expect_kernel("idle")
    assert await page.run_all_to_the_end() is False
    await page.expect_prompt(0, "[1]")
    await page.expect_prompt(1, "[2]")
    await page.expect_prompt(2, "[ ]")
    await page.expect_output(1, "ZeroDivisionError")
    await page.expect_kernel("idle")
    assert [cell.running for cell in await page.cells()] == [False] * 3
    assert (await page.cell(2)).outputs == []

    await page.select(2)
    await page.press("ControlOrMeta+Enter")
    await page.expect_prompt(2, "[3]")
    await page.expect_output(2, "three")
