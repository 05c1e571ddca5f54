"""Scripts in ``tests/node`` that answer questions, one line of JSON for another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_NODE = Path(__file__).parent / "node"


class NodeProcess:
    """One Node process. Where Node or JupyterLab's packages are not installed, making it skips the test."""

    def __init__(self, script: str) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("Node is not installed")
        if not (_NODE / "node_modules").is_dir():
            pytest.skip(f"JupyterLab's packages are not installed: run npm ci in {_NODE}")
        self._process = subprocess.Popen(
            [node, script], cwd=_NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()
