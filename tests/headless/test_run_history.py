"""What became of runs is known after the server was started again, also if it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.headless.test_runs import Place, gate
from tests.server import LabServer, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def known(server: LabServer, kernel: str, path: str = "") -> Any:
    response = server.api("GET", f"/api/kernels/{kernel}/requests{path}")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_server_is_started_again(server: LabServer, how: str) -> None:
    server.write_notebook("a.ipynb", gate("never"), "print('one')", "1/0", "print('two')")
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "never")
        [good] = await place.submit(1)
        failed, aborted = await place.submit(2, 3)
        ended = [await place.read(f"/{run['run_id']}", wait=60) for run in (good, failed, aborted)]
        cut = await place.submit(0, 1)
        await client.wait_lines(0, 1)
        cut = [await place.read(f"/{run['run_id']}") for run in cut]
        if how == "killed":
            # What was asked for in the last half second a killed server may have forgotten.
            for run in (*ended, *cut):
                await server.until_recorded(run["run_id"], run["state"], resumes=False)
            server.kill()
        else:
            server.stop()
    server.start()
    for run in ended:
        assert known(server, place.kernel, f"/{run['run_id']}") == run
    for run in cut:
        record = known(server, place.kernel, f"/{run['run_id']}")
        assert (record["state"], record["reason"]) == ("lost", "the server stopped")
        assert (record["ended_at"] is None) == (how == "killed")
        same = ("source", "source_hash", "user", "batch_id", "cell_id", "path", "queued_at")
        assert {key: record[key] for key in same} == {key: run[key] for key in same}
        # Nothing is left to wait for, or to cancel.
        assert known(server, place.kernel, f"/{run['run_id']}?wait=60") == record
        refused = server.api("DELETE", f"/api/kernels/{place.kernel}/requests/{run['run_id']}")
        assert refused.status_code == 409
        assert "lost" in refused.json()["message"]
    listed = known(server, place.kernel)
    assert listed["pending"] is False
    assert [run["run_id"] for run in listed["requests"]] == [
        run["run_id"] for run in (cut[1], cut[0], ended[2], ended[1], ended[0])
    ]
    assert [run["run_id"] for run in known(server, place.kernel, "?state=error")["requests"]] == [
        ended[1]["run_id"]
    ]
    batch = f"/api/kernels/{place.kernel}/requests?batch={cut[0]['batch_id']}"
    assert server.api("DELETE", batch).status_code == 409
    events = server.api(
        "GET",
        f"/api/kernels/{place.kernel}/requests/{good['run_id']}",
        headers={"Accept": "text/event-stream"},
    )
    assert events.text.startswith("event: run\nid: ok\n")
    assert "Uncaught exception" not in server.log


async def test_what_is_forgotten_in_memory_is_known(servers: Servers) -> None:
    server = servers("--YdocExec.runs_remembered=1")
    server.write_notebook("a.ipynb", "1", "2", "3")
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "")
        runs = await client.execute(place.kernel, [0, 1, 2])
        await client.wait_ended(2, 3)
        records = [await place.read(f"/{run}") for run in runs]
        assert [record["state"] for record in records] == ["ok"] * 3
        assert [run["run_id"] for run in (await place.read())["requests"]] == runs[::-1]
        # Long ago enough to be written down.
        await eventually(lambda: server.recorded_runs().keys() >= set(runs))
        assert [await place.read(f"/{run}") for run in runs] == records


async def test_for_how_long_runs_are_known(servers: Servers) -> None:
    """For less than a second here. A server drops what is older when it writes for the first time, and then now and then."""
    server = servers("--YdocExec.runs_days=0.00001")
    server.write_notebook("a.ipynb", "1")

    async def run() -> str:
        """Run the cell and wait until that is written down."""
        async with RoomClient(server, "a.ipynb") as client:
            kernel = await client.start_kernel()
            [run] = await client.execute(kernel, [0])
            assert await client.ends(kernel, [run]) == ["ok"]
        await eventually(lambda: run in server.recorded_runs())
        return f"/api/kernels/{kernel}/requests/{run}"

    old = await run()
    assert server.api("GET", old).json()["state"] == "ok"
    server.restart()
    new = await run()
    assert server.api("GET", new).json()["state"] == "ok"
    await eventually(lambda: server.api("GET", old).status_code == 404)


async def test_a_history_that_cannot_be_written_stops_no_run(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    server = servers(
        f"--YdocExec.runs_path={tmp_path / 'a-file' / 'runs.db'}", "--YdocExec.runs_remembered=1"
    )
    server.write_notebook("a.ipynb", "1", "2")
    async with RoomClient(server, "a.ipynb") as client:
        place = Place(server, client, await client.start_kernel(), "")
        first, second = await client.execute(place.kernel, [0, 1])
        await client.wait_ended(1, 2)
        await eventually(lambda: "run history failed" in server.log)
        assert (await place.read(f"/{second}"))["state"] == "ok"
        # It waits to be written, so it is known.
        assert (await place.read(f"/{first}"))["state"] == "ok"
        response = await place.ask("GET", "/" + "0" * 32)
        assert response.status_code == 503
        assert "run history" in response.json()["message"]
        assert [run["run_id"] for run in (await place.read())["requests"]] == [second]
    server.stop()
    assert "Uncaught exception" not in server.log
