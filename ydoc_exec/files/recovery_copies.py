"""Versions of documents that would be lost otherwise, in a folder.

Each copy is a folder of its own, which appears there complete or not at all:

    00000042-8f3a61c0/
        copy.json         what it is a copy of, and why (``RecoveryCopy``)
        content.ipynb     the content, to be read without this server too
        told              there if it was made when nobody could be told, and somebody was told since

The number says which copy is newer, whatever the clock did. Several servers may share the folder. What is in it and
is no copy of ours is left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from base64 import encodebytes
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, Literal

from anyio import to_thread

from ydoc_exec.errors import CopyFailed, CopyNotFound
from ydoc_exec.ids import RoomId

logger = logging.getLogger(__name__)

Reason = Literal["wiped", "conflict", "file-replaced", "unreadable", "restored", "unsaved"]
"""Why a copy was made: most of the document was deleted at once; both sides had changed the same; the file was
written over by hand; the file or the history could not be read; something else was restored in its place; it was
closed, and neither its file nor a log had it."""

LEFTOVER_SECONDS = 3600.0
"""Nobody takes so long to write or delete a copy: what is half done since then was left by a server that ended."""

_NAME = re.compile(r"(\d{8,})-[0-9a-f]{8}", re.ASCII)
_LEFTOVER = re.compile(r"\.\d{8,}-[0-9a-f]{8}\.(part|gone)", re.ASCII)
_SUFFIX = re.compile(r"\.\w{1,16}", re.ASCII)
_HEADER = "copy.json"
_TOLD = "told"
_ENCODINGS = ("json", "text", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCopy:
    """One copy, without its content."""

    id: str
    """Later copies have later ids."""
    file_id: str
    path: str
    """Where the file was then."""
    format: str
    type: str
    """The type of the document, as in its room's name."""
    reason: str
    """A ``Reason``, or what another version of this program calls it."""
    created: str
    """In UTC, as in ISO 8601."""
    user: str
    """Whose change made the copy necessary; empty if nobody knows."""
    size: int
    """Of the content, in bytes."""
    encoding: str
    """What the bytes are: ``json``, ``text`` or ``bytes``."""
    digest: str
    """The SHA-256 of the bytes."""

    @property
    def room(self) -> RoomId:
        """The document it is a copy of."""
        return RoomId(self.format, self.type, self.file_id)


