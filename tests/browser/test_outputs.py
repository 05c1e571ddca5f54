"""Outputs of the libraries that people use, in a tab that runs them, a tab that looks on and a tab that comes later.

One notebook with a cell for each is run once; the tests then look at what was recorded. The same notebook is run
by JupyterLab alone, with neither this server nor a shared document, to see what it would have shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import anyio
import nbformat
import pytest
from anyio import create_task_group
from playwright.async_api import Browser, expect

from tests.browser.bare_tab import BareBrowser, BareTab
from tests.browser.conftest import SCREENSHOTS
from tests.browser.jupyterlab_alone import jupyterlab_alone
from tests.browser.notebook_page import IS_LOADED, PANEL, WATCH_WRITES, NotebookPage
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

NAME = "outputs.ipynb"

CELLS = {
    "tqdm": """\
import time
from tqdm import tqdm
for i in tqdm(range(30), desc='epoch'):
    time.sleep(0.04)""",
    "nested tqdm": """\
bars = '{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}'
for i in tqdm(range(3), desc='outer', position=0, bar_format=bars):
    for j in tqdm(range(4), desc='inner', position=1, leave=False, bar_format=bars):
        time.sleep(0.1)""",
    "nested tqdm, all left": """\
for i in tqdm(range(3), desc='outer', bar_format=bars):
    for j in tqdm(range(4), desc='inner', bar_format=bars):
        time.sleep(0.1)""",
    "rich progress": """\
from rich.console import Console
from rich.progress import Progress
with Progress(console=Console(force_terminal=True, force_jupyter=False, width=80)) as progress:
    tasks = [progress.add_task(name, total=10) for name in ('download', 'process')]
    for i in range(10):
        time.sleep(0.1)
        for task in tasks:
            progress.update(task, advance=1)""",
    "rich in a notebook": """\
import rich
from rich.progress import track
from rich.table import Table
for i in track(range(3)):
    time.sleep(0.1)
rich.print('[bold red]hello[/] world')
table = Table('one', 'two')
table.add_row('1', '2')
table""",
    "clear_output": """\
from IPython.display import HTML, Image, Latex, Math, SVG, clear_output, display
for n in range(15):
    clear_output(wait=True)
    print(f'frame {n}\\n{"=" * n}\\n', end='')
    time.sleep(0.1)""",
    "update_display 1": """\
handle = display('first', display_id='shown twice')
print('after the first')""",
    "update_display 2": """\
time.sleep(0.3)
print('before the second')
display('second', display_id='shown twice')
print('after the second')""",
    "update_display 3": """\
time.sleep(0.3)
handle.update(HTML('<b>new</b>'))
print('updated')""",
    "matplotlib": """\
%matplotlib inline
import matplotlib.pyplot as plt
plt.plot([1, 3, 2])
plt.title('one');""",
    "matplotlib animation": """\
for n in range(5):
    clear_output(wait=True)
    plt.plot(range(n + 2))
    plt.title(f'frame {n}')
    plt.show()
    time.sleep(0.2)""",
    "plotly show": """\
import plotly.graph_objects as go
figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[4, 1, 2]), layout=dict(height=300))
figure.show()
print('after the figure')""",
    "plotly result": "figure",
    "html": """\
HTML('''<div id="by-script">before</div>
<script>document.getElementById("by-script").textContent = "by script"</script>''')""",
    "latex": """\
