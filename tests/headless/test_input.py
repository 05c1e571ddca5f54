"""``input()`` and ``getpass()``: what every client sees of a question, who answers it, and what is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import httpx
import pytest
from pycrdt import Map, Text

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.headless.stock_client import StockClient
from tests.server import LabServer, stream_text
from ydoc_exec.execution.prompts import DOTS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

_numbers = count()

THREE = """\
print('before')
for number in range(3):
    print(f'{number}:', input(f'Question {number}?'))
print('after')"""

GETPASS = "from getpass import getpass\nprint(len(getpass('Password:')))"


@dataclass
class Asking:
    """An open notebook whose cells ask."""

    server: LabServer
    client: RoomClient
    kernel: str

    async def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        return await self.client.request(method, f"/api/kernels/{self.kernel}/{path}".rstrip("/"), body)

    async def run(self, index: int, **options: object) -> str:
        """Run a cell; the id of its run."""
        [run] = await self.client.execute(self.kernel, [index], **options)  # type: ignore[arg-type]
        return run

    async def asks(self, run: str, text: str | None = None) -> dict[str, Any]:
        """What the run asks, when it does, as the document says it."""

        def question() -> dict[str, Any] | None:
            prompt: dict[str, Any] | None = self.client.prompts.get(run)
            return prompt if prompt is not None and text in (None, prompt["prompt"]) else None

        return await self.client.wait(question)

    async def answer(self, run: str, value: str, prompt: str | None = None) -> httpx.Response:
        """Answer it."""
        body = {"run_id": run, "value": value} | ({} if prompt is None else {"prompt_id": prompt})
        return await self.request("POST", "input", body)

    async def ends(self, *runs: str) -> list[str]:
        return await self.client.ends(self.kernel, runs)


def draft(client: RoomClient, run: str) -> Text:
    """What is being typed, shared by all."""
    value: Text = client.doc.get("execution", type=Map)["now"]["prompts"][run]["value"]
    return value


async def asking(server: LabServer, *cells: str) -> AsyncIterator[Asking]:
    name = f"input-{next(_numbers)}.ipynb"
    server.write_notebook(name, *cells)
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        yield Asking(server, client, kernel)
    server.api("DELETE", f"/api/kernels/{kernel}")


@pytest.fixture
async def place(shared_server: LabServer) -> AsyncIterator[Asking]:
    """Cells: three questions with prints between, a password, one question, and one that only prints."""
    async for made in asking(
        shared_server, THREE, GETPASS, "name = input('Name?')\nname", "print('printed')"
    ):
        yield made


async def test_a_question_is_seen_by_everybody(place: Asking) -> None:
    run = await place.run(2)
    prompt = await place.asks(run)
    client = place.client
    assert prompt == {
        "prompt_id": prompt["prompt_id"],
        "run_id": run,
        "cell_id": client.cell_id(2),
        "prompt": "Name?",
        "password": False,
        "asked_at": prompt["asked_at"],
        "policy": "writers",
        "user": prompt["user"],
        "value": "",
    }
    assert client.live_runs == {client.cell_id(2): "input"}
    assert client.execution["kernel"]["status"] == "busy"
    async with RoomClient(place.server, client.path) as later:
        assert later.prompts == client.prompts
    record = await client.run(place.kernel, run)
    entry = {key: value for key, value in prompt.items() if key != "value"}
    assert (record["state"], record["prompt"]) == ("input", entry)
    listed = (await place.request("GET", "input")).json()
    assert listed == {
        "kernel_id": place.kernel,
        "prompts": [{**entry, "document_id": client.document_id, "path": client.path}],
    }
    response = await place.answer(run, "Ada")
    assert (response.status_code, response.json()) == (200, {"run_id": run, "prompt_id": prompt["prompt_id"]})
    assert await place.ends(run) == ["ok"]
    assert client.prompts == {}
    assert (await place.request("GET", "input")).json()["prompts"] == []
    assert client.cells[2]["outputs"][0] == {"output_type": "stream", "name": "stdin", "text": "Name? Ada\n"}
    assert client.cells[2]["outputs"][1]["data"]["text/plain"] == "'Ada'"


async def test_three_questions_with_prints_between(place: Asking) -> None:
    """Prints come on another channel than questions, and the order is that of the cell nevertheless."""
    for _ in range(10):
        run = await place.run(0)
        for number in range(3):
            await place.asks(run, f"Question {number}?")
            said = ["before"] if number == 0 else [f"{number - 1}: {number - 1}"]
            assert place.client.lines(0)[-1:] == said
            assert (await place.answer(run, str(number))).status_code == 200
        assert await place.ends(run) == ["ok"]
        expected = [
            ("stdout", "before\n"),
            ("stdin", "Question 0? 0\n"),
            ("stdout", "0: 0\n"),
            ("stdin", "Question 1? 1\n"),
            ("stdout", "1: 1\n"),
            ("stdin", "Question 2? 2\n"),
            ("stdout", "2: 2\nafter\n"),
        ]
        outputs = place.client.cells[0]["outputs"]
        assert [(output["name"], output["text"]) for output in outputs] == expected
        assert await place.client.save() == "success"
        saved = place.server.read_notebook(place.client.path)["cells"][0]["outputs"]
        assert [(output["name"], "".join(output["text"])) for output in saved] == expected


async def test_the_first_answer_counts(place: Asking) -> None:
    """Two clients press Enter in the same tick, again and again."""
    async with httpx.AsyncClient(
        base_url=place.server.url, headers={"Authorization": f"token {place.server.token}"}, verify=False
    ) as other:
        for number in range(50):
            run = await place.run(2)
            prompt = await place.asks(run)
            body = {"run_id": run} | ({"prompt_id": prompt["prompt_id"]} if number % 2 else {})
            answers: dict[str, httpx.Response] = {}

            async def send(http: httpx.AsyncClient, value: str, body: dict[str, Any], into: Any) -> None:
                path = f"/api/kernels/{place.kernel}/input"
                into[value] = await http.post(path, json={**body, "value": value})

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, place.client._http, "one", body, answers)
                tasks.start_soon(send, other, "two", body, answers)
            [winner] = [value for value, response in answers.items() if response.status_code == 200]
            [loser] = [response for response in answers.values() if response.status_code == 409]
            said = loser.json()
            assert (said["error"], said["value"], said["run_id"]) == ("already_answered", winner, run)
            assert said["prompt_id"] == prompt["prompt_id"]
            assert said["message"]
            assert await place.ends(run) == ["ok"]
            outputs = place.client.cells[2]["outputs"]
            assert [outputs[0]["text"], outputs[1]["data"]["text/plain"]] == [
                f"Name? {winner}\n",
                repr(winner),
            ]


async def test_a_tab_that_comes_back(place: Asking) -> None:
    """With what it had typed meanwhile; a tab that opens the notebook later has it too."""
    run = await place.run(2)
    await place.asks(run)
    client = place.client
    draft(client, run).insert(0, "Ad")
    await client.barrier()
    async with RoomClient(place.server, client.path) as other:
        assert other.prompts[run]["value"] == "Ad"
        await client.disconnect()
        draft(client, run).insert(2, "a")
        await client.connect()
        await other.wait(lambda: other.prompts[run]["value"] == "Ada")
    # All of them leave, and somebody else comes.
    await client.disconnect()
    async with RoomClient(place.server, client.path) as later:
        assert later.prompts[run]["prompt"] == "Name?"
        assert (await place.answer(run, "Ada")).status_code == 200
        assert await later.ends(place.kernel, [run]) == ["ok"]
        assert later.printed(2) == "Name? Ada\n"
    await client.connect()


async def test_a_draft_is_no_change_of_the_notebook(place: Asking) -> None:
    """It does not make it dirty, is no step that can be undone, and is in no file. What is posted is the answer."""
    client = place.client
    run = await place.run(2)
    await place.asks(run)
    assert await client.save() == "success"
    await client.wait(lambda: client.state["dirty"] is False)
    before = (place.server.root / client.path).stat()
    steps = client.notebook.undo_manager.undo_stack if hasattr(client.notebook, "undo_manager") else []
    async with RoomClient(place.server, client.path) as other:
        draft(other, run).insert(0, "half a dra")
        draft(other, run).insert(10, "ft")
        await client.wait(lambda: client.prompts[run]["value"] == "half a draft")
    await client.barrier()
    assert client.state["dirty"] is False
    assert not steps
    assert await client.save() == "success"
    saved = place.server.read_notebook(client.path)  # which it is valid
    assert saved["cells"][2]["outputs"] == []
    text = (place.server.root / client.path).read_text()
    assert "half a draft" not in text
    assert "prompt" not in text.replace("Question", "")
    assert (place.server.root / client.path).stat().st_ino == before.st_ino, "it was written again"
    assert (await place.answer(run, "whole")).status_code == 200
    assert await place.ends(run) == ["ok"]
    assert client.printed(2) == "Name? whole\n"


async def test_an_answer_to_the_first_is_none_to_the_second(place: Asking) -> None:
    run = await place.run(0)
    first = await place.asks(run, "Question 0?")
    assert (await place.answer(run, "0", first["prompt_id"])).status_code == 200
    second = await place.asks(run, "Question 1?")
    late = await place.answer(run, "late", first["prompt_id"])
    assert (late.status_code, late.json()["value"]) == (409, "0")
    assert (await place.answer(run, "nobody", "0" * 32)).status_code == 404
    assert (await place.answer("0" * 32, "nobody")).status_code == 404
    assert (await place.request("GET", "input")).json()["prompts"][0]["prompt_id"] == second["prompt_id"]
    assert (await place.answer(run, "1", second["prompt_id"])).status_code == 200
    third = await place.asks(run, "Question 2?")
    assert (await place.answer(run, "2", third["prompt_id"])).status_code == 200
    assert await place.ends(run) == ["ok"]
    # Also when the run is over.
    for prompt, value in ((first, "0"), (second, "1"), (third, "2")):
        late = await place.answer(run, "late", prompt["prompt_id"])
        assert (late.status_code, late.json()["value"]) == (409, value)
    assert place.client.printed(0).count("late") == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"run_id": "0"},
        {"value": "x"},
        {"run_id": "0", "value": 1},
        {"run_id": "", "value": "x"},
        {"run_id": "0", "value": "x", "prompt_id": 1},
        {"run_id": "0", "value": "x" * (2**20 + 1)},
        {"input": None},
    ],
    ids=lambda body: str(body)[:30],
)
async def test_answers_that_make_no_sense(place: Asking, body: object) -> None:
    run = await place.run(2)
    prompt = await place.asks(run)
    answer = await place.request("POST", "input", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"]
    assert place.client.prompts[run] == prompt
    assert (await place.answer(run, "\N{SNOWMAN} \U0001f642\n\0")).status_code == 200
    assert await place.ends(run) == ["ok"]
    assert place.client.cells[2]["outputs"][1]["data"]["text/plain"] == repr("\N{SNOWMAN} \U0001f642\n\0")


async def change(place: Asking, what: str) -> None:
    """Do to the cell that asks what somebody may do."""
    client = place.client
    cell = client.ycells[2]
    if what == "cleared":
        with client.doc.transaction():
            cell["outputs"].clear()
            cell["execution_count"] = None
    elif what == "deleted":
        del client.ycells[2]
    elif what == "undone":
        copy = cell.to_py()
        del client.ycells[2]
        await client.barrier()
        client.ycells.insert(2, client.notebook.create_ycell(copy))
    elif what == "markdown":
        copy = {"id": cell["id"], "cell_type": "markdown", "source": str(cell["source"]), "metadata": {}}
        with client.doc.transaction():
            del client.ycells[2]
            client.ycells.insert(2, client.notebook.create_ycell(copy))
    elif what == "moved":
        copy = cell.to_py()
        with client.doc.transaction():
            del client.ycells[2]
            client.ycells.insert(0, client.notebook.create_ycell(copy))
    await client.barrier()


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "interrupted"])
@pytest.mark.parametrize("what", ["cleared", "deleted", "undone", "markdown", "moved"])
async def test_what_becomes_of_the_cell_does_not_matter(place: Asking, what: str, answered: bool) -> None:
    """The kernel waits all the same, so the question stays where it can be answered."""
    client = place.client
    run = await place.run(2)
    prompt = await place.asks(run)
    await change(place, what)
    assert client.prompts[run] == prompt
    assert [listed["run_id"] for listed in (await place.request("GET", "input")).json()["prompts"]] == [run]
    if answered:
        assert (await place.answer(run, "Ada")).status_code == 200
    else:
        (await place.request("POST", "interrupt")).raise_for_status()
    assert await place.ends(run) == ["ok" if answered else "error"]
    assert client.prompts == {}
    order = [str(cell["id"]) for cell in client.ycells]
    if answered and what in ("cleared", "undone", "moved"):
        assert client.printed(order.index("cell-2")) == "Name? Ada\n"
    assert await place.ends(await place.run(order.index("cell-3"))) == ["ok"]
    assert await client.save() == "success"
    place.server.read_notebook(client.path)


DYING = """\
import os, signal, threading, time
threading.Thread(target=lambda: (time.sleep(1), os.kill(os.getpid(), signal.SIGKILL))).start()
input('Last words?')"""


@pytest.mark.parametrize("how", ["interrupt", "restart", "death", "shutdown"])
async def test_the_kernel_does_not_wait_any_more(shared_server: LabServer, how: str) -> None:
    async for place in asking(shared_server, DYING if how == "death" else "input('Name?')", "print('next')"):
        client = place.client
        runs = await client.execute(place.kernel, [0, 1])
        prompt = await place.asks(runs[0])
        if how == "shutdown":
            (await place.request("DELETE", "")).raise_for_status()
        elif how != "death":
            (await place.request("POST", how)).raise_for_status()
        states = await place.ends(*runs)
        assert states == (["error", "aborted"] if how == "interrupt" else ["lost", "lost"])
        assert client.prompts == {}
        assert client.printed(0) == ""
        late = await place.answer(runs[0], "late", prompt["prompt_id"])
        assert late.status_code == 409, late.text
        assert "error" not in late.json(), "nobody has answered it"
        if how != "shutdown":
            assert (await place.request("GET", "input")).json()["prompts"] == []
            assert await place.ends(await place.run(1)) == ["ok"]
            assert client.printed(1) == "next\n"


CATCHING = """\
try:
    input('First?')
