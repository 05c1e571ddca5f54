"""The order of requests that each name the one before, as those of jupyter-server-documents do."""

from __future__ import annotations

from collections import OrderedDict

from anyio import Event, fail_after

from ydoc_exec.errors import PredecessorNotSeen
from ydoc_exec.ids import RoomId

REMEMBERED = 10_000
"""So many requests are known to have been taken."""


class RequestOrder:
    """Knows which requests were taken, by the ids that clients gave them for one document."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[RoomId, str], None] = OrderedDict()
        self._awaited: dict[tuple[RoomId, str], list[Event]] = {}

    def taken(self, room: RoomId, request: str) -> None:
        """The cells of this request are in the queue."""
        for event in self._awaited.get((room, request), ()):
            event.set()
        self._taken[room, request] = None
        while len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)

    async def after(self, room: RoomId, request: str, timeout: float) -> None:
        """Wait until this request was taken. Raises ``PredecessorNotSeen``."""
        if (room, request) in self._taken:
            return
        event = Event()
        self._awaited.setdefault((room, request), []).append(event)
        try:
            with fail_after(timeout):
                await event.wait()
        except TimeoutError:
            raise PredecessorNotSeen(request, timeout) from None
        finally:
            self._awaited[room, request].remove(event)
            if not self._awaited[room, request]:
                del self._awaited[room, request]
