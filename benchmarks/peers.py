"""One keystroke from one client seen by another: this server beside jupyter-collaboration's.

Theirs (``jupyter-server-ydoc`` from PyPI) is installed in an environment of its own, in a temporary directory
that is removed at the end. Both servers are asked by the same client, in the same run.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from bench import table

from tests.headless.client import RoomClient
from tests.server import LabServer

KEYS = 300
PAUSE = 0.01
"""Seconds between two keystrokes: both servers are idle when one arrives."""


class TheirServer(LabServer):
    """A server of the other environment."""

    def __init__(self, directory: Path, python: Path) -> None:
        super().__init__(directory)
        self.python = python

    def start(self) -> None:
        ours, sys.executable = sys.executable, str(self.python)
        try:
            super().start()
        finally:
            sys.executable = ours


def install(directory: Path) -> tuple[Path, str]:
    """The other environment's Python, and which version of theirs it has."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    packages = ["jupyter-server-ydoc", "jupyterlab", "ipykernel"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, stderr=subprocess.DEVNULL)
    version = "from importlib.metadata import version; print(version('jupyter-server-ydoc'))"
    return python, subprocess.run(
        [python, "-c", version], check=True, capture_output=True, text=True
    ).stdout.strip()


async def type_and_see(server: LabServer) -> tuple[list[float], list[int]]:
    """For each keystroke: seconds until the other client has it, bytes of the frames it got for it."""
    server.write_notebook("a.ipynb", "", *(f"x = {n}" for n in range(20)))
    seconds: list[float] = []
    sizes: list[int] = []
    async with RoomClient(server, "a.ipynb") as one, RoomClient(server, "a.ipynb") as two:
        await asyncio.sleep(3)  # a first save, and whatever else follows an opening
        for number in range(KEYS):
            before = len(two.received)
            began = time.perf_counter()
            one.type_into(0, "x")
            await two.wait(lambda number=number: len(two.source(0)) == number + 1)
            seconds.append(time.perf_counter() - began)
            sizes.append(sum(len(frame) for _, frame in two.received[before:]))
            await asyncio.sleep(PAUSE)
    return seconds, sizes


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name)
        python, version = install(directory / "venv")
        with LabServer(directory / "ours") as server:
            ours = asyncio.run(type_and_see(server))
        with TheirServer(directory / "theirs", python) as server:
            theirs = asyncio.run(type_and_see(server))

    def figures(measured: tuple[list[float], list[int]]) -> list[float]:
        seconds, sizes = measured
        ordered = sorted(1000 * value for value in seconds)
        return [statistics.median(ordered), ordered[int(0.99 * len(ordered))], statistics.mean(sizes)]

    mine, others = figures(ours), figures(theirs)
    rows = [
        ("ydoc_exec", *mine),
        (f"jupyter-server-ydoc {version}", *others),
        ("ratio", *(a / b for a, b in zip(mine, others, strict=True))),
    ]
    head = ["", "ms, median", "ms, 99th of 100", "bytes a keystroke"]
    table(f"{KEYS} keystrokes seen by a second client", head, rows)


if __name__ == "__main__":
    main()