display(Math(r'\\int_0^1 x^2\\,dx = \\frac{1}{3}'))
Latex(r'Euler: $e^{i\\pi}+1=0$')""",
    "svg": """\
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="80" height="40">'
    '<circle cx="20" cy="20" r="15" fill="red"/></svg>')""",
}
UNLIKE_JUPYTERLAB = ("nested tqdm", "nested tqdm, all left", "rich progress")
"""They move the cursor up, which JupyterLab does not understand and we do."""

READ_OUTPUTS = """panel => [...document.querySelectorAll(`${panel} .jp-Notebook-cell`)].map(cell =>
    [...cell.querySelectorAll('.jp-OutputArea-output')].map(output => ({
        mime: output.dataset.mimeType ?? '',
        text: output.textContent,
        html: output.innerHTML,
        images: [...output.querySelectorAll('img')].filter(image => image.getClientRects().length)
            .map(image => [image.naturalWidth, image.naturalHeight]),
        formulas: output.querySelectorAll('mjx-container').length,
        graphs: output.matches('.js-plotly-plot') ? 1 : 0,
    })))"""

READ_DOCUMENT = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map(widget => widget.model.sharedModel.getOutputs())"""

READ_MODELS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map(widget => widget.model.outputs.toJSON())"""

# What a frame shows is what somebody sees: the browser paints right after these callbacks.
RECORD_FRAMES = """panel => {
    const cells = [...document.querySelectorAll(`${panel} .jp-Notebook-cell`)];
    window.frames_ = cells.map(() => []);
    const look = () => {
        cells.forEach((cell, index) => {
            const outputs = [...cell.querySelectorAll('.jp-OutputArea-output')].map(output => ({
                text: output.textContent,
                source: output.querySelector('img')?.src ?? '',
            }));
            const frames = window.frames_[index];
            if (JSON.stringify(outputs) !== JSON.stringify(frames.at(-1))) {
                frames.push(outputs);
            }
        });
        requestAnimationFrame(look);
    };
    look();
}"""

IS_RENDERED = """panel => [...document.querySelectorAll(`${panel} .jp-OutputArea-output`)].every(output =>
    [...output.querySelectorAll('img[src]')].every(image => image.complete)
    && (!output.matches('.jp-RenderedLatex') || output.querySelector('mjx-container'))
    && (!output.matches('.jp-RenderedPlotly') || output.querySelector('.main-svg, img[src]')))"""


@dataclass(frozen=True)
class ShownOutput:
    """One output as displayed. ``images``: width and height of those that were loaded and can be seen."""

    mime: str
    text: str
    html: str
    images: list[list[int]]
    formulas: int
    graphs: int
    """Whether it is an interactive graph of plotly."""


@dataclass(frozen=True)
class Frame:
    """One output in one frame that the browser painted."""

    text: str
    source: str
    """The address of the image in it, if there is one."""


@dataclass(frozen=True)
class Shown:
    """What a tab shows in the end, by the cells' names, and what its copy of the document and its models say."""

    cells: dict[str, list[ShownOutput]]
    document: dict[str, list[dict[str, Any]]]
    models: dict[str, list[dict[str, Any]]]

    @classmethod
    async def read(cls, page: NotebookPage) -> Shown:
        """What ``page`` shows now."""
        cells = await page.evaluate(READ_OUTPUTS, PANEL)
        return cls(
            by_name([[ShownOutput(**output) for output in outputs] for outputs in cells]),
            by_name(await page.evaluate(READ_DOCUMENT)),
            by_name(await page.evaluate(READ_MODELS)),
        )


@dataclass
class Recording:
    """Everything that was seen of the one run."""

    tabs: dict[str, Shown] = field(default_factory=dict)
    """``live`` ran the cells, ``passive`` looked on, ``later`` was opened after the end; ``jupyterlab`` is the
    one that was alone."""
    frames: dict[str, dict[str, list[list[Frame]]]] = field(default_factory=dict)
    """What was painted while it ran, without repetitions."""
    file: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    saves: int = 0
    """How many different states of the file were seen."""
    invalid: list[str] = field(default_factory=list)
    """What nbformat has to say against any of them."""
    passive_writes: list[str] = field(default_factory=list)
    """The names of the cells in which the passive tab wrote, once for each time."""


def by_name(cells: list[Any]) -> dict[str, Any]:
    """What was read of each cell, under the cell's name."""
    return dict(zip(CELLS, cells, strict=True))