except KeyboardInterrupt:
    print('caught')
print(input('Second?'))"""


async def test_an_interrupt_that_is_caught(shared_server: LabServer) -> None:
    """The run goes on, and asks something else: what it asked before is over."""
    async for place in asking(shared_server, CATCHING):
        run = await place.run(0)
        first = await place.asks(run, "First?")
        (await place.request("POST", "interrupt")).raise_for_status()
        second = await place.asks(run, "Second?")
        late = await place.answer(run, "late", first["prompt_id"])
        assert late.status_code == 409, late.text
        assert (await place.answer(run, "good", second["prompt_id"])).status_code == 200
        assert await place.ends(run) == ["ok"]
        outputs = [(output["name"], output["text"]) for output in place.client.cells[0]["outputs"]]
        assert outputs == [("stdout", "caught\n"), ("stdin", "Second? good\n"), ("stdout", "good\n")]


async def test_runs_asked_for_meanwhile_wait(place: Asking) -> None:
    """Another cell, and the one that asks: its question stays, as the kernel waits for it."""
    client = place.client
    asking_run = await place.run(2)
    await place.asks(asking_run)
    other = await place.run(3)
    again = await place.run(2)
    await client.barrier()
    assert client.live_runs == {client.cell_id(2): "queued", client.cell_id(3): "queued"}
    states = [(await client.run(place.kernel, run))["state"] for run in (asking_run, other, again)]
    assert states == ["input", "queued", "queued"]
    # What waits is taken back, and there is something else to run: the question is still there.
    for run in (other, again):
        (await place.request("DELETE", f"requests/{run}")).raise_for_status()
    await client.wait(lambda: not client.live_runs)
    other = await place.run(3)
    await client.barrier()
    assert client.prompts.keys() == {asking_run}
    again = await place.run(2)
    assert (await place.answer(asking_run, "one")).status_code == 200
    await place.asks(again)
    assert client.prompts.keys() == {again}
    assert client.printed(3) == "printed\n"
    assert (await place.answer(again, "two")).status_code == 200
    assert await place.ends(asking_run, other, again) == ["ok", "ok", "ok"]
    assert client.printed(2) == "Name? two\n"


LATER = """\
import contextvars, threading
go, answers = threading.Event(), []
def ask():
    go.wait()
    try:
        answers.append(input('Are you there?'))
    except BaseException as error:
        answers.append(type(error).__name__)
    done.set()
