"""What was deleted through this server is not remembered.

A file that is deleted loses its file id, and a new one of the same name gets another. So nothing would ever ask for the
history again; it would only stay where the person who deleted the file does not expect it. Files that are deleted in
other ways keep their ids: they may come back, as when a branch is checked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ydoc_exec.ids import RoomId


class DeletedFiles:
    """Knows where the documents of this server's life were last, and forgets those that are deleted.

    Args:
        path_of: the path of a file id, or None when there is none any more.
        forget: removes a document's history.
    """

    def __init__(self, path_of: Callable[[str], str | None], forget: Callable[[RoomId], None]) -> None:
        self._path_of = path_of
        self._forget = forget
        # Of the files of an earlier life nobody knows where they were: their ids are gone when it is said.
        self._paths: dict[RoomId, str] = {}
        self._open: set[RoomId] = set()
        self._deleted: set[RoomId] = set()

    @contextmanager
    def opened(self, room: RoomId) -> Iterator[None]:
        """The document is open until the block ends. If its file is deleted meanwhile, it is forgotten then."""
        self._note(room)
        self._open.add(room)
        try:
            yield
        finally:
            self._note(room)
            self._open.discard(room)
            if room in self._deleted:
                self._deleted.discard(room)
                self._drop(room)

    def deleted(self, path: str) -> list[RoomId]:
        """A file, or a folder with what was in it, was deleted. Returns those of its documents that are open."""
        path = path.strip("/")
        gone = [room for room in self._paths if self._is_at(room, path)]
        for room in gone:
            if room in self._open:
                self._deleted.add(room)
            else:
                self._drop(room)
        return [room for room in gone if room in self._open]

    # Private

    def _note(self, room: RoomId) -> None:
        path = self._path_of(room.file_id)
        if path is not None:
            self._paths[room] = path

    def _is_at(self, room: RoomId, path: str) -> bool:
        # Its id may be there still or not: others are told of deletions too, in no order.
        last = self._path_of(room.file_id) or self._paths[room]
        return last == path or last.startswith(f"{path}/")

    def _drop(self, room: RoomId) -> None:
        del self._paths[room]
        self._forget(room)
