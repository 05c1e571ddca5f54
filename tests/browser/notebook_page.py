"""A notebook as a person sees it in JupyterLab, and what a person does with it.

What is read is read from what is displayed. The page's JavaScript objects are asked only for what is not
displayed: whether the notebook has been loaded, which cell is which, and who wrote what (``watch_writes``).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    TimeoutError,
    WebSocket,
    expect,
)

from tests.server import LabServer

LOAD_TIMEOUT = 60_000.0
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"

READ_CELLS = """panel => [...document.querySelectorAll(`${panel} .jp-Notebook-cell`)].map(cell => ({
    prompt: cell.querySelector('.jp-InputArea-prompt')?.textContent.replaceAll('\\u200b', '').trim() ?? '',
    source: [...cell.querySelectorAll('.jp-InputArea-editor .cm-line')]
        .map(line => line.textContent).join('\\n'),
    outputs: [...cell.querySelectorAll('.jp-OutputArea-output')].map(output => output.textContent),
}))"""

HAS_SOURCES = f"""([panel, sources]) => {{
    const cells = ({READ_CELLS})(panel);
    return cells.length === sources.length && cells.every((cell, index) => cell.source === sources[index]);
}}"""

IS_LOADED = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return Boolean(panel?.content?.widgets?.length && panel.context?.isReady
        && panel.sessionContext?.session?.kernel);
}"""

READ_PLACE = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const scroller = notebook.node.querySelector('.jp-WindowedPanel-outer');
    const { top, bottom } = scroller.getBoundingClientRect();
    const boxes = notebook.widgets.filter(cell => cell.node.isConnected)
        .map(cell => [cell.model.id, cell.node.getBoundingClientRect()])
        .filter(([_, box]) => box.bottom > top && box.top < bottom);
    const editor = notebook.activeCell?.editor;
    return {
        tops: Object.fromEntries(boxes.map(([id, box]) => [id, box.top - top])),
        active: notebook.activeCell?.model.id ?? '',
        cursor: editor ? editor.getOffsetAt(editor.getCursorPosition()) : -1,
        focused: Boolean(editor?.hasFocus()),
    };
}"""

SCROLL_TO = """async index => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    await notebook.scrollToItem(index, 'center');
    await notebook.widgets[index].ready;
}"""

WATCH_DIALOGS = """() => {
    window.dialogs = [];
    new MutationObserver(records => {
        const added = records.flatMap(record => [...record.addedNodes]);
        window.dialogs.push(...added.filter(node => node.classList?.contains('jp-Dialog')));
    }).observe(document.body, { childList: true, subtree: true });
}"""

SYNC_STEP_2 = b"\x00\x01"
"""How the frame begins with which a room gives its document (y-protocols, ``sync.js``)."""

WATCH_WRITES = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const ydoc = panel.context.model.sharedModel.ydoc;
    const cells = ydoc.share.get('cells');
    window.cellWrites = [];
    ydoc.on('afterTransaction', transaction => {
        if (transaction.local && transaction.changedParentTypes.has(cells)) {
            const keys = [...transaction.changed.values()].flatMap(keys => [...keys]);
            const paths = transaction.changedParentTypes.get(cells).map(event => event.path);
            window.cellWrites.push(JSON.stringify({ keys, paths, now: cells.toJSON() }));
        }
    });
}"""

ASKS_FOR_CELLS = """
    const send = WebSocket.prototype.send;
    const beginning = [2, 7, ...new TextEncoder().encode('execute')];
    const asksForCells = data =>
        data instanceof Uint8Array && beginning.every((byte, index) => data[index] === byte);
"""
"""What a script begins with that has another ``WebSocket.prototype.send``."""

SLOW_CONNECTION = (
    f"() => {{ {ASKS_FOR_CELLS}"
    + """
    // Whatever this page sends to its rooms takes a random time, and what asks for cells up to a second.
    const sent = new WeakMap();
    window.slowRequests = 0;
    WebSocket.prototype.send = function (data) {
        const asking = asksForCells(data);
        window.slowRequests += asking ? 1 : 0;
        const pause = Math.random() * (asking ? 1000 : 50);
        const before = sent.get(this) ?? Promise.resolve();
        sent.set(this, before.then(() => new Promise(resolve => setTimeout(resolve, pause)))
            .then(() => send.call(this, data)));
    };
}"""
)

WATCH_REQUESTS = (
    f"() => {{ {ASKS_FOR_CELLS}"
    + """
    window.requests = [];
    WebSocket.prototype.send = function (data) {
        if (asksForCells(data)) {
            const text = new TextDecoder().decode(data);
            window.requests.push(JSON.parse(text.slice(text.indexOf('{'))));
        }
        send.call(this, data);
    };
}"""
)

WATCH_SAVES = """() => {
    window.saves = [];
    window.jupyterapp.shell.currentWidget.context.saveState.connect((_, state) => window.saves.push(state));
}"""