done = threading.Event()
threading.Thread(target=contextvars.copy_context().run, args=(ask,)).start()"""


async def test_a_thread_asks_behind_the_end_of_its_cell(shared_server: LabServer) -> None:
    """No cell waits for it, so it is told that there is nothing to read, and holds up nobody."""
    async for place in asking(shared_server, LATER, "go.set(); done.wait(); print(answers)"):
        assert await place.ends(await place.run(0)) == ["ok"]
        assert await place.ends(await place.run(1)) == ["ok"]
        assert place.client.printed(1) == "['EOFError']\n"
        assert place.client.prompts == {}


async def test_questions_to_other_clients_of_the_kernel(place: Asking) -> None:
    """A console's are answered in the console."""
    async with StockClient.connected(place.server, place.kernel) as console:
        request = await console.send("print(input('Console?'))", allow_stdin=True)
        question = await console.asked(request)
        assert question["content"] == {"prompt": "Console?", "password": False}
        assert (await place.request("GET", "input")).json()["prompts"] == []
        assert place.client.prompts == {}
        ours = await place.run(2)
        assert (await place.request("POST", "input", {"input": "not yours"})).status_code in (404, 409)
        await console.answer(question, "mine")
        assert await console.wait(request) == ("ok", "mine\n")
        await place.asks(ours)
        assert (await place.request("POST", "input", {"input": "yours"})).status_code == 201
        assert await place.ends(ours) == ["ok"]


