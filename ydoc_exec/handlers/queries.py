"""The query arguments of requests, read once. Each reader raises ``BadQuery`` with what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

from ydoc_exec.documents.run_records import Filter
from ydoc_exec.errors import BadRequest
from ydoc_exec.execution.run_state import RunState

Argument = Callable[[str], "str | None"]
"""Gives the argument of a name."""

STATES = tuple(state.value for state in RunState)

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

MAX_WAIT = 60.0
"""Seconds. Proxies in front of servers end a request on which nothing was heard for longer."""


class BadQuery(BadRequest):
    """A query argument that is not what the endpoint takes."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"The argument {self.name!r} is not understood: {self.why}."


def read_filter(argument: Argument) -> Filter:
    """``?state=queued,running&batch=...&cell_id=...&document_id=...``, each of which may be missing."""
    states = argument("state")
    wanted = None if states is None else frozenset(states.split(","))
    unknown = sorted((wanted or frozenset()) - {*STATES})
    if unknown:
        raise BadQuery("state", f"{unknown[0]!r} is none of {', '.join(STATES)}")
    return Filter(
        states=wanted,
        batch=argument("batch"),
        cell=argument("cell_id"),
        document=argument("document_id"),
    )


def read_limit(argument: Argument) -> int:
    """``?limit=``, at most 1000; 100 if it is missing."""
    said = argument("limit")
    if said is None:
        return DEFAULT_LIMIT
    if not (said.isascii() and said.isdecimal() and len(said) < 9) or not 1 <= int(said) <= MAX_LIMIT:
        raise BadQuery("limit", f"it must be a number from 1 to {MAX_LIMIT}")
    return int(said)


def read_wait(argument: Argument) -> float:
    """``?wait=`` in seconds, of which at most 60 count; 0 if it is missing."""
    said = argument("wait")
    if said is None:
        return 0.0
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadQuery("wait", "it must be a number of seconds")
    return min(seconds, MAX_WAIT)


def read_known(argument: Argument) -> str | None:
    """``?known=``: the state that the one who asks knows of."""
    known = argument("known")
    if known is not None and known not in STATES:
        raise BadQuery("known", f"{known!r} is none of {', '.join(STATES)}")
    return known
