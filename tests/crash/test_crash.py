"""Servers are killed (SIGKILL) at any moment, more than 300 times. What must be true then: see ``tests/crash/round.py``.

Each round is one test and begins with nothing; its number decides all but the machine's own chances:
``pytest "tests/crash/test_crash.py::test_round[17]"`` does it again. ``YDOC_EXEC_CRASH_ROUNDS=300`` plays more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.crash.forked_server import ForkedServer, Zygote
from tests.crash.plan import Moment, plan
from tests.crash.round import Round, Tally
from tests.crash.watcher import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ROUNDS = int(os.environ.get("YDOC_EXEC_CRASH_ROUNDS", "200"))
"""With several kills in some of them."""

KILLS = 300


@pytest.fixture(scope="module")
def tally() -> Tally:
    return Tally()


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    try:
        yield zygote
    finally:
        zygote.stop()


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    try:
        yield watcher
    finally:
        watcher.stop()


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_round(number: int, zygote: Zygote, watcher: Watcher, tally: Tally, tmp_path: Path) -> None:
    planned = plan(number)
    print(planned)
    server = ForkedServer(zygote, tmp_path, *planned.flags)
    try:
        await Round(planned, server, watcher, tally).play()
    except BaseException:
        print(server.log)
        raise
    finally:
        server.stop()
    shutil.rmtree(tmp_path)  # notebooks of some megabytes each


def test_all_moments_were_met(tally: Tally) -> None:
    if tally.rounds < 200:
        pytest.skip("only some rounds were played to their end")
    print(vars(tally))
    assert sum(tally.kills.values()) >= KILLS
    assert set(tally.kills) == set(Moment)
    assert tally.half_saved >= 10
    assert tally.unlogged >= 10
    settled = [life.moment for number in range(ROUNDS) for life in plan(number).lives if life.settles]
    assert tally.settled >= len(settled) >= 30
    assert tally.settled_lines >= settled.count(Moment.RUNNING) >= 8
    assert tally.versions >= 2 * ROUNDS


def test_nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = str(tmp_path_factory.getbasetemp())
    commands = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    assert [
        command for command in commands if any(base in word and "kernel-" in word for word in command)
    ] == []