async def test_as_jupyter_server_nbmodel_asks(place: Asking) -> None:
    """The shapes are those of its 0.2.9 (``handlers.py``, ``models.py``)."""
    client = place.client
    body = {
        "code": client.source(1),
        "metadata": {"cell_id": client.cell_id(1), "document_id": client.document_id},
    }
    answer = await place.request("POST", "execute", body)
    assert answer.status_code == 202
    run = answer.json()["request_id"]
    await place.asks(run)
    pending = await place.request("GET", f"requests/{run}")
    assert pending.status_code == 300
    assert pending.headers["Location"] == f"/api/kernels/{place.kernel}/input"
    said = pending.json()
    assert said["input_request"] == {"prompt": "Password:", "password": True}
    assert said["parent_header"]["msg_type"] == "input_request"
    assert {"msg_id", "session", "username", "version", "date"} <= said["parent_header"].keys()
    assert (said["pending"], said["request_status"], said["request_id"]) == (True, "input", run)
    assert (await place.request("POST", "input", {"input": "four"})).status_code == 201
    assert await place.ends(run) == ["ok"]
    assert (await place.request("GET", f"requests/{run}")).status_code == 200
    assert client.lines(1) == [f"Password: {DOTS}", "4"]
    assert (await place.request("POST", "input", {"input": "nobody"})).status_code == 404


