"""What goes wrong: ``error``. Name, value and traceback are taken over as the kernel says them."""

from __future__ import annotations

from tests.corpus.case import Case, Shows, display, error, stream

CASES = [
    Case(
        "error",
        ["1 / 0"],
        [
            [
                error(
                    "ZeroDivisionError",
                    "division by zero",
                    "Cell In[1], line 1",
                    "1 / 0",
                    "ZeroDivisionError: division by zero",
                )
            ]
        ],
    ),
    Case(
        "error_after_output",
        ["print('a')\ndisplay('b')\nraise ValueError('é\\n😀')\nprint('never')"],
        [
            [
                stream("a\n"),
                display("'b'"),
                error("ValueError", "é\n😀", "raise ValueError('é", "ValueError: é", "😀"),
            ]
        ],
    ),
    Case(
        "error_without_text",
        ["raise ValueError", "raise KeyError('k')"],
        [[error("ValueError", "", "ValueError")], [error("KeyError", "'k'", "KeyError: 'k'")]],
    ),
    Case(
        "error_in_a_function",
        ["def f():\n    return g()\ndef g():\n    raise RuntimeError('deep')", "f()"],
        [
            [],
            [
                error(
                    "RuntimeError",
                    "deep",
                    "Cell In[2], line 1",
                    "Cell In[1], line 2, in f",
                    "Cell In[1], line 4, in g",
                    "RuntimeError: deep",
                )
            ],
        ],
    ),
    Case(
        "error_chained",
        [
            "try:\n    {}['k']\nexcept KeyError as error:\n    raise ValueError('outer') from error",
            "try:\n    {}['k']\nexcept KeyError:\n    1 / 0",
        ],
        [
            [
                error(
                    "ValueError",
                    "outer",
                    "KeyError: 'k'",
                    "The above exception was the direct cause of the following exception:",
                    "ValueError: outer",
                )
            ],
            [
                error(
                    "ZeroDivisionError",
                    "division by zero",
                    "KeyError: 'k'",
                    "During handling of the above exception, another exception occurred:",
                    "ZeroDivisionError: division by zero",
                )
            ],
        ],
    ),
    Case(
        "error_in_the_syntax",
        ["print('never')\nfor"],
        [
            [
                error(
                    "SyntaxError",
                    Shows("invalid syntax (", ".py, line 2)"),
                    "Cell In[1], line 2",
                    "for",
                    "SyntaxError: invalid syntax",
                )
            ]
        ],
    ),
    Case(
        "error_in_the_indentation",
        ["if True:\npass"],
        [
            [
                error(
                    "IndentationError",
                    Shows("expected an indented block after 'if' statement on line 1 (", ".py, line 2)"),
                    "Cell In[1], line 2",
                    "IndentationError",
                )
            ]
        ],
    ),
    Case(
        "error_of_the_keyboard",
        ["print('a', flush=True)\nraise KeyboardInterrupt"],
        [[stream("a\n"), error("KeyboardInterrupt", "", "raise KeyboardInterrupt", "KeyboardInterrupt")]],
    ),
    Case(
        "error_that_exits",
        ["import sys\nsys.exit(3)", "raise SystemExit('bye')"],
        [
            [
                error("SystemExit", "3", "SystemExit: 3"),
                stream(Shows("UserWarning: To exit: use 'exit', 'quit', or Ctrl-D."), "stderr"),
            ],
            [error("SystemExit", "bye", "SystemExit: bye")],
        ],
    ),
    Case(
        "error_with_a_traceback_of_its_own",
        [
            "class Own(Exception):\n    def _render_traceback_(self):\n        return ['line one', 'line \\x1b[31mtwo\\x1b[0m']\nraise Own('why')"
        ],
        [
            [
                {
                    "output_type": "error",
                    "ename": "Own",
                    "evalue": "why",
                    "traceback": ["line one", "line \x1b[31mtwo\x1b[0m"],
                }
            ]
        ],
    ),
    Case(
        "error_in_a_representation",
        [
            "class Bad:\n    def __repr__(self): raise ValueError('no repr')\nBad()",
            "display(Bad())\nprint('goes on')",
        ],
        [
            [error("ValueError", "no repr", "ValueError: no repr")],
            [error("ValueError", "no repr"), stream("goes on\n")],
        ],
    ),
    Case(
        "error_in_a_rich_representation",
        [
            "class Half:\n    def __repr__(self): return 'half'\n    def _repr_html_(self): raise ValueError('no html')\ndisplay(Half())"
        ],
        [[error("ValueError", "no html", "ValueError: no html"), display("half")]],
    ),
    Case(
        "error_shown_by_hand",
        ["try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()\nprint('goes on')"],
        [[error("ZeroDivisionError", "division by zero", "1 / 0"), stream("goes on\n")]],
    ),
    Case(
        "error_printed_by_traceback",
        [
            "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    print(traceback.format_exc().splitlines()[-1])"
        ],
        [[stream("ZeroDivisionError: division by zero\n")]],
    ),
    # IPython says this one with the interpreter's own traceback, and no ``error``.
    Case(
        "error_group",
        ["raise ExceptionGroup('some', [ValueError(1), TypeError(2)])"],
        [
            [
                stream(
                    Shows("ExceptionGroup: some (2 sub-exceptions)", "ValueError: 1", "TypeError: 2"),
                    "stderr",
                )
            ]
        ],
    ),
    Case(
        "error_of_a_magic",
        ["%no_such_magic"],
        [[stream("UsageError: Line magic function `%no_such_magic` not found.\n", "stderr")]],
    ),
    Case(
        "error_of_a_shell",
        ["%%sh\nexit 3"],
        [
            [
                error(
                    "CalledProcessError",
                    "Command 'b'exit 3\\n'' returned non-zero exit status 3.",
                    "CalledProcessError",
                )
            ]
        ],
    ),
    Case(
        "error_with_input_not_allowed",
        ["input('name? ')"],
        [
            [
                error(
                    "StdinNotImplementedError",
                    "raw_input was called, but this frontend does not support input requests.",
                    "Cell In[1], line 1",
                    "input('name? ')",
                )
            ]
        ],
    ),
]
