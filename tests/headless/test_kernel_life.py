"""What becomes of runs when something becomes of their kernel, seen from outside of a real server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.conftest import Servers, make_servers
from tests.headless.client import RoomClient
from tests.headless.stock_client import StockClient
from tests.headless.test_kernel_state import process_of
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

LONG = "import time\nprint('began', flush=True)\ntime.sleep(300)"
CATCHES = """import time
try:
    print('began', flush=True)
    time.sleep(300)
except KeyboardInterrupt:
    print('caught')"""

ENDED = ("ok", "error", "aborted", "cancelled", "lost")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """One that notices soon that a kernel has died; its log has no traceback in the end."""
    for servers in make_servers(tmp_path_factory.mktemp("life")):
        server = servers(
            "--AsyncIOLoopKernelRestarter.time_to_dead=0.5",
            "--KernelRestarter.time_to_dead=0.5",
            "--YdocExec.linger=1",
        )
        yield server
        # Kernels have said much there.
        ours = [line for line in server.log.splitlines() if "/ydoc_exec/" in line and "File" in line]
        assert ours == [], "the server's log has tracebacks of ours"


async def states(client: RoomClient, kernel: str, runs: list[str]) -> list[str]:
    """How these runs ended, when all have."""
    for run in runs:
        known = (await client.request("GET", f"/api/kernels/{kernel}/requests/{run}?wait=25")).json()
        assert known["state"] in ENDED, known
    return [(await client.run(kernel, run))["state"] for run in runs]


async def reasons(client: RoomClient, kernel: str, runs: list[str]) -> set[str]:
    """Why these runs ended so."""
    return {(await client.run(kernel, run))["reason"] for run in runs}


async def restart(client: RoomClient, kernel: str) -> None:
    """As JupyterLab does."""
    (await client.request("POST", f"/api/kernels/{kernel}/restart")).raise_for_status()


def is_quiet(client: RoomClient) -> bool:
    """Nothing claims to run."""
    return not client.live_runs and set(client.markers()) <= {"idle", "None"}


def numbered(index: int, *, until: str = "") -> str:
    """A cell that says which cells of this kernel's life came before it, when there is such a file."""
    wait = f"while not os.path.exists({until!r}): time.sleep(.02)" if until else "time.sleep(.2)"
    return f"import os, time\nran = [*globals().get('ran', []), {index}]\n{wait}\nprint(ran)"


async def test_restart_and_run_all_three_times(server: LabServer) -> None:
    server.write_notebook("three.ipynb", *(numbered(index, until="pressed") for index in range(5)))
    async with RoomClient(server, "three.ipynb") as client:
        kernel = await client.start_kernel()
        batches = []
        for _ in range(3):
            await restart(client, kernel)
            batches.append(await client.execute(kernel, range(5)))
        (server.root / "pressed").touch()
        *earlier, last = [await states(client, kernel, batch) for batch in batches]
        assert earlier == [["lost"] * 5] * 2
        assert last == ["ok"] * 5
        for batch in batches[:2]:
            assert await reasons(client, kernel, batch) == {"the kernel was shut down or restarted"}
        await client.wait(lambda: is_quiet(client))
        assert client.counts() == [1, 2, 3, 4, 5]
        assert [client.printed(index) for index in range(5)] == [f"{list(range(n + 1))}\n" for n in range(5)]


async def test_restart_and_run_all_before_the_last_is_answered(server: LabServer) -> None:
    """An impatient person, or three: all of it ends, and what is there in the end is of one life of the kernel."""
    server.write_notebook("impatient.ipynb", *map(numbered, range(5)))
    async with RoomClient(server, "impatient.ipynb") as client:
        kernel = await client.start_kernel()
        runs: list[str] = []

        async def press(after: float) -> None:
            await anyio.sleep(after)
            response = await client.request("POST", f"/api/kernels/{kernel}/restart")
            if response.status_code == 200:
                runs.extend(await client.execute(kernel, range(5)))

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(press, number * 0.3)
        assert runs
        ends = await states(client, kernel, runs)
        await client.wait(lambda: is_quiet(client))
        assert set(ends) <= {"ok", "lost"}
        again = await client.execute(kernel, range(5))
        assert await states(client, kernel, again) == ["ok"] * 5


