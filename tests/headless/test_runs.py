"""Runs as REST tells of them: who asked, what ran, where it stands, how it ended; waiting for that, and taking it back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.conftest import Servers
from tests.handlers.test_rights import REVOKING, denying
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SUICIDE = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"

_numbers = count()


def gate(name: str) -> str:
    """A cell that runs until a file is there."""
    return f"import os, time\nprint('began')\nwhile not os.path.exists({name!r}): time.sleep(.02)"


@dataclass
class Place:
    """An open notebook with a kernel, whose first cell runs until it is let go."""

    server: LabServer
    client: RoomClient
    kernel: str
    gate: str

    @property
    def root(self) -> str:
        return f"/api/kernels/{self.kernel}/requests"

    async def ask(
        self, method: str, path: str = "", headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """A request about runs."""
        params = {name: str(value) for name, value in query.items()}
        headers = {"Authorization": f"token {self.server.token}"} | (headers or {})
        async with httpx.AsyncClient(base_url=self.server.url, timeout=90) as http:
            return await http.request(method, self.root + path, params=params, headers=headers)

    async def read(self, path: str = "", **query: Any) -> Any:
        """What is answered to a question."""
        response = await self.ask("GET", path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    async def submit(self, *indices: int) -> list[dict[str, Any]]:
        """Run cells; their records."""
        runs = await self.client.execute(self.kernel, indices)
        return [await self.read(f"/{run}") for run in runs]

    def let_go(self) -> None:
        """Let the first cell end."""
        (self.server.root / self.gate).touch()

    @asynccontextmanager
    async def events(self, path: str = "", **query: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The data of a stream's events."""
        headers = {"Authorization": f"token {self.server.token}", "Accept": "text/event-stream"}
        params = {name: str(value) for name, value in query.items()}
        async with (
            httpx.AsyncClient(base_url=self.server.url, timeout=60) as http,
            http.stream("GET", self.root + path, params=params, headers=headers) as response,
        ):
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "text/event-stream"

            async def data() -> AsyncIterator[dict[str, Any]]:
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        yield json.loads(line.removeprefix("data: "))

            yield data()


@pytest.fixture
async def place(shared_server: LabServer) -> AsyncIterator[Place]:
    """A notebook of five cells: one that waits, two that print, one that fails, and one that ends its kernel."""
    number = next(_numbers)
    name, gate_name = f"runs-{number}.ipynb", f"gate-{number}"
    shared_server.write_notebook(name, gate(gate_name), "print('one')", "print('two')", "1/0", SUICIDE)
    async with RoomClient(shared_server, name) as client:
        kernel = await client.start_kernel()
        yield Place(shared_server, client, kernel, gate_name)
    shared_server.api("DELETE", f"/api/kernels/{kernel}")


async def test_a_record_says_all_that_is_known(place: Place) -> None:
    before = await place.submit(1)
    await place.read(f"/{before[0]['run_id']}", wait=60)
    waiting = await place.submit(0, 1, 2)
    await place.client.wait_lines(0, 1)
    first, second, third = [await place.read(f"/{run['run_id']}") for run in waiting]
    assert first | {"started_at": None, "queued_at": None} == {
        "run_id": first["run_id"],
        "batch_id": first["batch_id"],
        "kernel_id": place.kernel,
        "document_id": place.client.document_id,
        "path": place.client.path,
        "cell_id": "cell-0",
        "source": gate(place.gate),
        "source_hash": sha256(gate(place.gate).encode()).hexdigest(),
        "user": first["user"],
        "name": first["name"],
        "form": "ydoc_exec",
        "seq": first["seq"],
        "state": "running",
        "reason": "",
        "execution_count": None,
        "queued_at": None,
        "started_at": None,
        "ended_at": None,
        "prompt": None,
        "place": 0,
    }
    identity = (await place.client.request("GET", "/api/me")).json()["identity"]
    assert (first["user"], first["name"]) == (identity["username"], identity["display_name"])
    assert [run["state"] for run in (second, third)] == ["queued", "queued"]
    assert [run["place"] for run in (second, third)] == [1, 2]
    assert {run["batch_id"] for run in (first, second, third)} == {first["batch_id"]}
    assert before[0]["batch_id"] != first["batch_id"]
    assert first["seq"] < second["seq"] < third["seq"]
    # What is typed now is not what runs.
    place.client.set_source(2, "print('something else')")
    await place.client.barrier()
    place.let_go()
    last = await place.read(f"/{third['run_id']}", wait=60)
    assert last["source"] == "print('two')"
    await place.client.wait_ended(2, 4)
    assert place.client.lines(2) == ["two"]
    assert (last["state"], last["execution_count"], last["place"], last["reason"]) == ("ok", 4, None, "")
    for record in (last, await place.read(f"/{first['run_id']}")):
        assert record["queued_at"].endswith("Z")
        assert record["queued_at"] < record["started_at"] < record["ended_at"]


