"""What clients of the field expect in answers, besides our own keys.

``jupyter-server-nbmodel`` (0.2): its front end polls ``request_url``, whose address is without the server's base because
it adds that itself (``requestServer.ts``), and reads ``request_status``, ``pending`` and ``outputs``.
"""

from __future__ import annotations

from typing import Any

from ydoc_exec.documents.run_records import Record
from ydoc_exec.execution.run_state import RunState


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
