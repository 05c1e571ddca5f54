"""What is printed.

The protocol says of a ``stream`` only that it is text for stdout or stderr. That consecutive messages of one
name are one output, and what a carriage return, a backspace and a line feed do, is JupyterLab's
(``OutputAreaModel._add`` and ``processText`` in ``@jupyterlab/outputarea``), which is followed here.
"""

from __future__ import annotations

from tests.corpus.case import Case, Shows, display, result, stream

CASES = [
    Case("print", ['print("hello")'], [[stream("hello\n")]]),
    Case(
        "print_in_pieces",
        ['print("a", end="")\nprint("b", "c", sep="-", end="!")\nprint("\\td ")'],
        [[stream("ab-c!\td \n")]],
    ),
    Case("print_nothing", ['print("", end="")'], [[]]),
    Case("print_empty_line", ["print()"], [[stream("\n")]]),
    Case("print_nothing_but_spaces", ['print("  ", end="")'], [[stream("  ")]]),
    Case(
        "print_flushed",
        ['for word in ("one", "two", "three"):\n    print(word, flush=True)'],
        [[stream("one\ntwo\nthree\n")]],
    ),
    Case(
        "print_many_flushed",
        ["for n in range(60):\n    print(n, end=' ', flush=True)"],
        [[stream("".join(f"{n} " for n in range(60)))]],
    ),
    Case(
        "print_long",
        ["print('0123456789' * 400)\nprint('é' * 400)"],
        [[stream("0123456789" * 400 + "\n" + "é" * 400 + "\n")]],
    ),
    Case(
        "write_parts_of_lines",
        [
            "import sys\n"
            "sys.stdout.write('one, ')\n"
            "sys.stdout.flush()\n"
            "sys.stdout.writelines(['two\\n', 'thr'])\n"
            "sys.stdout.flush()\n"
            "sys.stdout.write('ee');"
        ],
        [[stream("one, two\nthree")]],
    ),
    Case(
        "stdout_and_stderr_flushed",
        [
            "import sys\n"
            "print('one', flush=True)\n"
            "print('two', file=sys.stderr, flush=True)\n"
            "print('three', end='', flush=True)\n"
            "print('four', file=sys.stderr, end='', flush=True)\n"
            "print('five', file=sys.stderr, flush=True)\n"
            "print('six', flush=True)"
        ],
        [
            [
                stream("one\n"),
                stream("two\n", "stderr"),
                stream("three"),
                stream("fourfive\n", "stderr"),
                stream("six\n"),
            ]
        ],
    ),
    Case("stderr_alone", ["import sys\nprint('oops', file=sys.stderr)"], [[stream("oops\n", "stderr")]]),
    Case(
        "logging",
        ["import logging\nlogging.warning('careful')\nlogging.info('not shown')"],
        [[stream("WARNING:root:careful\n", "stderr")]],
    ),
    Case(
        # The name of the file is IPython's: a folder for the process, and a hash of the cell's text.
        "warning",
        ["import warnings\nwarnings.warn('careful')"],
        [
            [
                stream(
                    Shows("/tmp/ipykernel_1/", ".py:2: UserWarning: careful\n  warnings.warn('careful')\n"),
                    "stderr",
                )
            ]
        ],
    ),
    Case(
        "redirected",
        [
            "import contextlib, io, sys\n"
            "with contextlib.redirect_stdout(io.StringIO()):\n"
            "    print('nobody hears this')\n"
            "with contextlib.redirect_stdout(sys.stderr):\n"
            "    print('loud')"
        ],
        [[stream("loud\n", "stderr")]],
    ),
    # Carriage returns
    Case(
        "carriage_return_progress",
        ["for n in range(0, 101, 10):\n    print(f'\\r{n:3d} %', end='', flush=True)\nprint()"],
        [[stream("100 %\n")]],
    ),
    Case("carriage_return_alone", ["print('one\\rtwo\\rthree\\r')"], [[stream("three\n")]]),
    Case(
        # What is longer stays visible behind what is shorter, as in a terminal.
        "carriage_return_to_shorter",
        ["print('100 %', end='', flush=True)\nprint('\\r9 %', end='', flush=True)"],
        [[stream("9 % %")]],
    ),
    Case(
        "carriage_return_at_the_end_of_a_message",
        ["print('one\\r', end='', flush=True)\nprint('two\\r', end='', flush=True)\nprint('3', flush=True)"],
        [[stream("3wo\n")]],
    ),
    Case("carriage_return_line_feed", ["print('a\\r\\nb\\r\\n', end='')"], [[stream("a\nb\n")]]),
    Case(
        # JupyterLab puts a line feed at the end of the text, wherever in its line it is met.
        "line_feed_in_the_middle_of_a_line",
        ["print('abc\\rX\\nY')"],
        [[stream("Xbc\nY\n")]],
    ),
    Case(
        "carriage_return_on_stderr_with_stdout_between",
        [
            "import sys\n"
            "print('\\r10 %', end='', file=sys.stderr, flush=True)\n"
            "print('\\r20 %', end='', file=sys.stderr, flush=True)\n"
            "print('found one', flush=True)\n"
            "print('\\r30 %', end='', file=sys.stderr, flush=True)"
        ],
        # The stream that goes on after another one is a new output with lines of its own, so the carriage
        # return does not reach back (JupyterLab; a terminal has one line for both).
        [[stream("20 %", "stderr"), stream("found one\n"), stream("30 %", "stderr")]],
    ),
    Case(
        "carriage_return_wide_characters",
        [
            "for done in range(4):\n    print('\\r' + '█' * done + '😀' + '░' * (3 - done), end='', flush=True)"
        ],
        [[stream("███😀")]],
    ),
    # Backspaces
    Case("backspace", ["print('abc\\b\\bX')"], [[stream("aX\n")]]),
    Case(
        "backspace_spinner",
        ["print(' ', end='')\nfor c in '|/-\\\\':\n    print('\\b' + c, end='', flush=True)"],
        [[stream("\\")]],
    ),
    Case("backspace_never_over_a_line_feed", ["print('a\\n\\b\\bb')"], [[stream("a\nb\n")]]),
    Case("backspace_on_nothing", ["print('\\b\\b', end='')\nprint('a')"], [[stream("a\n")]]),
    Case(
        # Away from the end of the line JupyterLab takes the character behind along. Followed, since the
        # protocol says nothing and this is what readers see.
        "backspace_in_the_middle_of_a_line",
        ["print('abcd\\ra\\b', end='')"],
        [[stream("cd")]],
    ),
    Case(
        "backspace_erases_across_messages",
        [
            "print('12345', end='', flush=True)\nprint('\\b\\b\\b   \\b\\b\\b', end='', flush=True)\nprint('!')"
        ],
        [[stream("12!\n")]],
    ),
    # Text
    Case(
        "scripts",
        [
            "print('Grüße, Ελληνικά, Русский, עברית, العربية, हिन्दी, ไทย, 中文, 日本語, 한국어, ქართული, አማርኛ')"
        ],
        [
            [
                stream(
                    "Grüße, Ελληνικά, Русский, עברית, العربية, हिन्दी, ไทย, 中文, 日本語, 한국어, ქართული, አማርኛ\n"
                )
            ]
        ],
    ),
    Case(
        "emoji",
        ["print('😀 👩\\u200d👩\\u200d👧\\u200d👦 🇪🇺 👍🏽 e\\u0301 𝔘𝔫𝔦 \\U0010ffff')"],
        [[stream("😀 👩\u200d👩\u200d👧\u200d👦 🇪🇺 👍🏽 e\u0301 𝔘𝔫𝔦 \U0010ffff\n")]],
    ),
    Case(
        "emoji_split_across_messages",
        [
            "for part in ('👩', '\\u200d', '👧', ' 🇪', '🇺', ' 👍', '🏽', ' e', '\\u0301'):\n"
            "    print(part, end='', flush=True)"
        ],
        [[stream("👩\u200d👧 🇪🇺 👍🏽 e\u0301")]],
    ),
    Case(
        # A kernel of Python cannot say it: jupyter_client fails to send the message, which is lost, and says so.
        "lone_surrogates",
        ["print('a\\ud83db', flush=True)\nprint('c')"],
        [[stream(Shows("UnicodeEncodeError", "surrogates not allowed"), "stderr"), stream("c\n")]],
    ),
    Case(
        "control_characters",
        ["print('\\x00\\x01\\x07\\x0b\\x0c\\x1b\\x1f\\x7f\\x80\\x85\\x9f\\u2028\\u2029\\ufeff\\ufffe|')"],
        [[stream("\x00\x01\x07\x0b\x0c\x1b\x1f\x7f\x80\x85\x9f\u2028\u2029\ufeff\ufffe|\n")]],
    ),
    Case(
        # Colours stay in the text: whoever shows it makes them.
        "ansi_colours",
        ["print('\\x1b[1;31mred\\x1b[0m \\x1b[38;5;208morange\\x1b[39m \\x1b[48;2;1;2;3mblack\\x1b[m')"],
        [[stream("\x1b[1;31mred\x1b[0m \x1b[38;5;208morange\x1b[39m \x1b[48;2;1;2;3mblack\x1b[m\n")]],
    ),
    Case(
        "ansi_colour_split_across_messages",
        [
            "for part in ('\\x1b', '[3', '1mred\\x1b[', '0m\\n'):\n    print(part, end='', flush=True)",
        ],
        [[stream("\x1b[31mred\x1b[0m\n")]],
    ),
    Case(
        "osc_link",
        ["print('\\x1b]8;;https://example.org/\\x1b\\\\here\\x1b]8;;\\x1b\\\\ \\x1b]0;title\\x07')"],
        [[stream("\x1b]8;;https://example.org/\x1b\\here\x1b]8;;\x1b\\ \x1b]0;title\x07\n")]],
    ),
    Case("bytes", ["print(b'\\xff\\x00a')"], [[stream("b'\\xff\\x00a'\n")]]),
    # Past Python's own streams
    Case(
        "descriptor",
        ["import os\nos.write(1, b'from below\\n');"],
        [[stream("from below\n")]],
        last="from below",
    ),
    Case(
        "descriptor_of_stderr",
        ["import os\nos.write(2, b'from below\\n');"],
        [[stream("from below\n", "stderr")]],
        last="from below",
    ),
    Case(
        # ipykernel decodes what it finds in the pipe, character or not; nobody can put it together again.
        "descriptor_with_half_a_character",
        [
            "import os, time\n"
            "os.write(1, '😀'.encode()[:2])\n"
            "time.sleep(0.5)\n"
            "os.write(1, '😀'.encode()[2:] + b'.');"
        ],
        [[stream("\ufffd\ufffd\ufffd.")]],
        last=".",
    ),
    Case(
        "subprocess",
        ["import subprocess\nsubprocess.run(['echo', 'from a child']);"],
        [[stream("from a child\n")]],
        last="from a child",
    ),
    Case(
        "os_system",
        ["import os\nos.system('echo from a shell');"],
        [[stream("from a shell\n")]],
        last="shell",
    ),
    Case("shell_magic", ["!echo one; echo two >&2"], [[stream("one\ntwo\n")]]),
    Case("shell_cell_magic", ["%%sh\necho from sh"], [[stream("from sh\n")]]),
    Case(
        "magic_that_prints",
        ["%alias_magic t timeit"],
        [[stream("Created `%t` as an alias for `%timeit`.\nCreated `%%t` as an alias for `%%timeit`.\n")]],
    ),
    Case("capture_magic", ["%%capture said\nprint('caught')\n7"], [[]]),
    Case(
        "capture_and_show",
        ["%%capture said\nprint('caught')\ndisplay('and this')", "said()\nsaid.stdout"],
        [[], [stream("caught\n"), display("'and this'"), result("'caught\\n'", 2)]],
    ),
    # Streams among other outputs
    Case(
        "stream_around_a_display",
        ["print('a', end='')\ndisplay('b')\nprint('c', end='')\nprint('d')"],
        [[stream("a"), display("'b'"), stream("cd\n")]],
    ),
    Case(
        "two_cells_print",
        ["print('one', end='')", "print('\\rtwo')"],
        [[stream("one")], [stream("two\n")]],
    ),
]
