"""The steps of runs and of what they ask for, for programs that watch the server."""

from __future__ import annotations

from typing import Any

from ydoc_exec.execution.run_state import RunState
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import PromptStep


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


def prompt_event(step: PromptStep) -> dict[str, Any]:
    """What has just happened to a question, without its text and its answer: ``event_schemas/prompt-v1.yaml``."""
    run, prompt, answer = step.run, step.prompt, step.answer
    event = {
        "action": step.state.value,
        "prompt_id": prompt.id,
        "run_id": run.id,
        "kernel_id": run.kernel,
        "document_id": str(run.room),
        "path": run.path,
        "cell_id": run.cell,
        "password": prompt.password,
        "asked_at": prompt.asked_at,
        "answered_at": answer.at if answer is not None else None,
        "user": answer.user if answer is not None else None,
    }
    return {key: value for key, value in event.items() if value is not None}