class RecoveryCopies:
    """The copies in one folder. Can be used from several threads.

    Args:
        folder: made when it is needed.
        per_document: so many copies of a document are kept, the newest ones.
        total_bytes: when all copies together are larger than this the oldest are dropped, at last also those that
            are the only one of their document. The one that was just made is kept, however large it is.
    """

    def __init__(self, folder: Path, *, per_document: int, total_bytes: int) -> None:
        self._folder = folder
        self._per_document = per_document
        self._total_bytes = total_bytes
        self._lock = Lock()
        self._known: dict[str, RecoveryCopy] = {}
        self._strange: set[str] = set()
        self._cleared = False

    def keep_now(self, room: RoomId, path: str, reason: Reason, content: Any, user: str = "") -> RecoveryCopy:
        """Keep a version of a document: its content as the contents API has it. It is on the disk at the return.

        What was kept last of the document for the same reason is not kept twice. Restoring gives the trust of the
        content's cells back. Raises ``CopyFailed``; what must not be lost may not be replaced then.
        """
        try:
            encoding, data = _encode(content)
            with self._lock:
                return self._keep(room, path, reason, encoding, data, user)
        except (OSError, ValueError, RecursionError) as error:
            raise CopyFailed("kept", path, str(error) or type(error).__name__) from error

    async def keep(
        self, room: RoomId, path: str, reason: Reason, content: Any, user: str = ""
    ) -> RecoveryCopy:
        """The same, in a thread. ``content`` must not be changed meanwhile."""
        return await to_thread.run_sync(partial(self.keep_now, room, path, reason, content, user))

    async def all(self) -> list[RecoveryCopy]:
        """Every copy, the newest first. Raises ``CopyFailed`` if the folder cannot be read."""
        return await to_thread.run_sync(self._all)

    async def read(self, copy: RecoveryCopy) -> Any:
        """The content, as it was given. Raises ``CopyNotFound`` if it was dropped, ``CopyFailed`` if it is damaged."""
        return await to_thread.run_sync(self._read, copy)

    async def take_untold(self, room: RoomId) -> list[RecoveryCopy]:
        """The copies that were made of a document when it was closed, and that nobody was told of; each is returned once.

        Raises ``CopyFailed`` if the folder cannot be read or written.
        """
        return await to_thread.run_sync(self._take_untold, room)

    async def delete(self, copy: RecoveryCopy) -> None:
        """Drop a copy. Raises ``CopyNotFound`` or ``CopyFailed``."""
        await to_thread.run_sync(self._delete, copy)

    # Private, all in a thread or on behalf of somebody who waits

    def _keep(
        self, room: RoomId, path: str, reason: str, encoding: str, data: bytes, user: str
    ) -> RecoveryCopy:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256(data).hexdigest()
        copies = self._look()
        last = next((copy for copy in reversed(copies) if copy.file_id == room.file_id), None)
        if last is not None and (last.reason, last.digest, last.encoding) == (reason, digest, encoding):
            return last
        copy = RecoveryCopy(
            id=f"{self._next_number():08}-{token_hex(4)}",
            file_id=room.file_id,
            path=path,
            format=room.format,
            type=room.type,
            reason=reason,
            created=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            user=user,
            size=len(data),
            encoding=encoding,
            digest=digest,
        )
        self._write(copy, data)
        self._known[copy.id] = copy
        for old in _superfluous([*copies, copy], self._per_document, self._total_bytes):
            self._drop(old)
        if not self._cleared:
            self._cleared = True
            self._clear()
        return copy

    def _all(self) -> list[RecoveryCopy]:
        with self._lock:
            try:
                return self._look()[::-1]
            except OSError as error:
                raise CopyFailed("listed", str(self._folder), str(error)) from error

    def _take_untold(self, room: RoomId) -> list[RecoveryCopy]:
        untold = []
        for copy in self._all():
            if (copy.room, copy.reason) != (room, "unsaved"):
                continue
            try:
                (self._folder / copy.id / _TOLD).touch(mode=0o600, exist_ok=False)
            except (FileExistsError, FileNotFoundError):
                continue  # told, or dropped by another server
            except OSError as error:
                raise CopyFailed("listed", copy.path, str(error)) from error
            untold.append(copy)
        return untold

    def _read(self, copy: RecoveryCopy) -> Any:
        try:
            data = self._content_file(self._folder / copy.id, copy.path).read_bytes()
        except FileNotFoundError:
            raise CopyNotFound(copy.id, copy.path) from None
        except OSError as error:
            raise CopyFailed("read", copy.path, str(error)) from error
        if hashlib.sha256(data).hexdigest() != copy.digest:
            raise CopyFailed("read", copy.path, f"{copy.id} was changed or damaged")
        return _decode(copy.encoding, data)

    def _delete(self, copy: RecoveryCopy) -> None:
        with self._lock:
            try:
                self._remove(copy.id)
            except FileNotFoundError:
                raise CopyNotFound(copy.id, copy.path) from None
            except OSError as error:
                raise CopyFailed("deleted", copy.path, str(error)) from error

    def _look(self) -> list[RecoveryCopy]:
        """What is there now, the oldest first. What is known already is not read again: copies do not change."""
        try:
            names = [name for name in os.listdir(self._folder) if _NAME.fullmatch(name)]
        except FileNotFoundError:
            names = []
        known = {}
        for name in names:
            copy = self._known.get(name) or self._read_header(name)
            if copy is not None:
                known[name] = copy
        self._known = known
        return [known[name] for name in sorted(known, key=_age)]

    def _read_header(self, name: str) -> RecoveryCopy | None:
        try:
            header = json.loads((self._folder / name / _HEADER).read_bytes())
            values = {field.name: header[field.name] for field in fields(RecoveryCopy)}
            copy = RecoveryCopy(**values)
            if any(type(value) is not (int if key == "size" else str) for key, value in values.items()):
                raise ValueError("it has values of other types")
            if copy.id != name or copy.encoding not in _ENCODINGS:
                raise ValueError(f"it says that it is {copy.id}, in {copy.encoding}")
            return copy
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            if name not in self._strange:
                self._strange.add(name)
                logger.warning("%s is no recovery copy that can be read: %r", self._folder / name, error)
            return None

    def _next_number(self) -> int:
        names = map(_NAME.fullmatch, os.listdir(self._folder))
        return 1 + max((int(name[1]) for name in names if name), default=0)

    def _write(self, copy: RecoveryCopy, data: bytes) -> None:
        part = self._folder / f".{copy.id}.part"
        try:
            part.mkdir(mode=0o700)
            _write_durably(self._content_file(part, copy.path), data)
            _write_durably(part / _HEADER, json.dumps(asdict(copy), indent=1).encode())
            _flush_folder(part)
            part.rename(self._folder / copy.id)
        except OSError:
            # A full disk must not be filled with what is no use to anybody.
            shutil.rmtree(part, ignore_errors=True)
            raise
        _flush_folder(self._folder)

    def _content_file(self, folder: Path, path: str) -> Path:
        suffix = os.path.splitext(path)[1]
        return folder / ("content" + (suffix if _SUFFIX.fullmatch(suffix) else ""))

    def _drop(self, copy: RecoveryCopy) -> None:
        try:
            self._remove(copy.id)
        except FileNotFoundError:
            pass  # another server was quicker
        except OSError as error:
            # The new copy is kept, and that is what matters.
            logger.warning("The recovery copy %s could not be dropped: %s", self._folder / copy.id, error)

    def _remove(self, name: str) -> None:
        # In two steps, as half of a copy must not look like one.
        gone = self._folder / f".{name}.gone"
        (self._folder / name).rename(gone)
        self._known.pop(name, None)
        shutil.rmtree(gone)

    def _clear(self) -> None:
        for name in os.listdir(self._folder):
            if _LEFTOVER.fullmatch(name):
                with suppress(FileNotFoundError):  # another server was quicker
                    if time.time() - (self._folder / name).stat().st_mtime > LEFTOVER_SECONDS:
                        shutil.rmtree(self._folder / name, ignore_errors=True)


