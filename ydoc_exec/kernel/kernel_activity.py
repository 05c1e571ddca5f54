"""What Jupyter Server knows of a kernel's activity, noted for less.

Jupyter Server listens to every kernel itself, for its REST API and its culler
(``MappingKernelManager.start_watching_activity``), and unpacks, dates included, what it then does not look at. Measured:
of a server that passes on 20,000 short messages that was two thirds of the time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Protocol

from jupyter_client.session import DELIM, Session

from ydoc_exec.kernel.message_reader import MessageReader

logger = logging.getLogger(__name__)

NOTED_EVERY = 0.1
"""Seconds: the time of the last activity is written no more often. Whoever culls counts in minutes."""


class ActivityManager(Protocol):
    """What is used of Jupyter Server's manager of kernels."""

    last_kernel_activity: datetime

    def track_message_type(self, message_type: str | None) -> bool: ...


class KernelActivity:
    """Takes the place of what Jupyter Server does with each message that it hears, and comes to the same.

    Only the callback is exchanged: the stream stays the server's, which closes it when the kernel ends and makes
    another with its own callback when the kernel moves. So there is nothing to be undone, and where there is no
    such stream (another manager of kernels) nothing happens.
    """

    def __init__(self, kernel: Any, managers: ActivityManager) -> None:
        self._kernel = kernel
        self._managers = managers
        self._session = Session(config=kernel.session.config, key=kernel.session.key)
        self._reader = MessageReader(self._session)
        self._parent_bytes = b""
        self._parent_type: str | None = None
        self._noted = 0.0

    @classmethod
    def watch(cls, kernel: Any, managers: Any) -> None:
        """From now on note the activity of this kernel here. Calling it again is no harm."""
        stream = getattr(kernel, "_activity_stream", None)
        if stream is not None and hasattr(managers, "track_message_type"):
            stream.on_recv(cls(kernel, managers).note)

    def note(self, frames: list[bytes]) -> None:
        """A message was heard on iopub."""
        try:
            parts = frames[frames.index(DELIM) + 1 :]
            kind, parent_type = self._session.unpack(parts[1])["msg_type"], self._type_of_parent(parts[2])
            if kind == "status":
                self._note_state(self._reader.read(parts), parent_type)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            logger.debug("A message that is none is no activity: %s", error)
            return
        tracked = self._managers.track_message_type
        if monotonic() >= self._noted + NOTED_EVERY and (
            tracked(kind) or tracked(parent_type) or self._kernel.execution_state == "busy"
        ):
            self._noted = monotonic()
            self._kernel.last_activity = self._managers.last_kernel_activity = datetime.now(timezone.utc)

    # Private

    def _type_of_parent(self, parent: bytes) -> str | None:
        if parent != self._parent_bytes:
            self._parent_type = self._session.unpack(parent).get("msg_type")
            self._parent_bytes = parent
        return self._parent_type

    def _note_state(self, message: Mapping[str, Any], parent_type: str | None) -> None:
        state = message["content"]["execution_state"]
        if self._managers.track_message_type(parent_type):
            self._kernel.execution_state = state
            self._noted = 0.0  # when it became busy or idle is written exactly
        elif self._kernel.execution_state == "starting" and state != "starting":
            # A kernel that answers anything is no longer starting, and nobody has asked it to do something.
            self._kernel.execution_state = "idle"
