"""``input()`` and ``getpass()``: what every client sees of a question, who answers it, and what is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import httpx
import pytest

from tests.headless.client import RoomClient
from tests.server import LabServer

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
        return await self.client.request(method, f"/api/kernels/{self.kernel}/{path}", body)

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
