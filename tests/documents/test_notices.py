"""Notices are in the document, for every tab; there are not too many of them, and programs hear of them too."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st
from jupyter_events import EventLogger
from pycrdt import Doc, Map

from ydoc_exec.documents.notices import MAX_NOTICES, Kind, NoticeEvent, Notices
from ydoc_exec.ids import RoomId
from ydoc_exec.origin import FromServer, Origin
from ydoc_exec.room.room import Room

ROOM = RoomId("json", "notebook", "a file")


class Board:
    """A document with notices, and who hears of them."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.room = Room("a room", self.doc, backlog=2**20)
        self.events: list[NoticeEvent] = []
        self.path = "a.ipynb"
        self.notices = Notices(ROOM, self.room, lambda: self.path, self.events.append)

    @property
    def shown(self) -> dict[str, dict[str, Any]]:
        """What a tab has."""
        tab: Doc[Any] = Doc()
        tab.apply_update(self.doc.get_update())
        execution = tab.get("execution", type=Map).to_py() or {}
        shown: dict[str, dict[str, Any]] = execution.get("notices", {})
        return shown

    @property
    def texts(self) -> list[str]:
        return sorted(entry["text"] for entry in self.shown.values())


@pytest.fixture
def board() -> Board:
    return Board()


def test_what_is_said_is_in_the_document(board: Board) -> None:
    board.notices.say("wiped", "Most of it was deleted.", "00000001-12345678")
    [(notice_id, entry)] = board.shown.items()
    assert entry.pop("at").endswith("+00:00")
    assert entry == {"kind": "wiped", "text": "Most of it was deleted.", "copy": "00000001-12345678"}
    assert [event.record() for event in board.events] == [
        {
            "action": "said",
            "document_id": "json:notebook:a file",
            "path": "a.ipynb",
            "notice_id": notice_id,
            "kind": "wiped",
            "text": "Most of it was deleted.",
            "copy": "00000001-12345678",
        }
    ]


async def origins_of(board: Board) -> list[Origin | None]:
    origins: list[Origin | None] = []
    async with board.room.open():
        await wait_all_tasks_blocked()
        board.room.add_sink(lambda _, origin: origins.append(origin))
        board.notices.say("save-failed", "The disk is full.")
        board.notices.say("save-failed", "The disk is still full.")
        board.notices.clear("save-failed")
    return origins


@pytest.mark.anyio
async def test_each_change_is_one_transaction_of_the_server() -> None:
    assert await origins_of(Board()) == [FromServer()] * 3


def test_what_is_said_already_is_not_said_again(board: Board) -> None:
    for copy in (None, "a copy"):
        for _ in range(2):
            board.notices.say("conflict", "text", copy)
    before = board.doc.get_state()
    board.notices.say("conflict", "text")
    assert board.doc.get_state() == before
    assert len(board.shown) == len(board.events) == 2


def test_a_state_is_said_once_as_it_is_now(board: Board) -> None:
    board.notices.say("save-failed", "The disk is full.")
    board.notices.say("wiped", "Most of it was deleted.", "a copy")
    board.notices.say("save-failed", "The file is read-only.")
    assert board.texts == ["Most of it was deleted.", "The file is read-only."]


def test_each_copy_has_its_notice(board: Board) -> None:
    board.notices.say("wiped", "Once.", "a copy")
    board.notices.say("wiped", "Again.", "another copy")
    assert board.texts == ["Again.", "Once."]


def test_what_is_over_goes(board: Board) -> None:
    board.notices.clear("save-failed")
    board.notices.say("save-failed", "The disk is full.")
    board.notices.say("wiped", "Once.", "a copy")
    board.notices.say("wiped", "Again.", "another copy")
    board.notices.clear("save-failed")
    board.notices.clear_copy("a copy")
    assert board.texts == ["Again."]
    said = {event.notice_id: event for event in board.events if event.action == "said"}
    cleared = [event for event in board.events if event.action == "cleared"]
    assert [said[event.notice_id].text for event in cleared] == ["The disk is full.", "Once."]
    board.events.clear()
    board.notices.clear("save-failed")
    assert board.events == []


def test_there_are_not_too_many(board: Board) -> None:
    for number in range(MAX_NOTICES + 5):
        board.notices.say("wiped", f"{number:02}", f"copy {number}")
    assert len(board.shown) == MAX_NOTICES
    assert board.texts[-1] == f"{MAX_NOTICES + 4:02}"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["say", "clear", "clear_copy"]),
            st.sampled_from(["wiped", "save-failed"]),
            st.sampled_from([None, *(f"copy {number}" for number in range(12))]),
        ),
        max_size=40,
    )
)
def test_what_was_said_last_is_there(steps: list[tuple[str, Kind, str | None]]) -> None:
    board = Board()
    for verb, kind, copy in steps:
        if verb == "say":
            board.notices.say(kind, "text", copy)
            assert any(entry.get("copy") == copy and entry["kind"] == kind for entry in board.shown.values())
        elif verb == "clear":
            board.notices.clear(kind)
            assert all(entry["kind"] != kind for entry in board.shown.values())
        elif copy is not None:
            board.notices.clear_copy(copy)
            assert all(entry.get("copy") != copy for entry in board.shown.values())
        assert len(board.shown) <= MAX_NOTICES
    ids = [event.notice_id for event in board.events if event.action == "said"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("nonsense", [None, 1.5, "text", [1.0], {"a": None, "b": {"kind": 3.0}}])
def test_what_clients_write_there_harms_nobody(board: Board, nonsense: Any) -> None:
    live = board.doc.get("execution", type=Map)
    live["notices"] = Map(nonsense) if isinstance(nonsense, dict) else nonsense
    board.notices.clear("wiped")
    board.notices.clear_copy("a copy")
    for number in range(MAX_NOTICES + 1):
        board.notices.say("wiped", f"{number:02}", f"copy {number}")
    assert all(entry["kind"] == "wiped" for entry in board.shown.values())
    assert len(board.shown) == MAX_NOTICES


@pytest.mark.filterwarnings("error")
async def emitted(event: NoticeEvent) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    schema = "https://schema.jupyter.org/ydoc_exec/notice/v1"
    logger = EventLogger()
    with (files("ydoc_exec") / "event_schemas" / "notice-v1.yaml").open() as file:
        logger.register_event_schema(file.read())

    async def listen(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    logger.add_listener(schema_id=schema, listener=listen)
    logger.emit(schema_id=schema, data=event.record())
    await logger.gather_listeners()
    return heard


@pytest.mark.anyio
async def test_the_schema_knows_them(board: Board) -> None:
    board.notices.say("save-failed", "The disk is full.")
    board.notices.say("wiped", "Most of it was deleted.", "a copy")
    board.notices.clear("wiped")
    for event in board.events:
        assert await emitted(event) == [event.record()]
