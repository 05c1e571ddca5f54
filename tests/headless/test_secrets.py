"""A password that a cell asks for is nowhere but in the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually
from ydoc_exec.execution.prompts import DOTS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SECRET = "correct-horse-battery-staple-\N{SNOWMAN}"
DIGEST = "from getpass import getpass\nfrom hashlib import sha256\n"
CELL = DIGEST + "print(sha256(getpass('Password:').encode()).hexdigest())"
CONFIG = """
import logging
handler = logging.FileHandler({events!r})
handler.setFormatter(logging.Formatter("%(message)s"))
c.EventLogger.handlers = [handler]
"""


def forms(secret: str) -> list[bytes]:
    """How it may be written: as it is, in JSON, and in an address."""
    return [
        secret.encode(),
        secret.encode("utf-16-le"),
        json.dumps(secret)[1:-1].encode(),
        str(httpx.QueryParams({"x": secret})).removeprefix("x=").encode(),
    ]


def files_with(folder: Path, secret: str) -> Iterator[Path]:
    """The files below that folder in which it is."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if any(form in content for form in forms(secret)):
                yield path


async def test_a_password_is_nowhere(servers: Servers, tmp_path: Path) -> None:
    """Not in the document, its file, the update log, the run history, the server's log (which says all that it can), its
    events, metrics or answers, nor in what another tab receives. Wrong answers, and those that come late, are as secret."""
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(events=str(tmp_path / "events.jsonl")))
    server = servers(f"--config={config}", "--Application.log_level=DEBUG", "--Session.debug=True")
    # What is searched finds what is there.
    server.write_notebook("a.ipynb", CELL, f"x = '{SECRET}'")
    assert list(files_with(tmp_path, SECRET)) == [server.root / "a.ipynb"]
    server.write_notebook("a.ipynb", CELL, "print('next')")
    answers: list[str] = []

    async with RoomClient(server, "a.ipynb") as tab, RoomClient(server, "a.ipynb") as other:
        kernel = await tab.start_kernel()
        events = f"{server.ws_url}/api/events/subscribe?token={server.token}"
        path = f"/api/kernels/{kernel}/input"

        async def send(body: Any, status: int, **options: Any) -> None:
            answer = await tab._http.post(path, json=body, **options)
            assert answer.status_code == status, answer.text
            answers.append(answer.text)

        async with connect(events, max_size=None) as subscribed:
            for number in range(3):
                [run] = await tab.execute(kernel, [0])
                prompt = await other.wait(lambda run=run: other.prompts.get(run))  # type: ignore[misc]
                assert prompt["password"] is True
                assert "value" not in prompt, "there is nothing that could be typed into"
                # Everything that can go wrong with it.
                for body, status in (
                    ({"run_id": run, "value": [SECRET]}, 400),
                    ({"value": SECRET}, 400),
                    ({"run_id": "0" * 32, "value": SECRET}, 404),
                    ({"run_id": run, "prompt_id": "0" * 32, "value": SECRET}, 404),
                ):
                    await send(body, status)
                broken = await tab._http.post(path, content=f'{{"value": "{SECRET}"'.encode())
                assert broken.status_code == 400
                broken = await tab._http.post(path, content=b'{"value": "' + SECRET.encode() + b'\xff"}')
                assert broken.status_code == 400
                answers.append(broken.text)
                unknown = await tab._http.post("/api/kernels/none/input", json={"input": SECRET})
                assert unknown.status_code == 404
                if number == 2:
                    await send({"input": SECRET}, 201)
                else:
                    await send({"run_id": run, "value": SECRET, "prompt_id": prompt["prompt_id"]}, 200)
                await send({"run_id": run, "value": SECRET}, 409)
                assert "value" not in json.loads(answers[-1])
                assert await tab.ends(kernel, [run]) == ["ok"]
                await send({"run_id": run, "value": SECRET, "prompt_id": prompt["prompt_id"]}, 409)
                # It was the right one.
                assert tab.lines(0) == [f"Password: {DOTS}", sha256(SECRET.encode()).hexdigest()]
                answers.append(json.dumps(await tab.run(kernel, run)))
            told = [json.loads(await subscribed.recv()) for _ in range(5)]
            assert told
        assert await tab.save() == "success"
        answers.append((await tab.request("GET", f"/api/kernels/{kernel}/requests")).text)
        answers.append((await tab.request("GET", "/api/collaboration/status")).text)
        answers.append((await tab.request("GET", "/metrics")).text)
        answers.append((await tab.request("GET", "/api/contents/a.ipynb")).text)
        received = b"".join(frame for tab_ in (tab, other) for _, frame in tab_.received)
        assert DOTS.encode() in received
        for form in forms(SECRET):
            assert form not in received
            assert not any(form in answer.encode() for answer in answers)
        await eventually(lambda: "answered" in (tmp_path / "events.jsonl").read_text())
        assert list(files_with(tmp_path, SECRET)) == []
    server.stop()
    assert list(files_with(tmp_path, SECRET)) == []
    assert SECRET not in server.log


async def test_the_length_of_a_password_is_not_told(shared_server: LabServer) -> None:
    shared_server.write_notebook("length.ipynb", CELL)
    async with RoomClient(shared_server, "length.ipynb") as tab:
        kernel = await tab.start_kernel()
        for secret in ("", "x", "x" * 100):
            [run] = await tab.execute(kernel, [0])
            await tab.wait(lambda run=run: tab.prompts.get(run))  # type: ignore[misc]
            before = len(tab.received)
            body = {"run_id": run, "value": secret}
            (await tab.request("POST", f"/api/kernels/{kernel}/input", body)).raise_for_status()
            assert await tab.ends(kernel, [run]) == ["ok"]
            assert tab.lines(0)[0] == f"Password: {DOTS}"
            assert len(tab.received) > before