def _superfluous(copies: list[RecoveryCopy], per_document: int, total_bytes: int) -> list[RecoveryCopy]:
    """Those of the copies, the oldest first, that are too many or too much. Never the last one."""
    rank: dict[str, int] = {}
    newer: dict[str, int] = {}
    for copy in reversed(copies):
        rank[copy.id] = newer.get(copy.file_id, 0)
        newer[copy.file_id] = rank[copy.id] + 1
    dropped = [copy for copy in copies[:-1] if rank[copy.id] >= max(per_document, 1)]
    total = sum(copy.size for copy in copies) - sum(copy.size for copy in dropped)
    left = [copy for copy in copies[:-1] if rank[copy.id] < max(per_document, 1)]
    for copy in sorted(left, key=lambda copy: rank[copy.id] == 0):
        if total <= total_bytes:
            break
        dropped.append(copy)
        total -= copy.size
    return dropped


def _age(name: str) -> tuple[int, str]:
    number, _, token = name.partition("-")
    return int(number), token


def _encode(content: Any) -> tuple[str, bytes]:
    if isinstance(content, str):
        # Half an emoji that a browser cut off has no UTF-8.
        return "text", content.encode("utf-8", "surrogatepass")
    if isinstance(content, bytes):
        return "bytes", content
    try:
        return "json", json.dumps(content, ensure_ascii=False, default=_as_text).encode()
    except UnicodeEncodeError:
        return "json", json.dumps(content, default=_as_text).encode()


def _decode(encoding: str, data: bytes) -> Any:
    match encoding:
        case "text":
            return data.decode("utf-8", "surrogatepass")
        case "bytes":
            return data
        case _:
            return json.loads(data)


def _as_text(value: Any) -> str:
    """What clients can put into a shared document and no file has."""
    return encodebytes(value).decode() if isinstance(value, bytes) else str(value)


def _write_durably(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
