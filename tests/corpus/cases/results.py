"""What a cell comes to: ``execute_result``. It has the count of its cell, and a cell may have several."""

from __future__ import annotations

from tests.corpus.case import Case, display, result, stream

CASES = [
    Case("result", ["6 * 7"], [[result("42")]]),
    Case(
        "result_none",
        ["None", "print"],
        [[], [result("<function print(*args, sep=' ', end='\\n', file=None, flush=False)>", 2)]],
    ),
    Case("result_with_semicolon", ["6 * 7;", "6 * 7  # ;", "'a';"], [[], [result("42", 2)], []]),
    Case("result_of_an_assignment", ["a = 7", "a", "(b := 8)"], [[], [result("7", 2)], [result("8", 3)]]),
    Case(
        "result_after_output",
        ["print('said')\ndisplay('shown')\n'come to'"],
        [[stream("said\n"), display("'shown'"), result("'come to'")]],
    ),
    Case("result_of_a_comment", ["# nothing", "6"], [[], [result("6", 2)]]),
    Case(
        "result_with_representations",
        [
            "class Rich:\n"
            "    def __repr__(self): return 'rich'\n"
            "    def _repr_html_(self): return '<b>rich</b>', {'width': 5}\n"
            "    def _repr_latex_(self): return '$rich$'\n"
            "    def _repr_json_(self): return {'rich': True}\n"
            "Rich()"
        ],
        [
            [
                result(
                    {
                        "text/plain": "rich",
                        "text/html": "<b>rich</b>",
                        "text/latex": "$rich$",
                        "application/json": {"rich": True},
                    },
                    metadata={"text/html": {"width": 5}},
                )
            ]
        ],
    ),
    Case(
        "result_that_displays_itself",
        ["class Itself:\n    def _ipython_display_(self): display('by hand')\nItself()"],
        [[display("'by hand'")]],
    ),
    Case("result_of_bytes", ["b'\\x00\\xff'"], [[result("b'\\x00\\xff'")]]),
    Case("result_of_unusual_text", ["'\\x00\\ud800é😀'"], [[result("'\\x00\\ud800é😀'")]]),
    Case(
        "result_of_several_lines",
        ["list(range(40))"],
        [[result("[" + ",\n ".join(str(n) for n in range(40)) + "]")]],
    ),
    Case("result_in_exec", ["exec(compile('40 + 2', '<it>', 'single'))\nexec('1 + 1')"], [[result("42")]]),
    Case(
        "results_of_all_lines",
        ["get_ipython().ast_node_interactivity = 'all'", "1\n'two'\nprint('three')\n4"],
        [[], [result("1", 2), result("'two'", 2), stream("three\n"), result("4", 2)]],
    ),
    Case(
        "result_of_a_cell_in_a_cell",
        ["get_ipython().run_cell('1 + 1');\n'outer'"],
        [[result("2"), result("'outer'")]],
    ),
    Case(
        "result_with_another_displayhook",
        ["import sys\nsys.displayhook = lambda value: print('came to', repr(value))\n7", "8"],
        [[stream("came to 7\n")], [result("8", 2)]],
    ),
    Case(
        "result_by_another_kernel",
        # Kernels other than ipykernel name their results (the protocol allows it since 5.1).
        [
            "from ipykernel.zmqshell import ZMQInteractiveShell\n"
            "kernel = get_ipython().kernel\n"
            "def send(kind, **content):\n"
            "    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())\n"
            "send('execute_result', data={'text/plain': 'first'}, metadata={}, execution_count=9, transient={'display_id': 'r'})",
            "send('update_display_data', data={'text/plain': 'second'}, metadata={}, transient={'display_id': 'r'})",
        ],
        # The protocol: a result with a display id can be updated. It stays the result that it was.
        [[result("second", 9)], []],
        jupyterlab="it takes note of the ids of display_data only",
    ),
]