async def test_the_list(place: Place) -> None:
    [old] = await place.submit(1)
    await place.read(f"/{old['run_id']}", wait=60)
    runs = await place.submit(0, 1, 2)
    await place.client.wait_lines(0, 1)
    ids = [run["run_id"] for run in runs]

    async def listed(**query: Any) -> list[str]:
        return [run["run_id"] for run in (await place.read(**query))["requests"]]

    answer = await place.read()
    assert answer["kernel_id"] == place.kernel
    assert answer["pending"] is True
    assert answer["requests"] == [await place.read(f"/{run}") for run in [*ids, old["run_id"]]]
    assert await listed(state="queued") == ids[1:]
    assert await listed(state="running,ok") == [ids[0], old["run_id"]]
    assert await listed(batch=runs[0]["batch_id"]) == ids
    assert await listed(cell_id="cell-1") == [ids[1], old["run_id"]]
    assert await listed(limit=2) == ids[:2]
    assert await listed(document_id="json:notebook:other") == []
    # As jupyter-server-nbmodel lists them, without taking them away.
    for _ in range(2):
        response = await place.client.request("GET", f"/api/kernels/{place.kernel}/execute")
        requests = response.json()["requests"]
        assert [run["request_id"] for run in requests] == ids
        assert [run["request_status"] for run in requests] == ["running", "queued", "queued"]
        assert {run["pending"] for run in requests} == {True}
    waiting = await place.client.request("GET", "/api/kernels/none/execute")
    assert waiting.status_code == 404
    place.let_go()
    answer = await place.read(batch=runs[0]["batch_id"], wait=60)
    assert answer["pending"] is False
    assert [run["state"] for run in answer["requests"]] == ["ok"] * 3
    assert await listed() == [*reversed(ids), old["run_id"]]


@pytest.mark.parametrize(
    "query", [{"state": "asleep"}, {"limit": "0"}, {"limit": "x"}, {"wait": "-1"}, {"wait": "nan"}]
)
async def test_questions_that_make_no_sense(shared_server: LabServer, query: dict[str, str]) -> None:
    response = shared_server.api("GET", "/api/kernels/none/requests", params=query)
    assert response.status_code == 400
    assert next(iter(query)) in response.json()["message"]
    assert shared_server.api("GET", "/api/kernels/none/requests").status_code == 404


async def test_every_way_to_end(place: Place) -> None:
    """Each with its reason; ``cancelled`` is below."""
    failed, aborted = await place.submit(3, 1)
    failed, aborted = [await place.read(f"/{run['run_id']}", wait=60) for run in (failed, aborted)]
    assert (failed["state"], aborted["state"]) == ("error", "aborted")
    assert failed["reason"]
    assert aborted["reason"]
    assert (failed["execution_count"], aborted["execution_count"]) == (1, None)
    assert aborted["started_at"] is None
    for run in await place.submit(4, 1):
        record = await place.read(f"/{run['run_id']}", wait=60)
        assert record["state"] == "lost"
        assert record["reason"]
    path = f"/api/kernels/{place.kernel}"  # which is being started again
    await eventually(lambda: place.server.api("GET", f"{path}/state").json()["lifecycle_state"] == "running")
    place.server.api("DELETE", path).raise_for_status()
    # The kernel is no more, and what it did can still be asked.
    assert [run["state"] for run in (await place.read())["requests"]] == ["lost", "lost", "aborted", "error"]


