"""In which order cells run that several people ask for, what stops them, and what the document shows of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, groupby, pairwise
from typing import Any

import anyio
import httpx
import pytest
from pycrdt import Array, Doc, YMessageType, YSyncMessageType, handle_sync_message

from tests.headless.client import RoomClient
from tests.headless.test_runs import Place, gate
from tests.server import LabServer, code_cell
from ydoc_exec.notebook.known_source import murmur2

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

UPDATE = bytes([YMessageType.SYNC, YSyncMessageType.SYNC_UPDATE])

_numbers = count()


def numbered(number: int) -> str:
    """A cell that says which cells ran before it."""
    return f"order = [*globals().get('order', []), {number}]\nprint(order)"


@asynccontextmanager
async def opened(server: LabServer, *cells: str | dict[str, Any]) -> AsyncIterator[Place]:
    """A notebook whose first cell runs until it is let go, and others."""
    number = next(_numbers)
    name, gate_name = f"queue-{number}.ipynb", f"queue-gate-{number}"
    server.write_notebook(name, gate(gate_name), *cells)
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        yield Place(server, client, kernel, gate_name)
    server.api("DELETE", f"/api/kernels/{kernel}")


@pytest.fixture
async def place(shared_server: LabServer) -> AsyncIterator[Place]:
    async with opened(shared_server, *map(numbered, range(1, 6))) as place:
        yield place


def documents(place: Place, *indices: int, **fields: object) -> dict[str, object]:
    """A request that says what the cells' texts are, as jupyter-server-documents makes them."""
    client = place.client
    cells = [{"cell_id": client.cell_id(n), "source_hash": murmur2(client.source(n))} for n in indices]
    return {"document_id": client.document_id, "cells": cells, **fields}


async def test_several_people_run_all_of_one_notebook(place: Place) -> None:
    """Each gesture stays together, and one that is not right in one cell changes nothing."""
    await place.submit(0)
    await place.client.wait_lines(0, 1)

    async def press() -> None:
        async with RoomClient(place.server, place.client.path) as person:
            for _ in range(3):
                await person.execute(place.kernel, range(1, 6))

    async with anyio.create_task_group() as people:
        for _ in range(3):
            people.start_soon(press)

    await place.client.barrier()
    before, queue = place.client.cells, await place.read()
    wrong = {"document_id": place.client.document_id, "cell_ids": ["cell-1", "nowhere", "cell-2"]}
    refused = await place.client.request("POST", f"/api/kernels/{place.kernel}/execute", wrong)
    assert refused.status_code == 404, refused.text
    await place.client.barrier()
    assert (place.client.cells, await place.read()) == (before, queue)

    place.let_go()
    runs = (await place.read(wait=60))["requests"]
    assert [run["state"] for run in runs] == ["ok"] * 46
    runs = sorted(runs, key=lambda run: str(run["started_at"]))[1:]
    batches = [list(group) for _, group in groupby(runs, lambda run: run["batch_id"])]
    assert [[run["cell_id"] for run in batch] for batch in batches] == [
        [f"cell-{n}" for n in range(1, 6)]
    ] * 9
    users = [{run["user"] for run in batch} for batch in batches]
    assert all(len(user) == 1 for user in users)
    assert len(set.union(*users)) == 3, "they were not three"
    # The kernel had them in the same order, and the document shows what the last ones said.
    await place.client.wait(lambda: place.client.marker(5) == "idle" and place.client.count(5) == 46)
    assert place.client.lines(5) == [str(list(range(1, 6)) * 9)]


async def test_two_hundred_cells_whose_requests_overtake_each_other(shared_server: LabServer) -> None:
    """Each request says which one is to come before it, and the network delays them as it likes."""
    numbers = range(1, 201)
    delays = random.Random(7)
    async with opened(shared_server, *map(numbered, numbers)) as place:
        token = {"Authorization": f"token {shared_server.token}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=shared_server.url, headers=token, limits=limits, timeout=60, verify=False
        ) as http:
            arrived: list[int] = []

            async def send(number: int) -> None:
                previous = {"previous_request_id": f"r{number - 1}"} if number > 1 else {}
                body = documents(place, number, request_id=f"r{number}", **previous)
                await anyio.sleep(delays.uniform(0, 1))
                arrived.append(number)
                response = await http.post(f"/api/kernels/{place.kernel}/execute", json=body)
                assert response.is_success, response.text

            async with anyio.create_task_group() as network:
                for number in numbers:
                    network.start_soon(send, number)
        assert any(one > other for one, other in pairwise(arrived)), "none was late"
        answer = await place.read(wait=60)
        assert {run["state"] for run in answer["requests"]} == {"ok"}
        await place.client.wait(lambda: place.client.count(200) == 200)
        assert place.client.counts() == [None, *numbers]
        assert place.client.lines(200) == [str(list(numbers))]


