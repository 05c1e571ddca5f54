"""What output costs: ydoc_exec beside a bare reader of the kernel and beside the stock kernel websocket.

Three programs run the same cell on three kernels of the same kind, in turn, each in a process of its own:

- *bare*: ``jupyter_client``'s session on sockets that drop nothing, until reply and idle are there;
- *websocket*: JupyterLab's server without ydoc_exec and a client of the kernel's websocket, until the same;
- *ydoc_exec*: the same server with ydoc_exec, until the client's document is exactly what it must become.

Of the runs of each the best counts: whatever else the machine does makes a run longer and never shorter.
The server's CPU is that of its one process, from the request until the client has everything.

``python benchmarks/outputs.py [case ...] [--repeat N] [--profile]``
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import table
from output_cases import CASES, CPU_BAR, RAISED_LIMIT, Case
from output_programs import WARM_UP, Address, Bare, Document, Figures, Websocket
from server_profile import FILE
from worker import Worker

from tests.server import LabServer

STATE_RUNS = 10
TRIES = 3
"""A run in which something is missing does not count and is done again. A kernel that gets no CPU for a while
drops messages itself, whoever reads (measured: ipykernel 7.4 leaves ZMQ's limit of 1,000 messages to send)."""

PLAIN = (
    "--ServerApp.jpserver_extensions=ydoc_exec=False",
    "--ZMQChannelsWebsocketConnection.limit_rate=False",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All runs of one case."""

    case: Case
    bare: list[Figures]
    websocket: list[Figures]
    ours: list[Figures]
    lost: tuple[int, ...]
    """How many runs of each were done again because something was missing."""
    states: tuple[int, int] | None
    """Bytes of the document after one run and after ten."""


class Bench:
    """The servers and the programs, started when they are needed."""

    def __init__(self, directory: Path, stack: ExitStack, *, profile: bool) -> None:
        self._directory = directory
        self._stack = stack
        self._profile = profile
        self._addresses: dict[str, tuple[LabServer, Address]] = {}
        self._workers: dict[str, Worker] = {}

    def measure(self, name: str, repeat: int) -> Measured:
        """Run a case with all three, in turn."""
        case, path = CASES[name], f"{name}.ipynb"
        lab, document = self._ours(case)
        programs = {"bare": self._bare(), "websocket": self._websocket(), "ours": document}
        lab.write_notebook(path, WARM_UP, case.code)
        programs["bare"]("open", name)
        programs["websocket"]("open", name)
        programs["ours"]("open", name, path)
        runs: dict[str, list[Figures]] = {program: [] for program in programs}
        lost = dict.fromkeys(programs, 0)
        order = list(programs)
        for _ in range(repeat):
            for program in order:
                for _ in range(TRIES):
                    figures = programs[program]("run")
                    if figures.right:
                        break
                    lost[program] += 1
                runs[program].append(figures)
            order.append(order.pop(0))
        for worker in programs.values():
            worker("close")
        states = self._states(name, lab, document) if case.state_bar is not None else None
        return Measured(case=case, states=states, lost=tuple(lost.values()), **runs)

    def explain(self, name: str) -> None:
        """Run a case with the two servers, and print where their CPU goes."""
        case, path = CASES[name], f"{name}.ipynb"
        lab, document = self._ours(case)
        lab.write_notebook(path, WARM_UP, case.code)
        for title, worker, arguments in (
            ("kernel websocket", self._websocket(), (name,)),
            ("ydoc_exec", document, (name, path)),
        ):
            worker("open", *arguments)
            worker("run")  # with whatever is done only once
            explained(f"{case.title}, {title}", worker("run"))
            worker("close")

    # Private

    def _states(self, name: str, lab: LabServer, document: Worker) -> tuple[int, int]:
        path = f"{name}-again.ipynb"
        lab.write_notebook(path, WARM_UP, CASES[name].code)
        document("open", name, path)
        states = document("run_again", 1), document("run_again", STATE_RUNS - 1)
        document("close")
        return states

    def _bare(self) -> Worker:
        return self._worker("bare", Bare)

    def _websocket(self) -> Worker:
        return self._worker("websocket", Websocket, self._server("plain", *PLAIN)[1])

    def _ours(self, case: Case) -> tuple[LabServer, Worker]:
        if case.raise_limit:
            key, args = "raised", [f"--YdocExec.output_limit={RAISED_LIMIT}"]
        else:
            key, args = "default", []
        lab, address = self._server(key, *args)
        return lab, self._worker(f"{key}-document", Document, address)

    def _worker(self, key: str, program: Callable[..., object], *args: object) -> Worker:
        if key not in self._workers:
            worker = Worker(self._directory / key, program, *args)
            self._workers[key] = self._stack.enter_context(worker)
        return self._workers[key]

    def _server(self, key: str, *args: str) -> tuple[LabServer, Address]:
        if key not in self._addresses:
            file = self._directory / f"{key}.json" if self._profile else None
            if file is not None:
                os.environ[FILE] = str(file)
                path = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
                os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
                args = (*args, "--ServerApp.jpserver_extensions=server_profile=True")
            lab = self._stack.enter_context(LabServer(self._directory / f"{key}-server", *args))
            assert lab._process is not None
            address = Address(
                url=lab.url, ws_url=lab.ws_url, token=lab.token, pid=lab._process.pid, profile=file
            )
            self._addresses[key] = lab, address
        return self._addresses[key]


# Figures


def report(measured: Sequence[Measured], repeat: int) -> None:
    """Print the tables."""
    time_rows, cpu_rows, size_rows = [], [], []
    for one in measured:
        case, last = one.case, one.ours[-1]
        bare, stock, ours = (Runs(runs, seconds) for runs in (one.bare, one.websocket, one.ours))
        others = max(run.others for runs in (one.bare, one.websocket, one.ours) for run in runs)
        ratio = judged(ours.best / bare.best, case.wall_bar)
        if not all(run.right for run in one.ours):
            ratio += ", **wrong**"
        time_rows.append(
            [case.title, bare, stock, ours, ratio, f"{100 * others:.0f} %", "/".join(map(str, one.lost))]
        )
        row: list[object] = [case.title]
        for figure in (cpu, cpu_after):
            stock, ours = (Runs(runs, figure) for runs in (one.websocket, one.ours))
            row += [stock, ours, judged(ours.best / stock.best, CPU_BAR)]
        cpu_rows.append(row)
        size_rows.append(
            [
                case.title,
                one.bare[-1].frames,
                last.frames,
                last.text,
                one.websocket[-1].received / last.text,
                judged(last.received / last.text, case.bytes_bar),
                states(one),
            ]
        )
    head = ["", "bare", "websocket", "ydoc_exec", "ydoc_exec / bare", "others' CPU at most", "done again"]
    table(f"Seconds until everything is there, best of {repeat} (worst)", head, time_rows)
    head = ["", "websocket", "ydoc_exec", "ydoc_exec / websocket"]
    head += ["websocket until quiet", "ydoc_exec until quiet, saved", "ydoc_exec / websocket"]
    table(f"CPU seconds of the server, best of {repeat} (worst)", head, cpu_rows)
    head = ["", "kernel's messages", "update frames", "bytes of text", "websocket's bytes / text"]
    head += ["update bytes / text", f"bytes of the document, {STATE_RUNS} runs / one"]
    table("What reaches a client", head, size_rows)


def explained(title: str, figures: Figures) -> None:
    """Print where a server's CPU went: by part of it, by line of ydoc_exec, and by function."""
    during, after = figures.profile, figures.profile_after
    assert during is not None, "the server has no sampler"
    assert after is not None, "the server has no sampler"
    cost, later = during.layers(), after.layers()
    rows: list[tuple[object, ...]] = [
        (part, cost.get(part, 0.0), cost.get(part, 0.0) / during.seconds, later.get(part, 0.0))
        for part in [*cost, *(part for part in later if part not in cost)]
    ]
    rows.append(("all", during.seconds, 1.0, after.seconds))
    rows.append(("of it garbage collection", during.collecting, "", after.collecting))
    for thread in sorted({*during.threads, *after.threads}):
        rows.append((f"thread {thread}", during.threads.get(thread, 0.0), "", after.threads.get(thread, 0.0)))
    table(f"{title}: CPU of the server's main thread", ["", "s", "share", "s, when the client has all"], rows)
    for what, places in (
        ("lines of ydoc_exec, with what they call elsewhere", during.ours(12)),
        ("functions by time of their own", during.own(15)),
    ):
        if places:
            shares = [(place, seconds, seconds / during.seconds) for place, seconds in places]
            table(f"{title}: {what}", ["", "s", "share"], shares)


class Runs:
    """One figure of several runs of the same."""

    def __init__(self, runs: Sequence[Figures], figure: Callable[[Figures], float]) -> None:
        values = [figure(run) for run in runs]
        self.best, self.worst = min(values), max(values)

    def __str__(self) -> str:
        return f"{self.best:.3f} ({self.worst:.3f})"


def states(one: Measured) -> str:
    """How a document grows with the runs of its cell."""
    if one.states is None:
        return ""
    after_one, after_ten = one.states
    return f"{judged(after_ten / after_one, one.case.state_bar)}: {after_ten:,} / {after_one:,}"


def seconds(run: Figures) -> float:
    """Wall time."""
    return run.seconds


def cpu(run: Figures) -> float:
    """The server's, until the client has everything."""
    return run.cpu


def cpu_after(run: Figures) -> float:
    """The server's, until it is quiet."""
    return run.cpu_after


def judged(value: float, bar: float | None) -> str:
    """The figure and whether it is within the bar, for information."""
    if bar is None:
        return f"{value:.3g}"
    return f"{value:.2f} {'≤' if value <= bar else '**>**'} {bar:g}"


def main() -> None:
    """Measure, or explain."""
    parser = argparse.ArgumentParser(description="What output costs.")
    parser.add_argument("case", nargs="*", help=f"one of {', '.join(CASES)}; all of them by default")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the best counts")
    parser.add_argument("--profile", action="store_true", help="show where the servers' CPU goes instead")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end too
    names: list[str] = options.case or list(CASES)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, ExitStack() as stack:
        bench = Bench(Path(directory), stack, profile=options.profile)
        measured = []
        for name in names:
            print(f"{time.strftime('%X')} {name}", file=sys.stderr)
            if options.profile:
                bench.explain(name)
            else:
                measured.append(bench.measure(name, options.repeat))
    if measured:
        report(measured, options.repeat)


if __name__ == "__main__":
    main()
