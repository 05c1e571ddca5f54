"""Requests that come twice."""

from __future__ import annotations

import pytest
from anyio import Event, create_task_group, get_cancelled_exc_class, wait_all_tasks_blocked

from ydoc_exec.documents.taken_requests import REMEMBERED, TakenRequests

pytestmark = pytest.mark.anyio


class Work:
    """What is to be done once."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = Event()
        self.failing = 0

    async def do(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go_on.wait()
        if number <= self.failing:
            raise ValueError(number)
        return number


async def test_one_that_comes_again_has_the_same_result() -> None:
    requests, work = TakenRequests[int](), Work()
    results: list[int] = []

    async def ask(key: str) -> None:
        results.append(await requests.once((key,), work.do))

    async with create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, "one")
        await wait_all_tasks_blocked()
        assert work.begun == 1
        work.go_on.set()
    await ask("one")
    await ask("another")
    assert results == [1, 1, 1, 1, 2]


async def test_one_that_failed_is_tried_again_by_whoever_asked_too() -> None:
    requests, work = TakenRequests[int](), Work()
    work.failing = 1
    results: list[int | str] = []

    async def ask() -> None:
        try:
            results.append(await requests.once(("one",), work.do))
        except ValueError:
            results.append("failed")

    async with create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await wait_all_tasks_blocked()
        work.go_on.set()
    assert sorted(results, key=str) == [2, 2, "failed"]


async def test_one_that_was_cancelled_is_free_again() -> None:
    requests, work = TakenRequests[int](), Work()
    cancelled = False

    async def ask() -> None:
        nonlocal cancelled
        try:
            await requests.once(("one",), work.do)
        except get_cancelled_exc_class():
            cancelled = True
            raise

    async with create_task_group() as tasks:
        tasks.start_soon(ask)
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert cancelled
    work.go_on.set()
    assert await requests.once(("one",), work.do) == 2


async def test_not_all_are_remembered() -> None:
    requests, work = TakenRequests[int](), Work()
    work.go_on.set()
    for number in range(REMEMBERED + 1):
        await requests.once((str(number),), work.do)
    assert await requests.once(("1",), work.do) == 2
    assert await requests.once(("0",), work.do) == REMEMBERED + 2
    assert len(requests._taken) == len(requests._over) == REMEMBERED
