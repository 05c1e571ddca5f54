"""What all tests share: the event loop they run on, real servers, and the machine.

``scripts/test`` has several processes share the tests out (pytest-xdist; ``tests/groups.py`` says how).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.gateway_process import GatewayProcess
from tests.groups import Groups, rank
from tests.server import LabServer
from tests.turns import Turns

Servers = Callable[..., LabServer]
"""Makes running servers: the arguments are command line flags such as ``--YdocExec.linger=2``."""

_live: list[LabServer] = []

# How long an example takes says more of what runs beside it than of the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Several processes share the tests out in groups, in the order that the tests are given here."""
    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest is begun first. Who wants to be alone waits for the others: at the end there are few."""
    if _process_of_several(config):
        items.sort(key=lambda item: (rank(item.nodeid), _alone(item)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests that are marked so have the machine for themselves, fixtures included."""
    if not _process_of_several(item.config):
        return (yield)
    with Turns(Path(item.config.getoption("basetemp")).parent).take(alone=_alone(item)):
        return (yield)


def _process_of_several(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Jupyter Server runs on asyncio; so do the tests."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def own_data_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was signed by other tests, or by whoever has this machine, is trusted by none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("jupyter")))
        yield


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


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A Kernel Gateway of the module's own."""
    gateway = GatewayProcess(tmp_path_factory.mktemp("gateway"))
    gateway.start()
    yield gateway
    gateway.stop()