async def test_waiting_for_a_run(place: Place) -> None:
    gated, queued = await place.submit(0, 1)
    await place.client.wait_lines(0, 1)
    gated = await place.read(f"/{gated['run_id']}", wait=0)
    assert (await place.read(f"/{gated['run_id']}", wait=0.05))["state"] == "running"  # not for ever
    assert (await place.read(f"/{queued['run_id']}", wait=60, known="running"))["state"] == "queued"
    answers: dict[str, Any] = {}

    async def wait(name: str, path: str, **query: Any) -> None:
        answers[name] = await place.read(path, wait=60, **query)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "end", f"/{gated['run_id']}")
        tasks.start_soon(wait, "start", f"/{queued['run_id']}")
        tasks.start_soon(wait, "all", "")
        await anyio.sleep(0.1)  # they wait; if they do not yet, the answers are the same
        assert answers == {}
        place.let_go()
    assert (answers["end"]["state"], answers["start"]["state"]) == ("ok", "ok")
    assert [run["state"] for run in answers["all"]["requests"]] == ["ok", "ok"]
    # Of what has ended already there is nothing to wait for.
    assert (await place.read(f"/{gated['run_id']}", wait=60))["state"] == "ok"
    response = await place.ask("GET", "/" + "0" * 32, wait=60)
    assert response.status_code == 404


async def test_the_events_of_a_run(place: Place) -> None:
    _, _, last = await place.submit(0, 1, 2)
    await place.client.wait_lines(0, 1)
    seen: list[dict[str, Any]] = []
    async with place.events(f"/{last['run_id']}") as events:
        async for record in events:
            seen.append(record)
            if len(seen) == 1:
                place.let_go()
    steps = [(record["state"], record["place"]) for record in seen]
    assert steps[0] == ("queued", 2)
    assert steps[-1] == ("ok", None)
    possible = [("queued", 2), ("queued", 1), ("queued", 0), ("running", 0), ("ok", None)]
    assert steps == [step for step in possible if step in steps]  # a step may be over before it was told
    # Who asks later is told the end, and who comes back has no more to wait for.
    async with place.events(f"/{last['run_id']}") as events:
        assert [record["state"] async for record in events] == ["ok"]
    again = {"Accept": "text/event-stream", "Last-Event-ID": "ok"}
    assert (await place.ask("GET", f"/{last['run_id']}", headers=again)).status_code == 204


async def test_the_events_of_a_kernel_go_on_over_a_restart(place: Place) -> None:
    first = await place.submit(0, 1)
    await place.client.wait_lines(0, 1)
    ended: dict[str, str] = {}
    async with place.events() as events:
        restarted = False
        async for record in events:
            if not restarted:
                restarted = True
                path = f"/api/kernels/{place.kernel}/restart"
                (await place.client.request("POST", path)).raise_for_status()
                later = await place.submit(1)
            if record["ended_at"]:
                ended[record["run_id"]] = record["state"]
            if later[0]["run_id"] in ended:
                break
    # What is asked to restart is interrupted first.
    assert {ended[run["run_id"]] for run in first} <= {"lost", "error", "aborted"}
    assert ended[later[0]["run_id"]] == "ok"


