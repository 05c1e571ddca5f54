"""What happens in one round: everything that is decided before it begins, from its number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum


class Moment(Enum):
    """When a server is killed."""

    STARTING = "while it starts"
    COMING = "while clients come and the document is loaded"
    TYPING = "while clients type"
    SAVING = "after a client pressed save"
    REPLACING = "while the file is written"
    COMMITTING = "while the log is written"
    RUNNING = "while a cell runs"
    LEAVING = "after the last client left"
    STOPPING = "while it stops"


class Log(Enum):
    """What becomes of the update log after a kill."""

    KEPT = "nothing"
    DELETED = "it is deleted"
    CORRUPT = "it is overwritten with something else"
    OLDER = "it is what it was before the last life"
    LOCKED = "another program keeps it locked for one life"
    UNREACHABLE = "it cannot be opened for one life"


@dataclass(frozen=True)
class Life:
    """One life of a server. Times are in seconds."""

    moment: Moment
    before: float
    """How long clients do as they like before the moment is waited for."""
    delay: float
    """How long after that moment the server is killed."""
    fresh_first: bool
    """Whether a client without a document comes before those that come back."""
    kernels_outlive: bool
    log: Log
    """What becomes of the log afterwards."""
    settles: bool
    """Whether the moment is waited for until the log has what no client saved."""


@dataclass(frozen=True)
class Plan:
    """One round: lives that end with a kill, and a last one in which everything is looked at."""

    number: int
    ballast: int
    """Bytes of a cell that nobody changes: a large file takes long to write."""
    authors: int
    leaver: bool
    """Whether one more author takes part in the first life only."""
    log_delay: float
    log_compact_bytes: int
    save_delay: float
    linger: float
    lives: tuple[Life, ...]
    fresh_first: bool

    @property
    def intact(self) -> bool:
        """Whether nothing happens to the log."""
        return all(life.log is Log.KEPT for life in self.lives)

    @property
    def flags(self) -> tuple[str, ...]:
        """The server's."""
        return (
            f"--YdocExec.log_delay={self.log_delay}",
            f"--YdocExec.log_compact_bytes={self.log_compact_bytes}",
            f"--YdocExec.save_delay={self.save_delay}",
            f"--YdocExec.linger={self.linger}",
        )


_MOMENTS = {
    Moment.STARTING: 6,
    Moment.COMING: 9,
    Moment.TYPING: 22,
    Moment.SAVING: 15,
    Moment.REPLACING: 20,
    Moment.COMMITTING: 14,
    Moment.LEAVING: 7,
    Moment.STOPPING: 7,
}

_DELAYS = {
    Moment.STARTING: 0.25,
    Moment.COMING: 0.15,
    Moment.TYPING: 0.5,
    Moment.SAVING: 0.25,
    Moment.REPLACING: 0.02,
    Moment.COMMITTING: 0.002,
    Moment.RUNNING: 0.6,
    Moment.LEAVING: 0.5,
    Moment.STOPPING: 0.2,
}

_FAULTS = (Log.DELETED, Log.CORRUPT, Log.OLDER, Log.LOCKED, Log.UNREACHABLE)

RUN_EVERY = 12
FAULT_EVERY = 4
SETTLE_EVERY = 8

NEVER = 60.0
"""A delay that no round lasts, in seconds."""


def plan(number: int) -> Plan:
    """The plan of a round. The same number has the same plan."""
    rng = random.Random(number)
    kills = rng.choices((1, 2, 3), (7, 2, 1))[0]
    runs = number % RUN_EVERY == 0
    faults = not runs and number % FAULT_EVERY == 1
    settles = number % SETTLE_EVERY == (0 if runs else 3)
    if faults:
        kills = max(kills, 2)
    moments = rng.choices(list(_MOMENTS), list(_MOMENTS.values()), k=kills)
    if runs:
        moments[-1 if settles else rng.randrange(kills)] = Moment.RUNNING
    elif settles:
        moments[-1] = Moment.TYPING
    logs = [Log.KEPT] * kills
    if faults:
        logs[rng.randrange(kills)] = rng.choice(_FAULTS)
    return Plan(
        number=number,
        ballast=rng.choice((0, 0, 0, 10_000, 1_000_000, 2_000_000)),
        authors=rng.choice((1, 1, 2)),
        leaver=rng.random() < 0.3,
        log_delay=rng.choice((0.0, 0.05, 0.1)),
        log_compact_bytes=rng.choice((2_000, 2**20)),
        save_delay=NEVER if settles else rng.choice((0.02, 0.2, 1.0)),
        linger=0.05 if Moment.LEAVING in moments else rng.choice((0.05, 60.0)),
        lives=tuple(
            Life(
                moment,
                before=rng.uniform(0, 0.3),
                delay=rng.uniform(0, _DELAYS[moment]),
                fresh_first=rng.random() < 0.4,
                kernels_outlive=rng.random() < 0.5,
                log=log,
                settles=settles and index == kills - 1,
            )
            for index, (moment, log) in enumerate(zip(moments, logs, strict=True))
        ),
        fresh_first=rng.random() < 0.5 or settles,
    )
