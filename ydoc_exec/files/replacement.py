"""A new version of a file, written beside it, which takes its place in one step.

Jupyter Server's own ``atomic_writing`` (``fileio.py``) copies the file to ``.~name``, truncates the file and writes into
it. Whoever reads it meanwhile sees a part, and a server that is killed leaves that part behind. Here the file's name
stands for a complete version at every moment: the old one, or the new one once it is on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from typing import BinaryIO, NamedTuple

LEFT_OVER = 3600.0
"""Seconds after which what lies beside a file was left by a server that was killed."""

_BLOCK = 2**20


class FileState(NamedTuple):
    """Tells one version of a file from another without reading it."""

    inode: int
    modified_ns: int
    size: int

    @classmethod
    def of(cls, path: str) -> FileState | None:
        """The state of the file now; None if there is none."""
        try:
            info = os.stat(path)
        except OSError:
            return None
        return cls(info.st_ino, info.st_mtime_ns, info.st_size)


class Replacement:
    """The new version while it is written: ``file`` takes bytes, then ``settle``, then ``take_place``, or ``give_up``.

    The new version has the mode, the owner and the extended attributes of the old one, and a symbolic link stays one.
    ``begin`` finds out whether that can be had.
    """

    def __init__(self, path: str, beside: str, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.digest = ""
        self._beside = beside
        self._existed = os.path.lexists(path)

    @classmethod
    def begin(cls, path: str) -> Replacement | None:
        """Start a new version of the file at ``path``, or of a new file.

        None if it must be written in place: it is no regular file or has several names (hard links), its folder does
        not let us, or its owner cannot be kept. Raises ``OSError``: ``EACCES`` for a file that is read-only, as
        Jupyter Server does, ``ENOSPC``, or that there is no such folder.
        """
        path = os.path.realpath(path)
        folder, name = os.path.split(path)
        try:
            old = os.stat(path)
        except FileNotFoundError:
            old = None
        if old is not None:
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "The file is read-only", path)
            if not stat.S_ISREG(old.st_mode) or old.st_nlink > 1 or not os.access(folder, os.W_OK):
                return None
        beside = os.path.join(folder, f".~{name}.{secrets.token_hex(4)}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            handle = os.open(beside, flags, 0o666 if old is None else 0o600)
        except OSError as error:
            if old is not None and error.errno == errno.ENAMETOOLONG:
                return None
            raise
        replacement = cls(path, beside, os.fdopen(handle, "w+b"))
        if old is not None and not replacement._become_like(old):
            replacement.give_up()
            return None
        return replacement

    def settle(self, algorithm: str) -> FileState:
        """Bring it to the disk, and note its ``digest``: the hash of its bytes. Raises ``OSError``."""
        self.file.flush()
        os.fsync(self.file.fileno())
        hash = hashlib.new(algorithm)
        self.file.seek(0)
        while block := self.file.read(_BLOCK):
            hash.update(block)
        self.digest = hash.hexdigest()
        info = os.fstat(self.file.fileno())
        return FileState(info.st_ino, info.st_mtime_ns, info.st_size)

    def take_place(self) -> None:
        """Become the file. Raises ``OSError``, and ``FileNotFoundError`` if the file was deleted or moved meanwhile."""
        if self._existed and not os.path.lexists(self.path):
            raise FileNotFoundError(
                errno.ENOENT, "The file was deleted or moved while it was saved", self.path
            )
        self.file.close()
        try:
            os.replace(self._beside, self.path)
        except OSError as error:
            # A file that is mounted by itself, as containers do, cannot be replaced.
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            shutil.copyfile(self._beside, self.path)
            os.unlink(self._beside)

    def give_up(self) -> None:
        """Leave the file as it is. Nothing after ``take_place``."""
        with suppress(OSError):
            self.file.close()  # what it still buffers may find no space
        with suppress(FileNotFoundError):
            os.unlink(self._beside)

    def make_lasting(self) -> None:
        """Bring the change of names to the disk too, where the system lets us."""
        if os.name == "nt":
            return
        with suppress(OSError):
            folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    # Private

    def _become_like(self, old: os.stat_result) -> bool:
        """Whether it could be given the owner and the mode of the old version."""
        try:
            mine = os.fstat(self.file.fileno())
            if hasattr(os, "fchown") and (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
                os.fchown(self.file.fileno(), old.st_uid, old.st_gid)
            shutil.copystat(self.path, self._beside)
            os.utime(self._beside)
        except OSError:
            return False
        return True


def remove_left_over(path: str) -> None:
    """Remove the versions of this file that servers were killed over."""
    folder, name = os.path.split(os.path.realpath(path))
    start = f".~{name}."
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ending = entry.name.removeprefix(start)
            if ending != entry.name and len(ending) == 8 and not set(ending) - set("0123456789abcdef"):
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime > LEFT_OVER:
                        os.unlink(entry.path)