async def test_the_events_of_a_batch_end_with_it(place: Place) -> None:
    runs = await place.submit(0, 1)
    other = await place.submit(2)
    await place.client.wait_lines(0, 1)
    ended: list[str] = []
    async with place.events(batch=runs[0]["batch_id"]) as events:
        place.let_go()
        async for record in events:
            assert record["run_id"] != other[0]["run_id"]
            if record["ended_at"]:
                ended.append(record["cell_id"])
    assert ended == ["cell-0", "cell-1"]
    # Who asks later is told the same, at once.
    async with place.events(batch=runs[0]["batch_id"]) as events:
        assert [(record["cell_id"], record["state"]) async for record in events] == [
            ("cell-0", "ok"),
            ("cell-1", "ok"),
        ]
    unknown = await place.ask("GET", headers={"Accept": "text/event-stream"}, batch="none")
    assert unknown.status_code == 404


async def test_cancelling(place: Place) -> None:
    gated, one, two = await place.submit(0, 1, 2)
    batch = await place.submit(1, 3)
    await place.client.wait_lines(0, 1)

    async def refused(path: str, status: int, *words: str, **query: Any) -> None:
        response = await place.ask("DELETE", path, **query)
        assert response.status_code == status, response.text
        for word in words:
            assert word in response.json()["message"]

    response = await place.ask("DELETE", f"/{one['run_id']}")
    assert response.status_code == 204
    assert response.content == b""
    record = await place.read(f"/{one['run_id']}")
    assert (record["state"], record["reason"]) == ("cancelled", "it was taken out of the queue")
    assert record["started_at"] is None
    await refused(f"/{one['run_id']}", 409, "cancelled")
    await refused(f"/{gated['run_id']}", 409, "Interrupt the kernel")
    await refused("/" + "0" * 32, 404)
    await refused("", 400)
    await refused("", 404, batch="none")
    response = await place.ask("DELETE", batch=batch[0]["batch_id"])
    assert response.status_code == 200
    assert response.json()["cancelled"] == [run["run_id"] for run in batch]
    await refused("", 409, "cancelled", batch=batch[0]["batch_id"])
    place.let_go()
    answer = await place.read(wait=60)
    assert {run["run_id"]: run["state"] for run in answer["requests"]} == {
        gated["run_id"]: "ok",
        one["run_id"]: "cancelled",
        two["run_id"]: "ok",
        batch[0]["run_id"]: "cancelled",
        batch[1]["run_id"]: "cancelled",
    }
    # The cells that were taken out show nothing that is left over.
    await place.client.wait(lambda: place.client.markers() == ["idle"] * 5)
    await place.client.wait(lambda: place.client.execution["runs"] == {})
    assert place.client.counts() == [1, None, 2, None, None]


async def test_of_a_batch_that_has_begun_the_rest_is_cancelled(place: Place) -> None:
    runs = await place.submit(0, 1, 2)
    await place.client.wait_lines(0, 1)
    response = await place.ask("DELETE", batch=runs[0]["batch_id"])
    assert response.json()["cancelled"] == [run["run_id"] for run in runs[1:]]
    response = await place.ask("DELETE", batch=runs[0]["batch_id"])
    assert response.status_code == 409
    assert "Interrupt the kernel" in response.json()["message"]
    place.let_go()
    answer = await place.read(wait=60)
    assert sorted(run["state"] for run in answer["requests"]) == ["cancelled", "cancelled", "ok"]


async def test_who_waits_does_not_delay_the_end_of_the_server(servers: Servers) -> None:
    server = servers()
    server.write_notebook("a.ipynb", gate("never"), "2")
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "never")
        runs = await place.submit(0, 1)
        await client.wait_lines(0, 1)
        answers: list[Any] = []
        asked: list[str] = []

        async def trace(event: str, info: object) -> None:
            if event == "http11.send_request_body.complete":
                asked.append(event)

        async def wait(path: str) -> None:
            headers = {"Authorization": f"token {server.token}"}
            async with httpx.AsyncClient(base_url=server.url, timeout=90) as http:
                url = f"{place.root}{path}?wait=60"
                response = await http.get(url, headers=headers, extensions={"trace": trace})
            answers.append(response.json())

        async def listen(path: str) -> None:
            async with place.events(path) as events:
                asked.append((await anext(events))["run_id"])
                answers.append([record async for record in events][-1])

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for run in runs:
                    tasks.start_soon(wait, f"/{run['run_id']}")
                    tasks.start_soon(listen, f"/{run['run_id']}")
                tasks.start_soon(listen, "")
                await eventually(lambda: len(asked) == 5)
                for _ in range(3):  # they are answered after what was sent before is read
                    server.api("GET", "/api/status").raise_for_status()
                assert answers == []
                await anyio.to_thread.run_sync(server.stop)  # raises after 30 seconds, and they wait for 60
    assert len(answers) == 5
    assert {(record["state"], record["reason"]) for record in answers} == {("lost", "the server stopped")}


