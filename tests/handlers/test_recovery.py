"""Recovery copies over HTTP: listed, read, restored into open and closed documents, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from anyio import fail_after, to_thread
from pycrdt import Map
from websockets.asyncio.client import connect

from tests.conftest import Servers, make_servers
from tests.handlers.test_rights import denying
from tests.headless.client import RoomClient
from tests.server import LabServer, code_cell, eventually
from ydoc_exec.files.recovery_copies import Reason, RecoveryCopies, RecoveryCopy
from ydoc_exec.ids import RoomId

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

TYPED = "# what somebody has typed"

ROOT = "/api/collaboration/recovery/"


class Shelf:
    """A server, and the folder of its copies, into which another program can put some."""

    def __init__(self, server: LabServer, folder: Path) -> None:
        self.server = server
        self.copies = RecoveryCopies(folder, per_document=20, total_bytes=2**20)

    def file_id(self, path: str, *, type: str = "notebook", format: str = "json") -> str:
        body = {"format": format, "type": type}
        response = self.server.api("PUT", f"/api/collaboration/session/{quote(path)}", body)
        response.raise_for_status()
        return str(response.json()["fileId"])

    def keep(
        self, path: str, content: Any, reason: Reason = "wiped", room: RoomId | None = None
    ) -> RecoveryCopy:
        room = room or RoomId("json", "notebook", self.file_id(path))
        return self.copies.keep_now(room, path, reason, content, "somebody")

    def ask(self, method: str, path: str, copy: str | None = None, body: object = None) -> httpx.Response:
        query = "" if copy is None else f"?copy={quote(copy)}"
        return self.server.api(method, ROOT + quote(path) + query, body)

    def listed(self, path: str) -> list[dict[str, Any]]:
        response = self.ask("GET", path)
        assert response.status_code == 200, response.text
        copies: list[dict[str, Any]] = response.json()["copies"]
        return copies

    def restore(self, path: str, copy: str) -> httpx.Response:
        return self.ask("POST", path, body={"copy": copy})

    def content(self, path: str, copy: str) -> Any:
        response = self.ask("GET", path, copy)
        assert response.status_code == 200, response.text
        return response.json()["content"]

    def sources(self, path: str) -> list[str]:
        return ["".join(cell["source"]) for cell in self.server.read_notebook(path)["cells"]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """One for all tests: each has files of its own."""
    directory = tmp_path_factory.mktemp("recovery")
    folder = directory / "copies"
    for make in make_servers(directory):
        yield Shelf(make(f"--YdocExec.recovery_dir={folder}", "--YdocExec.linger=1"), folder)


def notebook(*sources: str) -> dict[str, Any]:
    cells = [{"id": f"cell-{index}"} | code_cell(source) for index, source in enumerate(sources)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


async def test_they_are_listed_and_read(shelf: Shelf) -> None:
    shelf.server.write_notebook("folder/ä b.ipynb", "now")
    assert shelf.listed("folder/ä b.ipynb") == []
    old = shelf.keep("folder/ä b.ipynb", notebook("old"))
    older = notebook("older")
    new = shelf.keep("folder/ä b.ipynb", older, "conflict")
    listed = shelf.listed("folder/ä b.ipynb")
    assert [copy["id"] for copy in listed] == [new.id, old.id]
    assert listed[0] == {
        "id": new.id,
        "document_id": str(new.room),
        "path": "folder/ä b.ipynb",
        "reason": "conflict",
        "created": new.created,
        "user": "somebody",
        "size": new.size,
    }
    model = shelf.ask("GET", "folder/ä b.ipynb", new.id).json()
    assert model["content"] == older
    assert (model["type"], model["format"], model["name"]) == ("notebook", "json", "ä b.ipynb")
    assert model["copy"] == listed[0]
    assert shelf.listed("another.ipynb") == []


async def test_an_open_notebook_becomes_what_it_was(shelf: Shelf) -> None:
    shelf.server.write_notebook("open.ipynb", "a", "b", "c")
    copy = shelf.keep("open.ipynb", notebook("a", "b", "c"))
    async with (
        RoomClient(shelf.server, "open.ipynb") as client,
        RoomClient(shelf.server, "open.ipynb") as other,
    ):
        same = client.ycells[0]
        client.ycells[0]["metadata"]["tab"] = "writes"
        del client.ycells[1:3]
        client.type_into(0, TYPED)
        await client.barrier()
        answer = (await client.request("POST", f"{ROOT}open.ipynb", {"copy": copy.id})).json()
        assert shelf.sources("open.ipynb") == ["a", "b", "c"]
        for tab in (client, other):
            await tab.wait(lambda tab=tab: tab.sources() == ["a", "b", "c"])  # type: ignore[misc]
        # The cell is the very same one, not another with its id.
        assert str(same["source"]) == "a"
        assert [client.cell_id(index) for index in range(3)] == ["cell-0", "cell-1", "cell-2"]
        assert answer["restored"]["id"] == copy.id
        kept = answer["kept"]
        assert (kept["reason"], kept["path"]) == ("restored", "open.ipynb")
        assert [cell["source"] for cell in shelf.content("open.ipynb", kept["id"])["cells"]] == [f"a{TYPED}"]
        # And back again.
        back = await client.request("POST", f"{ROOT}open.ipynb", {"copy": kept["id"]})
        for tab in (client, other):
            await tab.wait(lambda tab=tab: tab.sources() == [f"a{TYPED}"])  # type: ignore[misc]
        assert shelf.sources("open.ipynb") == [f"a{TYPED}"]
        assert back.json()["kept"]["reason"] == "restored"
    assert len(shelf.listed("open.ipynb")) == 3


async def test_what_is_so_already_is_not_kept(shelf: Shelf) -> None:
    shelf.server.write_notebook("so.ipynb", "a")
    async with RoomClient(shelf.server, "so.ipynb") as client:
        client.type_into(0, TYPED)
        assert await client.save() == "success"
        content = shelf.server.api("GET", "/api/contents/so.ipynb").json()["content"]
        copy = shelf.keep("so.ipynb", content)
        assert shelf.restore("so.ipynb", copy.id).json()["kept"] is None
        assert client.sources() == [f"a{TYPED}"]
    assert len(shelf.listed("so.ipynb")) == 1


async def test_cells_that_run_go_on(shelf: Shelf) -> None:
    shelf.server.write_notebook(
        "running.ipynb", "import time\nprint('begun', flush=True)\ntime.sleep(60)", "b"
    )
    copy = shelf.keep("running.ipynb", notebook("# as it was", "# b"))
    async with RoomClient(shelf.server, "running.ipynb") as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [0])
        await client.wait_lines(0, 1)
        answer = await client.request("POST", f"{ROOT}running.ipynb", {"copy": copy.id})
        assert answer.status_code == 200, answer.text
        await client.wait(lambda: client.sources() == ["# as it was", "# b"])
        assert client.marker(0) == "running"
        assert client.lines(0) == ["begun"]
        await client.request("POST", f"/api/kernels/{kernel}/interrupt")
        await client.wait(lambda: client.marker(0) == "idle" and client.count(0) == 1)
        assert len(client.cells[0]["outputs"]) == 2


async def test_a_closed_document_and_a_text(shelf: Shelf) -> None:
    file = shelf.server.root / "text.txt"
    file.write_text("now")
    room = RoomId("text", "file", shelf.file_id("text.txt", type="file", format="text"))
    copy = shelf.keep("text.txt", "before\r\n", room=room)
    answer = shelf.restore("text.txt", copy.id)
    assert answer.status_code == 200, answer.text
    assert file.read_bytes() == b"before\r\n"
    assert shelf.content("text.txt", answer.json()["kept"]["id"]) == "now"


async def test_they_follow_a_renamed_file(shelf: Shelf) -> None:
    shelf.server.write_notebook("moved.ipynb", "a")
    copy = shelf.keep("moved.ipynb", notebook("before"))
    shelf.server.rename("moved.ipynb", "moved-b.ipynb")
    shelf.server.write_notebook("moved.ipynb", "another notebook")
    assert [found["id"] for found in shelf.listed("moved-b.ipynb")] == [copy.id]
    assert shelf.listed("moved.ipynb") == []
    assert shelf.restore("moved.ipynb", copy.id).status_code == 404
    assert shelf.restore("moved-b.ipynb", copy.id).status_code == 200
    assert shelf.sources("moved-b.ipynb") == ["before"]
    assert shelf.sources("moved.ipynb") == ["another notebook"]


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
async def test_a_deleted_file_comes_back(shelf: Shelf, opened: bool) -> None:
    name = f"gone-{opened}.ipynb"
    file = shelf.server.write_notebook(name, "a")
    copy = shelf.keep(name, notebook("before"))

    async def delete_and_restore() -> None:
        response = await to_thread.run_sync(shelf.server.api, "DELETE", f"/api/contents/{name}")
        assert response.status_code == 204
        assert not file.exists()
        assert [found["id"] for found in shelf.listed(name)] == [copy.id]
        answer = await to_thread.run_sync(shelf.restore, name, copy.id)
        assert answer.status_code == 200, answer.text
        assert shelf.sources(name) == ["before"]

    if opened:
        async with RoomClient(shelf.server, name):
            await delete_and_restore()
    else:
        await delete_and_restore()
    async with RoomClient(shelf.server, name) as client:
        assert client.sources() == ["before"]


async def test_what_cannot_be_restored_changes_nothing(shelf: Shelf) -> None:
    before = shelf.server.write_notebook("refused.ipynb", "a").read_bytes()
    other = shelf.server.write_notebook("refused-b.ipynb", "b").read_bytes()
    history = shelf.keep("refused.ipynb", ["AAA=", "AAA="], "unreadable")
    broken = shelf.keep("refused.ipynb", {**notebook("a"), "cells": [{"source": 3}]})
    good = shelf.keep("refused.ipynb", notebook("before"))
    foreign = shelf.keep("refused-b.ipynb", notebook("of b"))
    for copy in (history, broken):
        refused = shelf.restore("refused.ipynb", copy.id)
        assert refused.status_code == 409
        assert copy.id in refused.json()["message"]
        assert shelf.ask("GET", "refused.ipynb", copy.id).status_code == 200
    for unknown in (foreign.id, "", "../" + good.id, "x" * 10_000, "00000001-00000000"):
        assert shelf.restore("refused.ipynb", unknown).status_code in (400, 404)
        assert shelf.ask("DELETE", "refused.ipynb", unknown[:1000]).status_code == 404
        assert shelf.ask("GET", "refused.ipynb", unknown[:1000]).status_code == 404
    bodies: list[object] = [None, [], {}, {"copy": 3}, {"copy": None}, {"copy": [good.id]}, good.id]
    for body in bodies:
        assert shelf.ask("POST", "refused.ipynb", body=body).status_code == 400
    assert shelf.server.api("POST", f"{ROOT}refused.ipynb", content=b"\xff{").status_code == 400
    assert shelf.ask("DELETE", "refused.ipynb").status_code == 400
    assert shelf.restore("none.ipynb", good.id).status_code == 404
    async with RoomClient(shelf.server, "refused.ipynb", format="text", type="file"):
        assert (await to_thread.run_sync(shelf.restore, "refused.ipynb", good.id)).status_code == 409
    assert (shelf.server.root / "refused.ipynb").read_bytes() == before
    assert (shelf.server.root / "refused-b.ipynb").read_bytes() == other
    assert len(shelf.listed("refused.ipynb")) == 3
    assert "Traceback" not in shelf.server.log


async def test_when_what_is_open_cannot_be_kept_it_stays(shelf: Shelf) -> None:
    long = "x = 1\n" * 400_000
    shelf.server.write_notebook("full.ipynb", long)
    copy = shelf.keep("full.ipynb", notebook("before"))
    server = psutil.Process(shelf.server.pid)
    limits = server.rlimit(psutil.RLIMIT_FSIZE)
    async with RoomClient(shelf.server, "full.ipynb") as client:
        # No file can become as large as what is open: to the server it is as a full disk.
        server.rlimit(psutil.RLIMIT_FSIZE, (len(long), limits[1]))
        try:
            refused = await to_thread.run_sync(shelf.restore, "full.ipynb", copy.id)
        finally:
            server.rlimit(psutil.RLIMIT_FSIZE, limits)
        assert refused.status_code == 500
        assert "could not be kept" in refused.json()["message"]
        await client.barrier()
        assert client.sources() == [long]
        again = await to_thread.run_sync(shelf.restore, "full.ipynb", copy.id)
        assert again.status_code == 200, again.text
        await client.wait(lambda: client.sources() == ["before"])
        assert shelf.content("full.ipynb", again.json()["kept"]["id"])["cells"][0]["source"] == long
    assert shelf.sources("full.ipynb") == ["before"]


async def test_they_are_deleted(shelf: Shelf) -> None:
    shelf.server.write_notebook("deleted.ipynb", "a")
    first, second = shelf.keep("deleted.ipynb", notebook("1")), shelf.keep("deleted.ipynb", notebook("2"))
    assert shelf.ask("DELETE", "deleted.ipynb", first.id).status_code == 204
    assert shelf.ask("DELETE", "deleted.ipynb", first.id).status_code == 404
    assert [copy["id"] for copy in shelf.listed("deleted.ipynb")] == [second.id]


@pytest.mark.parametrize("action", ["read", "write"])
async def test_rights(servers: Servers, tmp_path: Path, action: str) -> None:
    server = denying(servers, tmp_path, (action, "contents"))
    server.write_notebook("a.ipynb", "a")
    asked: dict[str, Callable[[], httpx.Response]] = {
        "list": lambda: server.api("GET", f"{ROOT}a.ipynb"),
        "get": lambda: server.api("GET", f"{ROOT}a.ipynb?copy=x"),
        "restore": lambda: server.api("POST", f"{ROOT}a.ipynb", {"copy": "x"}),
        "delete": lambda: server.api("DELETE", f"{ROOT}a.ipynb?copy=x"),
    }
    statuses = {name: ask().status_code for name, ask in asked.items()}
    may = {"list": 200, "get": 404, "restore": 404, "delete": 404}
    denied = ("list", "get") if action == "read" else ("restore", "delete")
    assert statuses == {name: 403 if name in denied else status for name, status in may.items()}
    nobody = server.api("GET", f"{ROOT}a.ipynb", headers={"Authorization": "token none"})
    assert nobody.status_code == 403


async def test_a_notice_about_a_copy_is_over_when_it_is_restored(shelf: Shelf) -> None:
    text = "\n".join(f"value_{n} = compute({n})" for n in range(30))
    shelf.server.write_notebook("notice.ipynb", text, text.replace("value", "other"))
    events = f"{shelf.server.ws_url}/api/events/subscribe?token={shelf.server.token}"
    async with connect(events) as socket, RoomClient(shelf.server, "notice.ipynb") as client:

        def notices() -> list[dict[str, Any]]:
            said = client.doc.get("execution", type=Map).to_py() or {}
            return list(said.get("notices", {}).values())

        async def event(action: str) -> dict[str, Any]:
            with fail_after(10):
                async for message in socket:
                    found: dict[str, Any] = json.loads(message)
                    if found["schema_id"].endswith("/ydoc_exec/notice/v1") and found["kind"] == "wiped":
                        assert found["action"] == action
                        return found
            raise AssertionError("the server has ended the connection")

        with client.doc.transaction():
            client.ycells.clear()
        [wiped] = await client.wait(lambda: [one for one in notices() if one["kind"] == "wiped"] or None)
        said = await event("said")
        assert (said["path"], said["copy"], said["text"]) == ("notice.ipynb", wiped["copy"], wiped["text"])
        assert said["document_id"] == client.document_id
        assert json.dumps(shelf.content("notice.ipynb", wiped["copy"])).count("compute") == 60
        answer = await client.request("POST", f"{ROOT}notice.ipynb", {"copy": wiped["copy"]})
        assert answer.status_code == 200, answer.text
        await client.wait(lambda: notices() == [])
        assert client.source(0) == text
        assert (await event("cleared"))["notice_id"] == said["notice_id"]
    await eventually(lambda: shelf.sources("notice.ipynb")[0] == text)
