"""How each kernel of this server is, and since when, whether anybody looks on or not.

Jupyter Server notes what a kernel's status messages say, which leaves gaps when no client ever connects: a kernel that
nobody has asked anything is "starting" for ever, also one that died and was started again, and of one that died for good
nothing is left. Here a kernel is asked for its info, on its control channel, whenever it is started, which the server hears
and understands, and one that is gone is remembered for a while.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from anyio import move_on_after, sleep
from anyio.abc import TaskGroup

from ydoc_exec.errors import KernelNotFound
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel.kernel_runners import KernelManagers
from ydoc_exec.kernel.run import now
from ydoc_exec.kernel.run_book import RunBook

logger = logging.getLogger(__name__)

GONE_REMEMBERED = 1000
"""Of so many kernels that are gone it can still be asked how they ended."""

FIRST_PAUSE = 0.1
LAST_PAUSE = 2.0
"""Seconds between two questions to a kernel that has not answered."""

SHUT_DOWN = "it was shut down"
DIED = "it died"
GAVE_UP = "it died and could not be started again"


@dataclass(slots=True)
class _Life:
    """One kernel, from its start to its end, restarts included."""

    manager: Any
    execution: str
    execution_since: str = field(default_factory=now)
    lifecycle: str = "starting"
    lifecycle_since: str = field(default_factory=now)
    asked: bool = False
    over: bool = False

    def become(self, lifecycle: str) -> None:
        if lifecycle != self.lifecycle:
            self.lifecycle, self.lifecycle_since = lifecycle, now()

    def says(self, execution: str) -> None:
        """Its execution state is this now."""
        if execution == self.execution:
            return
        self.execution, self.execution_since = execution, now()
        if execution != "starting":
            self.become("running")
        elif self.lifecycle == "running":
            self.become("restarting")


class KernelStates:
    """Tells how kernels are.

    Args:
        tasks: the group in which kernels are asked.
        managers: the server's manager of kernels.
        book: the runs of this server.
        patience: seconds for which a kernel that is started is asked.
        remote: the kernels are a gateway's, which asks them itself.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        managers: KernelManagers,
        book: RunBook,
        patience: float,
        *,
        remote: bool = False,
    ) -> None:
        self._tasks = tasks
        self._managers = managers
        self._book = book
        self._patience = patience
        self._remote = remote
        self._lives: dict[KernelId, _Life] = {}
        self._gone: OrderedDict[KernelId, dict[str, Any]] = OrderedDict()

    def started(self, kernel_id: KernelId) -> None:
        """The server has started this kernel, or is about to say that it has it."""
        self._tasks.start_soon(self._find, kernel_id)

    def replaced(self, kernel_id: KernelId) -> None:
        """The kernel was shut down or restarted, or somebody tried."""
        if kernel_id not in self._managers:
            self._bury(kernel_id, SHUT_DOWN)
        elif kernel_id in self._lives and not any(
            # The news may come when the new process has a run already; those of the one before have ended.
            run.state.started
            for run in self._book.live(kernel_id)
        ):
            self._begins_again(self._lives[kernel_id])

    async def look(self, kernel_id: KernelId) -> None:
        """Look whether the kernel's process is there, which nobody may have noticed yet; ask a gateway how it is."""
        if kernel_id not in self._managers:
            return
        life = self._life(kernel_id)
        if self._remote:
            try:
                await life.manager.refresh_model()
            except Exception as error:
                logger.warning("The gateway does not say how kernel %s is: %s", kernel_id, error)
            return
        if not _is_ready(life.manager) or life.lifecycle != "running":
            return
        alive = life.manager.is_alive()
        if isawaitable(alive):
            alive = await alive
        if not alive and _is_ready(life.manager) and life.lifecycle == "running":
            life.says("dead")
            life.become("dead")

    def record(self, kernel_id: KernelId) -> dict[str, Any]:
        """The kernel's state. Raises ``KernelNotFound`` for one that there never was, or a long time ago.

        ``execution_state`` is what its status messages say ("starting", "idle", "busy", ...), or "dead".
        ``lifecycle_state`` is one of "starting", "running", "restarting" and "dead", the last with a ``reason``.
        """
        if kernel_id not in self._managers:
            if kernel_id in self._lives:
                self._bury(kernel_id, SHUT_DOWN)
            if kernel_id not in self._gone:
                raise KernelNotFound(kernel_id)
            return self._gone[kernel_id]
        life = self._life(kernel_id)
        if not self._remote and not _is_ready(life.manager):
            # Its process is being started, or replaced: what it said before is over.
            life.says("starting")
        # A gateway's manager has what the gateway said last.
        model: Mapping[str, Any] = (
            life.manager.kernel or {} if self._remote else self._managers.kernel_model(kernel_id)
        )
        live = self._book.live(kernel_id)
        current = next((run for run in live if run.state.started), None)
        return {
            "kernel_id": kernel_id,
            "name": life.manager.kernel_name,
            "execution_state": life.execution,
            "execution_since": life.execution_since,
            "lifecycle_state": life.lifecycle,
            "lifecycle_since": life.lifecycle_since,
            "reason": DIED if life.lifecycle == "dead" else "",
            "last_activity": model.get("last_activity"),
            "connections": model.get("connections", 0),
            "queue_length": len(live) - (current is not None),
            "current_run": None if current is None else {**current.record(), "place": 0},
        }

    # Private

    def _life(self, kernel_id: KernelId) -> _Life:
        """What is known of a kernel that is there. From now on it is watched."""
        manager: Any = self._managers.get_kernel(kernel_id)
        life = self._lives.get(kernel_id)
        if life is not None and life.manager is manager:
            return life
        life = _Life(manager, _state_of(manager) or "starting")
        if life.execution != "starting":
            life.become("running")
        self._lives[kernel_id] = life
        self._gone.pop(kernel_id, None)
        if manager.has_trait("execution_state"):
            manager.observe(self._observer(life), "execution_state")
        manager.add_restart_callback(lambda: self._begins_again(life), "restart")
        manager.add_restart_callback(lambda: self._bury(kernel_id, GAVE_UP), "dead")
        self._ask(life)
        return life

    def _observer(self, life: _Life) -> Callable[[Any], None]:
        def observe(change: Any) -> None:
            life.says(change["new"] or "starting")
            if life.execution == "starting":
                self._ask(life)

        return observe

    def _begins_again(self, life: _Life) -> None:
        """The kernel has, or is about to get, another process."""
        life.become("restarting")
        # The server goes on believing the last thing that it heard of the one before.
        life.manager.execution_state = "starting"
        life.says("starting")
        self._ask(life)

    def _bury(self, kernel_id: KernelId, reason: str) -> None:
        life = self._lives.pop(kernel_id, None)
        if life is None:
            return
        life.over = True
        life.says("dead")
        life.become("dead")
        self._gone[kernel_id] = {
            "kernel_id": kernel_id,
            "name": life.manager.kernel_name,
            "execution_state": "dead",
            "execution_since": life.execution_since,
            "lifecycle_state": "dead",
            "lifecycle_since": life.lifecycle_since,
            "reason": reason,
            "last_activity": None,
            "connections": 0,
            "queue_length": 0,
            "current_run": None,
        }
        while len(self._gone) > GONE_REMEMBERED:
            self._gone.popitem(last=False)

    async def _find(self, kernel_id: KernelId) -> None:
        """The server says that it has started a kernel right before it can be found."""
        for _ in range(round(self._patience / FIRST_PAUSE)):
            if kernel_id in self._managers:
                self._life(kernel_id)
                return
            await sleep(FIRST_PAUSE)

    def _ask(self, life: _Life) -> None:
        if life.execution == "starting" and not life.asked and not self._remote:
            life.asked = True
            self._tasks.start_soon(self._ask_until_heard, life)

    async def _ask_until_heard(self, life: _Life) -> None:
        pause = FIRST_PAUSE
        streams: list[Any] = []
        owes_answer = False

        def answered(_: object) -> None:
            nonlocal owes_answer
            owes_answer = False

        try:
            with move_on_after(self._patience):
                while life.execution == "starting" and not life.over:
                    # Not before its process is there: only then its ports are known.
                    if _is_ready(life.manager):
                        if not streams:
                            streams += [life.manager.connect_control(), life.manager.connect_shell()]
                            streams[1].on_recv(answered)
                        life.manager.session.send(streams[0], "kernel_info_request")
                        if not owes_answer:
                            # Not every kernel says its status for a question on control; what it says on shell may
                            # come before the server hears. A busy kernel is not asked there again.
                            owes_answer = True
                            life.manager.session.send(streams[1], "kernel_info_request")
                    await sleep(pause)
                    pause = min(2 * pause, LAST_PAUSE)
        except Exception:
            # A kernel that cannot be asked is what it is; runs on it end with a reason of their own.
            logger.warning("Kernel %s could not be asked how it is", life.manager.kernel_id, exc_info=True)
        finally:
            life.asked = False
            for stream in streams:
                stream.close()


def _is_ready(manager: Any) -> bool:
    ready = getattr(manager, "ready", None)
    return ready is None or (ready.done() and not ready.cancelled() and ready.exception() is None)


def _state_of(manager: Any) -> str | None:
    state = getattr(manager, "execution_state", None)
    return state if isinstance(state, str) else None
