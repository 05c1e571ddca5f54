"""Requests and answers as other front ends of the field write and read them.

The bodies are those of the front ends in jupyter-server-nbmodel 0.2.9 (``requestServer.js``) and
jupyter-server-documents 0.3.3.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import anyio
import httpx
import pytest

from tests.conftest import make_servers
from tests.headless.client import RoomClient
from tests.headless.test_runs import Place, gate
from tests.server import LabServer
from ydoc_exec.notebook.known_source import murmur2

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """It waits only two seconds for text that is on its way."""
    for servers in make_servers(tmp_path_factory.mktemp("field")):
        yield servers("--YdocExec.barrier_timeout=2")


@pytest.fixture
async def place(server: LabServer) -> AsyncIterator[Place]:
    """A notebook of four cells: one that waits, two that print, and one that fails."""
    number = next(_numbers)
    name, gate_name = f"field-{number}.ipynb", f"gate-{number}"
    server.write_notebook(name, gate(gate_name), "print('one')\n1", "print('two')", "1/0")
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        yield Place(server, client, kernel, gate_name)
    server.api("DELETE", f"/api/kernels/{kernel}")


async def post(place: Place, body: object) -> httpx.Response:
    return await place.client.request("POST", f"/api/kernels/{place.kernel}/execute", body)


# jupyter-server-nbmodel


def nbmodel(place: Place, index: int, code: str | None = None, **metadata: object) -> dict[str, object]:
    return {
        "code": place.client.source(index) if code is None else code,
        "metadata": {
            "cell_id": place.client.cell_id(index),
            "document_id": place.client.document_id,
            "document_path": place.client.path,
            "record_timing": False,
            **metadata,
        },
    }


async def follow(place: Place, response: httpx.Response) -> list[httpx.Response]:
    """Poll as that front end does: all answers that were no longer the same."""
    answers = [response]
    with anyio.fail_after(60):
        while answers[-1].status_code == 202:
            url = answers[-1].headers.get("Location") or answers[0].json()["request_url"]
            answer = await place.client.request("GET", url)
            if (answer.status_code, answer.content) != (answers[-1].status_code, answers[-1].content):
                answers.append(answer)
            await anyio.sleep(0.02)
    return answers


async def test_nbmodel_runs_a_cell_and_polls(place: Place) -> None:
    await place.client.execute(place.kernel, [0])
    await place.client.wait_lines(0, 1)
    response = await post(place, nbmodel(place, 1, record_timing=True))
    assert response.status_code == 202
    accepted = response.json()
    location = response.headers["Location"]
    assert (
        location
        == accepted["request_url"]
        == f"/api/kernels/{place.kernel}/requests/{accepted['request_id']}"
    )
    assert "Location" in response.headers["Access-Control-Expose-Headers"]
    expected = {
        "kernel_id": place.kernel,
        "cell_id": "cell-1",
        "document_path": place.client.path,
        "pending": True,
        "request_status": "queued",
        "outputs": "[]",
    }
    assert accepted | expected == accepted
    waiting = await place.client.request("GET", location)
    assert (waiting.status_code, waiting.json()["request_status"]) == (202, "queued")
    place.let_go()
    result = (await follow(place, response))[-1]
    assert result.status_code == 200
    known = result.json()
    assert (known["status"], known["execution_count"], known["pending"]) == ("ok", 2, False)
    assert json.loads(known["outputs"]) == [
        {"output_type": "stream", "name": "stdout", "text": "one\n"},
        {"output_type": "execute_result", "execution_count": 2, "data": {"text/plain": "1"}, "metadata": {}},
    ]
    # It is a run like all others: asking takes nothing away.
    assert (await place.client.request("GET", location)).json() == known
    assert known["state"] == "ok"
    assert known["form"] == "nbmodel"
    await place.client.wait_ended(1, 2)
    assert place.client.lines(1) == ["one"]
    assert "execution" in place.client.cells[1]["metadata"]


async def test_nbmodel_is_told_of_errors_and_of_what_never_ran(place: Place) -> None:
    await place.client.execute(place.kernel, [0])
    responses = [await post(place, nbmodel(place, index)) for index in (3, 2)]
    place.let_go()
    failed, aborted = [(await follow(place, response))[-1] for response in responses]
    assert (failed.status_code, failed.json()["status"]) == (200, "error")
    [output] = json.loads(failed.json()["outputs"])
    assert output["ename"] == "ZeroDivisionError"
    assert aborted.status_code == 500
    assert aborted.json()["error"]
    assert aborted.json()["state"] == "aborted"


async def test_nbmodel_gets_no_outputs_of_another_run(place: Place) -> None:
    response = await post(place, nbmodel(place, 1))
    assert "outputs" in (await follow(place, response))[-1].json()
    await place.submit(1)
    again = await place.client.request("GET", response.headers["Location"])
    assert again.status_code == 200
    assert "outputs" not in again.json()


async def test_nbmodel_may_name_the_path_alone(place: Place) -> None:
    response = await post(place, nbmodel(place, 1, document_id=None))
    assert (await follow(place, response))[-1].json()["status"] == "ok"
    assert place.server.api("GET", f"/api/kernels/{place.kernel}/execute").json()["requests"] == []


async def test_nbmodel_code_that_is_on_its_way(place: Place) -> None:
    """The request comes before the keystrokes: it waits for them, and runs what was on the screen."""
    place.client.hold = 0.4
    place.client.set_source(1, "print('typed')")
    response = await post(place, nbmodel(place, 1))
    assert response.status_code == 202, response.text
    place.client.hold = 0
    record = await place.read(f"/{response.json()['request_id']}", wait=60)
    assert record["source"] == "print('typed')"
    assert record["state"] == "ok"


async def test_nbmodel_code_that_is_not_the_documents(place: Place) -> None:
    before = place.client.cells
    response = await post(place, nbmodel(place, 1, code="print('never seen')"))
    assert response.status_code == 409
    assert "cell-1" in response.json()["message"]
    await place.client.barrier()
    assert place.client.cells == before


# jupyter-server-documents


def documents(place: Place, *indices: int, **fields: object) -> dict[str, object]:
    return {
        "document_id": place.client.document_id,
        "cells": [
            {"cell_id": place.client.cell_id(index), "source_hash": murmur2(place.client.source(index))}
            for index in indices
        ],
        "client_id": "1",
        **fields,
    }


async def test_documents_runs_cells(place: Place) -> None:
    response = await post(place, documents(place, 1, 2, request_id="one"))
    assert response.is_success
    await place.client.wait_ended(2, 2)
    assert (place.client.lines(1), place.client.lines(2)) == (["one"], ["two"])
    assert [run["cell_id"] for run in response.json()["runs"]] == ["cell-1", "cell-2"]


async def test_documents_text_that_is_on_its_way(place: Place) -> None:
    place.client.hold = 0.4
    place.client.set_source(2, "print('📊 typed')")
    response = await post(place, documents(place, 1, 2))
    assert response.is_success, response.text
    place.client.hold = 0
    await place.client.wait_ended(2, 2)
    assert place.client.lines(2) == ["📊 typed"]


async def test_documents_one_mismatch_runs_nothing(place: Place) -> None:
    body = documents(place, 1, 2)
    place.client.set_source(2, "print('somebody was faster')")
    await place.client.barrier()
    before = place.client.cells
    response = await post(place, body)
    assert response.status_code == 409
    answer = response.json()
    assert (answer["error"], answer["cell_id"]) == ("source_mismatch", "cell-2")
    assert answer["message"]
    await place.client.barrier()
    assert place.client.cells == before
    assert (await place.client.request("GET", f"/api/kernels/{place.kernel}/execute")).json()[
        "requests"
    ] == []


async def test_documents_the_order_of_requests_that_overtake_each_other(place: Place) -> None:
    """Each names the one before, and they arrive the other way round."""
    responses: dict[int, httpx.Response] = {}

    async def send(number: int, index: int) -> None:
        previous = {"previous_request_id": f"r{number - 1}"} if number else {}
        responses[number] = await post(place, documents(place, index, request_id=f"r{number}", **previous))

    place.let_go()
    async with anyio.create_task_group() as tasks:
        for number, index in ((2, 2), (1, 1), (0, 0)):
            tasks.start_soon(send, number, index)
            await anyio.sleep(0.1)
    assert all(response.is_success for response in responses.values())
    await place.client.wait_ended(2, 3)
    assert place.client.counts()[:3] == [1, 2, 3]


async def test_documents_a_predecessor_that_never_comes(place: Place) -> None:
    before = place.client.cells
    response = await post(place, documents(place, 1, previous_request_id="never"))
    assert response.status_code == 408
    assert "never" in response.json()["message"]
    await place.client.barrier()
    assert place.client.cells == before


# Below a base, as on a hub


class HubServer(LabServer):
    """A server that has a part of its host's addresses."""

    @property
    def url(self) -> str:
        return f"{super().url}/user/ada"

    @property
    def ws_url(self) -> str:
        return f"{super().ws_url}/user/ada"