async def open_page(chromium: Browser, server: LabServer) -> NotebookPage:
    """A tab in a window of its own, high enough for the whole notebook."""
    context = await chromium.new_context(viewport={"width": 1200, "height": 6000})
    page = await NotebookPage.open(context, server, NAME)
    await expect(page.panel().locator(".jp-Notebook-cell")).to_have_count(len(CELLS))
    await page.expect_kernel("idle")
    return page


async def record_frames(page: NotebookPage) -> Callable[[], Any]:
    """Record what is painted from now on; the result reads it."""
    await page.evaluate(RECORD_FRAMES, PANEL)

    async def read() -> dict[str, list[list[Frame]]]:
        cells = await page.evaluate("() => window.frames_")
        return by_name([[[Frame(**o) for o in frame] for frame in frames] for frames in cells])

    return read


async def rendered(page: NotebookPage) -> None:
    """Wait until everything has run and is displayed."""
    await page.expect_prompt(len(CELLS) - 1, f"[{len(CELLS)}]", timeout=120)
    await page.page.wait_for_function(IS_RENDERED, arg=PANEL, timeout=60_000)


async def watch_saves(server: LabServer, recording: Recording) -> None:
    """Validate every state of the file. It is written in place, so a part of one is no state."""
    path, last = server.root / NAME, b""
    while True:
        content = path.read_bytes()
        if content != last:
            last = content
            try:
                nbformat.validate(json.loads(content))  # type: ignore[no-untyped-call, unused-ignore]
                recording.saves += 1
            except json.JSONDecodeError:
                last = b""
            except nbformat.ValidationError as error:
                recording.invalid.append(str(error))
        await anyio.sleep(0.05)


async def outputs_in_file(server: LabServer) -> list[list[dict[str, Any]]]:
    """Of each cell, the outputs in the next whole state of the file."""
    while True:
        try:
            notebook = nbformat.read(server.root / NAME, 4)  # type: ignore[no-untyped-call, unused-ignore]
            return [cell["outputs"] for cell in notebook["cells"]]
        except nbformat.reader.NotJSONError:
            await anyio.sleep(0.05)


async def run_with_jupyterlab_alone(chromium: Browser, directory: Path, recording: Recording) -> None:
    """Run the notebook where the browser executes and nothing is shared."""
    async with jupyterlab_alone(directory) as server:
        server.write_notebook(NAME, *CELLS.values())
        page = await open_page(chromium, server)
        read_frames = await record_frames(page)
        await page.run_all()
        await rendered(page)
        recording.frames["jupyterlab"] = await read_frames()
        recording.tabs["jupyterlab"] = await Shown.read(page)
        await page.page.screenshot(path=SCREENSHOTS / "outputs-jupyterlab.png")
        await page.page.context.close()


async def run_here(chromium: Browser, server: LabServer, recording: Recording) -> None:
    """Run the notebook in the live tab, with the passive one looking on, and then open the third."""
    server.write_notebook(NAME, *CELLS.values())
    pages = {name: await open_page(chromium, server) for name in ("live", "passive")}
    readers = {name: await record_frames(page) for name, page in pages.items()}
    await pages["passive"].watch_writes()
    async with create_task_group() as watching:
        watching.start_soon(watch_saves, server, recording)
        await pages["live"].run_all()
        for page in pages.values():
            await rendered(page)
        recording.frames |= {name: await read() for name, read in readers.items()}
        pages["later"] = await open_page(chromium, server)
        await rendered(pages["later"])

        with anyio.move_on_after(10):  # if they do not come to the same, it is for the tests to say
            while True:
                recording.file = by_name(await outputs_in_file(server))
                if recording.file == by_name(await pages["live"].evaluate(READ_DOCUMENT)):
                    break
                await anyio.sleep(0.2)
        watching.cancel_scope.cancel()
    recording.tabs |= {name: await Shown.read(page) for name, page in pages.items()}
    names = list(CELLS)
    for write in await pages["passive"].writes():
        paths = json.loads(write)["paths"]
        recording.passive_writes += [names[path[0]] if path else "the list of cells" for path in paths]
    for name, page in pages.items():
        await page.page.screenshot(path=SCREENSHOTS / f"outputs-{name}.png")
        await page.page.context.close()


