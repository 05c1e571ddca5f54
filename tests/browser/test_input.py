"""``input()`` and ``getpass()`` as people see them: in every tab, answered once by whoever may, like in JupyterLab alone."""

from __future__ import annotations

import io
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group
from PIL import Image, ImageChops
from playwright.async_api import Browser, BrowserContext, Locator, Page, Response, Route, WebSocket, expect

from tests.browser.conftest import SCREENSHOTS, OpenNotebook, Prepare
from tests.browser.jupyterlab_alone import jupyterlab_alone
from tests.browser.notebook_page import NotebookPage
from tests.conftest import Servers
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

FIELD = ".jp-OutputArea-stdin-item:not(.jp-OutputArea-stdin-hiding) .jp-Stdin-input"
LABEL = "data-ydoc-exec-run"

THREE = """\
print('begin')
one = input('first? ')
print('between')
two = input('second? ')
print('and')
three = input('third? ')
print(one, two, three)"""

FOCUSED = """() => {
    const { activeElement } = document;
    return activeElement.matches('.jp-Stdin-input') ? activeElement.parentElement.textContent
        : activeElement.closest('.cm-editor') ? 'an editor' : activeElement.className;
}"""

PENDING = """() => {
    const { content, sessionContext } = window.jupyterapp.shell.currentWidget;
    return {
        cells: content.widgets.map(cell => cell.outputArea?.pendingInput ?? false),
        kernel: sessionContext.pendingInput,
    };
}"""

PROMPTS = """() => {
    const { ydoc } = window.jupyterapp.shell.currentWidget.context.model.sharedModel;
    return Object.values(ydoc.getMap('execution').get('now')?.get('prompts')?.toJSON() ?? {});
}"""

NEW_CELL = """async () => {
    const { commands, shell } = window.jupyterapp;
    await commands.execute('notebook:insert-cell-above');
    await commands.execute('notebook:enter-edit-mode');
}"""

SCROLL_TOP = "() => window.jupyterapp.shell.currentWidget.content.outerNode.scrollTop"


def field(page: NotebookPage) -> Locator:
    """Where the answer is typed."""
    return page.panel().locator(FIELD)


def asking_cell(page: NotebookPage) -> Locator:
    """The cell that asks."""
    return page.panel().locator(".jp-Notebook-cell").filter(has=page.page.locator(FIELD))


async def expect_asked(*pages: NotebookPage, text: str, draft: str = "") -> None:
    """Every tab shows this prompt, with what was typed so far, and nothing else."""
    for page in pages:
        await expect(field(page)).to_have_count(1, timeout=30_000)
        await expect(field(page).locator("..")).to_have_text(text)
        await expect(field(page)).to_have_value(draft)


async def expect_nothing_asked(*pages: NotebookPage) -> None:
    """No tab shows a prompt, nor says that there is one."""
    for page in pages:
        await expect(field(page)).to_have_count(0, timeout=30_000)
        pending = await page.evaluate(PENDING)
        assert not any(pending["cells"])
        assert not pending["kernel"]


async def run(page: NotebookPage, index: int) -> None:
    """Run a cell as a person does, without leaving it."""
    await page.select(index)
    await page.press("Control+Enter")


async def focused(page: NotebookPage) -> str:
    """Where the keys go: the text of a prompt, ``an editor``, or something else."""
    return str(await page.evaluate(FOCUSED))


WATCH_ANSWER = """() => {
    window.seen = [];
    const look = () => {
        const cells = document.querySelectorAll('.jp-Notebook-cell');
        const field = cells[0].querySelector('FIELD');
        const now = [
            /\\?.*Ada/.test(field ? field.parentElement.textContent + field.value : ''),
            /\\? .*Ada/.test(cells[0].querySelector('.jp-OutputArea').innerText),
            cells[1].getBoundingClientRect().y - cells[0].getBoundingClientRect().y,
        ];
        if (JSON.stringify(window.seen.at(-1)) !== JSON.stringify(now)) {
            window.seen.push(now);
        }
        requestAnimationFrame(look);
    };
    look();
}""".replace("FIELD", FIELD)
"""Of each frame that is painted: whether the question with what was typed is there, whether its echo is, and where the next
cell begins. Text in fields is no text of the page."""


