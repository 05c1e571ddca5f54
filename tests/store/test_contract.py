"""What every update log promises, whichever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pycrdt
import pytest
from anyio import create_task_group, from_thread
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.errors import UpdateLogError
from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog
from ydoc_exec.store.update_log import History, HistoryMissing, UpdateLog

pytestmark = pytest.mark.anyio

A = RoomId("json", "notebook", "a")
B = RoomId("text", "file", "b:with:colons and ünïcode")
L1 = Lineage("first")
L2 = Lineage("second")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UpdateLog]:
    made: UpdateLog = MemoryUpdateLog() if request.param == "memory" else SqliteUpdateLog(tmp_path / "log.db")
    async with made as opened:
        yield opened


async def test_an_unknown_room(log: UpdateLog) -> None:
    assert await log.read(A) is None
    assert await log.lineage(A) is None
    assert await log.size(A) == 0
    await log.forget(A)


async def test_a_history(log: UpdateLog) -> None:
    await log.begin(A, L1, b"snapshot", None)
    await log.append([(A, b"1"), (A, b"2")])
    await log.append([(A, b""), (A, b"\x00\xff")])
    assert await log.read(A) == History(L1, [b"snapshot", b"1", b"2", b"", b"\x00\xff"], None)
    assert await log.lineage(A) == L1
    assert await log.size(A) == len(b"snapshot12\x00\xff")


async def test_what_was_read_is_not_the_log_itself(log: UpdateLog) -> None:
    await log.begin(A, L1, b"s", None)
    history = await log.read(A)
    assert history is not None
    history.updates.append(b"mine")
    assert await log.read(A) == History(L1, [b"s"], None)


async def test_interleaved_rooms_keep_their_order(log: UpdateLog) -> None:
    await log.begin(A, L1, b"a", None)
    await log.begin(B, L2, b"b", "base of b")
    for i in range(0, 20, 2):
        await log.append([(A, b"a%d" % i), (B, b"b%d" % i), (A, b"a%d" % (i + 1)), (B, b"b%d" % (i + 1))])
    assert await log.read(A) == History(L1, [b"a", *(b"a%d" % i for i in range(20))], None)
    assert await log.read(B) == History(L2, [b"b", *(b"b%d" % i for i in range(20))], "base of b")


async def test_an_empty_batch(log: UpdateLog) -> None:
    await log.append([])


async def test_begin_replaces_everything(log: UpdateLog) -> None:
    await log.begin(A, L1, b"old", "old base")
    await log.append([(A, b"1")])
    await log.begin(B, L1, b"other", None)
    await log.begin(A, L2, b"new", None)
    assert await log.read(A) == History(L2, [b"new"], None)
    assert await log.read(B) == History(L1, [b"other"], None)
    await log.append([(A, b"2")])
    assert await log.read(A) == History(L2, [b"new", b"2"], None)


async def test_set_base(log: UpdateLog) -> None:
    await log.begin(A, L1, b"s", None)
    await log.set_base(A, "base")
    await log.append([(A, b"1")])
    assert await log.read(A) == History(L1, [b"s", b"1"], "base")
    await log.set_base(A, "newer")
    assert await log.read(A) == History(L1, [b"s", b"1"], "newer")


async def test_compact(log: UpdateLog) -> None:
    await log.begin(A, L1, b"s", "base")
    await log.begin(B, L1, b"b", None)
    await log.append([(A, b"1"), (B, b"2"), (A, b"3")])
    await log.compact(A, b"s13")
    assert await log.read(A) == History(L1, [b"s13"], "base")
    assert await log.read(B) == History(L1, [b"b", b"2"], None)
    assert await log.size(A) == 3
    await log.append([(A, b"4")])
    assert await log.read(A) == History(L1, [b"s13", b"4"], "base")


async def test_what_is_late_for_a_forgotten_room_is_refused(log: UpdateLog) -> None:
    await log.begin(A, L1, b"a", None)
    await log.begin(B, L1, b"b", None)
    await log.forget(A)
    with pytest.raises(HistoryMissing, match="json:notebook:a") as caught:
        await log.append([(B, b"1"), (A, b"late"), (B, b"2")])
    assert caught.value.rooms == {A}
    for call in (log.set_base(A, "base"), log.compact(A, b"late")):
        with pytest.raises(HistoryMissing) as caught:
            await call
        assert caught.value.rooms == {A}
    assert await log.read(A) is None
    assert await log.read(B) == History(L1, [b"b"], None), "a batch is taken as a whole or not at all"


async def test_all_missing_rooms_are_named(log: UpdateLog) -> None:
    with pytest.raises(HistoryMissing) as caught:
        await log.append([(A, b"1"), (B, b"2"), (A, b"3")])
    assert caught.value.rooms == {A, B}


async def test_it_is_there_after_closing(log: UpdateLog) -> None:
    await log.begin(A, L1, b"a", "base")
    await log.append([(A, b"1")])
    await log.__aexit__(None, None, None)
    with pytest.raises(UpdateLogError, match="not open"):
        await log.read(A)
    with pytest.raises(UpdateLogError, match="not open"):
        await log.append([(A, b"2")])
    async with log:
        assert await log.read(A) == History(L1, [b"a", b"1"], "base")
        await log.append([(A, b"2")])
        assert await log.size(A) == 3
    await log.__aenter__()


async def test_concurrent_calls(log: UpdateLog) -> None:
    await log.begin(A, L1, b"", None)

    async def append_and_read(name: bytes) -> None:
        for i in range(10):
            await log.append([(A, name + b"%d" % i)])
            assert await log.read(A) is not None

    async with create_task_group() as tasks:
        for name in (b"x", b"y", b"z"):
            tasks.start_soon(append_and_read, name)
    history = await log.read(A)
    assert history is not None
    for name in (b"x", b"y", b"z"):
        mine = [update for update in history.updates if update.startswith(name)]
        assert mine == [name + b"%d" % i for i in range(10)]
    assert len(history.updates) == 31


edits = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "set", "compact"]), st.integers(0, 1000)), max_size=30
)


@given(edits=edits)
def test_a_replayed_history_is_the_document(edits: list[tuple[str, int]]) -> None:
    with from_thread.start_blocking_portal() as portal:
        portal.call(replay, MemoryUpdateLog(), edits)


async def test_a_replayed_history_is_the_document_on_disk(log: UpdateLog) -> None:
    kinds = ["insert", "insert", "delete", "set", "insert", "compact", "set", "delete", "insert"]
    await replay(log, [(kind, i * 7) for i, kind in enumerate(kinds * 5)])


async def replay(log: UpdateLog, edits: list[tuple[str, int]]) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    text = doc.get("text", type=pycrdt.Text)
    map_ = doc.get("map", type=pycrdt.Map)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    async with log:
        await log.begin(A, L1, doc.get_update(), None)
        for kind, number in edits:
            if kind == "insert":
                text.insert(number % (len(text) + 1), str(number))
            elif kind == "delete" and len(text):
                del text[number % len(text)]
            elif kind == "set":
                map_[str(number % 3)] = number
            elif kind == "compact":
                await log.compact(A, doc.get_update())
                updates.clear()
            await log.append([(A, update) for update in updates])
            updates.clear()
        history = await log.read(A)
    assert history is not None
    replayed: pycrdt.Doc[Any] = pycrdt.Doc()
    for update in history.updates:
        replayed.apply_update(update)
    assert str(replayed.get("text", type=pycrdt.Text)) == str(text)
    assert replayed.get("map", type=pycrdt.Map).to_py() == map_.to_py()
    assert replayed.get_update(doc.get_state()) == doc.get_update(doc.get_state())
    await log.__aenter__()
