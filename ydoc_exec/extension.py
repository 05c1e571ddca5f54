"""The Jupyter Server extension: traits become ``Settings``, everything is wired, started and stopped."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, get_args

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from jupyter_server_fileid.manager import LocalFileIdManager
from traitlets import Bool, Enum, Float, Integer, Unicode

from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.notices import NoticeEvent
from ydoc_exec.handlers.base import NotServing
from ydoc_exec.handlers.contents_manager import taken_over
from ydoc_exec.handlers.execute_handler import PathExecuteHandler
from ydoc_exec.handlers.exit_threads import end_with_the_main_thread
from ydoc_exec.handlers.kernel_connection import ready_while_busy
from ydoc_exec.handlers.kernel_deaths import notice_deaths_soon
from ydoc_exec.handlers.kernel_restarts import restart_one_after_the_other
from ydoc_exec.handlers.kernel_shutdown import shut_down_whatever_happens
from ydoc_exec.handlers.left_kernels import LeftKernels
from ydoc_exec.handlers.metrics import Metrics
from ydoc_exec.handlers.notebook_sessions import NotebookSessions
from ydoc_exec.handlers.recent_errors import RecentErrors
from ydoc_exec.handlers.routes import ROUTES
from ydoc_exec.handlers.server_gateway import ServerGateway
from ydoc_exec.handlers.status_handler import StatusHandler
from ydoc_exec.ids import KernelId
from ydoc_exec.settings import InputPolicy, Settings

CONTENTS_ACTIONS = "https://events.jupyter.org/jupyter_server/contents_service/v1"
NOTICES = "https://schema.jupyter.org/ydoc_exec/notice/v1"
NOTICES_SCHEMA = Path(__file__).parent / "event_schemas" / "notice-v1.yaml"
RUNS = "https://schema.jupyter.org/ydoc_exec/run/v1"
RUNS_SCHEMA = Path(__file__).parent / "event_schemas" / "run-v1.yaml"
PROMPTS = "https://schema.jupyter.org/ydoc_exec/prompt/v1"
PROMPTS_SCHEMA = Path(__file__).parent / "event_schemas" / "prompt-v1.yaml"

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"

DEFAULTS = Settings()


class YdocExec(ExtensionApp):
    """Collaboration and execution on the server."""

    name = "ydoc_exec"
    description = "Notebooks that live on the server: collaboration and execution."

    log_path = Unicode(
        help="The update log's database file; 'memory' keeps the log in memory. "
        "Default: ydoc_exec/updates.db in Jupyter's data directory.",
    ).tag(config=True)
    owners_dir = Unicode(
        help="The folder in which servers say which documents they have open, so that no two open the same; "
        "'none' lets them. Default: ydoc_exec/owners in Jupyter's data directory.",
    ).tag(config=True)
    recovery_dir = Unicode(
        help="The folder for versions of documents that would be lost otherwise. "
        "Default: ydoc_exec/recovery in Jupyter's data directory.",
    ).tag(config=True)
    recovery_copies = Integer(
        DEFAULTS.recovery_copies, help="How many such versions of one document are kept."
    ).tag(config=True)
    recovery_bytes = Integer(
        DEFAULTS.recovery_bytes,
        help="Bytes of all such versions together, from which on the oldest are dropped.",
    ).tag(config=True)
    log_delay = Float(
        DEFAULTS.log_delay, help="Seconds after which an update is in the log at the latest."
    ).tag(config=True)
    log_compact_updates = Integer(
        DEFAULTS.log_compact_updates, help="Number of updates after which a document's log is compacted."
    ).tag(config=True)
    log_compact_bytes = Integer(
        DEFAULTS.log_compact_bytes, help="Bytes of updates after which a document's log is compacted."
    ).tag(config=True)
    load_patience = Float(
        DEFAULTS.load_patience,
        help="Seconds for which a file that cannot be read is read again before its document is refused.",
    ).tag(config=True)
    save_delay = Float(
        DEFAULTS.save_delay, help="Seconds after the last change until a document is saved."
    ).tag(config=True)
    save_interval = Float(
        DEFAULTS.save_interval, help="A document that keeps changing is saved at least so often (seconds)."
    ).tag(config=True)
    save_retry = Float(DEFAULTS.save_retry, help="Seconds until a save that failed is tried again.").tag(
        config=True
    )
    poll_interval = Float(
        DEFAULTS.poll_interval, help="Seconds between two looks for outside changes of open files."
    ).tag(config=True)
    linger = Float(
        DEFAULTS.linger, help="Seconds for which a document that nobody needs is kept in memory."
    ).tag(config=True)
    flush_interval = Float(
        DEFAULTS.flush_interval, help="Output is written to the document at most so often (seconds)."
    ).tag(config=True)
    output_limit = Integer(
        DEFAULTS.output_limit,
        help="Bytes of one cell's output that are kept, its beginning and its end. 0 keeps everything.",
    ).tag(config=True)
    cursor_movement = Bool(
        DEFAULTS.cursor_movement,
        help="Whether cursor movements in printed text (nested progress bars) are carried out.",
    ).tag(config=True)
    barrier_timeout = Float(
        DEFAULTS.barrier_timeout,
        help="Seconds a request to execute waits for the edits, the text or the request that it names.",
    ).tag(config=True)
    kernel_timeout = Float(
        DEFAULTS.kernel_timeout, help="Seconds a run waits for its kernel to be ready."
    ).tag(config=True)
    leave_kernels = Bool(
        DEFAULTS.leave_kernels,
        help="Whether kernels behind a gateway that run a cell are left there when the server is stopped, so that its next "
        "start goes on with the cell.",
    ).tag(config=True)
    idle_timeout = Float(
        DEFAULTS.idle_timeout, help="Seconds a run waits for the idle message after its reply."
    ).tag(config=True)
    input_policy = Enum(
        get_args(InputPolicy),
        DEFAULTS.input_policy,
        help="Who may answer what a cell asks for (input()): 'anyone' who may execute, 'writers' who may change the "
        "document too, or the 'runner' alone, who has run the cell (which takes logins that tell people apart).",
    ).tag(config=True)
    prompts_keep_alive = Bool(
        DEFAULTS.prompts_keep_alive,
        help="Whether a kernel that waits for input counts as active, for those who end what is idle.",
    ).tag(config=True)
    access_interval = Float(
        DEFAULTS.access_interval,
        help="Seconds between two looks whether those who are connected still may do what they do.",
    ).tag(config=True)
    client_backlog = Integer(
        DEFAULTS.client_backlog, help="Bytes of updates that may wait to be sent to one client."
    ).tag(config=True)
    runs_remembered = Integer(
        DEFAULTS.runs_remembered, help="How many ended runs are kept in memory, to be asked about."
    ).tag(config=True)
    runs_path = Unicode(
        help="The database of what became of runs, which can be asked about after the server was started again; "
        "'memory' keeps only the latest, in memory. Default: ydoc_exec/runs.db in Jupyter's data directory.",
    ).tag(config=True)
    runs_days = Float(DEFAULTS.runs_days, help="Days for which an ended run is kept in the database.").tag(
        config=True
    )
    runs_kept = Integer(DEFAULTS.runs_kept, help="How many ended runs are kept in the database.").tag(
        config=True
    )

    def read_settings(self) -> Settings:
        """The traits as they are now."""
        folder = Path(jupyter_data_dir()) / "ydoc_exec"
        log_path = Path(self.log_path) if self.log_path else folder / "updates.db"
        return Settings(
            log_path=None if self.log_path == "memory" else log_path,
            owners_dir=None if self.owners_dir == "none" else Path(self.owners_dir or folder / "owners"),
            recovery_dir=Path(self.recovery_dir) if self.recovery_dir else folder / "recovery",
            recovery_copies=self.recovery_copies,
            recovery_bytes=self.recovery_bytes,
            log_delay=self.log_delay,
            log_compact_updates=self.log_compact_updates,
            log_compact_bytes=self.log_compact_bytes,
            load_patience=self.load_patience,
            save_delay=self.save_delay,
            save_interval=self.save_interval,
            save_retry=self.save_retry,
            poll_interval=self.poll_interval,
            linger=self.linger,
            flush_interval=self.flush_interval,
            output_limit=self.output_limit,
            cursor_movement=self.cursor_movement,
            barrier_timeout=self.barrier_timeout,
            kernel_timeout=self.kernel_timeout,
            leave_kernels=self.leave_kernels,
            idle_timeout=self.idle_timeout,
            input_policy=self.input_policy,
            prompts_keep_alive=self.prompts_keep_alive,
            access_interval=self.access_interval,
            client_backlog=self.client_backlog,
            runs_remembered=self.runs_remembered,
            runs_path=None if self.runs_path == "memory" else Path(self.runs_path or folder / "runs.db"),
            runs_days=self.runs_days,
            runs_kept=self.runs_kept,
        )

    def initialize(self, argv: Any = None) -> None:
        """Refuse to start beside the other backend: two would write one document."""
        other = self._server.extension_manager.extensions.get("jupyter_server_ydoc")
        self._refused = other is not None and other.enabled
        if self._refused:
            self.log.critical(
                "ydoc_exec does not start, because jupyter_server_ydoc is enabled and serves the same "
                "documents: run 'jupyter server extension disable jupyter_server_ydoc' and start again."
            )
            return
        super().initialize()  # type: ignore[no-untyped-call]

    def initialize_settings(self) -> None:
        """Tell the front ends that cells are executed here (``jupyter-docprovider``, ``executor.ts``), and the server
        of our event."""
        page_config = self._server.web_app.settings.setdefault("page_config_data", {})
        page_config["serverSideExecution"] = True
        page_config.setdefault("disableRTC", False)
        notice_deaths_soon(self._server.config)
        name = "kernel_websocket_connection_class"
        self.settings[name] = ready_while_busy(self._server.web_app.settings[name])
        self._server.event_logger.register_event_schema(NOTICES_SCHEMA)
        self._server.event_logger.register_event_schema(RUNS_SCHEMA)
        self._server.event_logger.register_event_schema(PROMPTS_SCHEMA)

    def initialize_handlers(self) -> None:
        """The routes of the HTTP and websocket surface."""
        # Made when the event loop runs; requests that come before wait for it.
        self._collaboration: asyncio.Future[Collaboration] | None = None
        wiring = {"collaboration": self._wait_for_collaboration}
        self._errors = RecentErrors()
        server = self._server
        self._left_kernels = LeftKernels(server.kernel_manager, server.session_manager)
        self._left: set[KernelId] = set()
        self._sessions = NotebookSessions(
            server.session_manager, server.kernel_spec_manager, server.kernel_manager.default_kernel_name
        )
        more: dict[type[Any], dict[str, Any]] = {
            PathExecuteHandler: {"sessions": self._sessions},
            StatusHandler: {"errors": self._errors},
        }
        self.handlers.extend(
            (pattern, handler, wiring | more.get(handler, {})) for pattern, handler in ROUTES
        )

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        if self._refused:
            return
        restart_one_after_the_other(serverapp.kernel_manager)
        started = self._started_future()
        self._stopping = asyncio.Event()
        # A task group must be left by the task that entered it, and start and stop are two: one owner task
        # holds everything. It is the only bare task of the project, and ``stop_extension`` waits for it.
        self._owner = asyncio.create_task(self._live(started))
        await asyncio.shield(started)
        serverapp.event_logger.add_listener(schema_id=KERNEL_ACTIONS, listener=self._on_kernel_action)
        serverapp.event_logger.add_listener(schema_id=CONTENTS_ACTIONS, listener=self._on_contents_action)

    async def stop_extension(self) -> None:
        """End the runs, save the documents, close the log. Jupyter Server stops kernels after this."""
        if self._refused or not hasattr(self, "_owner"):
            return
        self._server.event_logger.remove_listener(listener=self._on_kernel_action)
        self._server.event_logger.remove_listener(listener=self._on_contents_action)
        self._stopping.set()
        await self._owner
        self._left_kernels.leave(self._left)
        shut_down_whatever_happens(self._server.kernel_manager)
        end_with_the_main_thread()

    # Private

    @property
    def _server(self) -> Any:
        """The server. jupyter_server is mostly untyped; nothing below this module sees it."""
        return self.serverapp

    async def _live(self, started: asyncio.Future[Collaboration]) -> None:
        """Hold everything until the end. It does not raise: a server must be able to stop whatever failed."""
        settings = self._server.web_app.settings
        try:
            with self._errors.listening():
                async with Collaboration.open(
                    self.read_settings(),
                    self._server.contents_manager,
                    self._server.kernel_manager,
                    lambda: settings["file_id_manager"],
                    partial(
                        taken_over,
                        self._server.contents_manager,
                        keep_inodes=lambda: isinstance(settings.get("file_id_manager"), LocalFileIdManager),
                    ),
                    lambda: self._server.connection_url,
                    self._emit,
                    self._emit_run,
                    self._emit_prompt,
                    gateway=ServerGateway() if self._server.gateway_config.gateway_enabled else None,
                    chosen_for=self._sessions.chosen_for,
                    find_kernel=self._left_kernels.find,
                ) as collaboration:
                    self._left = collaboration.runners.left
                    with Metrics(collaboration).exported():
                        started.set_result(collaboration)
                        await self._stopping.wait()
        except Exception as error:
            self.log.critical("ydoc_exec failed and must be started again", exc_info=error)
            if started.done():
                started = self._collaboration = asyncio.get_running_loop().create_future()
            started.set_exception(NotServing(str(error)))
            started.exception()  # seen, even if nobody asks any more

    def _started_future(self) -> asyncio.Future[Collaboration]:
        if self._collaboration is None:
            self._collaboration = asyncio.get_running_loop().create_future()
        return self._collaboration

    async def _wait_for_collaboration(self) -> Collaboration:
        return await asyncio.shield(self._started_future())

    def _emit(self, event: NoticeEvent) -> None:
        self._server.event_logger.emit(schema_id=NOTICES, data=event.record())

    def _emit_run(self, event: dict[str, Any]) -> None:
        self._server.event_logger.emit(schema_id=RUNS, data=event)

    def _emit_prompt(self, event: dict[str, Any]) -> None:
        self._server.event_logger.emit(schema_id=PROMPTS, data=event)

    async def _on_kernel_action(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        """Kernels are shut down, restarted and interrupted by REST, by other extensions and by the restarter alike.

        Whether it succeeded does not matter: a restart that failed has ended the kernel's process too, and who wanted
        to interrupt does not want the next cell to run.
        """
        action, kernel_id = data.get("action"), KernelId(data.get("kernel_id", ""))
        if action not in ("start", "shutdown", "restart", "interrupt") or not kernel_id:
            return
        collaboration = await self._wait_for_collaboration()
        if action == "start":
            collaboration.kernel_states.started(kernel_id)
        elif action == "interrupt":
            collaboration.runners.interrupted(kernel_id)
        else:
            gone = action == "shutdown" and data.get("status") == "success"
            collaboration.runners.replaced(kernel_id, gone=gone)
            collaboration.kernel_states.replaced(kernel_id)

    async def _on_contents_action(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        if data.get("action") == "delete":
            collaboration = await self._wait_for_collaboration()
            collaboration.documents.deleted(data["path"])
