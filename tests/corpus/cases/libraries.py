"""Libraries that many notebooks use. They are needed to record, not to test."""

from __future__ import annotations

from typing import Any

from tests.corpus.case import NO_CURSOR, Case, Shows, display, result, stream


def _widget(text: str, model: int) -> dict[str, Any]:
    """The view of a widget. The recording has numbers for ids, in the order in which they were said."""
    view = {"version_major": 2, "version_minor": 0, "model_id": f"{model:032x}"}
    return {"text/plain": text, "application/vnd.jupyter.widget-view+json": view}


CASES = [
    Case(
        "matplotlib",
        [
            "import matplotlib.pyplot as plt\nfigure = plt.figure(figsize=(0.5, 0.5))\nplt.plot([1, 2])",
            "figure = plt.figure(figsize=(0.5, 0.5))\nplt.show()\nprint('below')",
        ],
        [
            [
                result("[<matplotlib.lines.Line2D at 0x123456789>]"),
                display(
                    {"image/png": Shows("iVBORw0KGgo"), "text/plain": "<Figure size 50x50 with 1 Axes>"},
                ),
            ],
            [display("<Figure size 50x50 with 0 Axes>"), stream("below\n")],
        ],
        requires=["matplotlib"],
    ),
    Case(
        "pandas",
        ["import pandas\npandas.DataFrame({'a': [1]})"],
        [
            [
                result(
                    {
                        "text/plain": "   a\n0  1",
                        "text/html": Shows("<table", "<th>a</th>", "<td>1</td>", "</table>"),
                    }
                )
            ]
        ],
        requires=["pandas"],
    ),
    Case(
        "plotly",
        [
            "import plotly.graph_objects as go\n"
            "import plotly.io\n"
            "plotly.io.renderers.default = 'plotly_mimetype'\n"
            "plotly.io.templates.default = 'none'\n"
            "go.Figure(go.Scatter(x=[1, 2], y=[3, 4.5])).show()"
        ],
        [
            [
                display(
                    {
                        "application/vnd.plotly.v1+json": {
                            "data": [{"type": "scatter", "x": [1, 2], "y": [3, 4.5]}],
                            "layout": {"template": {"data": {"scatter": [{"type": "scatter"}]}}},
                        }
                    }
                )
            ]
        ],
        requires=["plotly", "nbformat"],
    ),
    Case(
        "tqdm",
        [
            "from tqdm import tqdm\n"
            "for n in tqdm(range(20), mininterval=0, bar_format='{l_bar}{bar:10}| {n_fmt}/{total_fmt}'):\n"
            "    pass"
        ],
        [[stream("100%|██████████| 20/20\n", "stderr")]],
        requires=["tqdm"],
    ),
    Case(
        "tqdm_with_prints",
        [
            "from tqdm import tqdm\n"
            "for n in tqdm(range(3), mininterval=0, bar_format='{l_bar}{bar:3}| {n_fmt}/{total_fmt}'):\n"
            "    print(n, flush=True)"
        ],
        # Whoever prints while a bar is shown interrupts it: another stream, another output.
        [
            [
                stream("  0%|   | 0/3", "stderr"),
                stream("0\n"),
                stream(" 33%|█  | 1/3", "stderr"),
                stream("1\n"),
                stream(" 67%|██ | 2/3", "stderr"),
                stream("2\n"),
                stream("100%|███| 3/3\n", "stderr"),
            ]
        ],
        requires=["tqdm"],
    ),
    Case(
        "tqdm_nested",
        [
            "from tqdm import tqdm\n"
            "bar = {'mininterval': 0, 'bar_format': '{desc} {percentage:3.0f}%|{bar:4}| {n_fmt}/{total_fmt}'}\n"
            "for n in tqdm(range(2), desc='outer', **bar):\n"
            "    for m in tqdm(range(3), desc='inner', **bar):\n"
            "        pass"
        ],
        # As in a terminal: a bar that is done takes the place of the one above, which goes on below it.
        [[stream("inner 100%|████| 3/3\ninner 100%|████| 3/3\nouter 100%|████| 2/2\n", "stderr")]],
        requires=["tqdm"],
        jupyterlab=NO_CURSOR,
        nbclient=NO_CURSOR,
    ),
    Case(
        "tqdm_nested_that_leave_nothing",
        [
            "from tqdm import tqdm\n"
            "bar = {'mininterval': 0, 'bar_format': '{desc} {percentage:3.0f}%|{bar:4}| {n_fmt}/{total_fmt}'}\n"
            "for n in tqdm(range(2), desc='outer', **bar):\n"
            "    for m in tqdm(range(3), desc='inner', leave=False, **bar):\n"
            "        pass"
        ],
        # As in a terminal: what tqdm takes away it overwrites with spaces.
        [[stream(f"outer 100%|████| 2/2\n{' ' * 20}", "stderr")]],
        requires=["tqdm"],
        jupyterlab=NO_CURSOR,
        nbclient=NO_CURSOR,
    ),
    Case(
        # The view is an output; what it shows is in comm messages, which are no outputs.
        "tqdm_of_widgets",
        ["from tqdm.notebook import tqdm\nfor n in tqdm(range(3)):\n    pass"],
        [[display(_widget("  0%|          | 0/3 [00:00<?, ?it/s]", 11))]],
        requires=["tqdm", "ipywidgets"],
    ),
    Case(
        "widget",
        [
            "from ipywidgets import IntSlider\nslider = IntSlider(3)\nslider",
            "slider.value = 4\nprint(slider.value)",
        ],
        [[result(_widget("IntSlider(value=3)", 3))], [stream("4\n")]],
        requires=["ipywidgets"],
    ),
    Case(
        # The widget asks its front end, by comm, to put outputs into itself. Without one that does, they are the
        # cell's, as in JupyterLab without the extension of ipywidgets.
        "widget_for_output",
        [
            "from ipywidgets import Output\n"
            "output = Output()\n"
            "display(output)\n"
            "with output:\n"
            "    print('inside')\n"
            "    display('inside too')\n"
            "print('outside')"
        ],
        [
            [
                display(_widget("Output()", 2)),
                stream("inside\n"),
                display("'inside too'"),
                stream("outside\n"),
            ]
        ],
        requires=["ipywidgets"],
        nbclient="it plays the front end of the widget, and the outputs are in the widget's state",
    ),
    Case(
        "rich",
        ["from rich import print\nprint('[bold]bold[/bold]')"],
        [
            [
                display(
                    {
                        "text/html": Shows("<pre ", '<span style="font-weight: bold">bold</span>\n</pre>\n'),
                        "text/plain": "\x1b[1mbold\x1b[0m\n",
                    }
                )
            ]
        ],
        requires=["rich"],
    ),
    Case(
        # It draws into an Output widget, and each refresh clears that and waits for the next. Without a front end of
        # the widget it is the cell that is cleared, of the widget's view too, and the bar moves all the same.
        "rich_progress",
        [
            "from rich.progress import BarColumn, Progress\n"
            "with Progress(BarColumn(4), auto_refresh=False) as progress:\n"
            "    task = progress.add_task('', total=3)\n"
            "    for n in range(3):\n"
            "        progress.update(task, advance=1, refresh=True)"
        ],
        [
            [
                display({"text/html": Shows("<pre ", "━━━━", "</pre>\n"), "text/plain": Shows("━━━━")}),
                display({"text/html": Shows("<pre ", "></pre>\n"), "text/plain": ""}),
            ]
        ],
        requires=["rich", "ipywidgets"],
        nbclient="it plays the front end of the widget, and the outputs are in the widget's state",
    ),
]
