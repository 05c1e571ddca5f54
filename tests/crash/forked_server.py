"""A real Jupyter Server that starts in a tenth of a second: forked from a process that has imported everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.server import START_TIMEOUT, LabServer

EXTENSIONS = {
    name: name in ("ydoc_exec", "jupyter_server_fileid")
    for name in (
        "jupyter_lsp",
        "jupyter_server_fileid",
        "jupyter_server_terminals",
        "jupyterlab",
        "notebook_shim",
        "ydoc_exec",
    )
}
"""JupyterLab's own extension alone takes longer to load than all the rest."""


class Zygote:
    """See ``tests/crash/zygote.py``."""

    def __init__(self, directory: Path) -> None:
        # What is imported may look where its data are.
        env = dict(os.environ) | {
            name: str(directory) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            cwd=Path(__file__).parents[2],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(self, **command: object) -> int:
        """Start a server; its process."""
        return int(self._ask(command)["pid"])

    def reap(self, pid: int) -> None:
        """Wait until a server has ended."""
        self._ask({"reap": pid})

    def stop(self) -> None:
        """End it, and the servers that are left."""
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


class ForkedServer(LabServer):
    """A server without JupyterLab. ``strike`` may be called from any thread, the rest by one."""

    def __init__(self, zygote: Zygote, directory: Path, *args: str) -> None:
        super().__init__(directory, *args)
        self._zygote = zygote
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._pid is not None, "it is not running"
        return self._pid

    @property
    def update_log(self) -> Path:
        """The database of its update log."""
        return self._data / "ydoc_exec" / "updates.db"

    @property
    def recovery(self) -> Path:
        """The folder of its recovery copies."""
        return self._data / "ydoc_exec" / "recovery"

    def begin(self) -> None:
        """Start, and do not wait until requests are answered."""
        assert self._pid is None, "it is running already"
        self._pid = self._zygote.fork(
            argv=[*self._flags(), *self.args],
            env=self._environment(),
            cwd=str(self.root),
            log=str(self.log_file),
        )

    def start(self) -> None:
        """Start, and come back when requests are answered."""
        self.begin()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"The server did not answer in {START_TIMEOUT:g} s. It said:\n{self.log}")
            time.sleep(0.01)

    def strike(self) -> None:
        """Send the SIGKILL, and do not wait for the end."""
        os.kill(self.pid, signal.SIGKILL)

    def ask_to_stop(self) -> None:
        """Send the SIGTERM, and do not wait for the end."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, if it has not ended yet. Its kernels live on: see ``end_kernels``."""
        if self._pid is None:
            return
        with suppress(ProcessLookupError):
            self.strike()
        self._zygote.reap(self._pid)
        self._pid = None

    def stop(self) -> None:
        """The same, and its kernels: nothing is to be saved at the end of a test."""
        self.kill()
        self.end_kernels()

    def end_kernels(self) -> None:
        """End the kernels that killed servers left behind."""
        self._end_kernels()

    def _flags(self) -> Sequence[str]:
        return (
            "--no-browser",
            "--ServerApp.log_level=WARN",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--ServerApp.jpserver_extensions={EXTENSIONS}",
            f"--IdentityProvider.token={self.token}",
            f"--ArbitraryFileIdManager.db_path={self._data / 'file_id_manager.db'}",
        )