@pytest.fixture(scope="module")
async def recording(
    chromium: Browser, shared_server: LabServer, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    """The one run."""
    recording = Recording()
    async with create_task_group() as running:
        running.start_soon(
            run_with_jupyterlab_alone, chromium, tmp_path_factory.mktemp("jupyterlab"), recording
        )
        running.start_soon(run_here, chromium, shared_server, recording)
    return recording


def seen(outputs: list[ShownOutput]) -> list[object]:
    """What a person sees of a cell's outputs, without what is different each time."""
    return [
        "a figure"
        if output.graphs
        else (output.mime, masked(output.text), masked(output.html), output.images, output.formulas)
        for output in outputs
    ]


def masked(text: str) -> str:
    """Without tqdm's times and rates."""
    return re.sub(r"\[[^]]*(it|s)(<a>)?/(s|it)(</a>)?\]", "[...]", text)  # JupyterLab takes "/s" for a link


def lines(outputs: list[Frame] | list[ShownOutput]) -> list[str]:
    """The lines of all outputs, without what cannot be seen."""
    shown = [line.rstrip() for output in outputs for line in output.text.split("\n")]
    return [line for line in shown if line]


def texts(outputs: list[Frame] | list[ShownOutput]) -> list[str]:
    return [output.text for output in outputs]


def played(recording: Recording, tab: str, cell: str) -> list[list[Frame]]:
    """The frames of an animation, from the first that shows something: all the others must, too."""
    frames = recording.frames[tab][cell]
    first = next(index for index, frame in enumerate(frames) if is_visible(frame))
    assert all(map(is_visible, frames[first:])), "the output was gone for a moment"
    # A busy machine paints few of them.
    assert len(frames[first:]) >= 2, "it was not shown while it ran"
    return frames[first:]


def is_visible(frame: list[Frame]) -> bool:
    return bool(lines(frame)) or any(output.source for output in frame)


both = pytest.mark.parametrize("tab", ["live", "passive"])
also_alone = pytest.mark.parametrize("tab", ["live", "passive", "jupyterlab"])
every_tab = pytest.mark.parametrize("tab", ["live", "passive", "later"])


@pytest.mark.parametrize("cell", CELLS)
async def test_all_tabs_show_the_same(recording: Recording, cell: str) -> None:
    live = recording.tabs["live"].cells[cell]
    assert live
    assert seen(recording.tabs["passive"].cells[cell]) == seen(live)
    assert seen(recording.tabs["later"].cells[cell]) == seen(live)


@pytest.mark.parametrize("cell", [name for name in CELLS if name not in UNLIKE_JUPYTERLAB])
async def test_it_is_what_jupyterlab_shows(recording: Recording, cell: str) -> None:
    assert seen(recording.tabs["live"].cells[cell]) == seen(recording.tabs["jupyterlab"].cells[cell])


@pytest.mark.parametrize("cell", CELLS)
async def test_document_and_file_say_the_same(recording: Recording, cell: str) -> None:
    for tab in ("live", "passive", "later"):
        shown = recording.tabs[tab]
        assert shown.document[cell] == recording.file[cell], tab
        assert [without_picture(output) for output in shown.models[cell]] == recording.file[cell], tab


async def test_every_save_is_a_valid_notebook(recording: Recording) -> None:
    assert recording.saves >= 3
    assert recording.invalid == []


def without_picture(output: dict[str, Any]) -> dict[str, Any]:
    """Without what plotly's renderer adds to the output that it shows: that stays in the tab."""
    data = output.get("data", {})
    if "application/vnd.plotly.v1+json" not in data:
        return output
    return output | {"data": {mime: data[mime] for mime in data if mime != "image/png"}}


async def test_the_passive_tab_writes_nothing(recording: Recording) -> None:
    assert recording.passive_writes == []


@also_alone
async def test_tqdm(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "tqdm")
    assert {len(frame) for frame in frames} == {1}
    assert {len(lines(frame)) for frame in frames} == {1}
    percentages = [int(re.findall(r"(\d+)%", frame[0].text)[0]) for frame in frames]
    assert percentages == sorted(percentages)
    assert re.fullmatch(r"epoch: 100%\|█{10}\| 30/30 \[.*\]\n", frames[-1][0].text)


@both
async def test_nested_tqdm(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "nested tqdm")
    assert {len(frame) for frame in frames} == {1}
    for frame in frames:
        assert [line.partition(":")[0] for line in lines(frame)] in (["outer"], ["outer", "inner"])
    assert any(len(lines(frame)) == 2 for frame in frames)
    assert lines(recording.tabs[tab].cells["nested tqdm"]) == ["outer: 100%|██████████| 3/3"]


@both
async def test_nested_tqdm_that_leaves_its_bars(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "nested tqdm, all left")
    assert {len(frame) for frame in frames} == {1}
    assert max(len(lines(frame)) for frame in frames) == 4
    assert lines(recording.tabs[tab].cells["nested tqdm, all left"]) == [
        *["inner: 100%|██████████| 4/4"] * 3,
        "outer: 100%|██████████| 3/3",
    ]


@both
async def test_rich_progress(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "rich progress")
    assert {len(frame) for frame in frames} == {1}
    bars = [[line.split()[0] for line in lines(frame)] for frame in frames]
    both_bars = ["download", "process"]
    # rich draws with every ``add_task``, so a terminal shows one bar before it shows two. It erases and draws in one
    # write, so from then on there is never a part of them.
    assert [names for names, _ in groupby(bars)] in ([both_bars], [both_bars[:1], both_bars])
    assert lines(recording.tabs[tab].cells["rich progress"]) == [
        f"download {'━' * 40} 100% 0:00:00",
        f"process  {'━' * 40} 100% 0:00:00",
    ]


@also_alone
async def test_clear_output(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "clear_output")
    whole = [f"frame {n}\n{'=' * n}\n" for n in range(15)]
    numbers = [whole.index(output.text) for [output] in frames]  # one output, and never a part of one
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 14


@also_alone
async def test_update_display(recording: Recording, tab: str) -> None:
    """In place and at once in both cells, with what comes after unharmed; a display under an id that is in use is
    an update as well."""
    cells = recording.tabs[tab].cells
    assert texts(cells["update_display 1"]) == ["new", "after the first\n"]
    assert texts(cells["update_display 2"]) == ["before the second\n", "new", "after the second\n"]
    assert texts(cells["update_display 3"]) == ["updated\n"]
    shown, *rest = (texts(frame) for frame in played(recording, tab, "update_display 1"))
    if shown == ["'first'"]:  # painted before the line came
        shown, *rest = rest
    assert shown == ["'first'", "after the first\n"]
    assert rest == [["'second'", "after the first\n"], ["new", "after the first\n"]]


@every_tab
async def test_matplotlib(recording: Recording, tab: str) -> None:
    [output] = recording.tabs[tab].cells["matplotlib"]
    [[width, height]] = output.images
    assert width > 300
    assert height > 200


@also_alone
async def test_matplotlib_animation(recording: Recording, tab: str) -> None:
    frames = played(recording, tab, "matplotlib animation")
    assert {len(frame) for frame in frames} == {1}
    pictures = [output.source for [output] in frames]
    assert len(pictures) == len(set(pictures)) <= 5


@every_tab
@pytest.mark.parametrize("cell", ["plotly show", "plotly result"])
async def test_plotly(recording: Recording, tab: str, cell: str) -> None:
    """As by default: the MIME type of plotly, shown by the extension that the package brings."""
    shown = recording.tabs[tab].cells[cell]
    expected = ["a figure", "after the figure\n"] if cell == "plotly show" else ["a figure"]
    assert ["a figure" if output.graphs else output.text for output in shown] == expected


@every_tab
async def test_html_with_a_script(recording: Recording, tab: str) -> None:
    [output] = recording.tabs[tab].cells["html"]
    assert output.mime == "text/html"
    assert output.text.startswith("by script")


@every_tab
async def test_latex(recording: Recording, tab: str) -> None:
    outputs = recording.tabs[tab].cells["latex"]
    assert [output.formulas for output in outputs] == [1, 1]
    assert "Euler: " in outputs[1].text
    assert "$" not in outputs[1].text


@every_tab
async def test_svg(recording: Recording, tab: str) -> None:
    [output] = recording.tabs[tab].cells["svg"]
    assert output.mime == "image/svg+xml"
    assert output.images == [[80, 40]]


IMAGE = """\
import hashlib, os, struct, zlib
from IPython.display import Image
width, height = 2800, 2680
raw = b''.join(b'\\0' + os.urandom(8 * width) for _ in range(height))

def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 16, 6, 0, 0, 0))
png += chunk(b'IDAT', zlib.compress(raw, 0)) + chunk(b'IEND', b'')
print(len(png), hashlib.sha256(png).hexdigest())
Image(data=png)"""
"""A PNG of noise, 16 bits a channel, that cannot be compressed and is not."""

BIG = "big.ipynb"

SHOWN_IMAGE = f"""(() => {{
    const images = [...document.querySelectorAll(`{PANEL} .jp-OutputArea-output img`)];
    return images.length && images.every(image => image.complete)
        && images.map(image => [image.naturalWidth, image.naturalHeight]);
}})()"""

HASH_OF_IMAGE = """(async () => {
    const [cell] = window.jupyterapp.shell.currentWidget.content.widgets;
    const data = cell.model.sharedModel.getOutputs().at(-1).data['image/png'];
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(data)));
    return [...hash].map(byte => byte.toString(16).padStart(2, '0')).join('');
})()"""


async def test_an_image_of_60_mb(server: LabServer, bare_browser: BareBrowser) -> None:
    server.write_notebook(BIG, IMAGE)

    async def open_tab(name: str) -> BareTab:
        url = f"{server.url}/lab/workspaces/{name}/tree/{BIG}?token={server.token}"
        tab = await bare_browser.open(url)
        await tab.wait_for(f"({IS_LOADED})()")
        return tab

    tabs = {name: await open_tab(name) for name in ("live", "passive")}
    await tabs["passive"].evaluate(f"({WATCH_WRITES})()")
    await tabs["live"].evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    for tab in tabs.values():
        assert await tab.wait_for(SHOWN_IMAGE) == [[2800, 2680]]

    def file_size() -> bool:
        return (server.root / BIG).stat().st_size > 60_000_000 * 4 / 3

    await eventually(file_size)
    tabs["later"] = await open_tab("later")
    assert await tabs["later"].wait_for(SHOWN_IMAGE) == [[2800, 2680]]

    printed, image = server.read_notebook(BIG)["cells"][0]["outputs"]
    size, digest = "".join(printed["text"]).split()
    encoded = image["data"]["image/png"]
    png = base64.b64decode(encoded)
    assert len(png) == int(size) > 60_000_000
    assert hashlib.sha256(png).hexdigest() == digest
    for name, tab in tabs.items():
        assert await tab.evaluate(HASH_OF_IMAGE) == hashlib.sha256(encoded.encode()).hexdigest(), name
        await tab.screenshot(SCREENSHOTS / f"image-of-60-mb-{name}.png")
    assert await tabs["passive"].evaluate("window.cellWrites") == []