async def test_waiting_for_a_question(place: Asking) -> None:
    """Long polls and server-sent events tell of it as of any other step."""
    client = place.client
    run = await place.run(2)
    path = f"requests/{run}"
    states = []
    async with (
        httpx.AsyncClient(base_url=place.server.url, timeout=60, verify=False) as http,
        http.stream(
            "GET",
            f"/api/kernels/{place.kernel}/{path}",
            headers={"Authorization": f"token {place.server.token}", "Accept": "text/event-stream"},
        ) as stream,
    ):
        known = "queued"
        while known != "input":
            known = (await place.request("GET", f"{path}?wait=30&known={known}")).json()["state"]
        listed = (await place.request("GET", "requests?state=input")).json()["requests"]
        assert [record["run_id"] for record in listed] == [run]
        state = (await place.request("GET", "state")).json()
        assert (state["execution_state"], state["queue_length"]) == ("busy", 0)
        assert (state["current_run"]["run_id"], state["current_run"]["state"]) == (run, "input")
        assert (await place.request("DELETE", path)).status_code == 409
        assert (await place.answer(run, "Ada")).status_code == 200
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                states.append(line.removeprefix("id: "))
    assert states[-1] == "ok"
    assert "input" in states
    assert await client.ends(place.kernel, [run]) == ["ok"]


