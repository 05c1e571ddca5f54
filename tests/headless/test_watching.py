"""What programs hear of runs, and what those see who look after a server: events, ``/metrics``, the status."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import ydoc_exec
from tests.conftest import make_servers
from tests.headless.client import RoomClient
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

LISTENER = """
import logging
handler = logging.FileHandler({path!r})
handler.setFormatter(logging.Formatter("%(message)s"))
c.EventLogger.handlers = [handler]
"""
RUNS = "https://schema.jupyter.org/ydoc_exec/run/v1"
NOTICES = "https://schema.jupyter.org/ydoc_exec/notice/v1"
PROMPTS = "https://schema.jupyter.org/ydoc_exec/prompt/v1"
WAIT = "print('began', flush=True)\nimport time\ntime.sleep(600)"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events") / "events.jsonl"


@pytest.fixture(scope="module")
def server(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    config = events.with_name("jupyter_server_config.py")
    config.write_text(LISTENER.format(path=str(events)))
    for make in make_servers(tmp_path_factory.mktemp("server")):
        yield make(f"--config={config}")


@pytest.fixture
async def tab(server: LabServer, request: pytest.FixtureRequest) -> AsyncIterator[RoomClient]:
    name = f"{request.node.name}.ipynb"
    server.write_notebook(name, "print('one')", "1 / 0", "print('three')", "")
    async with RoomClient(server, name) as tab:
        yield tab


def metrics(server: LabServer) -> dict[tuple[str, str], float]:
    """Each of ours by its name without ``ydoc_exec_`` and the value of its label, if it has one."""
    text = server.api("GET", "/metrics").text
    return {
        (sample.name.removeprefix("ydoc_exec_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ydoc_exec_")
    }


def status(server: LabServer) -> dict[str, Any]:
    answer = server.api("GET", "/api/collaboration/status")
    answer.raise_for_status()
    known: dict[str, Any] = answer.json()
    return known


def of_runs(events: Path, runs: list[str]) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in events.read_text().splitlines()]
    return [event for event in told if event.get("run_id") in runs]


async def test_events(tab: RoomClient, events: Path) -> None:
    kernel_id = await tab.start_kernel()
    runs = await tab.execute(kernel_id, [0, 1, 2])
    assert await tab.ends(kernel_id, runs) == ["ok", "error", "aborted"]
    told = of_runs(events, runs)
    assert [(event["action"], runs.index(event["run_id"]), event["state"]) for event in told] == [
        ("queued", 0, "queued"),
        ("queued", 1, "queued"),
        ("queued", 2, "queued"),
        ("started", 0, "running"),
        ("ended", 0, "ok"),
        ("started", 1, "running"),
        ("ended", 1, "error"),
        ("ended", 2, "aborted"),
    ]
    for event in told:  # the server has checked them against the schema, or they would not be there
        assert event["__schema__"] == RUNS
        known = await tab.run(kernel_id, event["run_id"])
        for name in ("kernel_id", "document_id", "path", "cell_id", "batch_id", "queued_at", "user"):
            assert event[name] == known[name]
        assert "print" not in json.dumps(event)  # the text of the cell is for those who may read it
    assert told[-1]["reason"]
    assert told[4]["execution_count"] == 1


async def test_an_event_says_that_a_document_and_its_file_were_changed_at_once(
    tab: RoomClient, server: LabServer, events: Path
) -> None:
    def told() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in events.read_text().splitlines()]
        return [event for event in found if event["__schema__"] == NOTICES and event["path"] == tab.path]

    async def both_change(number: int) -> list[dict[str, Any]]:
        tab.set_source(0, f"here {number}")
        await tab.barrier()
        server.write_notebook(tab.path, f"elsewhere {number}", "1 / 0", "print('three')", "")
        await tab.wait(lambda: tab.state.get("dirty") is False)
        return told()

    # When it takes a second until the other program writes, the document has been saved, and both come one after the other.
    attempts = iter(range(5))
    while not (said := await both_change(next(attempts))):
        pass
    [event] = said
    assert (event["action"], event["kind"], event["document_id"]) == ("said", "conflict", tab.document_id)
    assert tab.source(0).startswith("here")
    answer = await tab.request("GET", f"/api/collaboration/recovery/{tab.path}?copy={event['copy']}")
    assert "elsewhere" in answer.text
    assert event["text"]


async def test_metrics(tab: RoomClient, server: LabServer) -> None:
    kernel_id = await tab.start_kernel()
    before = metrics(server)
    assert before["rooms", "notebook"] >= 1
    assert before["clients", "notebook"] >= 1
    tab.set_source(0, WAIT)
    runs = await tab.execute(kernel_id, [0, 2, 3], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    during = metrics(server)
    assert (during["runs", "running"], during["runs", "queued"]) == (1, 2)
    assert during["update_log_bytes", ""] > 0
    assert during["update_log_failing", ""] == 0
    (await tab.request("POST", f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
    await tab.ends(kernel_id, runs)
    assert await tab.save() == "success"
    after = metrics(server)
    assert (after["runs", "running"], after["runs", "queued"]) == (0, 0)

    def more(name: str, label: str = "") -> float:
        return after[name, label] - before.get((name, label), 0)

    assert (more("ended_runs_total", "error"), more("ended_runs_total", "aborted")) == (1, 2)
    assert more("run_wait_seconds_count") == 1
    assert more("run_seconds_count", "error") == 1
    assert more("run_seconds_sum", "error") > 0
    assert more("flush_seconds_count") >= 1
    assert more("save_seconds_count") >= 1
    assert more("update_log_write_seconds_count") >= 1
    assert more("failed_saves_total") == 0


async def test_status(tab: RoomClient, server: LabServer) -> None:
    kernel_id = await tab.start_kernel()
    tab.set_source(0, WAIT)
    runs = await tab.execute(kernel_id, [0, 2], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    known = status(server)
    assert (known["backend"], known["version"]) == ("ydoc_exec", ydoc_exec.__version__)
    [document] = [each for each in known["documents"] if each["path"] == tab.path]
    assert (document["document_id"], document["clients"]) == (tab.document_id, 1)
    assert (document["missing"], document["save_trouble"]) == (False, None)
    [kernel] = [each for each in known["kernels"] if each["kernel_id"] == kernel_id]
    assert (kernel["execution_state"], kernel["lifecycle_state"]) == ("busy", "running")
    assert [(run["run_id"], run["state"]) for run in kernel["runs"]] == [
        (runs[0], "running"),
        (runs[1], "queued"),
    ]
    assert known["update_log"]["kept"] == "disk"
    assert known["update_log"]["bytes"] > 0
    assert known["update_log"]["failing"] is False
    (await tab.request("POST", f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
    await tab.ends(kernel_id, runs)
    assert await tab.save() == "success"

    def is_saved() -> bool:
        [document] = [each for each in status(server)["documents"] if each["path"] == tab.path]
        return not document["unsaved"] and document["last_saved"] is not None

    await eventually(is_saved)
    assert kernel_id not in [each["kernel_id"] for each in status(server)["kernels"]]


async def test_a_save_that_fails_is_in_the_status(tab: RoomClient, server: LabServer) -> None:
    failed = metrics(server)["failed_saves_total", ""]
    path = server.root / tab.path
    path.unlink()
    path.mkdir()
    try:
        tab.set_source(0, "print('changed')")

        def trouble() -> bool:
            known = status(server)
            [document] = [each for each in known["documents"] if each["document_id"] == tab.document_id]
            return bool(document["save_trouble"]) and any(
                tab.document_id in error["text"] for error in known["errors"]
            )

        await eventually(trouble)
        assert metrics(server)["failed_saves_total", ""] > failed
    finally:
        path.rmdir()


async def test_who_may_not_read_sees_nothing(server: LabServer) -> None:
    assert server.api(
        "GET", "/api/collaboration/status", headers={"Authorization": "token no"}
    ).status_code in (
        401,
        403,
    )


async def test_events_of_questions(tab: RoomClient, events: Path, server: LabServer) -> None:
    """Neither what is asked nor what is answered is told."""
    tab.set_source(0, "input('my question?')\ninput('and another?')")
    kernel_id = await tab.start_kernel()
    before = metrics(server)
    [run] = await tab.execute(kernel_id, [0], after=await tab.barrier())
    first = await tab.wait(lambda: tab.prompts.get(run))
    assert metrics(server)["runs", "input"] == 1
    path = f"/api/kernels/{kernel_id}/input"
    (await tab.request("POST", path, {"run_id": run, "value": "my answer"})).raise_for_status()
    second = await tab.wait(
        lambda: found if (found := tab.prompts.get(run, first))["prompt"] != first["prompt"] else None
    )
    (await tab.request("POST", f"/api/kernels/{kernel_id}/interrupt")).raise_for_status()
    assert await tab.ends(kernel_id, [run]) == ["error"]
    # Steps of the run are told once, however often it asks.
    told = of_runs(events, [run])
    assert [event["action"] for event in told if "state" in event] == ["queued", "started", "ended"]
    prompts = [event for event in told if "prompt_id" in event]
    assert {event["__schema__"] for event in prompts} == {PROMPTS}
    ids = [first["prompt_id"], second["prompt_id"]]
    assert [(event["action"], ids.index(event["prompt_id"])) for event in prompts] == [
        ("asked", 0),
        ("answered", 0),
        ("asked", 1),
        ("withdrawn", 1),
    ]
    assert [("user" in event, "answered_at" in event) for event in prompts] == [
        (event["action"] == "answered",) * 2 for event in prompts
    ]
    assert {event["password"] for event in prompts} == {False}
    assert "my question" not in str(prompts)
    assert "my answer" not in str(prompts)
    after = metrics(server)
    for state in ("answered", "withdrawn"):
        name = ("prompt_seconds_count", state)
        assert after[name] - before.get(name, 0) == 1
    assert after["runs", "input"] == 0
