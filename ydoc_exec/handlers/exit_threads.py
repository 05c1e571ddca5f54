"""A server that ends although somebody was being answered when it was stopped.

Jupyter Server reads and writes files in anyio's worker threads, of which each is ended when the task that it was begun for
ends. When the server is stopped it stops its event loop, and the tasks that were under way then end never: nor do their
threads, for which Python waits before the process may end (anyio 4, ``WorkerThread``; jupyter_server 2,
``AsyncLargeFileManager``). It listens no more and stays for ever, until somebody kills it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Full
from typing import Any

WORKER = "AnyIO worker thread"


def end_with_the_main_thread() -> None:
    """Have idle worker threads end when the main thread has; what one of them is doing then it does to its end."""
    threading.Thread(target=_end_workers, name="ydoc_exec exit", daemon=True).start()


def _end_workers() -> None:
    threading.main_thread().join()
    for thread in threading.enumerate():
        worker: Any = thread
        if thread.name == WORKER:
            with suppress(Full):  # told already
                worker.stop()
