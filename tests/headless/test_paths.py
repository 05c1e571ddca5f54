"""Notebooks that nobody has open are run by their path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.conftest import Servers, make_servers
from tests.handlers.test_rights import denying
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually, markdown_cell

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

CELLS: list[Any] = [
    "import sys\nprint('to one')\nprint('to the other', file=sys.stderr)\n1 + 1",
    markdown_cell("# between"),
    "",
    "from IPython.display import display, HTML\nh = display(HTML('<b>1</b>'), display_id='x')\nh.update(HTML('<b>2</b>'))",
    "for i in range(3): print('\\r', i, end='')",
    "1/0",
    "print('never')",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """It soon lets go of documents."""
    for servers in make_servers(tmp_path_factory.mktemp("paths")):
        yield servers("--YdocExec.linger=0.2")


def run(server: LabServer, path: str, **fields: object) -> httpx.Response:
    return server.api("POST", f"/api/collaboration/execute/{path}", fields)


def wait(server: LabServer, response: httpx.Response) -> list[dict[str, Any]]:
    """The records of all that was asked for, when it has ended, in its order."""
    assert response.status_code == 202, response.text
    known = server.api("GET", f"{response.headers['Location']}&wait=60")
    assert known.status_code == 200, known.text
    assert known.json()["pending"] is False
    return sorted(known.json()["requests"], key=lambda record: int(record["seq"]))


def sessions(server: LabServer) -> list[dict[str, Any]]:
    return list(server.api("GET", "/api/sessions").json())


async def test_it_is_as_if_somebody_had_run_it(server: LabServer) -> None:
    for name in ("seen.ipynb", "unseen/é.ipynb"):
        server.write_notebook(name, *CELLS)
    async with RoomClient(server, "seen.ipynb") as client:
        kernel = await client.start_kernel()
        code = [index for index in range(len(CELLS)) if client.ycells[index]["cell_type"] == "code"]
        await client.execute(kernel, code)
        await client.wait(lambda: client.count(5) and client.markers().count("running") == 0)
        assert await client.save() == "success"
    response = run(server, "unseen/%C3%A9.ipynb")
    answer = response.json()
    assert answer["path"] == "unseen/é.ipynb"
    records = wait(server, response)
    assert [record["state"] for record in records] == ["ok", "ok", "ok", "ok", "error", "aborted"]
    assert {record["path"] for record in records} == {"unseen/é.ipynb"}
    assert {record["batch_id"] for record in records} == {answer["batch_id"]}

    def cells(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in cell.items() if key != "metadata"}
            for cell in json.loads((server.root / name).read_text())["cells"]
        ]

    def plain(found: list[dict[str, Any]]) -> str:
        # A traceback names the process it is of.
        for cell in found:
            for output in cell.get("outputs", ()):
                output.pop("traceback", None)
        return json.dumps(found, indent=1)

    expected = plain(cells("seen.ipynb"))
    await eventually(lambda: plain(cells("unseen/é.ipynb")) == expected)
    # The kernel is the session's, and stays; the document is let go.
    [session] = [session for session in sessions(server) if session["path"] == "unseen/é.ipynb"]
    assert session["kernel"]["id"] == answer["kernel_id"]
    assert session["kernel"]["name"] == "python3"
    assert session["type"] == "notebook"
    await eventually(
        lambda: (
            "unseen/é.ipynb"
            not in [
                document["path"]
                for document in server.api("GET", "/api/collaboration/status").json()["documents"]
            ]
        )
    )
    again = run(server, "unseen/%C3%A9.ipynb", cell_ids=["cell-4"])
    assert again.json()["kernel_id"] == answer["kernel_id"]
    [record] = wait(server, again)
    assert (record["cell_id"], record["execution_count"]) == ("cell-4", 5)


async def test_somebody_has_it_open(server: LabServer) -> None:
    server.write_notebook("open.ipynb", "print('a')", "print('b')")
    async with RoomClient(server, "open.ipynb") as client:
        kernel = await client.start_kernel()
        client.set_source(0, "print('typed, and not saved')")
        await client.barrier()
        response = run(server, "open.ipynb")
        assert response.json()["kernel_id"] == kernel
        await client.wait_ended(1, 2)
        assert (client.lines(0), client.lines(1)) == (["typed, and not saved"], ["b"])


async def test_two_at_once_start_one_kernel(server: LabServer) -> None:
    server.write_notebook("twice.ipynb", "import os\nprint(os.getpid())")
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await anyio.to_thread.run_sync(run, server, "twice.ipynb"))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    assert len({answer.json()["kernel_id"] for answer in answers}) == 1
    assert len([session for session in sessions(server) if session["path"] == "twice.ipynb"]) == 1
    assert {record["state"] for answer in answers for record in wait(server, answer)} == {"ok"}


async def test_a_kernel_by_its_path(server: LabServer) -> None:
    """The kernel is known and the document's id is not."""
    server.write_notebook("by_kernel.ipynb", "print('a')", "print('b')")
    kernel = server.kernel_of("by_kernel.ipynb")
    response = server.api(
        "POST", f"/api/kernels/{kernel}/execute", {"path": "by_kernel.ipynb", "cell_ids": ["cell-1"]}
    )
    [record] = wait(server, server_location(response))
    assert (record["cell_id"], record["state"]) == ("cell-1", "ok")
    response = server.api("POST", f"/api/kernels/{kernel}/execute", {"path": "by_kernel.ipynb"})
    assert [record["cell_id"] for record in wait(server, server_location(response))] == ["cell-0", "cell-1"]


