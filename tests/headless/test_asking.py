"""Cells that are asked for on the room's websocket, as our front end does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.conftest import Servers
from tests.handlers.test_rights import REVOKING, denying
from tests.headless.client import RoomClient
from tests.headless.test_runs import gate
from tests.server import LabServer, markdown_cell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

COUNTING = "import pathlib\nwith pathlib.Path('ran').open('a') as file: print('x', file=file)"
UNKNOWN = "00000000-0000-0000-0000-000000000007"


async def test_the_answer_is_that_of_the_request(shared_server: LabServer) -> None:
    server, name = shared_server, "answer.ipynb"
    server.write_notebook(name, "print(1)", "print(2)")
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        answer = await client.ask(kernel, [1, 0], record_timing=True)
        body = {"document_id": client.document_id, "cell_ids": ["cell-1", "cell-0"], "record_timing": True}
        posted = await client.request("POST", f"/api/kernels/{kernel}/execute", body)
        assert (answer["type"], answer["status"]) == ("execute", posted.status_code)
        assert answer["body"].keys() == posted.json().keys()
        assert [run["cell_id"] for run in answer["body"]["runs"]] == ["cell-1", "cell-0"]
        runs = [run["run_id"] for said in (answer["body"], posted.json()) for run in said["runs"]]
        assert await client.ends(kernel, runs) == ["ok"] * 4
        assert (await client.request("GET", answer["body"]["batch_url"])).json()["pending"] is False
        assert "execution" in client.cells[0]["metadata"]


async def test_what_was_typed_before_counts_and_what_is_typed_afterwards_does_not(
    shared_server: LabServer,
) -> None:
    server, name = shared_server, "typed.ipynb"
    server.write_notebook(name, gate("typed"), "")
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        first = await client.ask(kernel, [0])
        client.hold = 0.02
        client.type_into(1, "print('before')")
        client.send_request(kernel, [1], "typed")
        client.type_into(1, "; print('after')")
        answer = await client.wait(lambda: client._replies.get("typed"))
        (server.root / "typed").touch()
        runs = [answer["body"]["runs"][0]["run_id"] for answer in (first, answer)]
        assert await client.ends(kernel, runs) == ["ok", "ok"]
        assert client.lines(1) == ["before"]
        assert client.source(1) == "print('before'); print('after')"


async def test_who_asks_and_leaves_has_it_run(server: LabServer) -> None:
    """Also while the document waits for the kernel, and nobody else has it open."""
    server.write_notebook("a.ipynb", COUNTING)
    client = RoomClient(server, "a.ipynb")
    await client.connect()
    kernel = await client.start_kernel()
    client.send_request(kernel, [0], "left")
    await client.barrier()
    await client.disconnect()
    async with RoomClient(server, "a.ipynb") as later:
        await later.wait_ended(0, 1)
    await client.__aexit__()
    assert (server.root / "ran").read_text() == "x\n"


async def test_what_is_asked_again_runs_once(shared_server: LabServer) -> None:
    server, name = shared_server, "again.ipynb"
    server.write_notebook(name, COUNTING)
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        for _ in range(5):  # before the first can have been answered
            client.send_request(kernel, [0], "again")
        answer = await client.ask(kernel, [0], request_id="again")
        await client.wait_ended(0, 1)
        await client.reconnect()
        again = await client.ask(kernel, [0], request_id="again")
        [run], [same] = answer["body"]["runs"], again["body"]["runs"]
        assert (same["run_id"], same["state"]) == (run["run_id"], "ok")
        other = await client.ask(kernel, [0], request_id="another")
        assert other["body"]["runs"][0]["run_id"] != run["run_id"]
        await client.wait_ended(0, 2)
    assert (server.root / "ran").read_text() == "x\nx\n"


async def test_what_was_refused_can_be_asked_again(shared_server: LabServer) -> None:
    server, name = shared_server, "refused.ipynb"
    server.write_notebook(name, "print(1)")
    async with RoomClient(server, name) as client:
        refused = await client.ask(UNKNOWN, [0], request_id="again")
        assert refused["status"] == 404
        kernel = await client.start_kernel()
        answer = await client.ask(kernel, [0], request_id="again")
        assert answer["status"] == 202
        await client.wait_ended(0, 1)


WRONG: dict[str, tuple[int, str, Callable[[str], str]]] = {
    "no JSON": (400, "no JSON", lambda kernel: "{"),
    "deep": (400, "no JSON", lambda kernel: "[" * 100_000),
    "long": (400, "characters", lambda kernel: " " * (2**21 + 1)),
    "a list": (400, "object", lambda kernel: "[]"),
    "no kernel": (400, "kernel_id", lambda kernel: json.dumps({"cell_ids": ["cell-0"]})),
    "no cells": (400, "cell_ids", lambda kernel: json.dumps({"kernel_id": kernel, "cell_ids": []})),
    "twice": (400, "twice", lambda kernel: json.dumps({"kernel_id": kernel, "cell_ids": ["cell-0"] * 2})),
    "flag": (
        400,
        "record_timing",
        lambda kernel: json.dumps({"kernel_id": kernel, "cell_ids": ["cell-0"], "record_timing": 1}),
    ),
    "unknown kernel": (
        404,
        "kernel",
        lambda kernel: json.dumps({"kernel_id": UNKNOWN, "cell_ids": ["cell-0"]}),
    ),
    "unknown cell": (404, "cell", lambda kernel: json.dumps({"kernel_id": kernel, "cell_ids": ["cell-9"]})),
    "text": (409, "code", lambda kernel: json.dumps({"kernel_id": kernel, "cell_ids": ["cell-1"]})),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    shared_server: LabServer, wrong: str
) -> None:
    server, name = shared_server, f"wrong {wrong}.ipynb"
    server.write_notebook(name, "print(1)", markdown_cell("# text"))
    status, word, words = WRONG[wrong]
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        before = client.cells
        answer = await client.ask(kernel, [], words=words(kernel))
        assert (answer["status"], word in answer["body"]["message"]) == (status, True), answer
        await client.barrier()
        assert client.cells == before
        assert (await client.ask(kernel, [0]))["status"] == 202
        await client.wait_ended(0, 1)


async def test_where_there_are_no_cells(shared_server: LabServer) -> None:
    server = shared_server
    (server.root / "a.txt").write_text("text")
    async with RoomClient(server, "a.txt", format="text", type="file") as client:
        answer = await client.ask(UNKNOWN, [], words=json.dumps({"kernel_id": UNKNOWN, "cell_ids": ["one"]}))
        assert answer["status"] == 404
        address = client.room_url("JupyterLab:globalAwareness")
        async with connect(address) as socket:
            await socket.send(b"\x02\x07execute\x02it\x02{}")
            said: dict[str, Any] = {}
            while said.get("type") != "execute":
                frame = await socket.recv(decode=False)
                said = json.loads(frame[frame.index(b"{") :]) if frame[0] == 2 else {}
            assert (said["responseTo"], said["status"]) == ("it", 404)


async def test_rights(servers: Servers, tmp_path: Path) -> None:
    server = denying(servers, tmp_path, ("execute", "kernels"))
    server.write_notebook("a.ipynb", "print(1)")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        answer = await client.ask(kernel, [0])
        assert (answer["status"], answer["body"]) == (403, {"message": "You may not run cells here."})
        await client.barrier()
        assert client.live_runs == {}


async def test_a_right_that_is_withdrawn_and_a_reader_who_has_it(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "revoking.py"
    config.write_text(REVOKING.format(folder=str(tmp_path)))
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", "print(1)")
    (tmp_path / "write-contents").touch()
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        assert (await client.ask(kernel, [0]))["status"] == 202
        await client.wait_ended(0, 1)
        (tmp_path / "execute-kernels").touch()
        assert (await client.ask(kernel, [0]))["status"] == 403
        (tmp_path / "execute-kernels").unlink()
        assert (await client.ask(kernel, [0]))["status"] == 202
        await client.wait_ended(0, 2)
