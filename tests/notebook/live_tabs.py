"""Open JupyterLab tabs without a browser (``tests/node/live_tab.mjs``)."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

_NODE = Path(__file__).parent.parent / "node"


class LiveTabs:
    """One Node process with any number of tabs, each known by a name."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("Node is not installed")
        if not (_NODE / "node_modules").is_dir():
            pytest.skip(f"JupyterLab's packages are not installed: run npm ci in {_NODE}")
        self._process = subprocess.Popen(
            [node, "live_tab.mjs"], cwd=_NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def open(self, tab: str, update: bytes) -> None:
        """A tab opens and receives the whole document."""
        self._ask(open=tab, update=b64encode(update).decode())

    def apply(self, tab: str, update: bytes) -> None:
        """The tab receives an update. Nothing may be thrown in it, and it may not write anything itself."""
        self._ask(apply=tab, update=b64encode(update).decode())

    def report(self, tab: str) -> dict[str, Any]:
        """What the tab shows (``cells``) and what its copy of the document says (``shared``)."""
        return self._ask(report=tab)

    def close(self, tab: str) -> None:
        self._ask(close=tab)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    # Private

    def _ask(self, **command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert answer["errors"] == []
        assert answer["writes"] == 0
        return answer
