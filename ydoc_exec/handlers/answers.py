"""What clients of the field expect in answers, besides our own keys.

``jupyter-server-nbmodel`` (0.2): its front end polls ``request_url``, whose address is without the server's base because
it adds that itself (``requestServer.ts``), and reads ``request_status``, ``pending`` and ``outputs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_server.utils import url_path_join
from tornado.httputil import url_concat

from ydoc_exec.documents.run_records import Record
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.kernel.run import Run


def batch_url(base_url: str, run: Run) -> str:
    """Where it is told what became of all that was asked for together."""
    url = url_path_join(base_url, "api/kernels", run.kernel, "requests")
    return str(url_concat(url, {"batch": run.batch}))


def accepted(base_url: str, runs: Sequence[Run]) -> dict[str, Any]:
    """The runs of a request that was taken, in words for all clients."""
    first = runs[0]
    return {
        "request_id": first.id,
        "batch_id": first.batch,
        "batch_url": batch_url(base_url, first),
        "kernel_id": first.kernel,
        "document_id": str(first.room),
        "runs": [{"cell_id": run.cell, "run_id": run.id, "state": run.state.value} for run in runs],
    }


def nbmodel_url(kernel_id: str, run_id: str) -> str:
    """Where that front end asks for a run."""
    return f"/api/kernels/{kernel_id}/requests/{run_id}"


def nbmodel_keys(record: Record) -> dict[str, Any]:
    """The keys by which it knows a run."""
    state = RunState(record["state"])
    return {
        "request_id": record["run_id"],
        "request_url": nbmodel_url(record["kernel_id"], record["run_id"]),
        "document_path": record["path"],
        "pending": not state.ended,
        "request_status": "complete" if state.ended else state.value,
    }


def nbmodel_answer(
    record: Record, outputs: list[dict[str, Any]] | None, header: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    """The status and the body with which it is told what became of a run.

    202 while it is under way, 300 with the question and the ``header`` of the kernel's message while it waits for input, 200 with the kernel's reply and the outputs as JSON text (not there if they are not known
    any more), 500 with ``error`` for a run that the kernel never had or that was lost with it.
    """
    answer = record | nbmodel_keys(record)
    state = RunState(record["state"])
    prompt = record["prompt"]
    if prompt is not None:
        question = {"prompt": prompt["prompt"], "password": prompt["password"]}
        return 300, answer | {"parent_header": dict(header), "input_request": question}
    if not state.ended:
        return 202, answer
    if state not in (RunState.OK, RunState.ERROR):
        return 500, answer | {"error": record["reason"], "message": record["reason"]}
    if outputs is not None:
        answer["outputs"] = json.dumps(outputs)
    return 200, answer | {"status": state.value}