async def lines(page: NotebookPage, index: int) -> list[str]:
    """What a cell shows when the fields are gone: one that had the focus is there for half a second more, unseen."""
    await expect(page.cell_at(index).locator(".jp-Stdin")).to_have_count(0)
    return (await page.cell(index)).lines


async def test_everybody_sees_what_is_asked_and_may_answer(
    shared_server: LabServer, open_notebook: OpenNotebook
) -> None:
    server = shared_server
    server.write_notebook("three.ipynb", THREE, "x = 1")
    runner = await open_notebook(server, "three.ipynb")
    other = await open_notebook(server, "three.ipynb")
    await runner.expect_kernel("idle")
    await other.select(1)
    await run(runner, 0)
    await expect_asked(runner, other, text="first? ")

    # Who has run the cell is taken there, nobody else is.
    await expect(field(runner)).to_be_focused()
    assert await focused(other) == "an editor"
    for page in (runner, other):
        assert await page.evaluate(PENDING) == {"cells": [True, False], "kernel": True}
        await page.expect_kernel("busy")
        await expect(page.prompt(0)).to_have_attribute(LABEL, "?")
        await expect(page.prompt(0)).to_have_attribute("aria-label", re.compile("^Waiting for input"))
        await expect(page.panel().get_by_role("textbox", name="first?")).to_be_visible()
        await expect(page.panel().get_by_role("status")).to_have_text("A cell asks for input: first?")

    # What is typed is seen, whoever types.
    await runner.page.keyboard.type("Ada Love")
    await expect_asked(runner, other, text="first? ", draft="Ada Love")
    await field(other).click()
    await other.press("Home")
    await other.page.keyboard.type("Lady ")
    await runner.page.keyboard.type("lace")
    await expect_asked(runner, other, text="first? ", draft="Lady Ada Lovelace")
    assert await field(other).evaluate("input => input.selectionEnd") == len("Lady ")
    for page, name in ((runner, "runner"), (other, "other")):
        await page.page.screenshot(path=SCREENSHOTS / f"input-{name}.png")

    # A saved file has no prompt in it, and is a notebook.
    assert server.api("POST", "/api/collaboration/save/three.ipynb").status_code == 200
    assert stream_text(server.read_notebook("three.ipynb")["cells"][0]) == "begin\n"

    # Who comes back sees the same.
    await runner.reload()
    await runner.loaded()
    await expect_asked(runner, text="first? ", draft="Lady Ada Lovelace")
    assert await focused(runner) != "first? "
    assert (await runner.evaluate(PENDING))["cells"] == [True, False]

    # The tab that has not run the cell answers, and goes on without a touch of the mouse.
    for page in (runner, other):
        await page.evaluate(WATCH_ANSWER)
    await other.press("Enter")
    await expect_asked(runner, other, text="second? ")
    for page in (runner, other):
        before, after = (await page.evaluate("() => window.seen"))[:2]
        assert before[:2] == [True, False]
        assert after[:2] == [False, True]  # in the next frame, and nothing jumps
        assert abs(after[2] - before[2]) < 3
    await expect(field(other)).to_be_focused()
    await other.press("ArrowUp")
    await expect_asked(runner, other, text="second? ", draft="Lady Ada Lovelace")
    await other.press("ArrowDown")
    await other.page.keyboard.type("2")
    await other.press("Enter")
    await expect_asked(runner, other, text="third? ")
    await field(runner).click()
    await runner.page.keyboard.type("3")
    await runner.press("Enter")
    for page in (runner, other):
        await page.expect_prompt(0, "[1]")
        await page.expect_kernel("idle")
        await expect(page.panel().locator(".jp-Stdin")).to_have_count(0)
        await expect(page.panel().get_by_role("status")).to_be_empty()
        await expect(page.prompt(0)).not_to_have_attribute(LABEL, re.compile(""))
    await expect_nothing_asked(runner, other)
    # The keys of who has answered last do not become commands of the notebook, or text of a cell.
    assert "jp-Cell" in await focused(runner)

    text = [
        "begin",
        "first?  Lady Ada Lovelace",
        "between",
        "second?  2",
        "and",
        "third?  3",
        "Lady Ada Lovelace 2 3",
    ]
    for page in (runner, other):
        assert await lines(page, 0) == text
    await eventually(
        lambda: stream_text(server.read_notebook("three.ipynb")["cells"][0]).splitlines() == text
    )
    assert runner.errors == other.errors == []


