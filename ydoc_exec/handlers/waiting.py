"""Requests that stay open until something happens."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import CancelScope, current_time, move_on_after
from tornado.iostream import StreamClosedError

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.handlers.access import may_still
from ydoc_exec.handlers.base import YdocExecHandler
from ydoc_exec.settings import Settings

logger = logging.getLogger(__name__)

HEARTBEAT = 15.0
"""A stream of events without events says after so many seconds that it is there."""


class WaitingHandler(YdocExecHandler):
    """A JSON endpoint that may wait, or send events as they come.

    What waits does so inside ``self.present``, and ends when its client has gone.
    """

    auth_resource: str

    def initialize(self, collaboration: Callable[[], Awaitable[Collaboration]]) -> None:
        super().initialize(collaboration)
        self.present = CancelScope()
        self._asked = current_time()

    def on_connection_close(self) -> None:
        """The client has gone."""
        super().on_connection_close()
        self.present.cancel()

    @property
    def wants_events(self) -> bool:
        """Whether the client asked for server-sent events, before anything else."""
        first, _, _ = self.request.headers.get("Accept", "").partition(",")
        return first.partition(";")[0].strip() == "text/event-stream"

    def begin_events(self) -> None:
        """The answer is a stream of events (HTML standard, 9.2), until ``end_events``."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep them until there are many

    def write_event(self, kind: str, event_id: str, data: dict[str, Any]) -> None:
        """Add an event to what ``flush`` sends."""
        self.write(f"event: {kind}\nid: {event_id}\ndata: {json.dumps(data)}\n\n")

    def end_events(self) -> None:
        """All has been said."""
        self.finish(set_content_type="text/event-stream")

    async def wait_for(self, news: Callable[[], Awaitable[Any]], settings: Settings) -> bool:
        """Send what was written, and wait for the next news.

        False if the client has gone, or may not do this any more, which is asked every ``Settings.access_interval``
        seconds, however much news there is.
        """
        pause = min(HEARTBEAT, settings.access_interval)
        try:
            await self.flush()
            while True:
                if current_time() > self._asked + settings.access_interval:
                    self._asked = current_time()
                    if not await self._may_stay():
                        return False
                with move_on_after(pause) as waiting:
                    await news()
                if not waiting.cancelled_caught:
                    return True
                self.write(": still here\n\n")
                await self.flush()
        except StreamClosedError:
            return False

    # Private

    async def _may_stay(self) -> bool:
        try:
            return await may_still(self, "read", self.auth_resource)
        except Exception:
            # Who cannot be asked about keeps what was found last, as in rooms.
            logger.exception("The rights of a client could not be asked for again")
            return True