@pytest.mark.parametrize("how", ["by REST", "by the restarter", "by its own cell"])
async def test_the_next_run_after_a_restart(server: LabServer, how: str) -> None:
    name = f"next {how}.ipynb"
    server.write_notebook(name, LONG, "print('before' in globals())\nbefore = 1", "import os; os._exit(1)")
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        await client.execute(kernel, [1])
        await client.wait_ended(1, 1)
        if how == "by its own cell":
            runs = await client.execute(kernel, [2, 1])
        else:
            runs = await client.execute(kernel, [0, 1])
            await client.wait_lines(0, 1)
        if how == "by REST":
            await restart(client, kernel)
        elif how == "by the restarter":
            process_of(server, kernel).kill()
        assert await states(client, kernel, runs) == ["lost"] * 2
        await client.wait(lambda: is_quiet(client))
        again = await client.execute(kernel, [1])
        assert await states(client, kernel, again) == ["ok"]
        await client.wait_ended(1, 1)
        assert client.lines(1) == ["False"]
        await client.wait(lambda: client.execution["kernel"]["status"] == "idle")
        assert await client.kernel_status(kernel) == "idle"


async def test_a_kernel_that_is_killed_with_nobody_watching(server: LabServer) -> None:
    server.write_notebook("killed.ipynb", LONG, "print(2)")
    async with RoomClient(server, "killed.ipynb") as client:
        kernel = await client.start_kernel()
        runs = await client.execute(kernel, [0, 1])
        await client.wait_lines(0, 1)
    process_of(server, kernel).kill()

    def saved() -> list[dict[str, Any]]:
        cells = server.read_notebook("killed.ipynb")["cells"]
        return list(cells) if any(o["output_type"] == "error" for o in cells[0]["outputs"]) else []

    cells = await eventually(saved)
    *_, error = cells[0]["outputs"]
    assert stream_text(cells[0]) == "began\n"
    assert error["ename"] == "KernelDied"
    assert "died" in error["evalue"]
    assert "run again" in error["evalue"]
    assert cells[1]["outputs"] == []
    async with RoomClient(server, "killed.ipynb") as client:
        assert is_quiet(client)
        assert await states(client, kernel, runs) == ["lost"] * 2
        assert all("died" in reason for reason in await reasons(client, kernel, runs))
        await eventually(lambda: server.kernel_status(kernel) == "idle")


async def test_a_document_that_was_let_go_and_opened_again(server: LabServer) -> None:
    """Its kernel has not noticed."""
    server.write_notebook("evicted.ipynb", "x = 'kept'", "print(x)")
    async with RoomClient(server, "evicted.ipynb") as client:
        kernel = await client.start_kernel()
        assert await states(client, kernel, await client.execute(kernel, [0])) == ["ok"]

    def is_open() -> bool:
        documents = server.api("GET", "/api/collaboration/status").json()["documents"]
        return "evicted.ipynb" in [document["path"] for document in documents]

    await eventually(lambda: not is_open())
    async with RoomClient(server, "evicted.ipynb") as client:
        assert await client.start_kernel() == kernel
        assert await states(client, kernel, await client.execute(kernel, [1])) == ["ok"]
        await client.wait(lambda: client.lines(1) == ["kept"])


async def test_the_notebook_gets_another_kernel(server: LabServer) -> None:
    server.write_notebook("changed.ipynb", LONG, "print('of', len(globals().get('x', 'nothing')))\nx = 'x'")
    async with RoomClient(server, "changed.ipynb") as client:
        old = await client.start_kernel()
        await client.execute(old, [1])
        await client.wait_ended(1, 1)
        runs = await client.execute(old, [0, 1])
        await client.wait_lines(0, 1)
        sessions = (await client.request("GET", "/api/sessions")).json()
        [session] = [session for session in sessions if session["path"] == "changed.ipynb"]
        body = {"kernel": {"name": "python3", "id": None}}
        changed = await client.request("PATCH", f"/api/sessions/{session['id']}", body)
        assert changed.status_code == 200
        new = changed.json()["kernel"]["id"]
        assert new != old
        assert await states(client, old, runs) == ["lost"] * 2
        await client.wait(lambda: is_quiet(client))
        refused = await client.request(
            "POST",
            f"/api/kernels/{old}/execute",
            {"document_id": client.document_id, "cell_ids": [client.cell_id(1)]},
        )
        assert refused.status_code == 404
        again = await client.execute(new, [1])
        assert await states(client, new, again) == ["ok"]
        await client.wait_ended(1, 1)
        assert client.lines(1) == ["of 7"]
        assert client.execution["kernel"]["id"] == new


