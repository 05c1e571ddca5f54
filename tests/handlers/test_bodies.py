"""The readers of requests' bodies, without a server."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.errors import BadRequest
from ydoc_exec.handlers.bodies import MAX_CELLS, ExecuteBody, SessionBody
from ydoc_exec.ids import CellId, RoomId

ROOM = "json:notebook:file"
FIELDS = st.sampled_from(
    ["document_id", "cell_id", "cell_ids", "after", "stop_on_error", "record_timing", "format", "type"]
)


def execute(**fields: object) -> dict[str, object]:
    return {"document_id": ROOM, "cell_id": "a", **fields}


def several(cells: object, **fields: object) -> dict[str, object]:
    return {"document_id": ROOM, "cell_ids": cells, **fields}


def body(
    *cells: str, after: str | None = None, stop_on_error: bool = True, record_timing: bool = False
) -> ExecuteBody:
    names = tuple(CellId(cell) for cell in cells)
    return ExecuteBody(RoomId.parse(ROOM), names, after, stop_on_error, record_timing)


@pytest.mark.parametrize(
    "given, read",
    [
        (execute(), body("a")),
        (execute(something="else", after=None), body("a")),
        (several(["a"]), body("a")),
        (several(["b", "a"]), body("b", "a")),
        (several([str(n) for n in range(MAX_CELLS)]), body(*(str(n) for n in range(MAX_CELLS)))),
        (execute(after="token"), body("a", after="token")),
        (execute(after="x" * 128), body("a", after="x" * 128)),
        (execute(stop_on_error=False), body("a", stop_on_error=False)),
        (execute(record_timing=True), body("a", record_timing=True)),
    ],
)
def test_what_is_understood(given: object, read: ExecuteBody) -> None:
    assert ExecuteBody.read(given) == read


@pytest.mark.parametrize(
    "given, says",
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ("a", "JSON object"),
        ({}, "document_id"),
        ({"document_id": 3, "cell_id": "a"}, "document_id"),
        ({"document_id": "", "cell_id": "a"}, "document_id"),
        ({"document_id": "a.ipynb", "cell_id": "a"}, "a.ipynb"),
        ({"document_id": ROOM}, "cell_id"),
        ({"document_id": ROOM, "cell_id": "a", "cell_ids": ["a"]}, "either"),
        (execute(cell_id=None), "cell_id"),
        (execute(cell_id=""), "cell_id"),
        (execute(cell_id=["a"]), "cell_id"),
        (several([]), "at least one"),
        (several("abc"), "list"),
        (several({"a": 1}), "list"),
        (several(["a", 1]), "strings"),
        (several(["a", ""]), "strings"),
        (several([["a"]]), "strings"),
        (several(["a", "b", "a"]), "twice"),
        (several(["a"] * (MAX_CELLS + 1)), "more than"),
        (execute(after=""), "after"),
        (execute(after=1), "after"),
        (execute(after="x" * 129), "after"),
        (execute(stop_on_error=None), "stop_on_error"),
        (execute(stop_on_error=1), "stop_on_error"),
        (execute(stop_on_error="false"), "stop_on_error"),
        (execute(record_timing="yes"), "record_timing"),
    ],
)
def test_what_is_refused_and_why(given: Any, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        ExecuteBody.read(given)
    assert refused.value.status == 400


def test_a_session() -> None:
    assert SessionBody.read({"format": "json", "type": "notebook"}) == SessionBody("json", "notebook")


@pytest.mark.parametrize("given", [None, [], {}, {"format": "json"}, {"format": 1, "type": "notebook"}])
def test_no_session(given: Any) -> None:
    with pytest.raises(BadRequest):
        SessionBody.read(given)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(), inner, max_size=6),
    max_leaves=12,
)


@given(json_values | st.dictionaries(FIELDS, json_values))
def test_whatever_comes_is_read_or_refused(something: object) -> None:
    for reader in (ExecuteBody.read, SessionBody.read):
        with suppress(BadRequest):
            reader(something)
