"""A process that reads a notebook again and again, as any other program may, and tells what it saw.

It reads commands, one JSON object a line:

    {"watch": path}    look at this file from now on, answered with {}
    {"report": true}   stop looking, answered with {"versions": [...], "broken": [...]}

A version is its cells as ``[id, text, printed text]``; texts of large cells as their length and digest. Broken is
what no notebook was found in: what was wrong, and the beginning of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

PERIOD = 0.001
"""Seconds between two looks."""

LARGE = 10_000

Version = list[list[str]]


def cells_of(notebook: dict[str, Any]) -> Version:
    """A notebook as a version."""
    return [
        [cell["id"], _short(_joined(cell["source"])), _short(_printed(cell))] for cell in notebook["cells"]
    ]


class Watcher:
    """The process, as a test has it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.watcher"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def watch(self, path: Path) -> None:
        """Look at this file from now on."""
        self._ask({"watch": str(path)})

    def report(self) -> tuple[list[Version], list[str]]:
        """All versions of the file in their order, and what was none. It is not looked at any more."""
        report = self._ask({"report": True})
        return report["versions"], report["broken"]

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Looks:
    """What was seen of one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._last: object = None
        self.versions: list[Version] = []
        self.broken: list[str] = []

    def look(self) -> None:
        """Read the file if it may be another one than before."""
        data = b""
        try:
            info = os.stat(self._path)
            state = (info.st_ino, info.st_mtime_ns, info.st_size)
            if state == self._last:
                return
            self._last = state
            with open(self._path, "rb") as file:
                data = file.read()
            version = cells_of(json.loads(data))
        except (OSError, ValueError, KeyError) as error:
            self.broken.append(f"{error!r}: {len(data)} bytes, {data[:80]!r}")
        else:
            if self.versions[-1:] != [version]:
                self.versions.append(version)


def main() -> None:
    """Look and obey until the commands end."""
    looks: Looks | None = None
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], PERIOD if looks else None)
        if looks:
            looks.look()
        if not readable:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        command = json.loads(line)
        answer: dict[str, object] = {}
        if "watch" in command:
            looks = Looks(command["watch"])
            looks.look()
        elif looks:
            answer = {"versions": looks.versions, "broken": looks.broken}
            looks = None
        print(json.dumps(answer), flush=True)


def _printed(cell: dict[str, Any]) -> str:
    return "".join(_joined(output.get("text", "")) for output in cell.get("outputs", ()))


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _short(text: str) -> str:
    if len(text) < LARGE:
        return text
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


if __name__ == "__main__":
    main()
