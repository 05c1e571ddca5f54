"""What the server's ``/metrics`` says of shared documents and runs, for Prometheus.

Nothing is counted twice: what can be looked at is looked at when somebody asks, and the rest is in ``measures.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.measures import Durations

PREFIX = "ydoc_exec_"


class Metrics(Collector):
    """The metrics of one server. ``exported`` puts them among those of the process."""

    def __init__(self, collaboration: Collaboration) -> None:
        self._collaboration = collaboration

    @contextmanager
    def exported(self, registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
        """As long as this lasts, whoever reads the registry gets them."""
        registry.register(self)
        try:
            yield
        finally:
            registry.unregister(self)

    def describe(self) -> list[Metric]:
        """Nothing in advance: a process may have two servers (in tests), whose metrics have the same names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        yield from self._documents()
        yield from self._runs()
        yield from self._log()

    # Private

    def _documents(self) -> Iterator[Metric]:
        documents = self._collaboration.documents.all()
        rooms = GaugeMetricFamily(PREFIX + "rooms", "Documents that are open", labels=["type"])
        clients = GaugeMetricFamily(PREFIX + "clients", "Clients of open documents", labels=["type"])
        for kind in sorted({document.room_id.type for document in documents}):
            of_kind = [document for document in documents if document.room_id.type == kind]
            rooms.add_metric([kind], len(of_kind))
            clients.add_metric([kind], sum(len(document.room.clients) for document in of_kind))
        yield rooms
        yield clients
        measures = self._collaboration.measures
        yield GaugeMetricFamily(
            PREFIX + "unsaved_documents",
            "Documents with changes that their file has not",
            sum(document.mirror.dirty for document in documents),
        )
        yield _histogram("save_seconds", "Time to write a document to its file", measures.saves)
        yield CounterMetricFamily(
            PREFIX + "failed_saves", "Documents that could not be saved", measures.failed_saves
        )

    def _runs(self) -> Iterator[Metric]:
        runs = GaugeMetricFamily(
            PREFIX + "runs", "Runs that wait for their kernel, or that it has", labels=["state"]
        )
        under_way = [run.state for run in self._collaboration.book.all_live()]
        for state in (RunState.QUEUED, RunState.RUNNING, RunState.INPUT):
            runs.add_metric([state.value], under_way.count(state))
        yield runs
        measures = self._collaboration.measures
        ended = CounterMetricFamily(PREFIX + "ended_runs", "Runs by how they ended", labels=["state"])
        for state in RunState:
            if state.ended:
                ended.add_metric([state.value], measures.ended[state.value])
        yield ended
        yield _histogram("run_wait_seconds", "Time until a run's turn came", measures.waiting)
        running = HistogramMetricFamily(
            PREFIX + "run_seconds", "Time that the kernel had a run, by how it ended", labels=["state"]
        )
        for name, durations in sorted(measures.running.items()):
            running.add_metric([name], *_buckets(durations))
        yield running
        prompts = HistogramMetricFamily(
            PREFIX + "prompt_seconds", "Time that a run waited for input, by how that ended", labels=["state"]
        )
        for name, durations in sorted(measures.prompts.items()):
            prompts.add_metric([name], *_buckets(durations))
        yield prompts
        yield _histogram("flush_seconds", "Time to write output into a document", measures.flushes)

    def _log(self) -> Iterator[Metric]:
        measures, log = self._collaboration.measures, self._collaboration.log
        yield GaugeMetricFamily(
            PREFIX + "update_log_bytes",
            "Size of the update log on disk",
            log_bytes(self._collaboration.settings.log_path),
        )
        yield GaugeMetricFamily(
            PREFIX + "update_log_waiting_bytes", "Updates not yet in the log", log.waiting_bytes
        )
        yield GaugeMetricFamily(
            PREFIX + "update_log_failing", "1 while the log cannot be written", log.degraded
        )
        yield _histogram("update_log_write_seconds", "Time to write to the log", measures.log_writes)
        yield CounterMetricFamily(
            PREFIX + "failed_update_log_writes",
            "Writes to the log that failed; they are tried again",
            measures.failed_log_writes,
        )


def log_bytes(path: Path | None) -> int:
    """Bytes that the update log's database takes on disk, with what SQLite keeps beside it."""
    total = 0
    for name in () if path is None else (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        assert path is not None
        with suppress(OSError):
            total += path.with_name(name).stat().st_size
    return total


def _histogram(name: str, documentation: str, durations: Durations) -> Metric:
    buckets, total = _buckets(durations)
    return HistogramMetricFamily(PREFIX + name, documentation, buckets=buckets, sum_value=total)


def _buckets(durations: Durations) -> tuple[list[tuple[str, float]], float]:
    found = [(repr(bound), float(count)) for bound, count in durations.up_to()]
    return [*found, ("+Inf", float(durations.count))], durations.total
