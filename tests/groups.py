"""How several processes share the tests out: which run one after the other in one of them, and what comes first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

BROWSER = "tests/browser/"
WAITING = (
    "tests/browser/test_seven.py::test_5_another_text_each_time[slow websocket]",
    "tests/browser/test_seven.py::test_6_nobody_is_there_for_most_of_a_long_run",
    "tests/headless/test_rooms.py::test_a_client_that_does_nothing_keeps_its_connection",
    "tests/headless/test_seven.py::test_6_nobody_is_there_for_most_of_a_long_run",
)
"""They take long and do next to nothing meanwhile."""

LONGEST = (
    "waiting",
    "browser",
    "tests/crash/",
    "tests/headless/",
    "tests/handlers/",
    "tests/kernel/",
    "tests/documents/",
)
"""The beginnings of the groups that take longest."""


SPREAD = "tests/simulation/"
"""Each of these tests is a group of its own. They come last, where they are a little for everybody to do."""


class Groups(LoadScopeScheduling):
    """A process takes one group after the other: what waits, what needs a browser, and else one module each.

    A module's tests may share a server, and two browsers would make each other slow. pytest-xdist's own marks for
    this (``--dist loadgroup``) are without effect from pytest 9.2 on.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """The group of a test."""
    if nodeid in WAITING:
        return "waiting"
    if nodeid.startswith(BROWSER):
        return "browser"
    return nodeid if nodeid.startswith(SPREAD) else nodeid.partition("::")[0]


def rank(nodeid: str) -> int:
    """Groups of a lower rank are begun earlier, so that at the end all processes have something to do."""
    name = group(nodeid)
    if name.startswith(SPREAD):
        return len(LONGEST) + 1
    return next((rank for rank, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))
