"""A real Jupyter Server with JupyterLab, in a process of its own, that can be killed and started again.

Everything it reads and writes is in one directory: the home, the configuration, the kernels' connection
files, the notebooks. Nothing of the machine's own Jupyter configuration has a say, except what is installed
in the environment of the Python that runs the tests, which is what is tested.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import anyio
import httpx
import nbformat
import psutil

T = TypeVar("T")

LAB = """
import sys
sys.modules["rfc3987_syntax"] = None
from jupyterlab.labapp import main
main()"""
"""``python -m jupyterlab``, without what makes a parser in a second whenever it is imported, for JSON Schema's
format "iri", which nothing here asks for. It is optional there."""

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class RecordedRun(NamedTuple):
    """A run on the disk.

    Attributes:
        state: how it stood when it was written down.
        resumes: whether another server is told how to go on with it.
    """

    state: str
    resumes: bool


class LabServer:
    """One server: ``start``, ``stop`` (as a person stops it), ``kill`` (as the machine does), ``restart``.

    The port, the token and all data stay the same for the object's life, so that clients which come back
    after a restart come back to the same address.
    """

    def __init__(self, directory: Path, *args: str) -> None:
        self.args = args
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.root = directory / "notebooks"
        self.log_file = directory / "server.log"
        self._home = directory / "home"
        self._config = directory / "config"
        self._data = directory / "data"
        self._runtime = directory / "runtime"
        for folder in (self.root, self._home, self._config, self._data, self._runtime):
            folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._set("apputils-extension", "notification", fetchNews="false", checkForUpdates=False)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """The same for websockets."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has said, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    @property
    def update_log_size(self) -> int:
        """Bytes of its update log on disk."""
        return sum(path.stat().st_size for path in self._data.rglob("updates.db*"))

    @property
    def runs_database(self) -> Path:
        """Where it writes down what became of runs."""
        return self._data / "ydoc_exec" / "runs.db"

    def recorded_runs(self) -> dict[str, RecordedRun]:
        """By its id, what is on the disk of each run: what another server can know when this one is killed now."""
        if not self.runs_database.exists():
            return {}
        with closing(sqlite3.connect(f"file:{self.runs_database}?mode=ro", uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                return {}  # it is being made
            rows = database.execute("SELECT id, record, more FROM runs").fetchall()
        return {run: RecordedRun(json.loads(record)["state"], more is not None) for run, record, more in rows}

    async def until_recorded(self, run: str, state: str, *, resumes: bool = True) -> None:
        """Come back when it is on the disk that the run stands so. A server that is killed before cannot know it again."""

        def found() -> bool:
            recorded = self.recorded_runs().get(run)
            return recorded is not None and recorded.state == state and (recorded.resumes or not resumes)

        await eventually(found)

    def start(self) -> None:
        """Start, and come back when requests are answered."""
        assert self._process is None, "it is running already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAB, *self._flags(), *self.args],
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                raise RuntimeError(f"The server ended while it was starting. It said:\n{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"The server did not answer in {START_TIMEOUT:g} s. It said:\n{self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait until it has."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # it says where it is, and ends
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
            self.kill()
            raise TimeoutError(
                f"The server did not end in {STOP_TIMEOUT:g} s. It said:\n{self.log}"
            ) from None
        self._process = None
        self._end_kernels()

    def kill(self) -> None:
        """End it at once (SIGKILL): it has no time to save anything. Its kernels go with it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)
        self._process = None
        self._end_kernels()

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port with the same data."""
        self.stop()
        self.start()

    def __enter__(self) -> LabServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def api(self, method: str, path: str, body: object = None, **options: Any) -> httpx.Response:
        """One authenticated request, such as ``api("GET", "/api/status")``."""
        headers = {"Authorization": f"token {self.token}"} | options.pop("headers", {})
        if body is not None:
            options["json"] = body
        # Without TLS there is nothing to verify: to load certificates takes longer than the request.
        return httpx.request(method, self.url + path, headers=headers, timeout=30, verify=False, **options)

    def kernel_of(self, path: str) -> str:
        """The id of the kernel that runs the notebook at ``path``, started if there is none."""
        body = {"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}}
        response = self.api("POST", "/api/sessions", body)
        response.raise_for_status()
        return str(response.json()["kernel"]["id"])

    def kernel_status(self, kernel_id: str) -> str:
        """What the server says of a kernel: ``idle``, ``busy``, ..."""
        response = self.api("GET", f"/api/kernels/{kernel_id}")
        response.raise_for_status()
        return str(response.json()["execution_state"])

    def rename(self, old: str, new: str) -> None:
        """Move a file as the file browser does."""
        self.api("PATCH", f"/api/contents/{quote(old)}", {"path": new}).raise_for_status()

    def write_notebook(self, name: str, *cells: str | dict[str, Any]) -> Path:
        """Put a notebook there: code cells for strings, other cells as they are given.

        The cells' ids are ``cell-0``, ``cell-1``, ... .
        """
        notebook = {
            "cells": [
                {"id": f"cell-{index}"} | (code_cell(cell) if isinstance(cell, str) else cell)
                for index, cell in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3 (ipykernel)",
                    "language": "python",
                    "name": "python3",
                }
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook, indent=1) + "\n")
        return path

    def read_notebook(self, name: str) -> dict[str, Any]:
        """The notebook as it is on disk; raises if it is not a valid one."""
        notebook: dict[str, Any] = json.loads((self.root / name).read_text())
        nbformat.validate(notebook)  # type: ignore[no-untyped-call, unused-ignore]
        return notebook

    def set_notebook_option(self, **options: object) -> None:
        """A user's setting of the notebook, such as ``windowingMode="none"``."""
        self._set("notebook-extension", "tracker", **options)

    def restart_kernels_unasked(self) -> None:
        """As after "Do not ask me again" in the dialog about restarting a kernel."""
        self._set("apputils-extension", "sessionDialogs", skipKernelRestartDialog=True)

    def add_kernel_spec(self, name: str, spec: dict[str, Any]) -> None:
        """Make a kernel available, as ``jupyter kernelspec install`` does."""
        folder = self._data / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))

    # Private

    def _set(self, extension: str, plugin: str, **options: object) -> None:
        folder = self._config / "lab" / "user-settings" / "@jupyterlab" / extension
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plugin}.jupyterlab-settings").write_text(json.dumps(options))

    def _flags(self) -> Sequence[str]:
        return (
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--ServerApp.terminals_enabled=False",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        )

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "IPYTHON", "JPY_"))
        }
        return kept | {
            "HOME": str(self._home),
            "IPYTHONDIR": str(self._home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self._config),
            "JUPYTER_DATA_DIR": str(self._data),
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _answers(self) -> bool:
        try:
            return self.api("GET", "/api/status").status_code == 200
        except httpx.TransportError:
            return False

    def _end_kernels(self) -> None:
        """End the kernels that a killed server left behind: they name its runtime directory."""
        connection_file = f"{self._runtime}{os.sep}kernel-"
        for process in psutil.process_iter(["cmdline"]):
            if any(word.startswith(connection_file) for word in process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def code_cell(source: str) -> dict[str, Any]:
    """A code cell that never ran."""
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


def markdown_cell(source: str) -> dict[str, Any]:
    """A cell that cannot run."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


async def eventually(what: Callable[[], T | None], timeout: float = 30.0, step: float = 0.05) -> T:
    """The first true value of ``what``: for files and REST answers, which announce nothing."""
    deadline = time.monotonic() + timeout
    while not (value := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come to that in {timeout:g} s.")
        await anyio.sleep(step)
    return value


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, and that nobody is given who asks for any.

    A server that is restarted finds it free again. Systems give out ports above 32767; each process of
    pytest-xdist has a thousand below of its own.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12_000 + 1000 * process
    for port in random.sample(range(first, first + 1000), 1000):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"All ports from {first} to {first + 999} are in use.")


def stream_text(cell: dict[str, Any]) -> str:
    """What a cell of a file or document has printed, all its stream outputs in order."""
    return "".join(
        text if isinstance(text := output["text"], str) else "".join(text)
        for output in cell["outputs"]
        if output["output_type"] == "stream"
    )
