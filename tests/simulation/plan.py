"""What happens in one simulation: made from its seed, and from nothing else.

Steps name what they are about by numbers between 0 and 1 (``where``), since what there will be is not known yet: which
of the cells that are there then, which place in its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

T = TypeVar("T")

Kind = Literal[
    # The user of a tab
    "type",
    "paste",
    "erase",
    "insert",
    "remove",
    "move",
    "set-type",
    "clear",
    "undo",
    "redo",
    "wipe",
    "save",
    # Its connection
    "open",
    "reload",
    "close",
    "drop",
    "return",
    # The kernel
    "run",
    # Other programs
    "outside",
    # The server
    "stop",
    "kill",
    "start",
    # Time
    "wait",
]

Outside = Literal["change", "erase", "add", "delete", "reorder", "old", "touch", "format", "slow", "outputs"]
Log = Literal["intact", "forgotten", "wiped"]

WIPES = False
"""Whether tabs clear their document and insert a blank cell, as tabs that have lost their way do."""

TABS = 3
STEPS = range(25, 60)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, ``pause`` seconds after the one before.

    ``where`` are numbers between 0 and 1. ``count`` is a number of characters, messages or cells. ``seconds`` says how
    long it takes: until the server notices that a connection is gone, until a run has ended, until another program
    that has read the file writes it.
    """

    kind: Kind
    pause: float = 0.0
    tab: int = 0
    where: tuple[float, float, float] = (0.0, 0.0, 0.0)
    count: int = 0
    seconds: float = 0.0
    outside: Outside = "touch"
    log: Log = "intact"
    flush: bool = True
    """Whether the log gets what still waits before the server is killed."""

    def __str__(self) -> str:
        more = {
            "outside": f" {self.outside} in {self.seconds:.2f} s",
            "start": f" with the log {self.log}",
            "kill": "" if self.flush else " and the log lacks the last",
        }.get(self.kind, f" {self.seconds:.2f} s" if self.seconds else "")
        where = " ".join(f"{each:.2f}" for each in self.where)
        return f"+{self.pause:.3f} s: {self.kind} by {self.tab} at {where} x{self.count}{more}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A simulation. ``sqlite``: the log is a database; else it is in memory. ``yjs``: the tabs that are Yjs in Node."""

    seed: int
    steps: tuple[Step, ...]
    cells: int
    minor: int
    sqlite: bool
    keeps_log: bool
    """Whether a log outlasts the server."""
    yjs: frozenset[int]

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan with this number."""
        return _Planner(Random(f"plan {seed}")).plan(seed)


# Private

_EVERYDAY: dict[Kind, int] = {
    "type": 30,
    "paste": 6,
    "erase": 6,
    "insert": 5,
    "remove": 2,
    "move": 2,
    "set-type": 1,
    "clear": 2,
    "undo": 4,
    "redo": 2,
    "save": 2,
    "open": 5,
    "reload": 1,
    "close": 1,
    "drop": 7,
    "return": 5,
    "run": 10,
    "outside": 9,
    "stop": 3,
    "kill": 3,
    "wait": 6,
}

_OUTSIDE: dict[Outside, int] = {
    "change": 6,
    "erase": 2,
    "add": 3,
    "delete": 2,
    "reorder": 2,
    "old": 2,
    "touch": 1,
    "format": 1,
    "slow": 3,
    "outputs": 2,
}


class _Planner:
    def __init__(self, random: Random) -> None:
        self._random = random

    def plan(self, seed: int) -> Plan:
        random = self._random
        steps = [
            Step("start"),
            Step("open", tab=0, pause=0.1),
            Step("wait", seconds=random.choice((0.5, 2.0))),
        ]
        serving = True
        # Each simulation has its own mixture: some have restarts all the time and others none.
        taste = {kind: weight * random.choice((0.3, 1.0, 1.0, 3.0)) for kind, weight in _EVERYDAY.items()}
        if WIPES:
            taste["wipe"] = random.choice((0.0, 0.0, 2.0))
        for _ in range(random.choice(STEPS)):
            kind = random.choices(list(taste), list(taste.values()))[0]
            if not serving and (kind in ("stop", "kill") or random.random() < 0.25):
                kind = "start"
            if kind in ("stop", "kill", "start"):
                serving = kind == "start"
            steps.append(self._step(kind))
        return Plan(
            seed=seed,
            steps=tuple(steps),
            cells=random.choice((1, 2, 3, 5)),
            minor=4 if random.random() < 0.08 else 5,
            sqlite=random.random() < 0.2,
            keeps_log=random.random() < 0.75,
            yjs=frozenset({random.randrange(TABS)}) if seed % 10 == 3 else frozenset(),
        )

    def _step(self, kind: Kind) -> Step:
        random = self._random
        make: Callable[..., Step] = lambda **more: Step(  # noqa: E731
            kind,
            pause=random.choice((0.0, 0.001, 0.01, 0.05, 0.3, 1.2)),
            tab=self._tab(),
            where=(random.random(), random.random(), random.random()),
            **more,
        )
        match kind:
            case "type" | "erase":
                return make(count=random.randint(1, 5))
            case "paste":
                return make(count=random.randint(10, 40))
            case "insert":
                return make(count=random.randint(0, 3))
            case "drop":
                # A connection that is gone is noticed at once, or when nothing was heard for a while.
                return make(seconds=self._of((0.0, 0.05, 1.0, 30.0)), count=random.randint(0, 3))
            case "run":
                return make(seconds=self._of((0.0, 0.02, 0.3, 3.0, 20.0)), count=random.randint(0, 6))
            case "outside":
                kinds = list(_OUTSIDE)
                outside = random.choices(kinds, [_OUTSIDE[each] for each in kinds])[0]
                slow = self._of((0.05, 0.5, 3.0)) if outside == "slow" else 0.0
                return make(outside=outside, seconds=slow, count=random.randint(1, 4))
            case "kill":
                return make(flush=random.random() < 0.5)
            case "start":
                return make(log=self._of(("intact", "intact", "intact", "forgotten", "wiped")))
            case "wait":
                return make(seconds=self._of((0.2, 1.0, 3.0, 12.0, 70.0)))
            case _:
                return make()

    def _tab(self) -> int:
        # Most of it happens in one tab.
        return self._of((0, 0, 0, 1, 1, 2))

    def _of(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)
