"""A server that is stopped while it is busy."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import httpx
import pytest
from anyio import create_task_group, to_thread

from tests.conftest import Servers
from tests.headless.client import RoomClient
from tests.server import LabServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def test_it_ends_while_a_folder_is_being_listed(servers: Servers) -> None:
    """What is listed in a thread for seconds is not waited for, and does not keep the process."""
    server = servers()
    for number in range(5000):
        (server.root / f"{number}.txt").touch()
    answered = False

    async with httpx.AsyncClient(
        base_url=server.url, headers={"Authorization": f"token {server.token}"}
    ) as client:

        async def ask() -> None:
            nonlocal answered
            with suppress(httpx.TransportError):
                await client.get("/api/contents/", timeout=60)
                answered = True

        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            # The server answers one after the other: when this has been answered, the other is under way.
            await client.get("/api/status")
            await client.get("/api/status")
            server.stop()
    assert not answered, "the folder was too small"


@pytest.mark.parametrize("stays", [True, False], ids=["a tab that stays", "a tab that is closed"])
async def test_what_was_sent_before_it_was_told_to_stop_is_saved(server: LabServer, stays: bool) -> None:
    server.write_notebook("a.ipynb", "")
    text = "".join(chr(ord("a") + number % 26) for number in range(200))
    async with RoomClient(server, "a.ipynb") as tab:
        await tab.barrier()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            tab.type_into(0, text)
            await (tab.until_sent() if stays else tab.vanish())
            os.kill(server.pid, signal.SIGTERM)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await to_thread.run_sync(server.stop)
    [cell] = server.read_notebook("a.ipynb")["cells"]
    assert "".join(cell["source"]) == text