async def test_errors_that_are_expected(shared_server: LabServer) -> None:
    """Of a cell by its tag, of a request by what it says; and an error that is not stops what was queued before."""
    tagged = code_cell("1 / 0") | {"metadata": {"tags": ["raises-exception"]}}
    async with opened(shared_server, tagged, "1 / 0", "print('next')") as place:
        client, kernel = place.client, place.kernel
        assert await client.ends(kernel, await client.execute(kernel, [1, 3])) == ["error", "ok"]
        assert client.lines(3) == ["next"]
        runs = await client.execute(kernel, [2, 3], stop_on_error=False)
        assert await client.ends(kernel, runs) == ["error", "ok"]
        assert client.counts()[2:] == [3, 4]
        before = await client.execute(kernel, [0, 1, 2, 3])
        behind = await client.execute(kernel, [1, 3])
        place.let_go()
        ends = await client.ends(kernel, [*before, *behind])
        assert ends == ["ok", "error", "error", "aborted", "aborted", "aborted"]
        # What is asked for when the error is known does run.
        assert await client.ends(kernel, await client.execute(kernel, [3])) == ["ok"]
        assert client.lines(3) == ["next"]


async def test_what_a_client_sees_of_a_cell(shared_server: LabServer) -> None:
    """It waits or runs, and then it is idle and has its number, in one change: so either says that it is over."""
    async with opened(shared_server, "print('one')", "1 / 0", "print('never')") as place:
        client, kernel = place.client, place.kernel
        replica: Doc[Any] = Doc()
        replica.apply_update(client.doc.get_update())
        come = len(client.received)
        place.let_go()
        ends = await client.ends(kernel, await client.execute(kernel, range(4)))
        assert ends == ["ok", "ok", "error", "aborted"]
        cells, seen = replica.get("cells", type=Array), []
        for _, frame in client.received[come:]:
            if frame[:2] == UPDATE:
                handle_sync_message(frame[1:], replica)
                seen.append([(cell["execution_state"], cell["execution_count"]) for cell in cells])
        steps = [[step for step, _ in groupby(cell)] for cell in zip(*seen, strict=True)]
        assert [cell[-2:] for cell in steps] == [
            [("running", None), ("idle", number)] for number in (1, 2, 3, None)
        ]
        assert all(cell[:-2] in ([], [("idle", None)]) for cell in steps)  # before anything was queued


async def test_a_file_that_says_that_a_cell_runs(shared_server: LabServer) -> None:
    """As one that was saved by something else in the middle of a run. No run of ours has it, so it does not run."""
    left_over = code_cell("print('ran')") | {"execution_state": "running"}
    async with opened(shared_server, left_over, left_over) as place:
        client = place.client
        assert client.markers() == ["idle"] * 3
        assert client.live_runs == {}
        assert await client.ends(place.kernel, await client.execute(place.kernel, [1])) == ["ok"]
        assert await client.save() == "success"
    saved = shared_server.read_notebook(client.path)["cells"]
    assert ["execution_state" in cell for cell in saved] == [False] * 3


async def test_cells_with_nothing_in_them(shared_server: LabServer) -> None:
    """As in JupyterLab: they show nothing any more, and the kernel does not count them."""
    output = {"output_type": "stream", "name": "stdout", "text": "old"}
    empty = code_cell("") | {"outputs": [output]}
    blank = code_cell(" \n\t\n") | {"execution_count": 7, "outputs": [output]}
    async with opened(shared_server, blank, "print('counted')", empty) as place:
        client, kernel = place.client, place.kernel
        assert [len(cell["outputs"]) for cell in client.cells] == [0, 1, 0, 1]
        ends = await client.ends(kernel, await client.execute(kernel, [1, 2, 3]))
        assert ends == ["ok"] * 3
        assert client.counts() == [None, None, 1, None]
        assert [len(cell["outputs"]) for cell in client.cells] == [0, 0, 1, 0]