async def test_a_notebook_has_one_kernel_at_a_time(server: LabServer) -> None:
    server.write_notebook("chosen.ipynb", "print('here')")
    server.write_notebook("free.ipynb", LONG, "print('here')")
    other = server.api("POST", "/api/kernels", {"name": "python3"}).json()["id"]
    third = server.api("POST", "/api/kernels", {"name": "python3"}).json()["id"]
    async with RoomClient(server, "chosen.ipynb") as chosen, RoomClient(server, "free.ipynb") as free:

        async def refused(client: RoomClient, index: int, kernel: str) -> str:
            body = {"document_id": client.document_id, "cell_ids": [client.cell_id(index)]}
            answer = await client.request("POST", f"/api/kernels/{kernel}/execute", body)
            assert answer.status_code == 409, answer.text
            return str(answer.json()["message"])

        # Its session says which one.
        kernel = await chosen.start_kernel()
        before = chosen.cells
        assert kernel in await refused(chosen, 0, other)
        assert chosen.cells == before
        assert await states(chosen, kernel, await chosen.execute(kernel, [0])) == ["ok"]
        assert kernel in await refused(chosen, 0, other)

        # Without a session, what runs does, and only as long as it does.
        runs = await free.execute(other, [0, 1])
        await free.wait_lines(0, 1)
        assert other in await refused(free, 1, third)
        (await free.request("POST", f"/api/kernels/{other}/interrupt")).raise_for_status()
        assert await states(free, other, runs) == ["error", "aborted"]
        assert await states(free, third, await free.execute(third, [1])) == ["ok"]
        await free.wait(lambda: free.execution["kernel"]["id"] == third)
    for unused in (other, third):
        server.api("DELETE", f"/api/kernels/{unused}").raise_for_status()


async def test_a_kernel_that_is_shut_down(server: LabServer) -> None:
    server.write_notebook("shut.ipynb", LONG, "print(2)")
    async with RoomClient(server, "shut.ipynb") as client:
        kernel = await client.start_kernel()
        runs = await client.execute(kernel, [0, 1])
        await client.wait_lines(0, 1)
        (await client.request("DELETE", f"/api/kernels/{kernel}")).raise_for_status()
        assert await states(client, kernel, runs) == ["lost"] * 2
        assert await reasons(client, kernel, runs) == {"the kernel was shut down or restarted"}
        await client.wait(lambda: is_quiet(client))
        assert client.execution["kernel"]["status"] == "dead"


@pytest.mark.parametrize("catches", [False, True])
async def test_an_interrupt(server: LabServer, catches: bool) -> None:
    cells = [CATCHES if catches else LONG, *(f"print({n})" for n in range(3))]
    name = f"interrupted-{catches}.ipynb"
    server.write_notebook(name, *cells)
    async with RoomClient(server, name) as client:
        kernel = await client.start_kernel()
        runs = await client.execute(kernel, range(4))
        await client.wait_lines(0, 1)
        (await client.request("POST", f"/api/kernels/{kernel}/interrupt")).raise_for_status()
        after = await client.execute(kernel, [3])
        assert await states(client, kernel, runs) == ["ok" if catches else "error", *["aborted"] * 3]
        assert await states(client, kernel, after) == ["ok"]
        await client.wait(lambda: is_quiet(client))
        assert client.counts() == [1, None, None, 2]
        assert client.lines(3) == ["2"]