ENTER_TOGETHER = """async tab => {
    const cell = document.querySelector('.jp-Notebook-cell');
    const pause = () => new Promise(resolve => setTimeout(resolve));
    const field = () => cell.querySelector('FIELD');
    while (cell.querySelector('.jp-InputPrompt').textContent.includes('*')) {
        const mine = field();
        if (!mine) {
            await pause();
            continue;
        }
        // Each says that it is there, and waits for the other one. Both are on one machine, and have one clock.
        mine.value += tab;
        mine.dispatchEvent(new Event('input'));
        while (mine === field() && !(mine.value.includes('red') && mine.value.includes('blue'))) {
            await pause();
        }
        const moment = Math.ceil((Date.now() + 10) / 50) * 50;
        while (Date.now() < moment) {
            await pause();
        }
        mine.value = `${tab} ${mine.parentElement.textContent}`;
        mine.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
        while (mine === field()) {
            await pause();
        }
    }
}""".replace("FIELD", FIELD)


async def test_two_who_press_enter_at_the_same_moment_agree(
    shared_server: LabServer, open_notebook: OpenNotebook
) -> None:
    number = 100
    server = shared_server
    server.write_notebook(
        "race.ipynb", f"answers = [input(f'{{i}}:') for i in range({number})]", "print(*answers, sep='\\n')"
    )
    pages = {tab: await open_notebook(server, "race.ipynb") for tab in ("red", "blue")}
    responses: list[Response] = []

    def on_response(response: Response) -> None:
        if response.url.partition("?")[0].endswith("/input"):
            responses.append(response)

    for page in pages.values():
        page.page.on("response", on_response)
        await page.expect_kernel("idle")
    await run(pages["red"], 0)
    async with create_task_group() as pressing:
        for tab, page in pages.items():
            await page.expect_prompt(0, "[*]")
            pressing.start_soon(page.evaluate, ENTER_TOGETHER, tab)
    for page in pages.values():
        await page.expect_prompt(0, "[1]")
    await run(pages["blue"], 1)
    for page in pages.values():
        await page.expect_prompt(1, "[2]")
    got = await lines(pages["red"], 1)
    assert len(got) == number
    assert [line.split()[1] for line in got] == [f"{i}:" for i in range(number)]
    for page in pages.values():
        assert await lines(page, 0) == [f"{i}: {answer}" for i, answer in enumerate(got)]
        assert await lines(page, 1) == got
    echo = [f"{i}: {answer}" for i, answer in enumerate(got)]
    await eventually(lambda: stream_text(server.read_notebook("race.ipynb")["cells"][0]).splitlines() == echo)

    # Each answer was taken once, from who sent it first; the other was told so.
    taken: list[str] = []
    refused = 0
    for response in responses:
        sent: Any = response.request.post_data_json
        if response.status == 200:
            taken.append(sent["value"])
        else:
            assert response.status == 409
            assert (await response.json())["value"] in got
            assert sent["value"] not in got
            refused += 1
    assert sorted(taken) == sorted(got)
    print(f"{refused} of {number} were pressed while the other one was under way")
    assert refused > number / 4
    for tab, page in pages.items():
        if any(line.split()[0] != tab for line in got):
            await expect(page.notification("has answered this already")).to_have_count(1)


def frames_of(frames: list[bytes]) -> Prepare:
    """Has all that goes through the websockets of a window noted there."""

    async def prepare(context: BrowserContext) -> None:
        def on_socket(socket: WebSocket) -> None:
            for event in ("framesent", "framereceived"):
                socket.on(
                    event, lambda data: frames.append(data if isinstance(data, bytes) else data.encode())
                )

        def on_page(page: Page) -> None:
            page.on("websocket", on_socket)

        context.on("page", on_page)

    return prepare


