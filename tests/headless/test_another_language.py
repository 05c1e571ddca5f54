"""A kernel that is not ipykernel and not Python: Deno's, in Rust (the package ``deno``).

It says that a cell is over before it has sent all that the cell put out (seen with 2.9.8, on iopub itself), so what comes
late must find its cell.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import make_servers
from tests.headless.client import RoomClient
from tests.headless.test_kernel_state import process_of
from tests.server import LabServer, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SPEC = {
    "argv": [
        str(Path(sys.executable).with_name("deno")),
        "jupyter",
        "--kernel",
        "--conn",
        "{connection_file}",
    ],
    "display_name": "Deno",
    "language": "typescript",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    for make in make_servers(tmp_path_factory.mktemp("server")):
        server = make()
        server.add_kernel_spec("deno", SPEC)
        yield server


@pytest.fixture
async def tab(server: LabServer, request: pytest.FixtureRequest) -> AsyncIterator[RoomClient]:
    name = f"{request.node.name}.ipynb"
    server.write_notebook(name, *CELLS)
    async with RoomClient(server, name) as tab:
        yield tab


CELLS = (
    "const word: string = 'hello'; console.log(word); console.error('hm')",
    "word + ' again'",
    "await Deno.jupyter.display({'text/html': '<b>bold</b>', 'text/plain': 'bold'}, {raw: true})",
    "throw new RangeError('no')",
    "console.log('never')",
)


async def test_cells(tab: RoomClient, server: LabServer) -> None:
    kernel_id = await tab.start_kernel("deno")
    runs = await tab.execute(kernel_id, range(len(CELLS)))
    assert await tab.ends(kernel_id, runs) == ["ok", "ok", "ok", "error", "aborted"]
    assert tab.counts() == [1, 2, 3, 4, None]

    def shown() -> list[list[str]]:
        return [sorted(output["output_type"] for output in cell["outputs"]) for cell in tab.cells]

    await tab.wait(
        lambda: shown() == [["stream", "stream"], ["execute_result"], ["display_data"], ["error"], []]
    )
    assert sorted(output["text"] for output in tab.cells[0]["outputs"]) == ["hello\n", "hm\n"]
    assert "hello again" in tab.cells[1]["outputs"][0]["data"]["text/plain"]
    assert tab.cells[2]["outputs"][0]["data"]["text/html"] == "<b>bold</b>"
    assert tab.cells[3]["outputs"][0]["ename"] == "RangeError"
    assert tab.execution["kernel"]["name"] == "deno"
    assert await tab.save() == "success"
    assert "hello\n" in stream_text(server.read_notebook(tab.path)["cells"][0])


async def test_output_comes_while_a_cell_runs(tab: RoomClient) -> None:
    tab.set_source(
        0, "for (let i = 0; i < 30; i++) { console.log(i); await new Promise(next => setTimeout(next, 50)); }"
    )
    kernel_id = await tab.start_kernel("deno")
    runs = await tab.execute(kernel_id, [0, 1], after=await tab.barrier())
    await tab.wait_lines(0, 3)
    assert tab.markers()[:2] == ["running", "running"]
    assert await tab.ends(kernel_id, runs) == [
        "ok",
        "error",
    ]  # the second needs what the first one declared before
    await tab.wait_lines(0, 30)
    assert tab.lines(0) == [str(number) for number in range(30)]


async def test_a_restart_and_a_death(tab: RoomClient, server: LabServer) -> None:
    tab.set_source(0, "console.log('began'); await new Promise(next => setTimeout(next, 600_000))")
    kernel_id = await tab.start_kernel("deno")
    runs = await tab.execute(kernel_id, [0, 4], after=await tab.barrier())
    await tab.wait_lines(0, 1)
    (await tab.request("POST", f"/api/kernels/{kernel_id}/restart")).raise_for_status()
    assert await tab.ends(kernel_id, runs) == ["lost", "lost"]
    assert await tab.ends(kernel_id, await tab.execute(kernel_id, [4])) == ["ok"]
    await tab.wait(lambda: tab.printed(4) == "never\n")

    runs = await tab.execute(kernel_id, [0, 4])
    await tab.wait_lines(0, 1)
    process_of(server, kernel_id).kill()
    assert await tab.ends(kernel_id, runs) == ["lost", "lost"]
    assert "died" in tab.cells[0]["outputs"][-1]["evalue"]
    assert await tab.ends(kernel_id, await tab.execute(kernel_id, [4])) == ["ok"]