async def test_two_notebooks_and_a_console_on_one_kernel(server: LabServer) -> None:
    """Each has its own output. A console's request runs before the next of ours: the kernel has one of ours at a time."""
    one = "order = [*globals().get('order', []), {!r}]\nprint({!r}, flush=True)"
    wait = "\nimport os, time\nwhile not os.path.exists('both'): time.sleep(.02)"
    for name in ("left", "right"):
        first, *others = (one.format(f"{name}{n}", f"{name}{n}") for n in range(6))
        server.write_notebook(f"{name}.ipynb", first + wait, *others)
    async with RoomClient(server, "left.ipynb") as left, RoomClient(server, "right.ipynb") as right:
        kernel = await left.start_kernel()
        async with StockClient.connected(server, kernel) as console:
            runs = {
                left: await left.execute(kernel, range(3)),
                right: await right.execute(kernel, range(3)),
            }
            await left.wait_lines(0, 1)
            first, second = [
                await console.send(f"order.append({word!r})\nprint({word!r})")
                for word in ("console", "again")
            ]
            await console.arrive()
            runs[left] += await left.execute(kernel, range(3, 6))
            runs[right] += await right.execute(kernel, range(3, 6))
            (server.root / "both").touch()
            assert await console.wait(first) == ("ok", "console\n")
            assert await console.wait(second) == ("ok", "again\n")
            for client, name in ((left, "left"), (right, "right")):
                assert await states(client, kernel, runs[client]) == ["ok"] * 6
                await client.wait(lambda client=client: is_quiet(client))  # type: ignore[misc]
                assert [client.printed(n) for n in range(6)] == [f"{name}{n}\n" for n in range(6)]
            order = await console.send("print(*order)")
            batches = [
                [f"{name}{n}" for n in numbers]
                for numbers in (range(3), range(3, 6))
                for name in ("left", "right")
            ]
            head, *ours = [cell for batch in batches for cell in batch]
            assert (await console.wait(order))[1].split() == [head, "console", "again", *ours]
            # What a console breaks is its own.
            bad = await console.send("1 / 0")
            assert (await console.wait(bad))[0] == "error"
            assert await states(left, kernel, await left.execute(kernel, [0])) == ["ok"]


async def test_batches_of_several_people_stay_together(server: LabServer) -> None:
    names = [f"person {n}.ipynb" for n in range(4)]
    for number, name in enumerate(names):
        server.write_notebook(name, *(f"who = [*globals().get('who', []), {number}]" for _ in range(5)))
    server.write_notebook("order.ipynb", "print(*who)")
    async with RoomClient(server, "order.ipynb") as client:
        kernel = await client.start_kernel()
        runs: list[str] = []

        async def press(name: str) -> None:
            async with RoomClient(server, name) as person:
                for _ in range(3):
                    runs.extend(await person.execute(kernel, range(5)))

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(press, name)
        assert await states(client, kernel, runs) == ["ok"] * 60
        await client.execute(kernel, [0])
        await client.wait_lines(0, 1)
        who = client.lines(0)[0].split()
        assert len(who) == 60
        assert all(len(set(who[batch : batch + 5])) == 1 for batch in range(0, 60, 5))


async def test_what_is_asked_for_while_the_kernel_starts(server: LabServer) -> None:
    server.write_notebook("starting.ipynb", *map(numbered, range(3)))
    async with RoomClient(server, "starting.ipynb") as client:
        kernel = await client.start_kernel()
        runs = [run for index in range(3) for run in await client.execute(kernel, [index])]
        assert await states(client, kernel, runs) == ["ok"] * 3
        await client.wait(lambda: is_quiet(client))
        assert client.lines(2) == ["[0, 1, 2]"]
        assert client.counts() == [1, 2, 3]


def install(server: LabServer, name: str, *argv: str) -> None:
    """A kernel spec for this server."""
    spec = server.root.parent / "data" / "kernels" / name
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": [*argv, "{connection_file}"], "display_name": name, "language": "python"})
    )


async def test_ten_kernels_that_end_at_once(server: LabServer) -> None:
    """As ten notebooks that are restored with a page: others are served meanwhile, and each is told soon."""
    install(server, "exits", sys.executable, "-c", "import sys; sys.exit(3)")
    names = [f"exits-{n}.ipynb" for n in range(10)]
    for name in names:
        server.write_notebook(name, "print('never')", "print('nor this')")
    slowest = 0.0
    over = anyio.Event()

    async def others() -> None:
        nonlocal slowest
        async with RoomClient(server, names[0]) as client:
            while not over.is_set():
                began = time.monotonic()
                (await client.request("GET", "/api/contents?content=0")).raise_for_status()
                slowest = max(slowest, time.monotonic() - began)
                await anyio.sleep(0.05)

    async def one(name: str) -> None:
        async with RoomClient(server, name) as client:
            body = {"path": name, "type": "notebook", "name": name, "kernel": {"name": "exits"}}
            kernel = (await client.request("POST", "/api/sessions", body)).json()["kernel"]["id"]
            runs = await client.execute(kernel, [0, 1])
            assert await states(client, kernel, runs) == ["lost"] * 2
            await client.wait(lambda: is_quiet(client))
            [error] = client.cells[0]["outputs"]
            assert error["ename"] == "KernelDied"
            assert client.cells[1]["outputs"] == []

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        async with anyio.create_task_group() as notebooks:
            for name in names:
                notebooks.start_soon(one, name)
        over.set()
    assert slowest < 10, "it was as good as frozen"