async def test_a_password_is_nowhere(servers: Servers, open_notebook: OpenNotebook) -> None:
    server = servers("--debug")
    server.write_notebook(
        "a.ipynb",
        "from getpass import getpass\nlengths = [len(getpass(f'{i} key:')) for i in range(2)]\nlengths",
        "input('name:')",
    )
    mine: list[bytes] = []
    theirs: list[bytes] = []
    runner = await open_notebook(server, "a.ipynb", frames_of(mine))
    other = await open_notebook(server, "a.ipynb", frames_of(theirs))
    secret = "S3cr" + secrets.token_hex(8)
    await runner.expect_kernel("idle")
    await run(runner, 0)
    await expect_asked(runner, other, text="0 key:")
    await expect(field(runner)).to_be_focused()
    await expect(field(runner)).to_have_attribute("type", "password")
    await runner.page.keyboard.type(secret)
    assert await field(runner).input_value() == secret
    await expect(field(other)).to_have_value("")
    [prompt] = await other.evaluate(PROMPTS)
    assert prompt["password"] is True
    assert "value" not in prompt
    await other.page.screenshot(path=SCREENSHOTS / "input-password-other.png")
    await runner.page.screenshot(path=SCREENSHOTS / "input-password.png")
    await runner.press("Enter")
    await expect_asked(runner, other, text="1 key:")
    await expect(field(runner)).to_be_focused()
    await runner.page.keyboard.insert_text(secret)  # at once, as pasted
    await runner.press("Enter")
    for page in (runner, other):
        await page.expect_prompt(0, "[1]")
        dots = "·" * 8
        assert await lines(page, 0) == [
            f"0 key: {dots}",
            f"1 key: {dots}",
            f"[{len(secret)}, {len(secret)}]",
        ]

    # It is not in the history either.
    await run(runner, 1)
    await expect_asked(runner, other, text="name:")
    await expect(field(runner)).to_be_focused()
    await runner.press("ArrowUp")
    await expect(field(runner)).to_have_value("")
    await runner.page.keyboard.type("canary")
    await runner.press("Enter")
    for page in (runner, other):
        await page.expect_prompt(1, "[2]")
    await eventually(lambda: "canary" in (server.root / "a.ipynb").read_text())
    server.stop()

    places = {"mine": b"".join(mine), "theirs": b"".join(theirs)}
    for path in server.root.parent.rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
    found = {name for name, content in places.items() if b"canary" in content}
    assert found >= {"mine", "theirs", str(server.root / "a.ipynb")}  # the search finds what is there
    assert any("updates.db" in name for name in places)
    assert str(server.log_file) in places
    for encoding in ("utf-8", "utf-16-le"):
        for part in (secret, secret[:6], secret[-6:]):
            assert [name for name, content in places.items() if part.encode(encoding) in content] == []


