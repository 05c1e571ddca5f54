"""Rooms without a document: the presence of everybody on this server."""

from __future__ import annotations

import logging

from anyio import TASK_STATUS_IGNORED, Event
from anyio.abc import TaskGroup, TaskStatus
from pycrdt import Doc

from ydoc_exec.room.room import Room
from ydoc_exec.room.room_client import RoomClient
from ydoc_exec.settings import Settings

logger = logging.getLogger(__name__)


class PresenceRoom:
    """A room that lives as long as the server. Nothing in it is kept."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._room = Room(name, Doc(), backlog=settings.client_backlog)
        self._stopping = Event()
        self._tasks: TaskGroup | None = None

    async def run(self, tasks: TaskGroup, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Live until ``stop``."""
        async with self._room.open():
            self._tasks = tasks
            task_status.started()
            await self._stopping.wait()
            self._room.disconnect(1001, "the server is stopping")

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def admit(self, client: RoomClient) -> None:
        """Let a client take part, until it leaves. Returns at once."""
        assert self._tasks is not None, "the room is not open"
        self._tasks.start_soon(self._serve, client)

    # Private

    async def _serve(self, client: RoomClient) -> None:
        try:
            await self._room.serve(client)
        except Exception:
            logger.exception("Serving %s failed; it is disconnected", client.name)
            client.close(1011, "The server failed to serve this connection.")
