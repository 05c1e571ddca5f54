"""What must be done about an event. Somebody else does it (``kernel/kernel_runner.py``)."""

from __future__ import annotations

from dataclasses import dataclass

from ydoc_exec.execution.run_state import Outcome
from ydoc_exec.ids import RunId


@dataclass(frozen=True, slots=True)
class Connect:
    """Bring up the link to the kernel and say ``KernelReady`` or ``KernelLost``."""


@dataclass(frozen=True, slots=True)
class Execute:
    """Send this run's code to the kernel and mark it as running."""

    run: RunId


@dataclass(frozen=True, slots=True)
class AwaitIdle:
    """Say ``IdleOverdue`` unless this run has ended within a bounded time."""

    run: RunId


@dataclass(frozen=True, slots=True)
class AwaitReply:
    """Say ``ReplyOverdue`` unless this run has ended within a bounded time."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Finish:
    """This run has ended. Write its last output, its count and its outcome; nothing follows."""

    run: RunId
    outcome: Outcome


Effect = Connect | Execute | AwaitIdle | AwaitReply | Finish