async def test_the_prompt_stays_whatever_is_done_to_its_cell(
    server: LabServer, open_notebook: OpenNotebook
) -> None:
    server.set_notebook_option(windowingMode="full")  # cells out of view are not in the page
    asking = "print('begin')\nprint('got', input('name? '))"
    server.write_notebook("stays.ipynb", asking, *(f"{i}\n" * 15 for i in range(8)), "1 + 1")
    runner = await open_notebook(server, "stays.ipynb")
    other = await open_notebook(server, "stays.ipynb")
    await runner.expect_kernel("idle")
    await other.scroll_to(9)
    await other.select(9)
    there = await other.evaluate(SCROLL_TOP)
    # Who has run the cell is taken there, wherever they are.
    await runner.select(1)
    await runner.scroll_to(9)
    await runner.page.wait_for_function(
        "() => !window.jupyterapp.shell.currentWidget.content.widgets[0].inViewport"
    )
    await runner.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-above'); }")
    await expect_asked(runner, text="name? ")
    await expect(field(runner)).to_be_focused()
    await expect(field(runner)).to_be_in_viewport()
    await runner.page.keyboard.type("Gra")

    # Nobody else is moved, and who goes there finds it, also when they come back.
    await expect(other.panel().get_by_role("status")).to_have_text("A cell asks for input: name?")
    assert await other.evaluate(SCROLL_TOP) == there
    assert await focused(other) == "an editor"
    for _ in range(2):
        await other.scroll_to(0)
        await expect_asked(other, text="name? ", draft="Gra")
        assert await focused(other) == "an editor"
        await other.scroll_to(9)
    await other.scroll_to(0)

    # Its outputs are cleared by somebody else, while one is typing there.
    await other.evaluate("() => { window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs'); }")
    await expect(runner.output(0)).not_to_contain_text("begin")
    await expect_asked(runner, other, text="name? ", draft="Gra")
    await expect(field(runner)).to_be_focused()
    await runner.page.keyboard.type("ce")
    await expect_asked(runner, other, text="name? ", draft="Grace")

    # It is moved, by who does not type.
    await other.scroll_to(0)
    await asking_cell(other).locator(".jp-InputPrompt").click()
    await other.press("Control+Shift+ArrowDown")
    for page in (runner, other):
        await page.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.content.widgets[1].outputArea.pendingInput"
        )
    await expect_asked(runner, other, text="name? ", draft="Grace")
    await expect(field(runner)).to_be_focused()
    await runner.page.keyboard.type(" H")
    await expect_asked(runner, other, text="name? ", draft="Grace H")

    # It is deleted, and there is a way out.
    await other.press("d")
    await other.press("d")
    for page in (runner, other):
        await expect(page.notification("A cell that was deleted waits for input: name?")).to_have_count(1)
        await expect(field(page)).to_have_count(0)
    await runner.page.screenshot(path=SCREENSHOTS / "input-stray.png")
    # Who takes that back has the prompt in the cell again.
    await other.press("z")
    await expect_asked(runner, other, text="name? ", draft="Grace H")
    for page in (runner, other):
        await expect(page.notification("waits for input")).to_have_count(0)
    await asking_cell(other).locator(".jp-InputPrompt").click()
    await other.press("d")
    await other.press("d")
    notice = other.notification("A cell that was deleted waits for input")
    await notice.get_by_role("button", name="Answer").click()
    await expect(other.dialog("name?").locator("input")).to_have_value("Grace H")
    await other.dialog("name?").locator("input").fill("Grace Hopper")
    await other.page.screenshot(path=SCREENSHOTS / "input-stray-answer.png")
    await other.dialog("name?").get_by_role("button", name="Send").click()
    for page in (runner, other):
        await page.expect_kernel("idle")
        await expect(page.notification("waits for input")).to_have_count(0)
    await expect_nothing_asked(runner, other)

    # It is interrupted, here by the notice of a deleted cell, and then as ever.
    for how in ("notice", "menu"):
        await runner.evaluate(NEW_CELL)
        await expect(runner.panel().locator(".jp-mod-active .cm-content")).to_be_focused()
        await runner.page.keyboard.type(f"input('{how}? ')")
        await runner.press("Control+Enter")
        await expect_asked(runner, text=f"{how}? ")
        if how == "notice":
            await runner.press("Escape")
            await asking_cell(runner).locator(".jp-InputPrompt").click()
            await runner.press("d")
            await runner.press("d")
            notice = other.notification("A cell that was deleted waits for input: notice?")
            await notice.get_by_role("button", name="Interrupt").click()
            for page in (runner, other):
                await expect(page.notification("waits for input")).to_have_count(0)
        else:
            # Who has gone to another cell stays there.
            await runner.select(0)
            assert await focused(runner) == "an editor"
            await other.evaluate("() => { window.jupyterapp.commands.execute('notebook:interrupt-kernel'); }")
            for page in (runner, other):
                await expect(
                    page.panel().locator(".jp-OutputArea", has_text="KeyboardInterrupt")
                ).to_have_count(1)
            assert await focused(runner) == "an editor"
        for page in (runner, other):
            await page.expect_kernel("idle")
        await expect_nothing_asked(runner, other)
    assert runner.errors == other.errors == []


