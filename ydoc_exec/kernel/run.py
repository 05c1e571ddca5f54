"""One request to execute one cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from jupyter_client.jsonutil import parse_date

from ydoc_exec.execution.prompts import Prompt
from ydoc_exec.execution.run_state import Outcome, RunState
from ydoc_exec.ids import BatchId, CellId, KernelId, PromptId, RoomId, RunId, new_batch_id


def now() -> str:
    """The time as ISO 8601 in UTC, as Jupyter writes it."""
    return _iso(datetime.now(timezone.utc))


def moment(said: object) -> str:
    """A time in a kernel's message, as ISO 8601 in UTC; the present time if the kernel said none.

    ``jupyter_client`` makes ``datetime`` of the dates in headers and leaves those in metadata as text.
    """
    if isinstance(said, str):
        said = parse_date(said)
    return _iso(said.astimezone(timezone.utc)) if isinstance(said, datetime) else now()


@dataclass(frozen=True, slots=True)
class Tether:
    """By what the next life of this server finds a run again that a kernel behind a gateway has.

    Args:
        gateway: the address of the gateway.
        session: the session id of the link, for which the gateway keeps what the kernel says.
        parent: what the kernel's messages about the run name as their parent.
    """

    gateway: str
    session: str
    parent: str


@dataclass(slots=True)
class Run:
    """What was asked, by whom, and where it stands. Only the kernel's runner changes it.

    ``source`` is the exact text that runs: it was read from the document when the run was submitted, and
    typing on does not change it.
    """

    id: RunId
    kernel: KernelId
    room: RoomId
    cell: CellId
    source: str
    user: str
    seq: int
    name: str = ""
    """What to call the user, if that is something else."""
    stop_on_error: bool = True
    record_timing: bool = False
    allow_stdin: bool = True
    """Whether it may ask for input. If not, asking fails in the kernel at once."""
    batch: BatchId = field(default_factory=new_batch_id)
    path: str | None = None
    """Where the document was when the run was submitted; None if it had no file."""
    form: str = "ydoc_exec"
    """Whose body it was asked for with, which says what answers are expected."""
    queued_at: str = field(default_factory=now)
    started_at: str | None = None
    ended_at: str | None = None
    prompt: Prompt | None = None
    """What it waits for."""
    tether: Tether | None = None
    """Set when a kernel has it that outlives this server."""
    outcome: Outcome | None = None
    timings: dict[str, str] = field(default_factory=dict)
    """For the cell's ``metadata.execution``, if ``record_timing``. The keys are those of JupyterLab
    (``CodeCell.execute`` in ``@jupyterlab/cells``), which are also nbclient's."""

    def note_time(self, key: str, said: object) -> None:
        """Something happened at the time that a kernel's message said."""
        if self.record_timing:
            self.timings[key] = moment(said)

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        if self.outcome is not None:
            return self.outcome.state
        if self.started_at is None:
            return RunState.QUEUED
        return RunState.RUNNING if self.prompt is None else RunState.INPUT

    def entry(self) -> dict[str, object]:
        """The run as every client sees it in the document's ``execution`` map."""
        entry: dict[str, object] = {
            "run_id": self.id,
            "state": self.state.value,
            "seq": self.seq,
            "user": self.user,
            "queued_at": self.queued_at,
            "started_at": self.started_at,
        }
        if self.name and self.name != self.user:
            entry["name"] = self.name
        if self.outcome is not None and self.outcome.reason:
            entry["reason"] = self.outcome.reason
        return entry

    def record(self) -> dict[str, object]:
        """The run as it is answered to who asks for it by its id, and kept when the server ends."""
        outcome = self.outcome or Outcome(self.state)
        return {
            "run_id": self.id,
            "batch_id": self.batch,
            "kernel_id": self.kernel,
            "document_id": str(self.room),
            "path": self.path,
            "cell_id": self.cell,
            "source": self.source,
            "source_hash": sha256(self.source.encode()).hexdigest(),
            "user": self.user,
            "name": self.name or self.user,
            "form": self.form,
            "seq": self.seq,
            "state": self.state.value,
            "reason": outcome.reason,
            "execution_count": outcome.execution_count,
            "queued_at": self.queued_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "prompt": None if self.prompt is None else self.prompt.entry(),
        }


def restorable(run: Run) -> dict[str, Any] | None:
    """What it takes beside its record to go on with a run in the next life of the server; None if nobody can."""
    if run.tether is None or run.state.ended:
        return None
    return {
        "tether": asdict(run.tether),
        "stop_on_error": run.stop_on_error,
        "record_timing": run.record_timing,
        "allow_stdin": run.allow_stdin,
        "timings": dict(run.timings),
        "question": None if run.prompt is None else dict(run.prompt.header),
    }


def restored(record: Mapping[str, Any], more: Mapping[str, Any]) -> Run:
    """The run of which these were written down. Raises ``ValueError``, ``TypeError`` or ``KeyError`` if they were not."""
    asked, run_id, kernel, cell = (
        record["prompt"],
        RunId(record["run_id"]),
        KernelId(record["kernel_id"]),
        CellId(record["cell_id"]),
    )
    return Run(
        id=run_id,
        kernel=kernel,
        room=RoomId.parse(record["document_id"]),
        cell=cell,
        source=record["source"],
        user=record["user"],
        seq=record["seq"],
        name=record["name"],
        stop_on_error=more["stop_on_error"],
        record_timing=more["record_timing"],
        allow_stdin=more["allow_stdin"],
        batch=BatchId(record["batch_id"]),
        path=record["path"],
        form=record["form"],
        queued_at=record["queued_at"],
        started_at=record["started_at"],
        timings=dict(more["timings"]),
        tether=Tether(**more["tether"]),
        prompt=None
        if asked is None
        else Prompt(
            id=PromptId(asked["prompt_id"]),
            run=run_id,
            kernel=kernel,
            cell=cell,
            user=asked["user"],
            text=asked["prompt"],
            password=asked["password"],
            policy=asked["policy"],
            asked_at=asked["asked_at"],
            header=more["question"],
        ),
    )


# Private


def _iso(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")