async def test_addresses_below_a_base(tmp_path: Path) -> None:
    """Ours are whole. The front end of jupyter-server-nbmodel puts the base before what it gets."""
    with HubServer(tmp_path, "--ServerApp.base_url=/user/ada/") as server:
        server.write_notebook("a.ipynb", "print(1)", "print(2)")
        async with RoomClient(server, "a.ipynb") as client:
            place = Place(server, client, await client.start_kernel(), "")
            theirs = await post(place, nbmodel(place, 0))
            assert theirs.headers["Location"].startswith(f"/api/kernels/{place.kernel}/requests/")
            assert (await follow(place, theirs))[-1].json()["status"] == "ok"
            by_path = server.api("POST", "/api/collaboration/execute/a.ipynb")
            ours = await post(place, {"document_id": client.document_id, "cell_ids": ["cell-1"]})
            async with httpx.AsyncClient(headers={"Authorization": f"token {server.token}"}) as http:
                for response, url in (
                    (by_path, f"{by_path.headers['Location']}&wait=60"),
                    (ours, f"{ours.headers['Location']}?wait=60"),
                    (ours, f"{ours.json()['batch_url']}&wait=60"),
                ):
                    known = await http.get(str(response.url.join(url)), timeout=60)
                    assert known.status_code == 200, known.text
                    found = known.json()
                    assert {run["state"] for run in found.get("requests", [found])} == {"ok"}