async def test_what_could_not_be_sent_is_kept(shared_server: LabServer, open_notebook: OpenNotebook) -> None:
    server = shared_server
    server.write_notebook(
        "fails.ipynb",
        "from getpass import getpass\nprint(input('name? '))\nprint(len(getpass('key? ')))",
        "queued = 'ran'\nqueued",
    )
    page = await open_notebook(server, "fails.ipynb")
    await page.expect_kernel("idle")
    down = True
    refusal = {"status": 403, "json": {"message": "Only who has run the cell may answer this. Ask them to."}}

    async def on_route(route: Route) -> None:
        if down:
            await route.abort()
        else:
            await route.fulfill(**refusal)  # type: ignore[arg-type]

    await page.page.route("**/api/kernels/*/input*", on_route)
    await run(page, 0)
    await expect_asked(page, text="name? ")
    await expect(field(page)).to_be_focused()
    await page.page.keyboard.type("Ada")
    await page.press("Enter")
    await expect(page.notification("The answer could not be sent")).to_have_count(1)
    await expect_asked(page, text="name? ", draft="Ada")
    await expect(field(page)).to_be_focused()
    await page.page.screenshot(path=SCREENSHOTS / "input-failed.png")
    down = False
    await page.page.keyboard.type("!")
    await page.press("Enter")
    await expect(page.notification("Only who has run the cell may answer this. Ask them to.")).to_have_count(
        1
    )
    await expect(page.notification("The answer could not be sent")).to_have_count(0)
    await expect_asked(page, text="name? ", draft="Ada!")
    await page.page.unroute("**/api/kernels/*/input*")
    await page.press("Enter")
    await expect_asked(page, text="key? ")
    await expect(page.notification("Only who has run the cell")).to_have_count(0)
    await expect(field(page)).to_be_focused()

    await page.page.route("**/api/kernels/*/input*", on_route)
    await page.page.keyboard.type("secret")
    await page.press("Enter")
    await expect(page.notification("Only who has run the cell")).to_have_count(1)
    await expect_asked(page, text="key? ", draft="secret")
    await page.page.unroute("**/api/kernels/*/input*")

    # What is run while it waits is queued, and not refused, the cell itself too.
    await page.watch_dialogs()
    for index in (1, 0):
        await run(page, index)
    await expect(page.prompt(1)).to_have_attribute(LABEL, "#1")
    await expect(page.output(0)).not_to_contain_text("Ada!")
    await expect_asked(page, text="key? ", draft="secret")
    await field(page).click()
    await page.press("Enter")
    await page.expect_prompt(1, "[2]")
    await page.expect_output(1, "ran")
    for question, answer in (("name? ", "Grace"), ("key? ", "key")):
        await expect_asked(page, text=question)
        await expect(field(page)).to_be_focused()
        await page.page.keyboard.type(answer)
        await page.press("Enter")
    await page.expect_prompt(0, "[3]")
    assert await lines(page, 0) == ["name?  Grace", "Grace", "key?  ········", "3"]
    assert await page.dialogs() == []


BY_COOKIE = """
from jupyter_server.auth.authorizer import Authorizer

class ByCookie(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        denied = handler.get_cookie("denied", "")
        return f"{action}-{resource}" not in denied.split("/")

c.ServerApp.authorizer_class = ByCookie
"""


def denied(server: LabServer, *rights: str) -> Prepare:
    """Has a window not have these rights, such as ``write-contents``."""

    async def prepare(context: BrowserContext) -> None:
        await context.add_cookies([{"name": "denied", "value": "/".join(rights), "url": server.url}])

    return prepare