@dataclass(frozen=True)
class ShownCell:
    """One cell as displayed: the prompt such as ``[*]:``, the text, each output's text."""

    prompt: str
    source: str
    outputs: list[str]

    @property
    def running(self) -> bool:
        """Whether it says that it runs or will run."""
        return "*" in self.prompt

    @property
    def count(self) -> int | None:
        """The number in front of it."""
        number = self.prompt.strip("[]: ")
        return int(number) if number.isdecimal() else None

    @property
    def lines(self) -> list[str]:
        """All that it shows as output, by lines."""
        return "".join(self.outputs).splitlines()


@dataclass(frozen=True)
class Place:
    """Where a person is in a notebook."""

    tops: dict[str, float]
    """The cells in view by their ids: how many pixels below the notebook's upper edge each begins."""
    active: str
    """The id of the cell that keys go to."""
    cursor: int
    """Characters before the cursor in that cell."""
    focused: bool
    """Whether typing goes into its text."""


@dataclass
class NotebookPage:
    """One browser tab with one notebook."""

    page: Page
    server: LabServer
    name: str
    url: str
    errors: list[str] = field(default_factory=list)
    """What went wrong in the page's own eyes, for the report of a failed test."""

    @classmethod
    async def open(
        cls, context: BrowserContext, server: LabServer, name: str, address: str | None = None
    ) -> NotebookPage:
        """Open the notebook in a new tab, and wait until it can be used.

        Without ``address``, below the server's own, it is JupyterLab with a workspace of its own.
        """
        address = address or f"/lab/workspaces/{uuid.uuid4().hex}/tree/{name}?token={server.token}"
        url = server.url + address
        tab = cls(await context.new_page(), server, name, url)
        tab._listen()
        await tab.page.goto(url)
        await tab.loaded()
        return tab

    async def loaded(self) -> None:
        """Wait until the notebook is shown and has its kernel."""
        await self.page.wait_for_function(IS_LOADED, timeout=LOAD_TIMEOUT)

    async def reload(self) -> None:
        """Press the browser's reload button; comes back as soon as the new page begins."""
        await self.page.reload(wait_until="commit")

    async def close(self) -> None:
        """Close the tab."""
        await self.page.close()

    async def reopen(self) -> None:
        """Open a new tab in place of the closed one."""
        self.page = await self.page.context.new_page()
        self._listen()
        await self.page.goto(self.url)
        await self.loaded()

    # What is displayed

    async def cells(self) -> list[ShownCell]:
        """All cells at this moment."""
        return [ShownCell(**cell) for cell in await self.page.evaluate(READ_CELLS, PANEL)]

    async def cell(self, index: int) -> ShownCell:
        """One cell at this moment."""
        return (await self.cells())[index]

    def panel(self) -> Locator:
        """The notebook with its toolbar."""
        return self.page.locator(PANEL)

    def cell_at(self, index: int) -> Locator:
        """One cell."""
        return self.panel().locator(".jp-Notebook-cell").nth(index)

    def prompt(self, index: int) -> Locator:
        """What stands in front of a cell."""
        return self.cell_at(index).locator(".jp-InputArea-prompt")

    def output(self, index: int) -> Locator:
        """A cell's whole output."""
        return self.cell_at(index).locator(".jp-OutputArea")

    async def place(self) -> Place:
        """Where its person is at this moment."""
        return Place(**await self.page.evaluate(READ_PLACE))

    def dialog(self, text: str) -> Locator:
        """A dialog, in which nothing can be done but to answer it."""
        return self.page.locator(".jp-Dialog").filter(has_text=text)

    def notification(self, text: str) -> Locator:
        """A notification in the corner."""
        return self.page.locator(".Toastify__toast").filter(has_text=text)

    def kernel_indicator(self) -> Locator:
        """The circle in the notebook's toolbar; its attribute ``data-status`` is what it shows."""
        return self.panel().locator(".jp-Notebook-ExecutionIndicator")

    async def expect_prompt(self, index: int, text: str, timeout: float = 30.0) -> None:
        """Wait until a cell's prompt is ``[*]``, ``[ ]`` or ``[1]``."""
        await expect(self.prompt(index)).to_have_text(f"{text}:", timeout=timeout * 1000)

    async def expect_output(self, index: int, text: str, timeout: float = 30.0) -> None:
        """Wait until a cell's output contains this text."""
        await expect(self.output(index)).to_contain_text(text, timeout=timeout * 1000)

    async def expect_kernel(self, status: str, timeout: float = 30.0) -> None:
        """Wait until the kernel indicator shows ``idle``, ``busy``, ..."""
        await expect(self.kernel_indicator()).to_have_attribute("data-status", status, timeout=timeout * 1000)

    async def expect_sources(self, sources: list[str], timeout: float = 30.0) -> None:
        """Wait until these are the texts of all cells, in this order."""
        with suppress(TimeoutError):
            await self.page.wait_for_function(HAS_SOURCES, arg=[PANEL, sources], timeout=timeout * 1000)
        assert [cell.source for cell in await self.cells()] == sources

    async def wait_for_lines(self, index: int, number: int, timeout: float = 30.0) -> None:
        """Wait until a cell shows at least so many lines of output."""
        await self.page.wait_for_function(
            """([panel, index, number]) => {
                const cell = document.querySelectorAll(`${panel} .jp-Notebook-cell`)[index];
                const outputs = [...(cell?.querySelectorAll('.jp-OutputArea-output') ?? [])];
                return outputs.map(output => output.textContent).join('').split('\\n').length - 1 >= number;
            }""",
            arg=[PANEL, index, number],
            timeout=timeout * 1000,
        )

    # What happens to it

    @asynccontextmanager
    async def coming_back(self) -> AsyncIterator[None]:
        """In the block the connection is lost and can be made again; waits until the room has given its document."""
        back = anyio.Event()

        def on_frame(frame: str | bytes) -> None:
            if isinstance(frame, bytes) and frame.startswith(SYNC_STEP_2):
                back.set()

        def on_socket(socket: WebSocket) -> None:
            if "/api/collaboration/room/json:notebook:" in socket.url:
                socket.on("framereceived", on_frame)

        self.page.on("websocket", on_socket)
        try:
            yield
            with anyio.fail_after(60):
                await back.wait()
        finally:
            self.page.remove_listener("websocket", on_socket)

    # What a person does

    async def scroll_to(self, index: int) -> None:
        """Bring a cell into the middle of the window."""
        await self.page.evaluate(SCROLL_TO, index)

    async def select(self, index: int) -> None:
        """Click into a cell's editor."""
        await self.cell_at(index).locator(".cm-content").click()

    async def replace_text(self, text: str) -> None:
        """Type over all the text of the editor that has the focus, key by key without a pause."""
        await self.page.keyboard.press("ControlOrMeta+a")
        await self.page.keyboard.type(text)

    async def press(self, keys: str) -> None:
        """Press keys such as ``Shift+Enter``."""
        await self.page.keyboard.press(keys)

    async def run_all(self) -> None:
        """The menu's Run All Cells; comes back when it was given, not when it is done."""
        await self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    async def run_all_to_the_end(self) -> bool:
        """The same, and what the front end says at the end of it: whether all cells ran."""
        return bool(
            await self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        )

    async def save(self) -> None:
        """Press Ctrl-S, with the focus in the notebook, and wait until JupyterLab takes it for saved."""
        await self.page.evaluate(WATCH_SAVES)
        await self.press("ControlOrMeta+s")
        await self.page.wait_for_function("() => window.saves.some(s => s === 'completed' || s === 'failed')")
        saves = await self.page.evaluate("() => window.saves")
        assert "failed" not in saves, saves

    async def rename(self, name: str) -> None:
        """Give the notebook another name with JupyterLab's dialog."""
        await self.page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:rename'); }")
        dialog = self.page.locator(".jp-Dialog")
        await dialog.locator("input").last.fill(name)
        await dialog.locator("button.jp-mod-accept").click()
        await self.page.wait_for_function(
            "name => window.jupyterapp.shell.currentWidget.context.path.endsWith(name)", arg=name
        )
        self.name = name
        self.url = self.url.rpartition("/")[0] + f"/{name}?token={self.server.token}"

    # Spies

    async def watch_writes(self) -> None:
        """From now on keep what this page itself writes below ``cells``."""
        await self.page.evaluate(WATCH_WRITES)

    async def writes(self) -> list[str]:
        """What it wrote since."""
        written: list[str] = await self.page.evaluate("() => window.cellWrites")
        return written

    async def slow_down(self) -> None:
        """From now on what this page sends to rooms takes a while, in its order."""
        await self.page.evaluate(SLOW_CONNECTION)

    async def slow_requests(self) -> int:
        """So many requests to run cells were slow since."""
        count: int = await self.page.evaluate("() => window.slowRequests")
        return count

    async def watch_requests(self) -> None:
        """From now on keep what this page asks to be run."""
        await self.page.evaluate(WATCH_REQUESTS)

    async def requests(self) -> list[dict[str, Any]]:
        """What it asked since."""
        asked: list[dict[str, Any]] = await self.page.evaluate("() => window.requests")
        return asked

    async def watch_dialogs(self) -> None:
        """From now on note every dialog, also those that are answered."""
        await self.page.evaluate(WATCH_DIALOGS)

    async def dialogs(self) -> list[str]:
        """The texts of those that were shown since."""
        texts: list[str] = await self.page.evaluate("() => window.dialogs.map(node => node.textContent)")
        return texts

    async def evaluate(self, script: str, argument: Any = None) -> Any:
        """Ask the page something."""
        return await self.page.evaluate(script, argument)

    # Private

    def _listen(self) -> None:
        self.page.on("pageerror", self._on_error)
        self.page.on("console", self._on_console)

    def _on_error(self, error: Error) -> None:
        self.errors.append(str(error))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)
