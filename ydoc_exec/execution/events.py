"""What can happen to the runs of one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ydoc_exec.ids import RunId


@dataclass(frozen=True, slots=True)
class Request:
    """One run as the queue sees it.

    ``blank``: there is nothing to execute; such a run keeps its place and never reaches the kernel.
    ``stop_on_error``: its failure aborts what was queued before it failed.
    """

    run: RunId
    blank: bool = False
    stop_on_error: bool = True


@dataclass(frozen=True, slots=True)
class Submitted:
    """The cells of one gesture. They enter together and stay together."""

    batch: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Adopted:
    """The kernel has this run from an earlier life of the server, and nothing else of ours."""

    request: Request


@dataclass(frozen=True, slots=True)
class KernelReady:
    """The link is up: nothing the kernel says from now on can be missed."""


@dataclass(frozen=True, slots=True)
class Replied:
    """The kernel's ``execute_reply`` came (shell channel).

    ``interrupted``: the error is that of an interrupt, whoever sent it.
    """

    run: RunId
    status: Literal["ok", "error", "aborted"]
    execution_count: int | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class WentIdle:
    """The kernel's idle status for this run came (iopub channel): all its ordinary output is here."""

    run: RunId


@dataclass(frozen=True, slots=True)
class IdleOverdue:
    """The reply is here for a while and idle is not: it was lost (a SUB socket may drop)."""

    run: RunId


@dataclass(frozen=True, slots=True)
class ReplyOverdue:
    """The kernel went idle a while ago and has not replied: the reply was lost, or it never replies."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Somebody has interrupted the kernel, whatever it was doing."""


@dataclass(frozen=True, slots=True)
class KernelLost:
    """The kernel died, was restarted, shut down, or cannot be reached."""

    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """The server stops, and leaves the kernel the run that it has to the server's next life. What waits ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody took these runs out of the queue. Those that have started go on."""

    runs: frozenset[RunId]


Event = (
    Submitted
    | Adopted
    | KernelReady
    | Replied
    | WentIdle
    | IdleOverdue
    | ReplyOverdue
    | Interrupted
    | KernelLost
    | Left
    | Cancelled
)
