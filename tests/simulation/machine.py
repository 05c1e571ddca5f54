"""A machine whose time, threads and chance are in the hands of a seed, so that whatever happens happens again.

- Time does not pass while anybody does anything; when all wait, it jumps to what comes next.
- What is given to a worker thread is done on the event loop, in one step, some time later. So disks take time, others
  work meanwhile, and which of them comes first depends on the seed.
- What is drawn from the system's randomness comes from the seed.
- The power can be off: then nothing more reaches a disk.
"""

from __future__ import annotations

import asyncio
import gc
import random
import selectors
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
from anyio import CancelScope, CapacityLimiter
from anyio._backends._asyncio import AsyncIOBackend

from ydoc_exec.store import log_writer

T = TypeVar("T")

REAL_SECONDS = 30.0
"""A simulation that takes more of the processor does not come to an end."""


class Machine:
    """Runs one simulation."""

    def __init__(self, seed: int) -> None:
        self.random = Random(f"machine {seed}")
        self.off = False
        """Whether what is to be done in threads fails, as it never happens when the power is off."""
        self.instant = False
        """Whether it takes no time: for looking without disturbing."""
        self._chance = Random(f"chance {seed}")
        self._loop: _Loop | None = None

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        assert self._loop is not None
        return self._loop.time()

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run it from beginning to end."""
        with self._in_control():
            return anyio.run(main, backend_options={"loop_factory": self._make_loop})

    # Private

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = _Loop()
        return self._loop

    @contextmanager
    def _in_control(self) -> Iterator[None]:
        machine = self

        async def run_sync_in_worker_thread(
            cls: type[Any],
            func: Callable[..., Any],
            args: tuple[Any, ...],
            abandon_on_cancel: bool = False,
            limiter: CapacityLimiter | None = None,
        ) -> Any:
            return await machine._do(func, args, limiter)

        def at_once(func: Callable[..., T], *args: Any) -> T:
            return func(*args)

        patches = (
            patch.object(AsyncIOBackend, "run_sync_in_worker_thread", classmethod(run_sync_in_worker_thread)),
            patch("anyio.from_thread.run_sync", at_once),
            patch.object(log_writer, "monotonic", lambda: machine.now),
            patch("os.urandom", self._chance.randbytes),
            patch.object(random, "_urandom", self._chance.randbytes),
            patch("os.fsync", lambda handle: None),
        )
        collecting = gc.isenabled()
        gc.disable()  # what is found by chance is forgotten by chance
        try:
            for each in patches:
                each.start()
            yield
        finally:
            for each in reversed(patches):
                each.stop()
            if collecting:
                gc.enable()

    async def _do(self, func: Callable[..., T], args: tuple[Any, ...], limiter: CapacityLimiter | None) -> T:
        await anyio.lowlevel.checkpoint()
        results: list[T] = []
        async with limiter or CapacityLimiter(1):
            with CancelScope(shield=True):
                await anyio.sleep(self._duration())
                if self.off:
                    raise OSError("the power is off")
                try:
                    results.append(func(*args))
                finally:
                    await anyio.sleep(self._duration())
        return results[0]

    def _duration(self) -> float:
        if self.instant:
            return 0.0
        return self.random.choice((0.0, 0.0, 0.0001, 0.001, 0.001, 0.01, 0.1))


# Private


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now


class _Selector(selectors.DefaultSelector):
    """Instead of waiting it lets time pass."""

    def __init__(self, loop: _Loop) -> None:
        super().__init__()
        self._of = loop
        self._rounds = 0
        self._until = time.process_time() + REAL_SECONDS

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._rounds += 1
        if self._rounds % 1024 == 0:
            if time.process_time() > self._until:
                raise TimeoutError(f"after {REAL_SECONDS:g} s it is still going on, at {self._of._now:.3f} s")
            return super().select(0)
        if timeout is None:
            raise RuntimeError(f"everybody waits for ever, at {self._of._now:.3f} s")
        self._of._now += max(0.0, timeout)
        return []
