"""Whole servers without HTTP: what the extension starts, over a real contents manager, real file ids and a real log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server_fileid.manager import ArbitraryFileIdManager

from tests.documents.conftest import Contents
from ydoc_exec.documents.collaboration import Collaboration
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.ids import RoomId
from ydoc_exec.settings import Settings
from ydoc_exec.store.update_log import UpdateLog


class Server:
    """What outlasts a server's process: a folder of files, and the data of its user. It lives in ``serving``."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "files"
        self.data = folder / "data"
        self.root.mkdir()
        self.data.mkdir()
        self.contents = Contents(self.root)
        self.file_ids = ArbitraryFileIdManager(root_dir=str(self.root), db_path=str(self.data / "ids.db"))
        self.settings = Settings(
            log_path=self.data / "updates.db",
            owners_dir=self.data / "owners",
            recovery_dir=self.data / "recovery",
            log_delay=0.005,
            save_delay=0.01,
            save_interval=0.1,
            save_retry=0.03,
            poll_interval=0.01,
            linger=0.0,
        )

    def set(self, **settings: object) -> None:
        """Change settings, for the lives that follow."""
        self.settings = replace(self.settings, **settings)  # type: ignore[arg-type]

    def room(self, path: str) -> RoomId:
        """The room of a notebook, as asking for a session gives it."""
        return RoomId("json", "notebook", self.file_ids.index(path))

    @asynccontextmanager
    async def serving(self, log: UpdateLog | None = None) -> AsyncIterator[Collaboration]:
        """A life, with another log than the settings name if one is given."""
        kernels: Any = AsyncMappingKernelManager()  # type: ignore[no-untyped-call]
        async with Collaboration.open(
            self.settings,
            self.contents,
            kernels,
            lambda: self.file_ids,
            lambda files: nullcontext(),
            lambda: "http://here/",
            log=log,
        ) as collaboration:
            yield collaboration

    # What Jupyter Server's contents manager does, and tells by events

    def rename(self, old: str, new: str) -> None:
        """Move a file through the server."""
        (self.root / old).rename(self.root / new)
        self.file_ids.move(old, new)

    def delete(self, collaboration: Collaboration, path: str) -> None:
        """Delete a file through the server."""
        (self.root / path).unlink()
        self.file_ids.delete(path)
        collaboration.documents.deleted(path)


def is_closed(collaboration: Collaboration, room: RoomId) -> bool:
    """Whether nothing of the document is open any more."""
    return room not in {document.room_id for document in collaboration.documents.all()}


def of(document: OpenDocument) -> list[str]:
    """The texts of its cells."""
    return [cell["source"] for cell in document.document.get()["cells"]]
