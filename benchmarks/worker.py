"""A program in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class Worker:
    """Makes ``program(*args)`` in another process; calling the worker calls its methods.

    Kernels that it starts have ``directory`` and nothing of the machine's own configuration.
    """

    def __init__(self, directory: Path, program: Callable[..., object], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, directory, program, args))
        self._process.start()
        other.close()

    def __call__(self, method: str, *args: object) -> Any:
        """Call a method and come back with its result. Raises ``RuntimeError`` with what it raised, in words."""
        self._connection.send((method, args))
        failed, result = self._connection.recv()
        if failed:
            raise RuntimeError(f"{method}{args} failed:\n{result}")
        return result

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(10)
        self._process.kill()


# The other process


def _serve(
    connection: Connection, directory: Path, program: Callable[..., object], args: Sequence[object]
) -> None:
    _isolate(directory)
    target = program(*args)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((False, getattr(target, method)(*arguments)))
        except Exception:
            connection.send((True, traceback.format_exc()))


def _isolate(directory: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("JUPYTER", "IPYTHON", "JPY_")):
            del os.environ[name]
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        folder = directory / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
