"""Displays with an id: what was displayed under it shows what is said of it later.

The protocol leaves open what an id that is displayed again means. JupyterLab (``_handleDisplayId`` of its
``KernelConnection``) and nbclient take it for an update of all outputs under that id, and a new output; this
is followed. An update of an id that nobody has shown changes nothing and adds nothing.
"""

from __future__ import annotations

from tests.corpus.case import Case, display, stream

HTML = "<IPython.core.display.HTML object>"

CASES = [
    Case(
        "update_in_the_same_cell",
        ["handle = display('first', display_id=True)\nprint('below')\nhandle.update('second')"],
        [[display("'second'"), stream("below\n")]],
    ),
    Case(
        "update_in_later_cells",
        [
            "handle = display('1', display_id='x')\nprint('a')",
            "handle.update('2')\nprint('b')",
            "from IPython.display import update_display\nupdate_display('3', display_id='x')",
        ],
        [[display("'3'"), stream("a\n")], [stream("b\n")], []],
    ),
    Case(
        "update_of_several_outputs_with_one_id",
        [
            "display('a', display_id='x')\nprint('-')\ndisplay('b', display_id='x')\ndisplay('c', display_id='y');",
            "from IPython.display import update_display\nupdate_display('d', display_id='x')",
        ],
        [[display("'d'"), stream("-\n"), display("'d'"), display("'c'")], []],
    ),
    Case(
        "update_of_one_id_in_several_cells",
        [
            "display('a', display_id='x');",
            "display('b', display_id='x')\nprint('b')",
            "update_display = display('c', display_id='x').update\nupdate_display('d')",
        ],
        [[display("'d'")], [display("'d'"), stream("b\n")], [display("'d'")]],
    ),
    Case(
        "id_displayed_again_in_the_same_cell",
        ["display('a', display_id='x')\nprint('-')\ndisplay('b', display_id='x');"],
        [[display("'b'"), stream("-\n"), display("'b'")]],
    ),
    Case(
        "id_displayed_again_in_another_cell",
        ["display('a', display_id='x');", "display('b', display_id='x');"],
        [[display("'b'")], [display("'b'")]],
    ),
    Case(
        "update_of_an_unknown_id",
        ["from IPython.display import update_display\nupdate_display('a', display_id='nobody')\nprint('b')"],
        [[stream("b\n")]],
    ),
    Case(
        "update_before_the_display",
        [
            "from IPython.display import update_display\nupdate_display('a', display_id='x')\ndisplay('b', display_id='x');"
        ],
        [[display("'b'")]],
    ),
    Case(
        "update_to_another_type_and_metadata",
        [
            "from IPython.display import HTML\nhandle = display('a', display_id='x', metadata={'a': 1})\nhandle.update(HTML('<i>b</i>'), metadata={'b': 2})"
        ],
        [[display({"text/html": "<i>b</i>", "text/plain": HTML}, {"b": 2})]],
    ),
    Case(
        "update_often",
        ["handle = display(0, display_id='x')\nprint('below')\nfor n in range(40):\n    handle.update(n)"],
        [[display("39"), stream("below\n")]],
    ),
    Case(
        "update_between_prints",
        [
            "handle = display(0, display_id='x')\nfor n in range(5):\n    print(n, end='\\r', flush=True)\n    handle.update(n)\nprint('end')"
        ],
        [[display("4"), stream("end\n")]],
    ),
    Case(
        "update_of_what_was_cleared",
        [
            "from IPython.display import clear_output\nhandle = display('a', display_id='x')\nclear_output()\nhandle.update('b')\nprint('c')"
        ],
        [[stream("c\n")]],
    ),
    Case(
        "update_does_not_end_the_waiting_of_a_clear",
        [
            "from IPython.display import clear_output\nhandle = display('a', display_id='x')\nclear_output(wait=True)\nhandle.update('b')"
        ],
        [[display("'b'")]],
    ),
    Case(
        "update_then_output_after_a_waiting_clear",
        [
            "from IPython.display import clear_output\nhandle = display('a', display_id='x')\nclear_output(wait=True)\nhandle.update('b')\nprint('c')\nhandle.update('d')"
        ],
        [[stream("c\n")]],
    ),
    Case(
        "id_displayed_again_after_a_clear",
        [
            "from IPython.display import clear_output\ndisplay('a', display_id='x')\nclear_output()\nhandle = display('b', display_id='x')\nhandle.update('c')"
        ],
        [[display("'c'")]],
    ),
    Case(
        "display_handle",
        [
            "from IPython.display import DisplayHandle\nhandle = DisplayHandle('mine')\nhandle.display('a')\nhandle.display('b')\nhandle.update('c')\nhandle"
        ],
        [
            [
                display("'c'"),
                display("'c'"),
                {
                    **display("<DisplayHandle display_id=mine>"),
                    "output_type": "execute_result",
                    "execution_count": 1,
                },
            ]
        ],
    ),
    Case(
        "update_by_publisher",
        [
            "publish = get_ipython().display_pub.publish\npublish({'text/plain': 'a'}, transient={'display_id': 'x', 'other': 1})\npublish({'text/plain': 'b'}, {'m': 1}, transient={'display_id': 'x'}, update=True)\npublish({'text/plain': 'c'}, transient={'display_id': ''})\npublish({'text/plain': 'd'}, transient={})"
        ],
        [[display("b", {"m": 1}), display("c"), display("d")]],
    ),
    Case(
        "progress_bar_of_ipython",
        ["from IPython.display import ProgressBar\nfor n in ProgressBar(4):\n    pass"],
        [
            [
                display(
                    {
                        "text/html": "<progress style='width:60ex' max='4' value='4'></progress>",
                        "text/plain": "[============================================================] 4/4",
                    }
                )
            ]
        ],
    ),
]
