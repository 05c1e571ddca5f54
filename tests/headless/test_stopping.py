"""A server that is stopped while it is busy."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from anyio import create_task_group

from tests.conftest import Servers

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
