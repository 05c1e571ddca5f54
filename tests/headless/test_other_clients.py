"""Programs that others have written for collaborative notebooks, as they are on PyPI.

The requests that the front ends of ``jupyter-server-nbmodel`` and ``jupyter-server-documents`` make are in
``test_field_bodies.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from anyio import create_task_group, to_thread
from jupyter_kernel_client import JupyterKernelClient
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url

from tests.headless.client import RoomClient
from tests.headless.test_runs import gate
from tests.server import LabServer, eventually, stream_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def kernel_client(server: LabServer, kernel_id: str | None = None) -> JupyterKernelClient:
    return JupyterKernelClient(server_url=server.url, token=server.token, kernel_id=kernel_id)


def address(server: LabServer, name: str) -> str:
    found = get_jupyter_notebook_websocket_url(server_url=server.url, token=server.token, path=name)
    assert isinstance(found, str)
    return found


async def test_nbmodel_client_and_kernel_client(shared_server: LabServer) -> None:
    """What the front page of ``jupyter-nbmodel-client`` shows: the program runs the cell and writes its outputs."""
    server, name = shared_server, "nbmodel.ipynb"
    server.write_notebook(name, "print('there before')")
    async with RoomClient(server, name) as tab:
        with kernel_client(server) as kernel:
            async with NbModelClient(address(server, name)) as notebook:
                await notebook.wait_until_synced()
                assert notebook[0]["source"] == "print('there before')"
                index = notebook.add_code_cell("print('hello world')\n40 + 2")
                results = notebook.execute_cell(index, kernel)
                assert results["status"] == "ok"
                failed = notebook.add_code_cell("1 / 0")
                assert notebook.execute_cell(failed, kernel)["status"] == "error"
                notebook.add_markdown_cell("# Done")
                await tab.wait(lambda: len(tab.cells) == 4 and tab.ended(1, 1) and tab.ended(2, 2))
        assert tab.printed(1) == "hello world\n"
        # It keeps each message by itself, and a kernel may say what is printed in two.
        assert tab.cells[1]["outputs"][-1]["data"]["text/plain"] == "42"
        assert tab.cells[2]["outputs"][0]["ename"] == "ZeroDivisionError"
        assert await tab.save() == "success"
        saved = server.read_notebook(name)["cells"]
        assert ["".join(cell["source"]) for cell in saved] == tab.sources()
        assert stream_text(saved[1]) == "hello world\n"


async def test_they_see_what_the_server_runs(shared_server: LabServer) -> None:
    server, name = shared_server, "watched.ipynb"
    server.write_notebook(name, "print('from the server')")
    async with NbModelClient(address(server, name)) as notebook, RoomClient(server, name) as tab:
        kernel_id = await tab.start_kernel()
        assert await tab.ends(kernel_id, await tab.execute(kernel_id, [0])) == ["ok"]
        await eventually(lambda: notebook[0]["execution_count"] == 1)
        assert notebook[0]["outputs"][0]["text"] == "from the server\n"
        # What they change is what runs next.
        notebook.set_cell_source(0, "print('changed')")
        await tab.wait(lambda: tab.source(0) == "print('changed')")
        assert await tab.ends(kernel_id, await tab.execute(kernel_id, [0])) == ["ok"]
        await eventually(lambda: notebook[0]["outputs"][0]["text"] == "changed\n")
        notebook.delete_cell(0)
        await tab.wait(lambda: "print('changed')" not in tab.sources())


async def test_a_kernel_client_on_the_notebooks_kernel(shared_server: LabServer) -> None:
    """It goes past our queue, to the same kernel: both have their own output, and neither waits for ever.

    Which of them is first is decided where they meet, in the kernel: a run that is queued need not be there yet.
    """
    server, name = shared_server, "shared-kernel.ipynb"
    server.write_notebook(name, gate("go") + "\nx = 1\nprint('cell')", "print(x)")
    async with RoomClient(server, name) as tab:
        kernel_id = await tab.start_kernel()
        with kernel_client(server, kernel_id) as kernel:
            runs = await tab.execute(kernel_id, [0])
            await tab.wait_lines(0, 1)  # it is in the kernel
            replies: list[dict[str, Any]] = []

            async def execute() -> None:
                replies.append(await to_thread.run_sync(kernel.execute, "x = x + 1; print('client')"))

            async with create_task_group() as tasks:
                tasks.start_soon(execute)
                (server.root / "go").touch()
            [reply] = replies
            assert reply["status"] == "ok", reply
            assert [output["text"] for output in reply["outputs"]] == ["client\n"]
            assert await tab.ends(kernel_id, runs) == ["ok"]
            assert await tab.ends(kernel_id, await tab.execute(kernel_id, [1])) == ["ok"]
            assert (tab.printed(0), tab.printed(1)) == ("began\ncell\n", "2\n")
            assert await to_thread.run_sync(kernel.get_variable, "x")
            assert "x" in [variable["name"] for variable in await to_thread.run_sync(kernel.list_variables)]
            await to_thread.run_sync(kernel.restart)
            assert await tab.ends(kernel_id, await tab.execute(kernel_id, [1])) == ["error"]
