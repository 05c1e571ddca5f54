"""A document is open on one server at a time."""

# ruff: noqa: ASYNC240 (blocking file operations hold up nobody here)

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.headless.client import RoomClient, RoomClosed
from tests.server import LabServer, eventually
from ydoc_exec.documents.ownership import Ownership
from ydoc_exec.errors import OpenElsewhere

pytestmark = pytest.mark.anyio

OWNING = """
import sys, anyio
from pathlib import Path
from ydoc_exec.documents.ownership import Ownership

async def main():
    async with Ownership(Path(sys.argv[1]), lambda: "http://first/").of("a"):
        print("mine", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "owners"


async def test_one_at_a_time(folder: Path) -> None:
    one = Ownership(folder, lambda: "http://one:8888/")
    other = Ownership(folder, lambda: "http://other:8888/")
    async with one.of("a"), other.of("b"):
        with pytest.raises(OpenElsewhere) as refusal:
            async with other.of("a"):
                pass
        assert refusal.value.owner.startswith(f"another server, http://one:8888/ (process {os.getpid()} on ")
        assert "Close it there" in str(refusal.value)
        assert len(refusal.value.close_reason.encode()) <= 123
    async with other.of("a"):
        with pytest.raises(OpenElsewhere, match="http://other"):
            async with one.of("a"):
                pass
    async with one.of("a"):
        pass


async def test_it_is_given_back_when_the_block_fails(folder: Path) -> None:
    ownership = Ownership(folder)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with ownership.of("a"):
                raise ZeroDivisionError
    with anyio.CancelScope() as scope:
        async with ownership.of("a"):
            scope.cancel()
            await anyio.sleep_forever()
    async with ownership.of("a"):
        pass


async def test_nobody_else_can_read_it(folder: Path) -> None:
    async with Ownership(folder).of("a"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("file_id", ["", "..", "a/b", "ü" * 300, "\udc80", "C:\\x", "nul\0"])
async def test_ids_of_any_kind(folder: Path, file_id: str) -> None:
    async with Ownership(folder).of(file_id):
        with pytest.raises(OpenElsewhere):
            async with Ownership(folder).of(file_id):
                pass
    assert {path.parent for path in folder.parent.rglob("*.*")} == {folder}


@pytest.mark.parametrize("said", ["", "[]", '{"url": "http://x/"}', "\x00"])
async def test_an_owner_that_does_not_say_who_it_is(folder: Path, said: str) -> None:
    async with Ownership(folder).of("a"):
        [note] = folder.glob("*.json")
        note.write_text(said)
        with pytest.raises(OpenElsewhere, match=r"is open on another server\. Close"):
            async with Ownership(folder).of("a"):
                pass


async def test_a_folder_that_cannot_be_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Documents are opened all the same, and it is said once."""
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    ownership = Ownership(folder)
    async with ownership.of("a"), ownership.of("b"), Ownership(None).of("a"):
        pass
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_whoever_is_killed_owns_nothing(folder: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 (it takes a moment)
        [sys.executable, "-c", OWNING, str(folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert await to_thread.run_sync(process.stdout.readline) == b"mine\n"
            with pytest.raises(OpenElsewhere, match=rf"http://first/ \(process {process.pid} on"):
                async with Ownership(folder).of("a"):
                    pass
        finally:
            process.kill()
    async with Ownership(folder, lambda: "http://second/").of("a"):
        [note] = folder.glob("*.json")
        assert json.loads(note.read_text())["url"] == "http://second/"
    assert not list(folder.glob("*.json"))


@pytest.mark.timeout(120)
async def test_two_servers_and_one_file(tmp_path: Path) -> None:
    """The second refuses, and takes over when the first is killed: nothing is lost and nothing is doubled."""
    with LabServer(tmp_path) as first, LabServer(tmp_path) as second:
        first.write_notebook("a.ipynb", "", "x = 1")
        second.write_notebook("b.ipynb", "b")
        async with RoomClient(first, "a.ipynb") as mine:
            mine.type_into(0, "typed here")
            await mine.barrier()
            await mine.wait(lambda: mine.state["dirty"] is False)
            mine.type_into(1, " + 2")
            await mine.barrier()

            theirs = RoomClient(second, "a.ipynb")
            for _ in range(2):
                with pytest.raises(RoomClosed) as refusal:
                    await theirs.reconnect()
                assert refusal.value.code == 4400
                assert refusal.value.reason.startswith("This document is open on another server, http://")
                assert f"{first.port}/ (process {first.pid} on" in refusal.value.reason
            assert theirs.session_status == 200
            assert theirs.session_id == ""
            async with RoomClient(second, "b.ipynb") as other:
                assert other.sources() == ["b"]
            assert first.read_notebook("a.ipynb")["cells"][0]["source"] == ["typed here"]

            await anyio.sleep(0.5)  # what the log may lack of the last moments before a kill
            await to_thread.run_sync(first.kill)
            await eventually(lambda: mine.closed)
            assert mine.closed is not None
            theirs.session_id = None
            await theirs.reconnect()
            assert theirs.sources() == ["typed here", "x = 1 + 2"]
            # A tab of the first server, when its way leads to the second.
            await mine.disconnect()
            mine.type_into(1, " + 3")
            async with RoomClient(second, "a.ipynb", doc=mine.doc, session_id=mine.session_id) as returned:
                await returned.barrier()
                await theirs.wait(lambda: theirs.cells == returned.cells)
                assert theirs.sources() == ["typed here", "x = 1 + 2 + 3"]
                assert len({cell["id"] for cell in theirs.cells}) == 2
                assert await theirs.save() == "success"
            await theirs.disconnect()
        cells = second.read_notebook("a.ipynb")["cells"]
        assert ["".join(cell["source"]) for cell in cells] == ["typed here", "x = 1 + 2 + 3"]
