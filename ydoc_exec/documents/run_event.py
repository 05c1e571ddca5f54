"""The steps of runs, for programs that watch the server."""

from __future__ import annotations

from typing import Any

from ydoc_exec.execution.run_state import RunState
from ydoc_exec.kernel.run import Run


def run_event(run: Run) -> dict[str, Any]:
    """The step that a run has just taken. The fields are those of the event's schema, ``event_schemas/run-v1.yaml``."""
    event = {
        "action": "queued" if run.state is RunState.QUEUED else "ended" if run.state.ended else "started",
        "run_id": run.id,
        "batch_id": run.batch,
        "kernel_id": run.kernel,
        "document_id": str(run.room),
        "path": run.path,
        "cell_id": run.cell,
        "user": run.user,
        "state": run.state.value,
        "reason": run.outcome.reason or None if run.outcome is not None else None,
        "execution_count": run.outcome.execution_count if run.outcome is not None else None,
        "queued_at": run.queued_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }
    return {key: value for key, value in event.items() if value is not None}