async def test_an_empty_question(shared_server: LabServer) -> None:
    async for place in asking(shared_server, "print('Name: ', end='')\ninput()"):
        run = await place.run(0)
        assert (await place.asks(run))["prompt"] == ""
        assert place.client.printed(0) == "Name: "
        assert (await place.answer(run, "")).status_code == 200
        assert await place.ends(run) == ["ok"]
        outputs = place.client.cells[0]["outputs"]
        assert [output["text"] for output in outputs[:2]] == ["Name: ", " \n"]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_of_the_server_leaves_no_question(servers: Servers, how: str) -> None:
    """A kernel of this machine ends with the server, so nobody waits any more."""
    server = servers()
    server.write_notebook("a.ipynb", THREE, "print('next')")
    async with RoomClient(server, "a.ipynb") as client:
        kernel = await client.start_kernel()
        run, behind = await client.execute(kernel, [0, 1])
        await client.wait(lambda: client.prompts.get(run))
        assert await client.save() == "success"
        assert "Question" not in str(server.read_notebook("a.ipynb")["cells"][0]["outputs"])
        if how == "kill":
            await server.until_recorded(run, "input", resumes=False)
            await server.until_recorded(behind, "queued", resumes=False)
            server.kill()
        else:
            server.stop()
        await client.disconnect()
        assert "Question" not in str(server.read_notebook("a.ipynb")["cells"][0]["outputs"])
        server.start()
        await client.connect()
        async with RoomClient(server, "a.ipynb") as other:
            for tab in (client, other):
                assert tab.prompts == {}
                assert tab.live_runs == {}
                assert set(tab.markers()) == {"idle"}
                assert tab.lines(0) == ["before"]
        for lost in (run, behind):
            record = await client.run(kernel, lost)
            assert (record["state"], record["reason"]) == ("lost", "the server stopped")
            assert record["prompt"] is None
        late = await client.request("POST", f"/api/kernels/{kernel}/input", {"run_id": run, "value": "late"})
        assert late.status_code == 404
        kernel = await client.start_kernel()
        assert await client.ends(kernel, await client.execute(kernel, [1])) == ["ok"]


async def test_a_notebook_that_nobody_has_open(shared_server: LabServer) -> None:
    """Programs answer too, and a run that must not ask fails at once."""
    server = shared_server
    server.write_notebook("program.ipynb", "print('hello', input('Name?'))")
    path = "/api/collaboration/execute/program.ipynb"
    started = server.api("POST", path).json()
    kernel, run = started["kernel_id"], started["request_id"]
    for known in ("queued", "running"):
        record = server.api("GET", f"/api/kernels/{kernel}/requests/{run}?wait=30&known={known}").json()
    assert (record["state"], record["prompt"]["prompt"]) == ("input", "Name?")
    [prompt] = server.api("GET", f"/api/kernels/{kernel}/input").json()["prompts"]
    assert prompt["path"] == "program.ipynb"
    server.api("POST", f"/api/kernels/{kernel}/input", {"run_id": run, "value": "Ada"}).raise_for_status()
    record = server.api("GET", f"/api/kernels/{kernel}/requests/{run}?wait=30").json()
    assert record["state"] == "ok"
    saved = server.api("POST", "/api/collaboration/save/program.ipynb")
    saved.raise_for_status()
    assert stream_text(server.read_notebook("program.ipynb")["cells"][0]) == "Name? Ada\nhello Ada\n"
    strict = server.api("POST", path, {"allow_stdin": False}).json()
    record = server.api("GET", f"/api/kernels/{kernel}/requests/{strict['request_id']}?wait=30").json()
    assert record["state"] == "error"
    server.api("DELETE", f"/api/kernels/{kernel}")
