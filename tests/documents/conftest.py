"""Servers without HTTP: documents over a real contents manager and a real update log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, create_task_group
from anyio.abc import TaskGroup
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_ydoc import YNotebook
from nbformat.sign import MemorySignatureStore
from pycrdt import Map

from tests.notebooks import cell, notebook
from tests.room.conftest import Peer
from tests.room.waiting import until
from ydoc_exec.documents import document_types
from ydoc_exec.documents.notebook_targets import NotebookTargets
from ydoc_exec.documents.notices import NoticeEvent
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_documents import OpenDocuments
from ydoc_exec.errors import CopyFailed, UpdateLogError
from ydoc_exec.files.recovery_copies import Reason, RecoveryCopies, RecoveryCopy
from ydoc_exec.ids import RoomId
from ydoc_exec.settings import Settings
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.update_log import UpdateLog

ROOM = RoomId("json", "notebook", "a.ipynb")
TEXT = RoomId("text", "file", "a.ipynb")


def ab(a: str = "a", b: str = "b") -> dict[str, Any]:
    return notebook(cell("cell-a", a), cell("cell-b", b))


class Contents(AsyncLargeFileManager):
    """The contents manager, counting, and with what a disk can do to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root_dir=str(root))
        # What another test has signed is not trusted here.
        self.notary.store = MemorySignatureStore()  # type: ignore[no-untyped-call]
        self.reads = 0
        self.broken: Exception | None = None
        self.gate: Event | None = None

    async def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        require_hash: bool = False,
    ) -> Any:
        self.reads += content
        return await super().get(path, content, type, format, require_hash)  # type: ignore[no-untyped-call]

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        if self.gate is not None:
            await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        return await super().save(model, path)  # type: ignore[no-untyped-call]


class LastingLog(MemoryUpdateLog):
    """As a database: what it has is there for the next server."""

    lasts = True


class Copies(RecoveryCopies):
    """Recovery copies, which nobody makes any more when the server was killed."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.settings.recovery_dir, per_document=100, total_bytes=2**30)
        self._site = site

    def keep_now(self, room: RoomId, path: str, reason: Reason, content: Any, user: str = "") -> RecoveryCopy:
        if self._site.killed:
            raise CopyFailed("kept", path, "killed")
        return super().keep_now(room, path, reason, content, user)


class Life:
    """One life of a server's documents."""

    def __init__(self, site: Site, tasks: TaskGroup) -> None:
        self.site = site
        self.writer = LogWriter(site.log, site.settings.log_delay, self._say_degraded)
        self.documents = OpenDocuments(tasks, self._make)
        self.targets = NotebookTargets(tasks, self.documents.open)
        self.events: list[NoticeEvent] = []

    def _make(self, room: RoomId) -> OpenDocument:
        document_types.document_class(room)
        return OpenDocument(
            room,
            lambda: self.site.paths.get(room.file_id, room.file_id),
            self.site.contents,
            self.site.log,
            self.writer,
            self.site.settings,
            self.targets,
            Copies(self.site),
            self.events.append,
        )

    def _say_degraded(self, error: UpdateLogError | None) -> None:
        if error is None:
            self.documents.log_is_back(self.writer.broken)
        else:
            self.documents.log_failed()

    async def closed(self, room: RoomId = ROOM) -> None:
        await until(lambda: room not in {document.room_id for document in self.documents.all()})


class Site:
    """What outlasts a server: files and a log."""

    def __init__(self, root: Path) -> None:
        self.root = root / "files"
        self.root.mkdir()
        self.contents = Contents(self.root)
        self.log: UpdateLog = LastingLog()
        self.killed = False
        self.paths: dict[str, str | None] = {}
        self.settings = Settings(
            recovery_dir=root / "recovery",
            log_delay=0.005,
            load_patience=0.0,
            save_delay=0.01,
            save_interval=0.1,
            save_retry=0.03,
            poll_interval=0.01,
            linger=0.0,
        )

    def set(self, **settings: Any) -> None:
        self.settings = replace(self.settings, **settings)

    @property
    def file(self) -> Path:
        return self.root / ROOM.file_id

    def write(self, content: dict[str, Any]) -> None:
        self.file.write_text(json.dumps(content))

    @property
    def on_disk(self) -> list[str]:
        """The sources in the file; none while it is being written."""
        try:
            return ["".join(cell["source"]) for cell in json.loads(self.file.read_text())["cells"]]
        except ValueError:
            return []

    @property
    def copies(self) -> list[Any]:
        """What is in the recovery copies, the oldest first."""
        files = sorted(self.settings.recovery_dir.glob("*/content*"))
        return [json.loads(file.read_text()) for file in files]

    @asynccontextmanager
    async def serving(self, *, kill: bool = False) -> AsyncIterator[Life]:
        """A server's life. ``kill`` ends it with nothing said to anybody, once the log has what was done."""
        async with self.log, create_task_group() as writing:
            async with create_task_group() as tasks:
                life = Life(self, tasks)
                await writing.start(life.writer.run)
                yield life
                if kill:
                    await life.writer.flush()
                    # Whatever closing would still do must find nothing to do it with.
                    self.contents.broken = OSError("killed")
                    self.killed = True
                    writing.cancel_scope.cancel()
                    tasks.cancel_scope.cancel()
                else:
                    await life.documents.close()
            writing.cancel_scope.cancel()
        self.contents.broken = None
        self.killed = False

    @asynccontextmanager
    async def opened(self, content: dict[str, Any] | None = None) -> AsyncIterator[OpenDocument]:
        """A server's life in which the notebook is open; with ``content`` its file becomes this before."""
        if content is not None:
            self.write(content)
        async with self.serving() as life, life.documents.open(ROOM) as document:
            yield document


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class Tab(Peer):
    """A browser's tab with a notebook."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.notebook = YNotebook(self.doc)

    @property
    def sources(self) -> list[str]:
        return [str(cell["source"]) for cell in self.notebook.ycells]

    @property
    def ids(self) -> list[str]:
        return [cell["id"] for cell in self.notebook.ycells]

    @property
    def state(self) -> dict[str, Any]:
        return self.notebook.ystate.to_py() or {}

    @property
    def notices(self) -> dict[str, dict[str, Any]]:
        """What its user is told of the document."""
        return (self.doc.get("execution", type=Map).to_py() or {}).get("notices") or {}

    async def edit(self, index: int, text: str) -> None:
        source = self.notebook.ycells[index]["source"]
        with self.doc.transaction():
            source.clear()
            source += text
        await self.flush()

    async def come_to(self, document: OpenDocument, session: str | None = None) -> None:
        document.admit(self.client, session)
        await until(lambda: self.frames)
        await self.greet()
        await self.flush()
        await self.until_synced()
        assert self.synced, self.closed
        await self.flush()


def sources(document: OpenDocument) -> list[str]:
    assert isinstance(document.document, YNotebook)
    return [str(cell["source"]) for cell in document.document.ycells]