async def test_clients_that_have_gone_leave_nothing_behind(place: Place) -> None:
    """More of them than may wait at the same time."""
    [run] = await place.submit(0)
    await place.client.wait_lines(0, 1)
    headers = {"Authorization": f"token {place.server.token}", "Accept": "text/event-stream"}
    async with httpx.AsyncClient(base_url=place.server.url, timeout=60) as http:
        for _ in range(1001):
            async with http.stream("GET", f"{place.root}/{run['run_id']}", headers=headers) as response:
                assert response.status_code == 200, await response.aread()
    place.let_go()
    assert (await place.read(f"/{run['run_id']}", wait=60))["state"] == "ok"


@pytest.mark.parametrize("action", ["read", "execute"])
async def test_rights_about_runs(servers: Servers, tmp_path: Path, action: str) -> None:
    server = denying(servers, tmp_path, (action, "kernels"))
    root = "/api/kernels/none"
    asked = {
        "list": server.api("GET", f"{root}/requests"),
        "run": server.api("GET", f"{root}/requests/1"),
        "queue": server.api("GET", f"{root}/execute"),
        "cancel": server.api("DELETE", f"{root}/requests/1"),
        "cancel batch": server.api("DELETE", f"{root}/requests?batch=1"),
    }
    refused = {"list", "run", "queue"} if action == "read" else {"cancel", "cancel batch"}
    assert {name: answer.status_code for name, answer in asked.items()} == {
        name: 403 if name in refused else 404 for name in asked
    }


async def test_who_may_not_read_documents_does_not_read_them_here(servers: Servers, tmp_path: Path) -> None:
    """The text of a cell is in its runs' records."""
    config = tmp_path / "by_header.py"
    config.write_text(
        "from jupyter_server.auth.authorizer import Authorizer\n"
        "class ByHeader(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return resource != 'contents' or 'Blind' not in handler.request.headers\n"
        "c.ServerApp.authorizer_class = ByHeader\n"
    )
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", "secret = 1")
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "")
        [run] = await place.submit(0)
        assert (await place.read(f"/{run['run_id']}", wait=60))["source"] == "secret = 1"
        for path in ("", f"/{run['run_id']}"):
            for accept in ("*/*", "text/event-stream"):
                headers = {"Blind": "1", "Accept": accept}
                response = server.api("GET", f"{place.root}{path}?batch={run['batch_id']}", headers=headers)
                assert response.status_code == 200
                assert "secret" not in response.text
                assert "a.ipynb" not in response.text


async def test_a_stream_ends_when_the_right_to_it_does(servers: Servers, tmp_path: Path) -> None:
    config = tmp_path / "revoking.py"
    config.write_text(REVOKING.format(folder=str(tmp_path)))
    server = servers(f"--config={config}")
    server.write_notebook("a.ipynb", gate("never"))
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "never")
        [run] = await place.submit(0)
        for path in (f"/{run['run_id']}", ""):
            with anyio.fail_after(30):
                async with place.events(path) as events:
                    assert (await anext(events))["run_id"] == run["run_id"]
                    (tmp_path / "read-kernels").touch()
                    async for record in events:
                        assert record["ended_at"] is None
            (tmp_path / "read-kernels").unlink()
