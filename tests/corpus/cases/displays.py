"""What is displayed: ``display_data``.

``data`` and ``metadata`` are taken over as they are; ``transient`` is not part of a notebook.
"""

from __future__ import annotations

from tests.corpus.case import Case, Shows, display, stream

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
JPEG = "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAEB/9k="  # as much of one as IPython looks at
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4" cx="4" cy="4"/></svg>'

CASES = [
    Case("display_text", ["display('a text')"], [[display("'a text'")]]),
    Case("display_nothing", ["display()"], [[]]),
    Case("display_several", ["display(1, 'two', [3])"], [[display("1"), display("'two'"), display("[3]")]]),
    Case(
        "display_pretty",
        ["from IPython.display import Pretty\ndisplay(Pretty('just\\nthis'))"],
        [[display("just\nthis")]],
    ),
    Case(
        "display_html",
        ["from IPython.display import HTML\ndisplay(HTML('<b>bold</b><script>window.x = 1</script>'))"],
        [
            [
                display(
                    {
                        "text/html": "<b>bold</b><script>window.x = 1</script>",
                        "text/plain": "<IPython.core.display.HTML object>",
                    }
                )
            ]
        ],
    ),
    Case(
        "display_markdown",
        ["from IPython.display import Markdown\ndisplay(Markdown('*so* $x^2$\\n\\n- a'))"],
        [
            [
                display(
                    {
                        "text/markdown": "*so* $x^2$\n\n- a",
                        "text/plain": "<IPython.core.display.Markdown object>",
                    }
                )
            ]
        ],
    ),
    Case(
        "display_latex",
        ["from IPython.display import Latex, Math\ndisplay(Latex(r'$\\frac{1}{2}$'), Math(r'\\sum_i x_i'))"],
        [
            [
                display(
                    {"text/latex": "$\\frac{1}{2}$", "text/plain": "<IPython.core.display.Latex object>"}
                ),
                display(
                    {
                        "text/latex": "$\\displaystyle \\sum_i x_i$",
                        "text/plain": "<IPython.core.display.Math object>",
                    }
                ),
            ]
        ],
    ),
    Case(
        "display_svg",
        [f"from IPython.display import SVG\ndisplay(SVG('''{SVG}'''))"],
        [[display({"image/svg+xml": SVG, "text/plain": "<IPython.core.display.SVG object>"})]],
    ),
    Case(
        "display_png",
        [
            "from base64 import b64decode\n"
            "from IPython.display import Image\n"
            f"png = b64decode('{PNG}')\n"
            "display(Image(png), Image(png, width=20, height=10))"
        ],
        [
            [
                display({"image/png": PNG, "text/plain": "<IPython.core.display.Image object>"}, metadata)
                for metadata in ({}, {"image/png": {"height": 10, "width": 20}})
            ]
        ],
    ),
    Case(
        "display_jpeg_and_gif",
        [
            "from base64 import b64decode\n"
            "from IPython.display import Image\n"
            f"display(Image(b64decode('{JPEG}')), Image(b64decode('{GIF}')))"
        ],
        [
            [
                display({"image/jpeg": JPEG, "text/plain": "<IPython.core.display.Image object>"}),
                display({"image/gif": GIF, "text/plain": "<IPython.core.display.Image object>"}),
            ]
        ],
    ),
    Case(
        "display_image_by_address",
        ["from IPython.display import Image\ndisplay(Image(url='https://example.org/a.png', width=5))"],
        [
            [
                display(
                    {
                        "text/html": '<img src="https://example.org/a.png" width="5"/>',
                        "text/plain": "<IPython.core.display.Image object>",
                    }
                )
            ]
        ],
    ),
    Case(
        "display_json",
        [
            "from IPython.display import JSON\ndisplay(JSON({'a': [1, None, True, 'é']}, expanded=True, root='r'))"
        ],
        [
            [
                display(
                    {
                        "application/json": {"a": [1, None, True, "é"]},
                        "text/plain": "<IPython.core.display.JSON object>",
                    },
                    {"application/json": {"expanded": True, "root": "r"}},
                )
            ]
        ],
    ),
    Case(
        # JSON has none of these numbers. jupyter_client sends what is not finite as text; an integer of any
        # length is JSON, but a browser reads it as the nearest float, and so do we.
        "display_json_with_unusual_numbers",
        [
            "from IPython.display import JSON\n"
            "inf = float('inf')\n"
            "display(JSON({'nan': float('nan'), 'inf': [inf, -inf], 'big': 2**53 + 1, 'huge': 10**30, 'tiny': 5e-324}))"
        ],
        [
            [
                display(
                    {
                        "application/json": {
                            "nan": "nan",
                            "inf": ["inf", "-inf"],
                            "big": 2.0**53,
                            "huge": 1e30,
                            "tiny": 5e-324,
                        },
                        "text/plain": "<IPython.core.display.JSON object>",
                    },
                    {"application/json": {"expanded": False, "root": "root"}},
                ),
                stream(Shows("UserWarning: Message serialization failed with:\n", "float"), "stderr"),
            ]
        ],
        nbclient="it keeps integers that no browser can read exactly",
    ),
    Case(
        "display_javascript",
        ["from IPython.display import Javascript\ndisplay(Javascript('element.append(1)'))"],
        [
            [
                display(
                    {
                        "application/javascript": "element.append(1)",
                        "text/plain": "<IPython.core.display.Javascript object>",
                    }
                )
            ]
        ],
    ),
    Case(
        "display_geojson",
        [
            "from IPython.display import GeoJSON\n"
            "display(GeoJSON({'type': 'Point', 'coordinates': [-118.5, 34.25]}, layer_options={'minZoom': 1}))"
        ],
        [
            [
                display(
                    {
                        "application/geo+json": {"type": "Point", "coordinates": [-118.5, 34.25]},
                        "text/plain": "<IPython.display.GeoJSON object>",
                    },
                    {
                        "application/geo+json": {
                            "expanded": False,
                            "root": "root",
                            "layer_options": {"minZoom": 1},
                        }
                    },
                )
            ]
        ],
    ),
    Case(
        "display_raw_bundle",
        [
            "display({'application/vnd.example.v1+json': {'points': [[1, 2]], 'name': ''}, 'text/html': '<i>x</i>',\n"
            "         'application/pdf': 'JVBERi0=', 'text/plain': 'x'},\n"
            "        metadata={'application/vnd.example.v1+json': {'theme': 'dark'}, 'of': 'all'}, raw=True)\n"
            "display({}, raw=True)"
        ],
        [
            [
                display(
                    {
                        "application/vnd.example.v1+json": {"points": [[1, 2]], "name": ""},
                        "text/html": "<i>x</i>",
                        "application/pdf": "JVBERi0=",
                        "text/plain": "x",
                    },
                    {"application/vnd.example.v1+json": {"theme": "dark"}, "of": "all"},
                ),
                display({}),
            ]
        ],
    ),
    Case(
        # Lines are as good as a text in nbformat. Anything else is not, unless the type is JSON: a notebook
        # with it would be invalid. So it becomes JSON text, which nobody can misread.
        "display_values_that_are_no_text",
        [
            "display({'text/plain': ['a\\n', 'b'], 'text/html': 7, 'application/x-thing': {'a': [1]},\n"
            "         'model/gltf+json': {'é': None}, 'text/x-none': None, 'application/json': None}, raw=True)"
        ],
        [
            [
                display(
                    {
                        "text/plain": ["a\n", "b"],
                        "text/html": "7",
                        "application/x-thing": '{"a": [1]}',
                        "model/gltf+json": '{"é": null}',
                        "text/x-none": "null",
                        "application/json": None,
                    }
                )
            ]
        ],
        jupyterlab="it keeps them, and saves a notebook that is not valid",
        nbclient="it stops with an error",
    ),
    Case(
        "display_object_with_representations",
        [
            "class Both:\n"
            "    def __repr__(self): return 'both'\n"
            "    def _repr_html_(self): return '<u>both</u>'\n"
            "    def _repr_png_(self): return None\n"
            "class Bundle:\n"
            "    def __repr__(self): return 'bundle'\n"
            "    def _repr_mimebundle_(self, include=None, exclude=None):\n"
            "        return {'text/html': '<s>bundle</s>'}, {'text/html': {'isolated': True}}\n"
            "class Itself:\n"
            "    def _ipython_display_(self): print('I do it myself')\n"
            "display(Both(), Bundle(), Itself())"
        ],
        [
            [
                display({"text/html": "<u>both</u>", "text/plain": "both"}),
                display(
                    {"text/html": "<s>bundle</s>", "text/plain": "bundle"}, {"text/html": {"isolated": True}}
                ),
                stream("I do it myself\n"),
            ]
        ],
    ),
    Case(
        # A display inside what is asked for a representation comes before the display itself.
        "display_inside_a_display",
        [
            "class Nested:\n"
            "    def __repr__(self):\n"
            "        display('inner')\n"
            "        print('said')\n"
            "        return 'outer'\n"
            "display(Nested())"
        ],
        [[display("'inner'"), stream("said\n"), display("outer")]],
    ),
    Case(
        "display_by_publisher",
        [
            "get_ipython().display_pub.publish({'text/plain': 'published'}, {'a': 1},\n"
            "                                  transient={'display_id': 'p', 'of': ['mine']})"
        ],
        [[display("published", {"a": 1})]],
    ),
    Case(
        # As other kernels say it: no transient data at all, or none in so many words.
        "display_by_another_kernel",
        [
            "kernel = get_ipython().kernel\n"
            "def send(**content):\n"
            "    kernel.session.send(kernel.iopub_socket, 'display_data', content, parent=kernel.get_parent())\n"
            "send(data={'text/plain': 'a'}, metadata={})\n"
            "send(data={'text/plain': 'b'}, metadata={}, transient=None)"
        ],
        [[display("a"), display("b")]],
    ),
    Case(
        "display_audio",
        ["from IPython.display import Audio\ndisplay(Audio(data=[0.0, 0.5, -0.5], rate=8000))"],
        [
            [
                display(
                    {
                        "text/html": Shows("<audio ", 'src="data:audio/wav;base64,UklGR', "</audio>"),
                        "text/plain": "<IPython.lib.display.Audio object>",
                    }
                )
            ]
        ],
        requires=["numpy"],
    ),
    Case(
        "display_video",
        ["from IPython.display import Video\ndisplay(Video('https://example.org/a.mp4', width=9))"],
        [
            [
                display(
                    {
                        "text/html": '<video src="https://example.org/a.mp4" controls  width="9" >\n'
                        "      Your browser does not support the <code>video</code> element.\n    </video>",
                        "text/plain": "<IPython.core.display.Video object>",
                    }
                )
            ]
        ],
    ),
    Case(
        "display_frames",
        [
            "from IPython.display import IFrame, YouTubeVideo\n"
            "display(IFrame('https://example.org/', 90, 60), YouTubeVideo('a1b2c3d4e5f', start=5))"
        ],
        [
            [
                display(
                    {
                        "text/html": Shows(
                            "<iframe", 'width="90"', 'src="https://example.org/"', "</iframe>"
                        ),
                        "text/plain": "<IPython.lib.display.IFrame at 0x123456789>",
                    }
                ),
                display(
                    {
                        "text/html": Shows(
                            "<iframe", 'src="https://www.youtube.com/embed/a1b2c3d4e5f?start=5"'
                        ),
                        "text/plain": "<IPython.lib.display.YouTubeVideo at 0x123456789>",
                    }
                ),
            ]
        ],
    ),
    Case(
        "display_file_link",
        ["from IPython.display import FileLink\ndisplay(FileLink('notes.txt'))"],
        [
            [
                display(
                    {
                        "text/html": "<a href='notes.txt' target='_blank'>notes.txt</a><br>",
                        "text/plain": "/home/user/notebooks/notes.txt",
                    }
                )
            ]
        ],
    ),
    Case(
        "cell_magics_that_display",
        ["%%html\n<p>a\n</p>", "%%javascript\nalert(1)", "%%latex\n$x$", "%%markdown\n# b", f"%%svg\n{SVG}"],
        [
            [display({"text/html": "<p>a\n</p>\n", "text/plain": "<IPython.core.display.HTML object>"})],
            [
                display(
                    {
                        "application/javascript": "alert(1)\n",
                        "text/plain": "<IPython.core.display.Javascript object>",
                    }
                )
            ],
            [display({"text/latex": "$x$\n", "text/plain": "<IPython.core.display.Latex object>"})],
            [display({"text/markdown": "# b\n", "text/plain": "<IPython.core.display.Markdown object>"})],
            [display({"image/svg+xml": SVG, "text/plain": "<IPython.core.display.SVG object>"})],
        ],
    ),
    Case(
        "display_fifty",
        ["for n in range(50):\n    display(n)"],
        [[display(f"{n}") for n in range(50)]],
    ),
]
