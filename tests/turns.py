"""Whose turn it is when several processes share the tests out among them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Turns:
    """Lets any number of tests run beside each other, or one alone. Nobody is passed over for ever.

    All processes that are given the same directory take turns. What a process holds is released when it ends,
    however it ends.
    """

    def __init__(self, directory: Path) -> None:
        self._door = directory / "turns-door"
        self._room = directory / "turns-room"

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn and hold it as long as the block."""
        with ExitStack() as held:
            # Who waits for the room stands in the door, so that nobody goes past them into it.
            with _locked(self._door, fcntl.LOCK_EX):
                held.enter_context(_locked(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough if a child has the file open too
        os.close(file)
