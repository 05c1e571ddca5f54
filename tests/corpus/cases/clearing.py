"""``clear_output``: at once, or (``wait``) when the next output comes. All interleavings of before and after.

With ``wait`` and nothing behind it, nothing is cleared (the protocol: "wait to clear the output until new output
is available"); an update is no new output. What waits ends with its cell.
"""

from __future__ import annotations

from tests.corpus.case import Case, Output, display, error, result, stream

_CLEAR = "from IPython.display import clear_output, display, update_display\n"

_BEFORE: dict[str, tuple[str, Output]] = {
    "stream": ("print('before')\n", stream("before\n")),
    "display": ("display('before', display_id='x')\n", display("'before'")),
}

_AFTER: dict[str, tuple[str, list[Output]]] = {
    "nothing": ("", []),
    "stream": ("print('after')\n", [stream("after\n")]),
    "stderr": ("import sys\nprint('after', file=sys.stderr)\n", [stream("after\n", "stderr")]),
    "display": ("display('after')\n", [display("'after'")]),
    "result": ("'after'\n", [result("'after'")]),
    "error": ("1 / 0\n", [error("ZeroDivisionError", "division by zero", "1 / 0", "ZeroDivisionError")]),
}

CASES = [
    Case(
        f"clear_{'waiting_' if wait else ''}between_{before}_and_{after}",
        [f"{_CLEAR}{say_before}clear_output(wait={wait})\n{say_after}"],
        [outputs or ([shown] if wait else [])],
    )
    for wait in (False, True)
    for before, (say_before, shown) in _BEFORE.items()
    for after, (say_after, outputs) in _AFTER.items()
] + [
    Case(
        "clear_first_of_all",
        [f"{_CLEAR}clear_output()\nclear_output(wait=True)\nprint('a')"],
        [[stream("a\n")]],
    ),
    Case(
        "clear_does_not_reach_other_cells", ["print('a')", f"{_CLEAR}clear_output()"], [[stream("a\n")], []]
    ),
    Case(
        "clear_that_waits_ends_with_its_cell",
        [f"{_CLEAR}print('a')\nclear_output(wait=True)", "print('b')"],
        [[stream("a\n")], [stream("b\n")]],
    ),
    Case(
        "clear_waiting_twice",
        [
            f"{_CLEAR}print('a')\nclear_output(wait=True)\nclear_output(wait=True)\nprint('b', flush=True)\nprint('c')"
        ],
        [[stream("b\nc\n")]],
    ),
    Case(
        "clear_waiting_then_at_once",
        [
            f"{_CLEAR}print('a')\nclear_output(wait=True)\nclear_output()\nprint('b', flush=True)\ndisplay('c')"
        ],
        [[stream("b\n"), display("'c'")]],
    ),
    Case(
        "clear_at_once_then_waiting",
        [f"{_CLEAR}print('a')\nclear_output()\nprint('b')\nclear_output(wait=True)\nprint('c')"],
        [[stream("c\n")]],
    ),
    Case(
        "clear_animation",
        [
            f"{_CLEAR}for n in range(8):\n    clear_output(wait=True)\n    print('frame', n, flush=True)\n    display(n)"
        ],
        [[stream("frame 7\n"), display("7")]],
    ),
    Case(
        "clear_animation_of_streams",
        [f"{_CLEAR}for n in range(8):\n    clear_output(wait=True)\n    print('frame', n, flush=True)"],
        [[stream("frame 7\n")]],
    ),
    Case(
        "clear_animation_that_clears_at_the_end",
        [
            f"{_CLEAR}for n in range(3):\n    clear_output()\n    print('frame', n, flush=True)\nclear_output()"
        ],
        [[]],
    ),
    Case(
        "clear_forgets_the_line",
        [
            f"{_CLEAR}print('abc', end='', flush=True)\nclear_output()\nprint('\\rx', end='', flush=True)\nclear_output(wait=True)\nprint('\\b\\ry')"
        ],
        [[stream("y\n")]],
    ),
    Case(
        "clear_in_the_middle_of_a_line",
        [f"{_CLEAR}print('a', end='')\nclear_output()\nprint('b')"],
        [[stream("b\n")]],
    ),
]
