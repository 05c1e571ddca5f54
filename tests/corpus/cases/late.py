"""What is said when the cell it belongs to has ended. It is that cell's, whatever runs meanwhile."""

from __future__ import annotations

from tests.corpus.case import Case, Shows, display, stream

CASES = [
    Case(
        "late_thread",
        [
            "import threading, time\ndef speak():\n    time.sleep(0.4)\n    print('late', flush=True)\n    display('very late')\n    print('last')\nthreading.Thread(target=speak).start()\nprint('started')"
        ],
        [[stream("started\nlate\n"), display("'very late'"), stream("last\n")]],
        last="last",
    ),
    # Of two cells that could have meant it, ipykernel 7 names the one that runs, for a thread without a context.
    Case(
        "late_thread_while_another_cell_runs",
        [
            "import threading\ngo, gone = threading.Event(), threading.Event()\ndef speak():\n    go.wait(20)\n    print('of the first', flush=True)\n    gone.set()\nthread = threading.Thread(target=speak)\nthread.start()",
            "print('of the second', flush=True)\ngo.set()\ngone.wait(20)\nprint('again of the second')",
        ],
        [[], [stream("of the second\nof the first\nagain of the second\n")]],
    ),
    Case(
        "late_thread_in_the_context_of_its_cell",
        [
            "import contextvars, threading\ngo = threading.Event()\ndef speak():\n    go.wait(20)\n    display('of the first')\n    print('last', flush=True)\nthread = threading.Thread(target=contextvars.copy_context().run, args=(speak,))\nthread.start()",
            "go.set()\nthread.join(20)\nprint('of the second')",
        ],
        [[display("'of the first'"), stream("last\n")], [stream("of the second\n")]],
    ),
    Case(
        "late_progress",
        [
            "import contextvars, threading\nsteps = [threading.Event() for _ in range(4)]\ndone = [threading.Event() for _ in range(4)]\ndef work():\n    for n, (step, end) in enumerate(zip(steps, done)):\n        step.wait(20)\n        print(f'\\r{n}0 %', end='', flush=True)\n        end.set()\nthreading.Thread(target=contextvars.copy_context().run, args=(work,)).start()",
            "steps[0].set(); done[0].wait(20)\nsteps[1].set(); done[1].wait(20);",
            "steps[2].set(); done[2].wait(20)\nprint('c')\nsteps[3].set(); done[3].wait(20);",
        ],
        [[stream("30 %")], [], [stream("c\n")]],
    ),
    Case(
        "late_task",
        [
            "import asyncio\nasync def speak():\n    await asyncio.sleep(0.4)\n    print('late', flush=True)\n    display('very late')\n    print('last')\ntask = asyncio.create_task(speak())\nprint('started')"
        ],
        [[stream("started\nlate\n"), display("'very late'"), stream("last\n")]],
        last="last",
    ),
    Case(
        "late_task_while_another_cell_runs",
        [
            "import asyncio\nasync def speak():\n    await go.wait()\n    print('of the first', flush=True)\ngo = asyncio.Event()\ntask = asyncio.create_task(speak());",
            "print('of the second', flush=True)\ngo.set()\nawait task\nprint('again of the second')",
        ],
        [[stream("of the first\n")], [stream("of the second\nagain of the second\n")]],
    ),
    Case(
        "late_error",
        [
            "import threading, time\ndef fail():\n    time.sleep(0.4)\n    raise ValueError('in a thread')\nthreading.Thread(target=fail).start()"
        ],
        [[stream(Shows("Exception in thread", "ValueError: in a thread\n"), "stderr")]],
        last="in a thread",
    ),
    Case(
        "late_clear",
        [
            "import threading, time\nfrom IPython.display import clear_output\ndef speak():\n    time.sleep(0.4)\n    clear_output(wait=True)\n    print('last')\nthreading.Thread(target=speak).start()\nprint('started')"
        ],
        [[stream("last\n")]],
        last="last",
    ),
    Case(
        "late_update_of_another_cell",
        [
            "handle = display('a', display_id='x')",
            "import threading, time\ndef speak():\n    time.sleep(0.4)\n    handle.update('last')\nthreading.Thread(target=speak).start()",
        ],
        [[display("'last'")], []],
        last="last",
    ),
]
