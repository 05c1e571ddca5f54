"""What Jupyter Server knows of a kernel's activity, noted by the link that hears the kernel anyway.

Jupyter Server listens to every kernel itself, for its REST API and its culler
(``MappingKernelManager.start_watching_activity``), and unpacks, dates included, what it then does not look at. Measured:
of a server that passes on 20,000 short messages that was two thirds of the time, and of 50 MB each byte is sent,
received and copied once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from time import monotonic
from typing import Any

import zmq

NOTED_EVERY = 0.1
"""Seconds: the time of the last activity is written no more often. Whoever culls counts in minutes."""


class KernelActivity:
    """Takes the place of what Jupyter Server does with each message that it hears, and comes to the same.

    Only while a link is up: ``instead_of_server`` stops the server's own stream and starts it again. The stream stays
    the server's, which closes it when the kernel ends. Where there is none (another manager of kernels) nothing
    happens.

    Args:
        kernel: Jupyter Server's manager of this kernel.
        managers: its manager of all kernels.
    """

    def __init__(self, kernel: Any, managers: Any) -> None:
        self._kernel = kernel
        self._managers = managers
        self._state: str | None = None  # the last one heard that counts
        self._noted = 0.0

    @contextmanager
    def instead_of_server(self) -> Iterator[None]:
        """As long as this lasts, only what ``note`` is given counts. It must have been given all since the link
        began to hear the kernel."""
        stream = self._stream()
        recorder = getattr(stream, "_recv_callback", None)
        if recorder is None or stream.closed():
            yield
            return
        stream.on_recv(lambda frames: None)  # what is on its way
        stream.socket.setsockopt(zmq.UNSUBSCRIBE, b"")
        if self._state is not None:
            # The server may have been behind.
            self._kernel.execution_state = self._state
        try:
            yield
        finally:
            self._state = None
            if not stream.closed():
                stream.socket.setsockopt(zmq.SUBSCRIBE, b"")
                stream.on_recv(recorder)

    def goes_on(self) -> None:
        """The kernel is still at work, whether it says something or not.

        A cell may be silent for hours. Jupyter Server's culler sees that the kernel is busy; whoever culls whole servers
        (``jupyterhub-idle-culler``) sees the time only. If the culler is configured to end busy kernels too
        (``cull_busy``), silence counts as Jupyter Server counts it.
        """
        if not getattr(self._managers, "cull_busy", True):
            self._note_time()

    def note(self, message: Mapping[str, Any]) -> None:
        """A message was heard on iopub. Malformed ones are no activity."""
        if self._stream() is None:
            return
        kind, parent_kind = message["msg_type"], message["parent_header"].get("msg_type")
        tracked = self._managers.track_message_type
        if kind == "status":
            self._note_state(message["content"].get("execution_state"), tracked(parent_kind))
        if monotonic() >= self._noted + NOTED_EVERY and (
            tracked(kind) or tracked(parent_kind) or self._kernel.execution_state == "busy"
        ):
            self._note_time()

    # Private

    def _stream(self) -> Any:
        return getattr(self._kernel, "_activity_stream", None)

    def _note_time(self) -> None:
        self._noted = monotonic()
        self._kernel.last_activity = self._managers.last_kernel_activity = datetime.now(timezone.utc)

    def _note_state(self, state: object, counts: bool) -> None:
        if not isinstance(state, str):
            return
        if counts:
            self._kernel.execution_state = self._state = state
            self._noted = 0.0  # when it became busy or idle is written exactly
        elif self._kernel.execution_state == "starting" and state != "starting":
            # A kernel that answers anything is no longer starting, and nobody has asked it to do something.
            self._kernel.execution_state = "idle"
