"""What a server has in its update log at this moment, as the next one would find it if this one was killed now."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pycrdt import Doc

from ydoc_exec.ids import RoomId
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog


async def logged_document(log: Path, document_id: str) -> Doc[Any] | None:
    """The document as it is in the log's file; ``None`` if it is not there yet, or the file cannot be copied just now.

    A copy is read, because who reads the file itself would have a part in what becomes of it: SQLite has the last who
    closes it tidy up. What is copied belongs together as long as SQLite has moved nothing from the ``-wal`` file into
    the other one meanwhile.
    """
    with TemporaryDirectory() as directory:
        copy = Path(directory, log.name)
        before = _state(log)
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{log}{suffix}", f"{copy}{suffix}")
        if before is None or _state(log) != before:
            return None
        async with SqliteUpdateLog(copy) as reader:
            history = await reader.read(RoomId.parse(document_id))
    if history is None:
        return None
    document: Doc[Any] = Doc()
    for update in history.updates:
        document.apply_update(update)
    return document


def _state(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_mtime_ns, info.st_size