async def test_who_may_not_answer_looks_on(
    servers: Servers, tmp_path: Path, open_notebook: OpenNotebook
) -> None:
    config = tmp_path / "reader.py"
    config.write_text(BY_COOKIE)
    server = servers(f"--config={config}", "--YdocExec.input_policy=runner")
    server.write_notebook("a.ipynb", "print(input('name? '))")

    runner = await open_notebook(server, "a.ipynb")
    await runner.expect_kernel("idle")
    await run(runner, 0)
    await expect_asked(runner, text="name? ")
    reader = await open_notebook(server, "a.ipynb", denied(server, "write-contents", "execute-kernels"))
    await expect_asked(reader, text="name? ")
    await expect(field(reader)).to_be_disabled()
    await expect(field(reader)).to_have_attribute("title", re.compile("cells run here, so you cannot answer"))
    colleague = await open_notebook(server, "a.ipynb")
    await expect_asked(colleague, text="name? ")
    await expect(field(colleague)).to_be_disabled()
    await expect(field(colleague)).to_have_attribute(
        "title", "Only who has run the cell may answer. Ask them to."
    )
    await expect(field(runner)).to_be_enabled()
    await runner.page.keyboard.type("Ada")
    await expect_asked(reader, colleague, text="name? ", draft="Ada")
    await reader.page.screenshot(path=SCREENSHOTS / "input-reader.png")
    await runner.press("Enter")
    for page in (runner, reader, colleague):
        await page.expect_prompt(0, "[1]")
        assert await lines(page, 0) == ["name?  Ada", "Ada"]
    await expect_nothing_asked(runner, reader, colleague)


async def test_who_may_not_write_may_answer_if_anyone_may(
    servers: Servers, tmp_path: Path, open_notebook: OpenNotebook
) -> None:
    config = tmp_path / "reader.py"
    config.write_text(BY_COOKIE)
    server = servers(f"--config={config}", "--YdocExec.input_policy=anyone")
    server.write_notebook("a.ipynb", "print(input('name? '))\nprint(input('age? '))")
    runner = await open_notebook(server, "a.ipynb")
    await runner.expect_kernel("idle")
    await run(runner, 0)
    await expect_asked(runner, text="name? ")
    reader = await open_notebook(server, "a.ipynb", denied(server, "write-contents"))
    await expect_asked(reader, text="name? ")
    await field(reader).click()
    await reader.page.keyboard.type("Ada")
    await runner.page.keyboard.type("Grace")
    await expect_asked(runner, text="name? ", draft="Grace")
    await expect_asked(reader, text="name? ", draft="Ada")  # what they may not share stays theirs
    await reader.press("Enter")
    await expect_asked(runner, reader, text="age? ")
    await expect(field(reader)).to_be_focused()
    await reader.page.keyboard.type("36")
    await reader.press("Enter")
    for page in (runner, reader):
        await page.expect_prompt(0, "[1]")
        assert await lines(page, 0) == ["name?  Ada", "Ada", "age?  36", "36"]


async def test_in_notebook_7(servers: Servers, open_notebook: OpenNotebook, chromium: Browser) -> None:
    server = servers("--JupyterNotebookApp.expose_app_in_browser=True")
    server.write_notebook("a.ipynb", "print(input('name? '))")
    lab = await open_notebook(server, "a.ipynb")
    context = await chromium.new_context(viewport={"width": 1200, "height": 700})
    page = await NotebookPage.open(context, server, "a.ipynb", f"/notebooks/a.ipynb?token={server.token}")
    await page.expect_kernel("idle")
    await run(page, 0)
    await expect_asked(page, lab, text="name? ")
    await expect(field(page)).to_be_focused()
    await page.page.keyboard.type("Ada")
    await expect_asked(page, lab, text="name? ", draft="Ada")
    await page.page.screenshot(path=SCREENSHOTS / "input-notebook-7.png")
    await page.reload()
    await page.loaded()
    await expect_asked(page, lab, text="name? ", draft="Ada")
    await field(lab).click()
    await lab.press("Enter")
    for tab in (page, lab):
        await tab.expect_prompt(0, "[1]")
        assert await lines(tab, 0) == ["name?  Ada", "Ada"]
    await expect_nothing_asked(page, lab)
    await context.close()


LOOK = """() => {
    const panel = document.querySelector('.jp-OutputArea-stdin-item');
    const cell = panel.closest('.jp-Cell').getBoundingClientRect();
    const nodes = [panel, ...panel.querySelectorAll('*')];
    const next = document.querySelectorAll('.jp-Notebook-cell')[1].getBoundingClientRect();
    return {
        nodes: nodes.map(node => {
            const { x, y, width, height } = node.getBoundingClientRect();
            const style = getComputedStyle(node);
            return {
                node: `${node.localName} ${node.className} ${node.type ?? ''} ${node.placeholder ?? ''}`,
                box: [x - cell.x, y - cell.y, width, height],
                style: Object.fromEntries([...style].map(name => [name, style.getPropertyValue(name)])),
            };
        }),
        next: next.y - cell.y,
    };
}"""