async def test_a_kernel_that_cannot_even_be_started(server: LabServer) -> None:
    """As one beyond somebody's limit: there is no kernel, whoever asks is told so, and nothing claims to run."""
    install(server, "missing", "/nowhere/kernel")
    server.write_notebook("missing.ipynb", "print('never')")
    async with RoomClient(server, "missing.ipynb") as client:
        body = {
            "path": "missing.ipynb",
            "type": "notebook",
            "name": "missing",
            "kernel": {"name": "missing"},
        }
        assert (await client.request("POST", "/api/sessions", body)).status_code >= 500
        refused = await client.request(
            "POST",
            f"/api/kernels/{'0' * 8}-0-0-0-0/execute",
            {"document_id": client.document_id, "cell_ids": [client.cell_id(0)]},
        )
        assert refused.status_code == 404
        assert is_quiet(client)


async def test_a_server_that_is_stopped_while_kernels_restart(servers: Servers) -> None:
    """And after one could not be started: Jupyter Server by itself runs for ever then."""
    server = servers()
    install(server, "missing", "/nowhere/kernel")
    assert server.api("POST", "/api/kernels", {"name": "missing"}).status_code >= 500
    for name in ("one.ipynb", "two.ipynb"):
        server.write_notebook(name, LONG, "print(2)")
    async with RoomClient(server, "one.ipynb") as one, RoomClient(server, "two.ipynb") as two:
        kernels = [await client.start_kernel() for client in (one, two)]
        for client, kernel in zip((one, two), kernels, strict=True):
            await client.execute(kernel, [0, 1])
            await client.wait_lines(0, 1)
        processes = [process_of(server, kernel) for kernel in kernels]
        processes[0].kill()

        async def restart_it() -> None:
            with suppress(httpx.TransportError):
                await two.request("POST", f"/api/kernels/{kernels[1]}/restart")

        async with anyio.create_task_group() as group:
            group.start_soon(restart_it)
            await eventually(lambda: not processes[1].is_running() or processes[1].status() == "zombie")
            await anyio.to_thread.run_sync(server.stop)
            group.cancel_scope.cancel()
    for name in ("one.ipynb", "two.ipynb"):
        assert stream_text(server.read_notebook(name)["cells"][0]) == "began\n"


async def test_who_is_idle_and_who_is_not(servers: Servers) -> None:
    """A silent cell is work, and typing is; a tab that is merely open is not, nor is what it sends by itself."""
    server = servers(
        "--MappingKernelManager.cull_idle_timeout=3",
        "--MappingKernelManager.cull_interval=1",
        "--MappingKernelManager.cull_connected=True",
    )

    def activity() -> str:
        return str(server.api("GET", "/api/status").json()["last_activity"])

    server.write_notebook("idle.ipynb", "import time; time.sleep(5); print('done')", "2")
    async with RoomClient(server, "idle.ipynb") as client:
        kernel = await client.start_kernel()
        async with StockClient.connected(server, kernel):
            await client.execute(kernel, [0])
            await client.wait_ended(0, 1)
            assert client.lines(0) == ["done"], "the kernel was culled while it worked"
            await client.wait(lambda: client.execution["kernel"]["status"] == "dead")
            refused = await client.request(
                "POST",
                f"/api/kernels/{kernel}/execute",
                {"document_id": client.document_id, "cell_ids": [client.cell_id(1)]},
            )
            assert refused.status_code == 404
            assert is_quiet(client)
        last = activity()
        client.send_presence()
        await client.barrier()
        assert activity() == last
        client.type_into(1, "3")
        await client.barrier()
        assert activity() > last
