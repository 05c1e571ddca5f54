"""A process that has imported a Jupyter Server and forks a fresh one whenever it is asked.

Importing takes seconds, a fork and the start of a server a tenth of one. It reads commands, one JSON object a line:

    {"argv": [...], "env": {...}, "cwd": path, "log": path}    fork a server, answered with {"pid": ...}
    {"reap": pid}                                              wait until it has ended, answered with {}

When nobody can give commands any more it kills the servers that are left.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

# What a server imports while it starts and runs.
import anyio._backends._asyncio
import jupyter_server_fileid.extension
import nbformat
from jupyter_server.serverapp import ServerApp

import ydoc_exec.extension

PRELOADED = (anyio._backends._asyncio, jupyter_server_fileid.extension, nbformat, ydoc_exec.extension)


def main() -> None:
    """Obey until the commands end."""
    living: set[int] = set()
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if "reap" in command:
                os.waitpid(command["reap"], 0)
                living.remove(command["reap"])
                answer = {}
            else:
                pid = os.fork()
                if pid == 0:
                    serve(command)
                living.add(pid)
                answer = {"pid": pid}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def serve(command: dict[str, Any]) -> None:
    """Become a server. Does not return."""
    try:
        os.setsid()
        log = os.open(command["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(command["env"])
        os.chdir(command["cwd"])
        ServerApp.launch_instance(argv=command["argv"])
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