async def look_at_prompt(page: NotebookPage, name: str) -> dict[str, Any]:
    """Ask for a name and a password and say how it looks, in all states that there are."""
    looks: dict[str, Any] = {}
    panel = page.panel().locator(".jp-OutputArea-stdin-item:not(.jp-OutputArea-stdin-hiding)")

    async def look(state: str) -> None:
        looks[state] = await page.evaluate(LOOK)
        # The cell's two parts, without what stands in front of them.
        looks[f"{state}, pixels"] = await panel.screenshot(
            path=SCREENSHOTS / f"input-look-{name}-{state}.png"
        )

    await page.expect_kernel("idle")
    await run(page, 0)
    await expect(field(page)).to_be_focused(timeout=30_000)
    await look("asked")
    await page.page.keyboard.type("Ada")
    await look("typed")
    await page.press("Escape")
    looks["after Escape"] = await focused(page)
    await look("left")
    await field(page).click()
    await page.evaluate(WATCH_ANSWER)
    await page.press("Enter")
    await expect(field(page)).to_have_attribute("type", "password", timeout=30_000)
    await expect(page.panel().locator(".jp-Stdin")).to_have_count(1)  # the answered one has gone
    await expect(field(page)).to_be_focused()
    looks["answered"] = await page.evaluate("() => window.seen")
    await page.page.keyboard.type("secret")
    await look("password")
    await page.press("Enter")
    await page.expect_prompt(0, "[1]")
    await expect(page.panel().locator(".jp-Stdin")).to_have_count(0)
    looks["focus at the end"] = await focused(page)
    looks["outputs"] = (await page.cell(0)).outputs
    looks["cell, pixels"] = await page.output(0).screenshot(path=SCREENSHOTS / f"input-look-{name}-end.png")
    return looks


def difference(ours: bytes, theirs: bytes) -> str | None:
    """Where two pictures are not the same."""
    one, other = (Image.open(io.BytesIO(picture)).convert("RGB") for picture in (ours, theirs))
    if one.size != other.size:
        return f"{one.size} and {other.size}"
    box = ImageChops.difference(one, other).getbbox()
    return None if box is None else str(box)


async def test_it_looks_as_in_jupyterlab_alone(
    shared_server: LabServer, open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    cell = (
        "import time\nfrom getpass import getpass\nprint('before')\nname = input('What is your name? ')\n"
        "time.sleep(1)\ngetpass('And your password: ')\nprint('after')"
    )
    looks: dict[str, dict[str, Any]] = {}

    async def look(name: str, server: LabServer) -> None:
        server.write_notebook("look.ipynb", cell, "x = 1")
        page = await open_notebook(server, "look.ipynb")
        looks[name] = await look_at_prompt(page, name)

    await look("ours", shared_server)
    async with jupyterlab_alone(tmp_path / "jupyterlab") as alone:
        await look("jupyterlab", alone)
    ours, theirs = looks["ours"], looks["jupyterlab"]
    assert ours.keys() == theirs.keys()
    for state, look_ in ours.items():
        if state.endswith("pixels"):
            assert difference(look_, theirs[state]) is None, state
        elif state == "answered":
            # The field goes in the frame in which the echo comes, and nothing moves that does not move there.
            assert [seen[:2] for seen in look_[:2]] == [[True, False], [False, True]]
            assert look_ == theirs[state]
        elif isinstance(look_, dict):
            for mine, other in zip(look_["nodes"], theirs[state]["nodes"], strict=True):
                assert mine["node"] == other["node"], state
                assert mine["box"] == other["box"], (state, mine["node"])
                assert mine["style"] == other["style"], (state, mine["node"])
            assert look_["next"] == theirs[state]["next"], state
        else:
            assert look_ == theirs[state], state
