"""What comes with the reply (``payload``), and messages that are not about outputs.

A payload's pages become outputs, as in JupyterLab, whose notebooks have no pager.
"""

from __future__ import annotations

from tests.corpus.case import Case, Shows, display, error, result, stream

CASES = [
    Case(
        "page_of_help",
        ["def f(a, *, b=1):\n    'What f does.'", "f?"],
        [[], []],
        payload={1: [display(Shows("Signature: f(a, *, b=1)\n", "Docstring: What f does.\n"))]},
    ),
    Case(
        "page_of_source",
        ["def f(a, *, b=1):\n    'What f does.'\n    return a", "f??"],
        [[], []],
        payload={1: [display(Shows("Signature: f(a, *, b=1)\n", "    return a\n"))]},
    ),
    Case(
        "page_by_hand",
        ["from IPython.core.page import page\npage('a\\nb')\nprint('said')"],
        [[stream("said\n")]],
        payload={0: [display("a\nb")]},
    ),
    Case("page_of_nothing", ["no_such_name?"], [[stream("Object `no_such_name` not found.\n")]]),
    Case(
        "next_input_below",
        ["get_ipython().set_next_input('a = 1\\na')\n'r'"],
        [[result("'r'")]],
        payload={0: [{"replace": False, "text": "a = 1\na"}]},
    ),
    Case(
        "next_input_instead",
        ["get_ipython().set_next_input('a = 1', replace=True)"],
        [[]],
        payload={0: [{"replace": True, "text": "a = 1"}]},
    ),
    Case(
        "next_input_loaded",
        ["%load notes.txt"],
        [[]],
        payload={0: [{"replace": True, "text": "# %load notes.txt\nprint('from a file')\n"}]},
    ),
    Case(
        "next_input_recalled",
        ["a = 5", "%recall 1"],
        [[], []],
        payload={1: [{"replace": False, "text": "a = 5"}]},
    ),
    Case(
        "next_input_twice",
        ["get_ipython().set_next_input('one')\nget_ipython().set_next_input('two')"],
        [[]],
        payload={0: [{"replace": False, "text": "two"}]},
    ),
    Case(
        "payload_of_a_cell_that_fails",
        ["get_ipython().set_next_input('a')\n1 / 0"],
        [[error("ZeroDivisionError", "division by zero")]],
        payload={0: []},
    ),
    Case(
        "comm",
        [
            "from comm import create_comm\ncomm = create_comm(target_name='example', data={'state': {'a': 1}}, buffers=[b'\\x00'])\ncomm.send({'method': 'update', 'state': {'a': 2}})\ncomm.close()\nprint('said')"
        ],
        [[stream("said\n")]],
    ),
    Case("script_in_the_background", ["%%script --bg --out said cat\na"], [[]]),
    Case("time", ["%time 6 * 7"], [[stream(Shows("CPU times: ", "Wall time: ")), result("42")]]),
    Case("history", ["a = 1", "%history"], [[], [stream("a = 1\n%history\n")]]),
]
