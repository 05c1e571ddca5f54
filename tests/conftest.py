"""What all tests share: the event loop they run on, and real servers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.server import LabServer

Servers = Callable[..., LabServer]
"""Makes running servers: the arguments are command line flags such as ``--YdocExec.linger=2``."""

_live: list[LabServer] = []


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Jupyter Server runs on asyncio; so do the tests."""
    return "asyncio"


def make_servers(directory: Path) -> Iterator[Servers]:
    """Gives the maker of servers in this directory once, and stops at the end all that it made."""
    mine: list[LabServer] = []

    def make(*args: str) -> LabServer:
        server = LabServer(directory / f"server-{len(mine)}", *args)
        mine.append(server)
        _live.append(server)
        server.start()
        return server

    try:
        yield make
    finally:
        for server in mine:
            server.stop()
            _live.remove(server)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers for one test, stopped at its end."""
    yield from make_servers(tmp_path)


@pytest.fixture
def server(servers: Servers) -> LabServer:
    """A server with the settings it has by itself, for one test."""
    return servers()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A server for the tests of one module that leave it as they found it."""
    for make in make_servers(tmp_path_factory.mktemp("shared")):
        yield make()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the servers of a failed test said is part of its report."""
    report = yield
    if report.failed:
        for server in _live:
            report.sections.append((f"log of the server at {server.url}", server.log[-8000:]))
    return report
