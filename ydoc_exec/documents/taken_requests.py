"""Requests that are carried out once, however often they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from anyio import Event

T = TypeVar("T")

REMEMBERED = 256
"""So many requests are known to have been carried out: who has lost its connection comes back soon, or asks anew."""


@dataclass(slots=True)
class _Taken(Generic[T]):
    over: Event = field(default_factory=Event)
    result: T | None = None


class TakenRequests(Generic[T]):
    """Knows what came of requests, by the ids that clients gave them.

    A client whose connection is lost before it was answered cannot know whether the server has its request. It sends it
    again, under the same id.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[str, ...], _Taken[T]] = {}
        self._over: deque[tuple[str, ...]] = deque()

    async def once(self, key: tuple[str, ...], carry_out: Callable[[], Awaitable[T]]) -> T:
        """What carrying it out has given the first time, which may be now. One that failed has not been carried out.

        Raises what ``carry_out`` does.
        """
        while (taken := self._taken.get(key)) is not None:
            await taken.over.wait()
            if taken.result is not None:
                return taken.result
        taken = self._taken[key] = _Taken()
        try:
            result = taken.result = await carry_out()
        except BaseException:
            del self._taken[key]
            raise
        finally:
            taken.over.set()
        self._over.append(key)
        if len(self._over) > REMEMBERED:
            del self._taken[self._over.popleft()]
        return result
