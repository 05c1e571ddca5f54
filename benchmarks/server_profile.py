"""Where a server's CPU goes: a sampler inside the server, and what its samples say.

As a Jupyter Server extension (``--ServerApp.jpserver_extensions=server_profile=True``) it samples the main thread's
stack: SIGUSR1 begins, SIGUSR2 writes what was gathered to the file that ``OUTPUTS_PROFILE`` names, and begins anew.
A sample weighs what the main thread has used since the one before, so neither the other threads nor the coarse timer
shift anything. What C code uses is counted to the Python line that called it, or to the first line that it calls.
"""

from __future__ import annotations

import gc
import json
import linecache
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

import psutil

T = TypeVar("T")

FILE = "OUTPUTS_PROFILE"
INTERVAL = 0.001
"""Seconds of CPU; a kernel with 250 ticks a second takes a sample every 4 ms all the same."""

Place = tuple[str, str, int]
"""File, function, line."""


# In the server


class Sampler:
    """Takes samples of the main thread between two signals."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._samples: defaultdict[tuple[Place, ...], float] = defaultdict(float)
        self._last = 0.0
        self._threads: dict[int, float] = {}
        self._collecting = 0.0
        self._collected = 0.0
        gc.callbacks.append(self._on_collection)
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._write)
        signal.signal(signal.SIGPROF, self._take)

    def _begin(self, *_: object) -> None:
        self._samples.clear()
        self._threads = cpu_of_threads()
        self._last = time.thread_time()
        self._collected = 0.0
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def _take(self, _: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        while frame is not None and frame.f_code is Sampler._take.__code__:
            frame = frame.f_back  # the next signal came while this one waited for C code to end
        stack: list[Place] = []
        while frame is not None:
            code = frame.f_code
            stack.append((code.co_filename, getattr(code, "co_qualname", code.co_name), frame.f_lineno))
            frame = frame.f_back
        self._samples[tuple(stack)] += now - self._last
        self._last = time.thread_time()

    def _write(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        threads: defaultdict[str, float] = defaultdict(float)
        for number, seconds in cpu_of_threads().items():
            name = names.get(number, "a thread of ZMQ or Rust")
            threads[name] += seconds - self._threads.get(number, 0.0)
        content = {"samples": list(self._samples.items()), "threads": threads, "gc": self._collected}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.replace(self._file)
        self._begin()

    def _on_collection(self, phase: str, _: object) -> None:
        if threading.current_thread() is threading.main_thread():
            if phase == "start":
                self._collecting = time.thread_time()
            else:
                self._collected += time.thread_time() - self._collecting


def cpu_of_threads() -> dict[int, float]:
    """Seconds that each thread of this process has used."""
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads()}


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "server_profile"}]


def _load_jupyter_server_extension(app: object) -> None:
    Sampler(Path(os.environ[FILE]))


# Outside


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was sampled."""

    samples: Sequence[tuple[Sequence[Place], float]]
    threads: dict[str, float]
    collecting: float
    """Seconds of garbage collection in the main thread; they are in the samples, wherever they struck."""

    @property
    def seconds(self) -> float:
        """Of the main thread."""
        return sum(weight for _, weight in self.samples)

    def own(self, count: int) -> list[tuple[str, float]]:
        """The functions with the most time of their own, and of it the most expensive line."""
        functions: defaultdict[tuple[str, str], float] = defaultdict(float)
        lines: defaultdict[tuple[str, str, int], float] = defaultdict(float)
        for stack, weight in self.samples:
            file, function, line = stack[0] if stack else ("", "?", 0)
            functions[file, function] += weight
            lines[file, function, line] += weight
        result = []
        for (file, function), seconds in by_weight(functions)[:count]:
            share, number = max((lines[place], place[2]) for place in lines if place[:2] == (file, function))
            text = linecache.getline(file, number).strip()
            result.append((f"{short(file)} {function}, {100 * share / seconds:.0f} % in `{text}`", seconds))
        return result

    def ours(self, count: int) -> list[tuple[str, float]]:
        """The lines of ydoc_exec with the most time in them and in what they call outside of it."""
        lines: defaultdict[tuple[str, str, int], float] = defaultdict(float)
        for stack, weight in self.samples:
            place = next((place for place in stack if "/ydoc_exec/" in place[0].replace(os.sep, "/")), None)
            if place is not None:
                lines[place[0], place[1], place[2]] += weight
        return [
            (f"{short(file)} {function}, `{linecache.getline(file, line).strip()}`", seconds)
            for (file, function, line), seconds in by_weight(lines)[:count]
        ]

    def layers(self) -> dict[str, float]:
        """Seconds by part of the server, the most expensive first."""
        layers: defaultdict[str, float] = defaultdict(float)
        for stack, weight in self.samples:
            layers[layer(stack)] += weight
        return dict(by_weight(layers))


WATCHER = "Jupyter Server's watch over activity"
LAYERS: Sequence[tuple[str, str]] = (
    ("jupyter_server/services/kernels/connection/", "kernel websocket"),
    ("ydoc_exec/kernel/kernel_link.py", "our link to the kernel"),
    ("ydoc_exec/kernel/", "runner"),
    ("ydoc_exec/notebook/output_reducer.py", "reducer"),
    ("ydoc_exec/notebook/terminal.py", "reducer"),
    ("ydoc_exec/notebook/", "document"),
    ("ydoc_exec/room/", "room and sending"),
    ("ydoc_exec/handlers/room_handler.py", "room and sending"),
    ("pycrdt/websocket/", "room and sending"),
    ("tornado/websocket.py", "room and sending"),
    ("ydoc_exec/store/", "log"),
    ("ydoc_exec/files/", "file"),
    ("jupyter_server/services/contents/", "file"),
    ("nbformat/", "file"),
    ("ydoc_exec/documents/", "document's life"),
    ("jupyter_server/", "Jupyter Server, other"),
    ("ydoc_exec/", "ydoc_exec, other"),
    ("zmq/eventloop/", "ZMQ streams of Jupyter Server"),
    ("zmq/_future.py", "our link to the kernel"),
    ("tornado/", "tornado"),
)


def layer(stack: Sequence[Place]) -> str:
    """The part of the server that a stack, innermost call first, is in."""
    if any(function.endswith("record_activity") for _, function, _ in stack):
        return WATCHER
    for file, _, _ in stack:
        for part, name in LAYERS:
            if part in file.replace(os.sep, "/"):
                return name
    return "event loop"


def by_weight(weights: Mapping[T, float]) -> list[tuple[T, float]]:
    """The heaviest first."""
    return sorted(weights.items(), key=lambda item: -item[1])


def short(file: str) -> str:
    """The file without where it is installed."""
    return "/".join(Path(file).parts[-2:])


def start_sampling(pid: int) -> None:
    """Let a server's samples begin now."""
    os.kill(pid, signal.SIGUSR1)


def next_samples(pid: int, file: Path) -> Profile:
    """What a server did since the last samples, or since sampling was started. ``file`` is where it writes to."""
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    while not file.exists():
        time.sleep(0.01)
    content = json.loads(file.read_text())
    return Profile(samples=content["samples"], threads=content["threads"], collecting=content["gc"])
