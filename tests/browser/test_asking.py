"""A request whose answer is lost."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenNotebook
from tests.browser.notebook_page import ASKS_FOR_CELLS
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

COUNTING = "import pathlib\nwith pathlib.Path('ran').open('a') as file: print('x', file=file)\nprint('ran')"

CUT = (
    f"sends => {{ {ASKS_FOR_CELLS}"
    + """
    // The connection is cut right after the first request, or instead of it.
    window.requests = 0;
    WebSocket.prototype.send = function (data) {
        const first = asksForCells(data) && window.requests++ === 0;
        if (!first || sends) {
            send.call(this, data);
        }
        if (first) {
            this.close();
        }
    };
}"""
)


@pytest.mark.parametrize("sent", [True, False])
async def test_a_connection_that_is_cut_when_a_cell_was_asked_for(
    server: LabServer, open_notebook: OpenNotebook, sent: bool
) -> None:
    """Whether or not the server has got the request, the cell is run once, and the tab knows its end."""
    server.write_notebook("a.ipynb", "1 + 1", COUNTING)
    page = await open_notebook(server, "a.ipynb")
    await page.watch_dialogs()
    await page.evaluate(CUT, sent)
    await page.select(1)
    await page.press("Shift+Enter")
    await page.expect_prompt(1, "[1]")
    await page.expect_output(1, "ran")
    assert await page.evaluate("() => window.requests") == 2
    await page.run_all_to_the_end()
    await page.expect_prompt(1, "[3]")
    assert (server.root / "ran").read_text() == "x\nx\n"
    assert await page.dialogs() == []
    assert await page.page.locator(".Toastify__toast").count() == 0
