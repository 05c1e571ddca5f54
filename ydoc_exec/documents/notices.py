"""What people must be told about a document, said in the document itself.

So every tab shows it, also one that was away: a notice stays until what it says is no longer so. In the root map
``execution``, which no file has:

    notices   Map  id -> {kind, text, at, copy?}

``kind`` says what happened, ``text`` says it in a sentence, ``at`` is the time (ISO 8601, UTC), and ``copy`` names the
recovery copy that has what may be missed. Whoever has read a notice dismisses it in their own tab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from secrets import token_hex
from typing import Any, Literal

from pycrdt import Map

from ydoc_exec.ids import RoomId
from ydoc_exec.origin import FromServer
from ydoc_exec.room.room import Room

MAX_NOTICES = 10
"""More than so many old ones nobody reads."""

Kind = Literal["conflict", "wiped", "emptied", "unreadable", "unsaved", "save-failed", "log-failed"]

PASSING: tuple[Kind, ...] = ("emptied", "save-failed", "log-failed")
"""What is true of a document only while it is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeEvent:
    """That a notice was given or is no longer true, for programs that watch the server.

    The fields are those of the event's schema, ``event_schemas/notice-v1.yaml``.
    """

    action: Literal["said", "cleared"]
    document_id: str
    path: str
    notice_id: str
    kind: str
    text: str
    copy: str | None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Notices:
    """The notices of one document. Never call it from inside an observer or a transaction of somebody else.

    Args:
        path_of: the file's path now.
        emit: told of everything that is said or cleared; it must return at once and not raise.
    """

    def __init__(
        self,
        room_id: RoomId,
        room: Room,
        path_of: Callable[[], str],
        emit: Callable[[NoticeEvent], None],
    ) -> None:
        self._room_id = room_id
        self._room = room
        self._path_of = path_of
        self._emit = emit
        self._live: Map[Any] = room.doc.get("execution", type=Map)

    def say(self, kind: Kind, text: str, copy: str | None = None) -> None:
        """Give a notice. JupyterLab shows the first 140 characters of the text, as plain text.

        A notice without a copy takes the place of the last of its kind; one with a copy stays beside the others.
        What is said already is not said again.
        """
        present = self._read()
        said = {"kind": kind, "text": text} | ({} if copy is None else {"copy": copy})
        if any({**entry, "at": ""} == {**said, "at": ""} for entry in present.values()):
            return
        replaced = [
            notice_id
            for notice_id, entry in present.items()
            if copy is None and entry.get("kind") == kind and "copy" not in entry
        ]
        oldest = sorted(present.keys() - set(replaced), key=lambda notice_id: _age(present[notice_id]))
        notice_id = token_hex(4)
        entry = {**said, "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        self._change([*replaced, *oldest[: max(0, len(oldest) + 1 - MAX_NOTICES)]], {notice_id: entry})
        self._tell("said", notice_id, entry)

    def clear(self, kind: Kind) -> None:
        """All notices of this kind are over."""
        self._remove(lambda entry: entry.get("kind") == kind)

    def clear_copy(self, copy: str) -> None:
        """What speaks of this copy is over: it was restored, or is gone."""
        self._remove(lambda entry: entry.get("copy") == copy)

    # Private

    def _read(self) -> dict[str, dict[str, Any]]:
        """Clients can write anything there."""
        notices = self._live.get("notices")
        entries = notices.to_py() if isinstance(notices, Map) else None
        return {
            notice_id: entry if isinstance(entry, dict) else {}
            for notice_id, entry in (entries or {}).items()
        }

    def _remove(self, over: Callable[[dict[str, Any]], bool]) -> None:
        present = self._read()
        gone = [notice_id for notice_id, entry in present.items() if over(entry)]
        if gone:
            self._change(gone, {})
            for notice_id in gone:
                self._tell("cleared", notice_id, present[notice_id])

    def _change(self, gone: list[str], new: dict[str, dict[str, Any]]) -> None:
        with self._room.writing(FromServer()):
            if not isinstance(self._live.get("notices"), Map):
                self._live["notices"] = Map()
            notices: Map[Any] = self._live["notices"]
            for notice_id in gone:
                del notices[notice_id]
            for notice_id, entry in new.items():
                notices[notice_id] = entry

    def _tell(self, action: Literal["said", "cleared"], notice_id: str, entry: dict[str, Any]) -> None:
        copy = entry.get("copy")
        self._emit(
            NoticeEvent(
                action=action,
                document_id=str(self._room_id),
                path=self._path_of(),
                notice_id=notice_id,
                kind=str(entry.get("kind", "")),
                text=str(entry.get("text", "")),
                copy=None if copy is None else str(copy),
            )
        )


def _age(entry: dict[str, Any]) -> str:
    return str(entry.get("at", ""))
