"""The description of our routes is that of what is there, and answers are as it says, whatever is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tornado.web import RequestHandler

import ydoc_exec
from tests.conftest import make_servers
from tests.server import LabServer, markdown_cell
from ydoc_exec.handlers.routes import ROUTES

pytestmark = [pytest.mark.timeout(180)]

DESCRIPTION = yaml.safe_load((Path(ydoc_exec.__file__).parent / "openapi.yaml").read_text())
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
METHODS = ("get", "put", "post", "delete")
OPERATIONS = [
    (path, method) for path, item in DESCRIPTION["paths"].items() for method in item if method in METHODS
]
ASKED = [(path, method) for path, method in OPERATIONS if "/room/" not in path]
"""A websocket is not asked so."""

NEVER_WELL = [
    ("/api/kernels/{kernel_id}/requests", "delete"),
    ("/api/kernels/{kernel_id}/requests/{run_id}", "delete"),
    ("/api/collaboration/recovery/{path}", "post"),
    ("/api/collaboration/recovery/{path}", "delete"),
]
"""Here there is nothing to cancel, and no copy."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True)
class Place:
    """A server with a notebook, its kernel and a run, whose names are asked for beside others."""

    server: LabServer
    real: dict[str, str]
    asking: dict[str, str]
    """The same of a run that asks again whenever it was answered."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.server.token}"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for servers in make_servers(tmp_path_factory.mktemp("openapi")):
        server = servers("--YdocExec.barrier_timeout=0.05")
        server.write_notebook("a.ipynb", "print(1)", markdown_cell("# text"))
        session = server.api(
            "PUT", "/api/collaboration/session/a.ipynb", {"format": "json", "type": "notebook"}
        )
        run = server.api("POST", "/api/collaboration/execute/a.ipynb").json()
        real = {
            "path": "a.ipynb",
            "kernel_id": run["kernel_id"],
            "run_id": run["request_id"],
            "batch": run["batch_id"],
            "document_id": f"json:notebook:{session.json()['fileId']}",
            "cell_id": "cell-0",
        }
        server.write_notebook("asking.ipynb", "while True: input('Name?')")
        asking = server.api("POST", "/api/collaboration/execute/asking.ipynb").json()
        names = {"kernel_id": asking["kernel_id"], "run_id": asking["request_id"]}
        known = f"/api/kernels/{names['kernel_id']}/requests/{names['run_id']}?wait=60&known="
        for state in ("queued", "running"):
            server.api("GET", known + state)
        yield Place(server, real, names)


def with_real(given: Any, real: dict[str, str], chosen: set[str]) -> Any:
    """What was made up, with real names in the place of some."""
    if isinstance(given, dict):
        return {
            key: real[key] if key in chosen else with_real(value, real, chosen)
            for key, value in given.items()
        } | ({"cell_ids": [real["cell_id"]]} if "cell_ids" in given and "cell_id" in chosen else {})
    if isinstance(given, list):
        return [with_real(value, real, chosen) for value in given]
    return given


@pytest.mark.parametrize("path, method", ASKED)
def test_answers_are_as_described(place: Place, path: str, method: str) -> None:
    """To requests as they should be, with names of things that are there and that are not, and to others."""
    operation = SCHEMA[path][method.upper()]
    # All at once or some of them: one alone seldom leads anywhere.
    real = place.asking if path.endswith("/input") else place.real
    names = st.just(set(real)) | st.sets(st.sampled_from(sorted(real)))
    seen: set[int] = set()

    def check(case: Any, chosen: set[str]) -> None:
        for name in ("kernel_id", "run_id"):
            # Other characters lead to no route of ours.
            if not re.fullmatch(r"[A-Za-z0-9_-]+", str((case.path_parameters or {}).get(name, "a"))):
                chosen = {*chosen, name}
        for part in ("path_parameters", "query", "body"):
            given = getattr(case, part)
            if isinstance(given, dict | list):
                setattr(case, part, with_real(given, real, chosen))
        response = case.call(base_url=place.server.url, headers=place.headers)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    modes: tuple[tuple[Any, int], ...] = ((GenerationMode.POSITIVE, 40), (GenerationMode.NEGATIVE, 20))
    for mode, examples in modes:
        strategy = operation.as_strategy(generation_mode=mode)
        every = settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        every(given(case=strategy, chosen=names)(check))()
    if (path, method) not in NEVER_WELL:
        assert min(seen) < 300, "nothing that was asked made sense"


def test_the_description_has_all_routes_and_no_others() -> None:
    described = {(re.sub(r"{\w+}", "{}", path), method) for path, method in OPERATIONS}
    registered = {
        (re.sub(r"\(.*?\)", "{}", pattern), method)
        for pattern, handler in ROUTES
        for method in METHODS
        if getattr(handler, method) is not getattr(RequestHandler, method)
    }
    assert described == registered


def test_it_is_served(place: Place) -> None:
    answer = place.server.api("GET", "/api/ydoc_exec/openapi.yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(answer.text) == DESCRIPTION
