"""Which server has a document open.

Two servers that have one file open would each save it over the other's changes, and each would add to its history. So
whoever opens a document takes a lock first: a file of the user's Jupyter data, by the document's file id, which all
servers that share file ids share too. The system gives it back when its process is gone, however it went.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from anyio import CancelScope, to_thread
from filelock import FileLock, Timeout

from ydoc_exec.errors import OpenElsewhere

logger = logging.getLogger(__name__)


class Ownership:
    """The documents that this server owns, as others see it.

    For each there are two files: one that is locked, which stays when it is given back (to remove it would let two
    servers lock two files of one name), and one that says who has locked it.

    Args:
        folder: of the files; made when it is missing, and only the user can read it. ``None``: nobody owns anything.
        url: where this server is, for whoever is refused. Asked when a document is opened.
    """

    def __init__(self, folder: Path | None, url: Callable[[], str] = lambda: "") -> None:
        self._folder = folder
        self._url = url
        self._warned = False

    @asynccontextmanager
    async def of(self, file_id: str) -> AsyncIterator[None]:
        """Own a document until the block ends. Raises ``OpenElsewhere``, at once.

        If the folder cannot be used that is said once, and documents are opened all the same.
        """
        # Nothing waits between getting the lock and the block, so that a cancellation cannot lose it.
        lock = await to_thread.run_sync(self._take, file_id)
        try:
            yield
        finally:
            if lock is not None:
                with CancelScope(shield=True):
                    await to_thread.run_sync(self._give_back, lock, file_id)

    # Private: in a worker thread, as the folder may be on a slow disk

    def _take(self, file_id: str) -> FileLock | None:
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not of a thread: it is given back by another one.
            lock = FileLock(self._file(file_id, "lock"), mode=0o600, thread_local=False)
            lock.acquire(blocking=False)
        except Timeout:
            raise OpenElsewhere(self._owner(file_id)) from None
        except (OSError, NotImplementedError) as error:
            self._warn(error)
            return None
        try:
            self._file(file_id, "json").write_text(json.dumps(self._self()))
        except OSError as error:
            self._warn(error)
        return lock

    def _give_back(self, lock: FileLock, file_id: str) -> None:
        try:
            self._file(file_id, "json").unlink(missing_ok=True)
        except OSError as error:
            logger.debug("What says who owned %s stays: %s", file_id, error)
        finally:
            lock.release()

    def _file(self, file_id: str, suffix: str) -> Path:
        assert self._folder is not None
        # File ids are whatever a file id manager makes them.
        return self._folder / f"{sha256(file_id.encode(errors='surrogatepass')).hexdigest()[:32]}.{suffix}"

    def _self(self) -> dict[str, object]:
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {"url": self._url(), "pid": os.getpid(), "host": socket.gethostname(), "since": since}

    def _owner(self, file_id: str) -> str:
        """The server that has the document, as far as it says so."""
        try:
            owner = json.loads(self._file(file_id, "json").read_text())
            return f"another server, {owner['url']} (process {owner['pid']} on {owner['host']})"
        except (OSError, ValueError, LookupError, TypeError):
            return "another server"

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "It cannot be said which documents are open here, so do not open one on two servers (%s)",
                error,
            )