def server_location(response: httpx.Response) -> httpx.Response:
    """The answer with the address of the whole batch."""
    assert response.status_code == 202, response.text
    response.headers["Location"] = response.json()["batch_url"]
    return response


def change(server: LabServer, name: str, **metadata: object) -> None:
    notebook = json.loads((server.root / name).read_text())
    notebook["metadata"] = metadata
    (server.root / name).write_text(json.dumps(notebook))


async def test_which_kernel(server: LabServer) -> None:
    server.write_notebook("plain.ipynb", "1")
    change(server, "plain.ipynb")
    assert wait(server, run(server, "plain.ipynb"))[0]["state"] == "ok"
    server.write_notebook("odd.ipynb", "1")
    change(server, "odd.ipynb", kernelspec={"name": "nowhere", "display_name": "Nowhere"})
    before = (server.root / "odd.ipynb").read_bytes()
    refused = run(server, "odd.ipynb")
    assert refused.status_code == 409
    assert "nowhere" in refused.json()["message"]
    refused = run(server, "odd.ipynb", kernel_name="elsewhere")
    assert refused.status_code == 409
    assert "elsewhere" in refused.json()["message"]
    assert (server.root / "odd.ipynb").read_bytes() == before
    assert [session for session in sessions(server) if session["path"] == "odd.ipynb"] == []
    assert wait(server, run(server, "odd.ipynb", kernel_name="python3"))[0]["state"] == "ok"


async def test_what_is_refused_starts_nothing(server: LabServer) -> None:
    server.write_notebook("refused.ipynb", "print(1)", markdown_cell("# text"))
    server.write_notebook("prose.ipynb", markdown_cell("# text"))
    (server.root / "text.txt").write_text("no notebook")
    before = (server.root / "refused.ipynb").read_bytes()
    for path, fields, status, word in (
        ("nowhere.ipynb", {}, 404, "nowhere.ipynb"),
        ("refused.ipynb", {"cell_ids": ["cell-7"]}, 404, "cell-7"),
        ("refused.ipynb", {"cell_ids": ["cell-0", "cell-1"]}, 409, "markdown"),
        ("refused.ipynb", {"cell_ids": []}, 400, "cell_ids"),
        ("prose.ipynb", {}, 409, "no code cells"),
        ("text.txt", {}, 400, "notebook"),
    ):
        response = run(server, path, **fields)
        assert response.status_code == status, response.text
        assert word in response.json()["message"]
    assert (server.root / "refused.ipynb").read_bytes() == before
    paths = {session["path"] for session in sessions(server)}
    assert not paths & {"nowhere.ipynb", "refused.ipynb", "prose.ipynb", "text.txt"}


@pytest.mark.parametrize("denied", [("execute", "kernels"), ("read", "contents"), ("write", "sessions")])
async def test_rights(servers: Servers, tmp_path: Path, denied: tuple[str, str]) -> None:
    server = denying(servers, tmp_path, denied)
    before = server.write_notebook("a.ipynb", "print(1)").read_bytes()
    response = run(server, "a.ipynb")
    assert response.status_code == 403, response.text
    assert sessions(server) == []
    assert (server.root / "a.ipynb").read_bytes() == before
