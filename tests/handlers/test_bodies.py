"""The readers of requests' bodies, without a server."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ydoc_exec.errors import BadRequest
from ydoc_exec.handlers.bodies import MAX_CELLS, MAX_INPUT, ExecuteBody, InputBody, SessionBody
from ydoc_exec.ids import CellId, PromptId, RoomId, RunId
from ydoc_exec.notebook.known_source import KnownSource

ROOM = "json:notebook:file"
TEXT = ((CellId("a"), KnownSource(text="1")),)
HASHES = ((CellId("a"), KnownSource(hash="1")), (CellId("b"), KnownSource(hash="2")))
FIELDS = st.sampled_from(
    [
        "document_id",
        "cell_id",
        "cell_ids",
        "after",
        "stop_on_error",
        "record_timing",
        "format",
        "type",
        "path",
        "code",
        "metadata",
        "cells",
        "request_id",
        "kernel_name",
        "allow_stdin",
        "run_id",
        "prompt_id",
        "value",
        "input",
    ]
)


def execute(**fields: object) -> dict[str, object]:
    return {"document_id": ROOM, "cell_id": "a", **fields}


def several(cells: object, **fields: object) -> dict[str, object]:
    return {"document_id": ROOM, "cell_ids": cells, **fields}


def body(*cells: str, form: str = "jupyter_docprovider", **fields: Any) -> ExecuteBody:
    names = tuple(CellId(cell) for cell in cells)
    every: dict[str, Any] = {"room": RoomId.parse(ROOM), "cells": names, "form": form, **fields}
    return ExecuteBody(**every)


def ours(*cells: str, **fields: Any) -> ExecuteBody:
    return body(*cells, form="ydoc_exec", **fields)


def nbmodel(**metadata: object) -> dict[str, object]:
    return {"code": "1", "metadata": {"cell_id": "a", **metadata}}


def documents(*cells: object, **fields: object) -> dict[str, object]:
    return {"document_id": ROOM, "cells": list(cells), **fields}


def hashed(cell: str, value: str = "1") -> dict[str, str]:
    return {"cell_id": cell, "source_hash": value}


@pytest.mark.parametrize(
    "given, read",
    [
        (execute(), body("a")),
        (execute(something="else", after=None), body("a")),
        (several(["a"]), ours("a")),
        (several(["b", "a"]), ours("b", "a")),
        (several([str(n) for n in range(MAX_CELLS)]), ours(*(str(n) for n in range(MAX_CELLS)))),
        ({"path": "b.ipynb", "cell_ids": ["a"]}, ours("a", room=None, path="b.ipynb")),
        ({"path": "b.ipynb", "cell_id": "a"}, ours("a", room=None, path="b.ipynb")),
        ({"path": "b.ipynb"}, ours(room=None, path="b.ipynb", cells=None)),
        (nbmodel(document_id=ROOM), body("a", form="nbmodel", known=TEXT)),
        (
            nbmodel(document_id=ROOM, document_path="b", record_timing=True),
            body("a", form="nbmodel", known=TEXT, record_timing=True),
        ),
        (nbmodel(document_path="b"), body("a", form="nbmodel", known=TEXT, room=None, path="b")),
        (
            nbmodel(document_id="elsewhere", document_path="b", record_timing=None),
            body("a", form="nbmodel", known=TEXT, room=None, path="b"),
        ),
        (
            documents(hashed("a"), hashed("b", "2"), request_id="r", previous_request_id="q", client_id="c"),
            body("a", "b", form="server_documents", known=HASHES, request="r", previous="q"),
        ),
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
        ({"path": 1, "cell_id": "a"}, "path"),
        ({"path": "b", "cell_ids": []}, "at least one"),
        (nbmodel(), "document_id"),
        (nbmodel(document_id="elsewhere"), "elsewhere"),
        (nbmodel(document_id=ROOM, cell_id=None), "cell_id"),
        (nbmodel(document_id=ROOM, cell_id=1), "cell_id"),
        (nbmodel(document_id=ROOM, record_timing=1), "record_timing"),
        ({"code": "1"}, "cell_id"),
        ({"code": 1, "metadata": {"cell_id": "a", "document_id": ROOM}}, "code"),
        (nbmodel(document_id=ROOM) | {"server": {"url": "http://other"}}, "gateway"),
        (documents(), "at least one"),
        (documents("a"), "source_hash"),
        (documents({"cell_id": "a"}), "source_hash"),
        (documents({"source_hash": "1"}), "strings"),
        (documents(hashed("a"), hashed("a")), "twice"),
        (documents(hashed("a"), request_id=1), "request_id"),
        (documents(hashed("a"), previous_request_id=""), "previous_request_id"),
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


@pytest.mark.parametrize(
    "given, read",
    [
        ({}, ours(room=None, cells=None)),
        ({"cell_ids": ["b", "a"]}, ours("b", "a", room=None)),
        (
            {"kernel_name": "ir", "stop_on_error": False, "record_timing": True},
            ours(room=None, cells=None, kernel_name="ir", stop_on_error=False, record_timing=True),
        ),
    ],
)
def test_what_is_understood_beside_a_path(given: object, read: ExecuteBody) -> None:
    assert ExecuteBody.read_for_path(given) == read


@pytest.mark.parametrize(
    "given", [[], None, {"cell_ids": []}, {"cell_ids": None}, {"kernel_name": 1}, {"kernel_name": ""}]
)
def test_what_is_refused_beside_a_path(given: Any) -> None:
    with pytest.raises(BadRequest):
        ExecuteBody.read_for_path(given)


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
    for reader in (ExecuteBody.read, ExecuteBody.read_for_path, SessionBody.read):
        with suppress(BadRequest):
            reader(something)


@pytest.mark.parametrize(
    "given_body, read",
    [
        ({"run_id": "a", "value": "x"}, InputBody("x", RunId("a"))),
        ({"run_id": "a", "value": "", "prompt_id": None}, InputBody("", RunId("a"))),
        ({"run_id": "a", "value": "x", "prompt_id": "b"}, InputBody("x", RunId("a"), PromptId("b"))),
        ({"run_id": "a", "value": "x", "input": "y"}, InputBody("x", RunId("a"))),
        ({"run_id": "a", "value": "\U0001f642\0\n"}, InputBody("\U0001f642\0\n", RunId("a"))),
        ({"input": "x"}, InputBody("x")),
    ],
)
def test_answers_to_questions(given_body: object, read: InputBody) -> None:
    assert InputBody.read(given_body) == read


@pytest.mark.parametrize(
    "fields",
    [
        {"value": "s3cret"},
        {"value": ["s3cret"], "run_id": "a"},
        {"value": "s3cret", "run_id": ""},
        {"value": "s3cret\ud800", "run_id": "a"},
        {"value": "s3cret" + MAX_INPUT * "x", "run_id": "a"},
        {"value": "s3cret", "run_id": "a", "prompt_id": 1},
        {"input": {"s3cret": 1}},
        {"input": "s3cret\udfff"},
    ],
    ids=str,
)
def test_what_is_wrong_with_an_answer_is_said_without_it(fields: object) -> None:
    with pytest.raises(BadRequest) as wrong:
        InputBody.read(fields)
    assert "s3cret" not in f"{wrong.value} {wrong.value!r}"


def test_whether_cells_may_ask() -> None:
    assert ExecuteBody.read(several(["a"])).allow_stdin
    assert not ExecuteBody.read(several(["a"], allow_stdin=False)).allow_stdin
    assert not ExecuteBody.read_for_path({"allow_stdin": False}).allow_stdin
    with pytest.raises(BadRequest):
        ExecuteBody.read(several(["a"], allow_stdin="no"))
