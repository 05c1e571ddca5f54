"""The database of what became of runs."""

from __future__ import annotations

import signal
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from ydoc_exec.errors import RunHistoryError
from ydoc_exec.store.sqlite_run_history import DAY, STOPPED, KeptRun, SqliteRunHistory

pytestmark = [pytest.mark.anyio]

NOW = time.time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "runs.db"


def history(path: Path, days: float = 7, number: int = 100) -> SqliteRunHistory:
    return SqliteRunHistory(path, days, number)


def run(number: int, state: str = "ok", *, at: float = NOW, kernel: str = "k") -> KeptRun:
    record: dict[str, Any] = {
        "run_id": f"run-{number}",
        "kernel_id": kernel,
        "seq": number,
        "state": state,
        "reason": "",
        "source": "print('é 📊')",
    }
    return KeptRun(record, at, state not in ("queued", "running"))


async def ids(kept: SqliteRunHistory, kernel: str = "k", limit: int = 100) -> list[str]:
    return [record["run_id"] for record in await kept.of(kernel, lambda record: True, limit)]


def left(number: int, gateway: str = "here", **options: Any) -> KeptRun:
    """A run with which another server can go on."""
    return replace(run(number, "running", **options), more={"gateway": gateway, "number": number})


async def test_what_is_written_can_be_read(path: Path) -> None:
    async with history(path) as kept:
        assert await kept.get("run-1") is None
        assert await ids(kept) == []
        await kept.write([])
        await kept.write([run(1), run(2), run(3, kernel="other"), run(4, at=NOW - 5)])
        assert await kept.get("run-1") == run(1).record
        assert await ids(kept) == ["run-2", "run-1", "run-4"]
        assert await ids(kept, limit=1) == ["run-2"]
        assert await kept.of("k", lambda record: record["seq"] < 2, 5) == [run(1).record]
        await kept.write([run(1, "error")])
        assert (await kept.get("run-1") or {})["state"] == "error"
    async with history(path) as kept:
        assert await ids(kept) == ["run-2", "run-1", "run-4"]


async def test_what_a_server_had_that_is_gone_is_lost(path: Path) -> None:
    async with history(path) as one, history(path) as other:
        await one.write([run(1, "running"), run(2, "queued"), run(3)])
        await other.write([run(4, "running")])
        # Both live.
        for kept in (one, other):
            assert [(await kept.get(f"run-{number}") or {})["state"] for number in (1, 2, 3, 4)] == [
                "running",
                "queued",
                "ok",
                "running",
            ]
        await one.__aexit__(None, None, None)
        assert [(await other.get(f"run-{number}") or {})["state"] for number in (1, 2, 3, 4)] == [
            "lost",
            "lost",
            "ok",
            "running",
        ]
        assert (await other.get("run-1") or {})["reason"] == STOPPED
    async with history(path) as later:
        assert (await later.get("run-4") or {})["state"] == "lost"
    assert list(path.with_name("runs.db.servers").iterdir()) == []


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.store.test_sqlite_run_history import history, run

async def main():
    async with history(Path({path!r})) as kept:
        await kept.write([run(1, "running")])
        print("written", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_process_that_is_killed(path: Path) -> None:
    root = str(Path(__file__).parents[2])
    code = KILLED.format(root=root, path=str(path))
    async with await anyio.open_process([sys.executable, "-c", code], cwd=root, stderr=None) as process:
        assert process.stdout is not None
        assert (await process.stdout.receive()).startswith(b"written")
        async with history(path) as kept:
            assert (await kept.get("run-1") or {})["state"] == "running"
            process.send_signal(signal.SIGKILL)
            await process.wait()
            assert (await kept.get("run-1") or {})["state"] == "lost"


async def test_the_old_and_the_many_are_dropped(path: Path) -> None:
    async with history(path) as kept:
        await kept.write(
            [
                run(1, at=NOW - 8 * DAY),
                run(2, at=NOW - 6 * DAY),
                run(3, "running", at=NOW - 8 * DAY),
            ]
        )
        assert await ids(kept) == ["run-2", "run-3"]
    async with history(path, number=2) as kept:
        await kept.write([run(number) for number in range(10, 15)])
        assert await ids(kept) == ["run-14", "run-13"]


def damage(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 4000])
async def test_a_file_that_is_none_is_set_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, content)
    async with history(path) as kept:
        await kept.write([run(1)])
        assert await ids(kept) == ["run-1"]
    [aside] = path.parent.glob("runs.db.*.unreadable")
    assert aside.read_bytes() == content
    assert [record.getMessage().startswith("The run history") for record in caplog.records] == [True]


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    async with history(tmp_path / "a-file" / "runs.db") as kept:
        for _ in range(2):
            with pytest.raises(RunHistoryError, match="a-file"):
                await kept.write([run(1)])
        with pytest.raises(RunHistoryError):
            await kept.get("run-1")


async def test_who_goes_on_with_what_a_server_has_left(path: Path) -> None:
    """One server only, and those that are wanted. Until then, and for everybody else, it is lost."""
    async with history(path) as one:
        await one.write([left(1), left(2, "elsewhere"), run(3, "running"), left(4)])
        await one.write([run(4)])  # it has ended since
        async with history(path) as other:
            # Whose server lives, that goes on with it itself.
            assert await other.claim(lambda more: True) == []
            assert (await other.get("run-1") or {})["state"] == "running"
    async with history(path) as two, history(path) as three:
        for kept in (two, three):
            for number in (1, 2, 3):
                record = await kept.get(f"run-{number}") or {}
                assert (record["state"], record["reason"]) == ("lost", STOPPED)
            assert [record["state"] for record in await kept.of("k", lambda record: True, 9)] == [
                "ok",
                *["lost"] * 3,
            ]
        claimed = await two.claim(lambda more: more["gateway"] == "here")
        assert claimed == [(left(1).record, left(1).more)]
        assert await three.claim(lambda more: more["gateway"] == "here") == []
        for kept in (two, three):
            assert (await kept.get("run-1") or {})["state"] == "running"
            assert (await kept.get("run-2") or {})["state"] == "lost"
        await two.write([run(1)])
    async with history(path) as four:
        assert (await four.get("run-1") or {})["state"] == "ok"
        assert await four.claim(lambda more: True) == [(left(2).record, left(2, "elsewhere").more)]


async def test_what_nobody_goes_on_with_is_dropped_in_time(path: Path) -> None:
    async with history(path) as one:
        await one.write([left(1, at=NOW - 8 * DAY), left(2)])
    async with history(path) as other:
        await other.write([run(3)])  # the first write of a server drops what is old
        assert await ids(other) == ["run-3", "run-2"]


async def test_a_database_of_an_earlier_version(path: Path) -> None:
    async with history(path) as kept:
        await kept.write([run(1)])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE runs DROP COLUMN more")
        database.execute("PRAGMA user_version = 1")
    async with history(path) as kept:
        assert await kept.get("run-1") == run(1).record
        await kept.write([left(2)])
        assert await ids(kept) == ["run-2", "run-1"]
    assert not list(path.parent.glob("*.unreadable"))
