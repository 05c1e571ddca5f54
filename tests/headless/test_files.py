"""The file of an open document, on a real server: what others do to it, and what a disk does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conftest import Servers
from tests.files.disk import small_disk
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]


def source(notebook: dict[str, Any], index: int = 0) -> str:
    return "".join(notebook["cells"][index]["source"])


async def test_a_notebook_that_is_put_goes_through_the_room(shared_server: LabServer) -> None:
    """As programs do that know the contents API only."""
    shared_server.write_notebook("put.ipynb", "one", "two")
    async with RoomClient(shared_server, "put.ipynb") as one, RoomClient(shared_server, "put.ipynb") as two:
        model = (await one.request("GET", "/api/contents/put.ipynb")).json()
        model["content"]["cells"][1]["source"] = "two, put"
        one.type_into(0, " typed")
        await one.barrier()
        answer = await two.request("PUT", "/api/contents/put.ipynb", model)
        assert answer.status_code == 200
        assert answer.json() == answer.json() | {"path": "put.ipynb", "type": "notebook", "content": None}
        file = shared_server.read_notebook("put.ipynb")
        assert [source(file, index) for index in (0, 1)] == ["one typed", "two, put"]
        for client in (one, two):
            await client.wait(lambda client=client: client.sources() == ["one typed", "two, put"])  # type: ignore[misc]
        await one.wait(lambda: one.state["dirty"] is False)
        version, updates = (shared_server.root / "put.ipynb").stat().st_ino, one.updates_received
        await anyio.sleep(2.5)  # the file is looked at every second
        assert (shared_server.root / "put.ipynb").stat().st_ino == version
        assert one.updates_received == updates
        bad = await two.request("PUT", "/api/contents/put.ipynb", {**model, "content": {"cells": 1}})
        assert bad.status_code == 400
        assert one.sources() == ["one typed", "two, put"]


async def test_whoever_reads_the_file_can_ask_for_a_save_first(shared_server: LabServer) -> None:
    shared_server.write_notebook("a folder/flush.ipynb", "")
    path = "a%20folder/flush.ipynb"
    async with RoomClient(shared_server, "a folder/flush.ipynb") as client:
        for number in range(5):
            client.type_into(0, f"{number}")
            await client.barrier()
            answer = await client.request("POST", f"/api/collaboration/save/{path}")
            assert answer.json() == {"path": "a folder/flush.ipynb", "open": True}
            assert source(shared_server.read_notebook("a folder/flush.ipynb")) == client.source(0)
    shared_server.write_notebook("closed.ipynb", "")
    answer = shared_server.api("POST", "/api/collaboration/save/closed.ipynb")
    assert answer.json() == {"path": "closed.ipynb", "open": False}
    assert shared_server.api("POST", "/api/collaboration/save/nowhere.ipynb").status_code == 404


async def test_an_outside_change_leaves_what_tabs_run_by(shared_server: LabServer) -> None:
    path = shared_server.write_notebook("state.ipynb", "1 + 1")
    async with RoomClient(shared_server, "state.ipynb") as client:
        client.notebook.ystate["document_id"] = client.document_id  # as the stock executor does
        kernel = await client.start_kernel()
        notebook = json.loads(path.read_text())
        notebook["cells"][0]["source"] = "2 + 2"
        path.write_text(json.dumps(notebook))
        await client.wait(lambda: client.source(0) == "2 + 2")
        assert client.state["document_id"] == client.document_id
        await client.execute(kernel, [0])
        await client.wait_ended(0, 1)


async def test_the_same_bytes_are_no_change(shared_server: LabServer) -> None:
    path = shared_server.write_notebook("touched.ipynb", "one")
    async with RoomClient(shared_server, "touched.ipynb") as client:
        await client.wait(lambda: client.state.get("hash"))
        hash, updates = client.state["hash"], client.updates_received
        os.utime(path, (1, 1))
        await anyio.sleep(1.5)
        path.write_bytes(path.read_bytes())
        await anyio.sleep(1.5)
        assert client.updates_received == updates
        answer = await client.request("GET", "/api/contents/touched.ipynb?content=0&hash=1")
        assert answer.json()["hash"] == hash


async def test_the_hash_is_known_when_a_save_is_answered(shared_server: LabServer) -> None:
    """A tab compares them before it saves again, and asks its user about a file "changed on disk"."""
    shared_server.write_notebook("hash.ipynb", "")
    async with RoomClient(shared_server, "hash.ipynb") as client:
        for number in range(10):
            client.type_into(0, f"{number}")
            assert await client.save() == "success"
            answer = await client.request("GET", "/api/contents/hash.ipynb?content=0&hash=1")
            assert answer.json()["hash"] == client.state["hash"]


async def test_a_full_disk(tmp_path: Path, servers: Servers) -> None:
    server = LabServer(tmp_path / "server", "--YdocExec.save_delay=0.1", "--YdocExec.save_retry=0.2")
    server.root.rmdir()
    with small_disk(server.root, 200), server:
        before = server.write_notebook("full.ipynb", "one").read_bytes()
        async with RoomClient(server, "full.ipynb") as client:
            client.set_source(0, "large" * 60_000)
            assert await client.save() == "failed"
            assert (server.root / "full.ipynb").read_bytes() == before
            await client.wait(lambda: client.state["dirty"])
            client.type_into(0, "!")  # the room is alive
            await client.barrier()
            assert await client.save() == "failed"
            assert (server.root / "full.ipynb").read_bytes() == before
            client.set_source(0, "small")
            await client.wait(lambda: client.state["dirty"] is False)
            assert source(server.read_notebook("full.ipynb")) == "small"
            assert await client.save() == "success"
        assert [name for name in os.listdir(server.root) if name.startswith(".~")] == []


async def test_without_autosave_no_byte_is_written_and_nothing_is_lost(servers: Servers) -> None:
    server = servers("--YdocExec.save_delay=0.05", "--YdocExec.linger=0.2", "--YdocExec.log_delay=0.01")
    path = server.write_notebook("quiet.ipynb", "one")
    before = path.read_bytes()
    async with RoomClient(server, "quiet.ipynb") as client:
        client.awareness.set_local_state_field("autosave", False)
        client.send_presence()
        client.type_into(0, " typed")
        await client.wait(lambda: client.state["dirty"])
        await client.barrier()
        await anyio.sleep(0.5)
    await anyio.sleep(1)  # everybody has left, and the document was closed
    assert path.read_bytes() == before
    async with RoomClient(server, "quiet.ipynb") as client:
        assert client.sources() == ["one typed"]
        assert client.state["dirty"]
        server.kill()
    server.start()
    async with RoomClient(server, "quiet.ipynb") as client:
        assert client.sources() == ["one typed"]
        await client.wait(lambda: client.state["dirty"])
        await anyio.sleep(0.5)
        assert path.read_bytes() == before
        assert await client.save() == "success"
        assert source(server.read_notebook("quiet.ipynb")) == "one typed"
        await client.wait(lambda: client.state["dirty"] is False)


async def test_a_deleted_file_stays_deleted_unless_somebody_saves_it(servers: Servers) -> None:
    server = servers("--YdocExec.save_delay=0.05", "--YdocExec.poll_interval=0.1")
    deleted, saved = (
        server.write_notebook("deleted.ipynb", "one"),
        server.write_notebook("saved.ipynb", "one"),
    )
    async with RoomClient(server, "deleted.ipynb") as first, RoomClient(server, "saved.ipynb") as second:
        for client, path in ((first, deleted), (second, saved)):
            path.unlink()
            await client.wait(lambda client=client: client.state["dirty"])  # type: ignore[misc]
            client.type_into(0, " typed")
            await client.barrier()
        await anyio.sleep(0.5)
        assert await second.save() == "success"
        assert source(server.read_notebook("saved.ipynb")) == "one typed"
        await second.wait(lambda: second.state["dirty"] is False)
    server.stop()
    assert not deleted.exists()
    assert server.log.count("deleted.ipynb is gone") == 1


async def test_a_rename_and_a_save_at_once_leave_one_file(shared_server: LabServer) -> None:
    for number in range(5):
        old, new = f"before-{number}.ipynb", f"after-{number}.ipynb"
        shared_server.write_notebook(old, "one")
        async with RoomClient(shared_server, old) as one, RoomClient(shared_server, old) as two:
            two.type_into(0, " typed")
            await two.barrier()

            async def rename(client: RoomClient = one, old: str = old, new: str = new) -> None:
                (await client.request("PATCH", f"/api/contents/{old}", {"path": new})).raise_for_status()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rename)
                assert await two.save() == "success"
            for client in (one, two):
                await client.wait(lambda client=client, new=new: client.state["path"] == new)  # type: ignore[misc]
            assert not (shared_server.root / old).exists()
            await eventually(lambda new=new: source(shared_server.read_notebook(new)) == "one typed")  # type: ignore[misc]


async def test_a_file_id_manager_that_goes_by_inodes_does_not_lose_files(servers: Servers) -> None:
    manager = "jupyter_server_fileid.manager.LocalFileIdManager"
    server = servers(f"--FileIdExtension.file_id_manager_class={manager}")
    server.write_notebook("inode.ipynb", "one")
    async with RoomClient(server, "inode.ipynb") as client:
        for _ in range(2):
            client.type_into(0, "!")
            assert await client.save() == "success"
        room = client.document_id
    async with RoomClient(server, "inode.ipynb") as client:
        assert client.document_id == room
        assert client.sources() == ["one!!"]
