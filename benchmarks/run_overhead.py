"""What the server adds to running small cells: beside the same cells sent straight to a kernel.

Two programs, each in a process of its own, run the same on two kernels of the same kind, in turn:

- *kernel alone*: ``jupyter_client``'s session on the kernel's sockets, until reply and idle are there;
- *ydoc_exec*: a request to the server, until a client's document shows the result and that the cell is idle.

Where it is allowed (root on Linux) all of them, and the kernels, have real-time priority, so that whatever else the machine
does stays out of it: on two cores a third program that wants one makes the chain of three processes slower and not that of two.

For "Run All" the best run of each counts, as whatever else the machine does makes one longer and never shorter. Of single
cells the median and the 99th of 100 count.

``python benchmarks/run_overhead.py [--repeat N] [--single N] [--cells N] [--profile] [--usual-priority]``
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bench import table
from output_programs import Address, Figures, cpu_seconds
from outputs import explained, judged
from run_programs import RESULT, KernelAlone, ThroughServer, assignments
from server_profile import FILE, next_samples, start_sampling
from worker import Worker

from tests.server import LabServer

ALL_BAR = 1.3
MEDIAN_BAR = 1.5
TAIL_BAR = 2.0
USUAL = 20
"""Cells of the notebook of which one is run at a time: what is left of saving it can meet the next one."""

WARM_UP = 20
"""Single cells that do not count."""


@dataclass
class Measured:
    """Seconds of each run, and seconds of CPU of the server."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.seconds)

    def of_100(self, which: int) -> float:
        """So many of 100 took no longer."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, which * len(ordered) // 100)]


class Bench:
    """The server and the programs, and who else uses the machine."""

    def __init__(self, directory: Path, stack: ExitStack, cells: int, *, profile: bool) -> None:
        self._cells = cells
        args: list[str] = []
        file = directory / "profile.json" if profile else None
        if file is not None:
            os.environ[FILE] = str(file)
            path = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
            args.append("--ServerApp.jpserver_extensions=server_profile=True")
        server = stack.enter_context(LabServer(directory / "server", *args))
        server.write_notebook("many.ipynb", RESULT, *assignments(cells))
        server.write_notebook("few.ipynb", RESULT, *assignments(USUAL))
        self.server = Address(
            url=server.url, ws_url=server.ws_url, token=server.token, pid=server.pid, profile=file
        )
        self.alone = stack.enter_context(Worker(directory / "alone", KernelAlone))
        self.alone("start")
        stack.callback(self.alone, "close")
        self._directory = directory

    @contextmanager
    def client_of(self, name: str) -> Iterator[Worker]:
        """A client of this notebook. While nobody calls it, it does not answer what the server asks now and then."""
        with Worker(self._directory / name, ThroughServer, self.server) as worker:
            worker("start", f"{name}.ipynb")
            yield worker
            worker("close")

    def run_all(self, repeat: int) -> dict[str, Measured]:
        """All cells, with each program, in turn."""
        measured = {name: Measured() for name in ("at once", "one by one", "ours")}
        with self.client_of("many") as ours:
            for _ in range(repeat):
                measured["at once"].seconds.append(self.alone("all_at_once", self._cells))
                measured["one by one"].seconds.append(self.alone("one_by_one", self._cells))
                self._run_ours(measured["ours"], ours, "all_at_once", self._cells)
                time.sleep(1)  # the file is saved
        return measured

    def single(self, count: int) -> dict[str, Measured]:
        """One cell, with each program, in turn."""
        measured = {name: Measured() for name in ("alone", "ours")}
        with self.client_of("few") as ours:
            for number in range(-WARM_UP, count):
                alone, one = self.alone("one"), Measured()
                self._run_ours(one, ours, "one")
                if number >= 0:
                    measured["alone"].seconds.append(alone)
                    measured["ours"].seconds += one.seconds
                    measured["ours"].cpu += one.cpu
        return measured

    def explain(self, name: str, method: str, *args: object, times: int) -> None:
        """Print where the server's CPU goes."""
        assert self.server.profile is not None, "the server has no sampler"
        with self.client_of(name) as ours:
            start_sampling(self.server.pid)
            for _ in range(times):
                ours(method, *args)
            figures = Figures(seconds=0.0, profile=next_samples(self.server.pid, self.server.profile))
            time.sleep(2)
            figures.profile_after = next_samples(self.server.pid, self.server.profile)
        explained(f"{method} {args}, {times} times", figures)

    @contextmanager
    def others(self, share: list[float]) -> Iterator[None]:
        """Add the share of the machine's CPU that went to programs that have no part in this."""
        own = psutil.Process()
        family = [own.pid, *(child.pid for child in own.children(recursive=True))]

        def now() -> tuple[float, float, float]:
            times = psutil.cpu_times()
            busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
            return time.perf_counter(), busy, sum(map(cpu_seconds, family))

        before = now()
        yield
        wall, busy, ours = (after - b for after, b in zip(now(), before, strict=True))
        share.append(max(0.0, busy - ours) / (wall * (os.cpu_count() or 1)))

    def _run_ours(self, measured: Measured, worker: Worker, method: str, *args: object) -> None:
        before = cpu_seconds(self.server.pid)
        measured.seconds.append(worker(method, *args))
        measured.cpu.append(cpu_seconds(self.server.pid) - before)


