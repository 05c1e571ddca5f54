"""A directory with a real contents manager, and a document that is only a value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import Event, create_task_group, current_time, sleep
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from ydoc_exec.errors import LoadFailed
from ydoc_exec.files.decision import Base, Fingerprint, fingerprint
from ydoc_exec.files.file_mirror import FileMirror
from ydoc_exec.settings import Settings

QUICK = Settings(save_delay=0.01, save_interval=0.1, save_retry=0.03, poll_interval=0.01)
NAME = "a.ipynb"


class Contents(AsyncLargeFileManager):
    """The contents manager, with what a disk can do to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root_dir=str(root))
        self.saves: list[Any] = []
        self.broken: Exception | None = None
        self.gate: Event | None = None
        self.saving = Event()
        self.tries: list[float] = []

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        self.saving.set()
        self.tries.append(current_time())
        if self.gate is not None:
            await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        self.saves.append(model["content"])
        return await super().save(model, path)  # type: ignore[no-untyped-call]


class Paper:
    """A document that is only its content."""

    def __init__(self, content: Any) -> None:
        self.content = content
        self.live: tuple[str, ...] = ()
        self.autosave = True
        self.said: list[str] = []
        self.troubles: list[str | None] = []
        self.bases: list[Base] = []
        self.announced: list[Fingerprint] = []
        self.copies: list[Any] = []
        self.taken_up = 0
        self.unreadable = False
        self.refuses = False
        self.path = ""
        self.hash = ""
        self.mirror: FileMirror

    def edit(self, content: Any) -> None:
        self.content = content
        self.mirror.changed()

    def read(self) -> Any:
        if self.unreadable:
            raise OverflowError("cannot convert float infinity to integer")
        return self.content

    def cell_ids(self) -> list[str]:
        return [cell.get("id", f"cell-{index}") for index, cell in enumerate(self.content["cells"])]

    def take_up(self, path: str, content: Any) -> None:
        if self.refuses:
            raise LoadFailed(path, "it is strange")
        self.taken_up += 1
        self.content = content

    def live_cells(self) -> tuple[str, ...]:
        return self.live

    def may_autosave(self) -> bool:
        return self.autosave

    def agreed(self, base: Base, content: Any) -> None:
        self.bases.append(base)

    async def will_save(self, content: Fingerprint) -> None:
        self.announced.append(content)

    def saved(self, base: Base) -> None:
        self.said.append("saved")

    def save_failed(self, why: str | None) -> None:
        self.troubles.append(why)

    def is_at(self, path: str) -> None:
        self.path = path

    def has_hash(self, hash: str) -> None:
        self.hash = hash

    def unsaved(self) -> None:
        self.said.append("unsaved")

    def keep_copy(self, path: str, content: Any, reason: str, text: str) -> str:
        self.copies.append(content)
        return "copy"

    def held_back(self, emptied: bool) -> None:
        self.said.append("held back" if emptied else "not held back")


class Desk:
    """A file, its mirror and its document."""

    def __init__(
        self, root: Path, name: str = NAME, type: str = "notebook", settings: Settings = QUICK
    ) -> None:
        self.contents = Contents(root)
        self.root = root
        self.name: str | None = name
        self.paper = Paper(None)
        format = "json" if type == "notebook" else "text"
        self.mirror = FileMirror(
            self.contents, "the document", lambda: self.name, format, type, self.paper, settings
        )
        self.paper.mirror = self.mirror

    @property
    def file(self) -> Path:
        assert self.name is not None
        return self.root / self.name

    async def load(self) -> None:
        file = await self.mirror.load()
        self.paper.content = file.content
        self.mirror.start(file, Base(file.fingerprint, fingerprint(self.paper.read())), unsaved=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.load()
        async with create_task_group() as tasks:
            tasks.start_soon(self.mirror.run)
            yield
            tasks.cancel_scope.cancel()

    async def looked(self, times: int = 2) -> None:
        """Return after the file has been looked at so often."""
        for _ in range(times):
            await sleep(0.012)
            async with self.mirror._lock:
                pass


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
