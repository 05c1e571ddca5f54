"""Everything of this server that lives, in one lifetime."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import CancelScope, create_task_group

from ydoc_exec.documents import document_types
from ydoc_exec.documents.adoption import Adoption, FindKernel
from ydoc_exec.documents.deleted_files import DeletedFiles
from ydoc_exec.documents.execution import ChosenFor, Execution
from ydoc_exec.documents.notebook_targets import NotebookTargets
from ydoc_exec.documents.notices import NoticeEvent
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.documents.open_files import OpenFiles
from ydoc_exec.documents.ownership import Ownership
from ydoc_exec.documents.pending_input import PendingInput
from ydoc_exec.documents.presence_room import PresenceRoom
from ydoc_exec.documents.run_event import prompt_event, run_event
from ydoc_exec.documents.run_history import RunHistory
from ydoc_exec.documents.run_measures import RunMeasures
from ydoc_exec.documents.run_records import RunRecords
from ydoc_exec.errors import UpdateLogError
from ydoc_exec.files.contents import ContentsManager
from ydoc_exec.files.recovery_copies import RecoveryCopies
from ydoc_exec.ids import GLOBAL_AWARENESS, KernelId, RoomId
from ydoc_exec.kernel.gateway import Gateway
from ydoc_exec.kernel.kernel_link import open_context
from ydoc_exec.kernel.kernel_runners import KernelManagers, KernelRunners
from ydoc_exec.kernel.kernel_states import KernelStates
from ydoc_exec.kernel.run_book import RunBook
from ydoc_exec.measures import Measures
from ydoc_exec.settings import Settings
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.sqlite_run_history import SqliteRunHistory
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog
from ydoc_exec.store.update_log import UpdateLog

logger = logging.getLogger(__name__)


class FileIds(Protocol):
    """What is used of ``jupyter_server_fileid``'s manager."""

    def index(self, path: str) -> str | None: ...
    def get_id(self, path: str) -> str | None: ...
    def get_path(self, id: str) -> str | None: ...


async def _nothing_chosen(path: str) -> KernelId | None:
    return None


async def _nothing_found(kernel_id: KernelId, path: str | None) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Collaboration:
    """The living parts, as the edge uses them."""

    documents: OpenDocuments
    presence: PresenceRoom
    execution: Execution
    runners: KernelRunners
    book: RunBook
    records: RunRecords
    input: PendingInput
    kernel_states: KernelStates
    settings: Settings
    files: OpenFiles
    copies: RecoveryCopies
    log: LogWriter
    measures: Measures

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        contents: ContentsManager,
        kernels: KernelManagers,
        file_ids: Callable[[], FileIds],
        take_over: Callable[[OpenFiles], AbstractContextManager[None]],
        url: Callable[[], str] = lambda: "",
        emit: Callable[[NoticeEvent], None] = lambda event: None,
        emit_run: Callable[[dict[str, Any]], None] = lambda event: None,
        emit_prompt: Callable[[dict[str, Any]], None] = lambda event: None,
        log: UpdateLog | None = None,
        gateway: Gateway | None = None,
        chosen_for: ChosenFor = _nothing_chosen,
        find_kernel: FindKernel = _nothing_found,
    ) -> AsyncIterator[Collaboration]:
        """Start everything; at the end of the block end the runs, save the documents and close the log.

        ``file_ids`` is asked when it is needed: the extension that provides it may be loaded after ours.
        ``take_over`` lets the contents manager know of the open files, from before the first is opened until after
        the last is saved. ``url`` is where this server is, for those on other servers. ``emit`` is told of all
        that people are told; it must return at once and not raise. ``emit_run`` is told of every step of
        every run (``run_event``), ``emit_prompt`` of what happens to every question (``prompt_event``). ``log`` is an update log to use instead of the
        one that the settings name. ``gateway`` is where kernels are that do not run on this machine. ``chosen_for``
        tells which kernel people have chosen for a notebook. ``find_kernel`` finds what the gateway still has.
        """
        book = RunBook(settings.runs_remembered)
        measures = Measures()
        run_measures = RunMeasures(measures)
        book.observe(run_measures.note)
        book.observe(lambda run: emit_run(run_event(run)))
        book.observe_prompts(run_measures.note_prompt)
        book.observe_prompts(lambda step: emit_prompt(prompt_event(step)))
        context = open_context()
        try:
            async with (
                log or _open_log(settings) as opened,
                _open_run_history(settings) as kept_runs,
                create_task_group() as tasks,
            ):

                def say_degraded(error: UpdateLogError | None) -> None:
                    if error is not None:
                        logger.error("%s", error)
                        documents.log_failed()
                        return
                    logger.warning("The update log works again")
                    documents.log_is_back(writer.broken)

                writer = LogWriter(opened, settings.log_delay, say_degraded, measures=measures)

                def make(room_id: RoomId) -> OpenDocument:
                    document_types.document_class(room_id)
                    return OpenDocument(
                        room_id,
                        lambda: file_ids().get_path(room_id.file_id),
                        contents,
                        opened,
                        writer,
                        settings,
                        targets,
                        copies,
                        emit,
                        measures,
                    )

                copies = RecoveryCopies(
                    settings.recovery_dir,
                    per_document=settings.recovery_copies,
                    total_bytes=settings.recovery_bytes,
                )
                documents = OpenDocuments(
                    tasks,
                    make,
                    Ownership(settings.owners_dir, url),
                    DeletedFiles(lambda file_id: file_ids().get_path(file_id), writer.forget),
                )
                files = OpenFiles(documents, lambda path: file_ids().get_id(path))
                taken_over = ExitStack()
                taken_over.enter_context(take_over(files))
                targets = NotebookTargets(tasks, documents.open)
                await tasks.start(writer.run)
                run_history = RunHistory(kept_runs, settings.log_delay)
                book.observe(run_history.note)
                book.observe_prompts(run_history.note_prompt)
                await tasks.start(run_history.run)
                runners = KernelRunners(tasks, kernels, context, book, settings, gateway, measures)
                presence = PresenceRoom(GLOBAL_AWARENESS, settings)
                await tasks.start(presence.run, tasks)
                if gateway is not None:
                    adoption = Adoption(
                        gateway, find_kernel, run_history, documents, runners, book, settings.kernel_timeout
                    )
                    tasks.start_soon(adoption.run)
                try:
                    yield cls(
                        documents,
                        presence,
                        Execution(documents, runners, book, settings, chosen_for),
                        runners,
                        book,
                        RunRecords(book, run_history, runners, documents),
                        PendingInput(book, runners),
                        KernelStates(
                            tasks, kernels, book, settings.kernel_timeout, remote=gateway is not None
                        ),
                        settings,
                        files,
                        copies,
                        writer,
                        measures,
                    )
                finally:
                    # Runs first, so that what they wrote is saved; then documents; the log last.
                    with CancelScope(shield=True):
                        await runners.leave("the server stopped")
                    runners.close("the server stopped")
                    book.close()
                    await documents.close()
                    taken_over.close()
                    presence.stop()
                    tasks.cancel_scope.cancel()
        finally:
            context.destroy(linger=0)


def _open_log(settings: Settings) -> UpdateLog:
    return MemoryUpdateLog() if settings.log_path is None else SqliteUpdateLog(settings.log_path)


def _open_run_history(settings: Settings) -> AbstractAsyncContextManager[SqliteRunHistory | None]:
    if settings.runs_path is None:
        return nullcontext()
    return SqliteRunHistory(settings.runs_path, settings.runs_days, settings.runs_kept)