def take_priority() -> bool:
    """Have real-time priority, with all that is started from now on. Whether that was possible."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(50))
    except (AttributeError, PermissionError):
        return False
    return True


def report_all(cells: int, measured: dict[str, Measured], others: float) -> None:
    """Print the table of Run All."""
    reference = measured["at once"].best
    names = {
        "at once": "kernel alone, all sent at once",
        "one by one": "kernel alone, one by one",
        "ours": "ydoc_exec, one request",
    }
    rows: list[Sequence[object]] = []
    for key, name in names.items():
        one = measured[key]
        ratio = judged(one.best / reference, ALL_BAR if key == "ours" else None)
        cpu = 1000 * min(one.cpu) / cells if one.cpu else ""
        rows.append((name, one.best, max(one.seconds), 1000 * one.best / cells, ratio, cpu))
    head = ["", "s", "worst", "ms per cell", "ratio", "ms of the server's CPU per cell"]
    title = f"{cells} small cells, best of {len(measured['ours'].seconds)}; others had {100 * others:.0f} % of the CPU"
    table(title, head, rows)


def report_single(measured: dict[str, Measured], others: float) -> None:
    """Print the table of single cells."""
    alone, ours = measured["alone"], measured["ours"]
    figures = [
        [1000 * one.best, 1000 * one.of_100(50), 1000 * one.of_100(90), 1000 * one.of_100(99)]
        for one in (alone, ours)
    ]
    ratios = [b / a for a, b in zip(*figures, strict=True)]
    bars = [None, MEDIAN_BAR, None, TAIL_BAR]
    rows: list[Sequence[object]] = [
        ("kernel alone", *figures[0], ""),
        ("ydoc_exec", *figures[1], 1000 * sorted(ours.cpu)[len(ours.cpu) // 2]),
        ("ratio", *(judged(ratio, bar) for ratio, bar in zip(ratios, bars, strict=True)), ""),
    ]
    head = [
        "",
        "ms, best",
        "median",
        "90th of 100",
        "99th of 100",
        "ms of the server's CPU, median, with all that follows",
    ]
    title = f"One cell until its result is there, {len(ours.seconds)} times each; others had {100 * others:.0f} % of the CPU"
    table(title, head, rows)


def main() -> None:
    """Measure, or explain."""
    parser = argparse.ArgumentParser(description="What the server adds to running small cells.")
    parser.add_argument("--repeat", type=int, default=7, help="runs of all cells, of which the best counts")
    parser.add_argument("--single", type=int, default=400, help="single cells")
    parser.add_argument("--cells", type=int, default=300, help="cells that are run together")
    parser.add_argument("--usual-priority", action="store_true", help="compete with whatever else runs")
    parser.add_argument("--profile", action="store_true", help="show where the server's CPU goes instead")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends too
    above = not options.usual_priority and take_priority()
    print("Real-time priority for all programs." if above else "The usual priority for all programs.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack, options.cells, profile=options.profile)
        if options.profile:
            bench.explain("few", "one", times=100)
            bench.explain("many", "all_at_once", options.cells, times=3)
            return
        others: list[float] = []
        with bench.others(others):
            all_cells = bench.run_all(options.repeat)
        with bench.others(others):
            single = bench.single(options.single)
    report_all(options.cells, all_cells, others[0])
    report_single(single, others[1])


if __name__ == "__main__":
    main()
