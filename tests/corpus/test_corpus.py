"""What a real kernel said, and the notebook that comes of it.

What a case says by hand is held against our reducer and document, however often the outputs are taken; against
JupyterLab's own code; and against nbclient's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_ydoc import YNotebook
from nbclient.client import NotebookClient
from nbclient.exceptions import CellExecutionComplete

from tests.corpus.case import NO_CURSOR, Case, Output
from tests.corpus.cases import CASES
from tests.corpus.jupyterlab import JupyterLab
from tests.corpus.recording import RECORDINGS, Recording
from tests.notebook.naive_outputs import processed
from ydoc_exec.ids import CellId
from ydoc_exec.notebook.notebook import Notebook
from ydoc_exec.notebook.output_reducer import OutputReducer
from ydoc_exec.notebook.payload import Payload
from ydoc_exec.origin import FromKernel

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_recording_is_of_the_case_as_it_is_now(case: Case) -> None:
    recording = Recording.load(case.name)
    assert recording.cells == list(case.cells), f"record it again: python tests/corpus/record.py {case.name}"
    # It is whole: of every cell there is the beginning, the end and the reply.
    for cell in range(len(case.cells)):
        kinds = [said.msg_type for said in recording.said if said.cell == cell]
        assert kinds[:2] == ["status", "execute_input"]
        assert kinds.count("execute_reply") == 1
    assert case.last in str([said.content for said in recording.said if said.msg_type != "execute_input"])


def test_names_are_unique_and_nothing_is_left_over() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(path.stem for path in RECORDINGS.glob("*.json"))


@pytest.mark.parametrize(
    ("chance", "seed"), [(0.0, 0), (1.0, 0), (0.3, 1), (0.3, 2), (0.3, 3)], ids=lambda value: str(value)
)
@each_case
def test_document(case: Case, chance: float, seed: int) -> None:
    """Outputs are taken after each message with this chance, and at the end."""
    dice = random.Random(seed)
    document = written(case, lambda: dice.random() < chance)
    saved = document.get()
    assert [cell["outputs"] for cell in saved["cells"]] == [list(outputs) for outputs in case.outputs]
    nbformat.validate(saved)
    assert "transient" not in str([cell["outputs"] for cell in saved["cells"]])


@each_case
def test_tracebacks_are_taken_over_exactly(case: Case) -> None:
    messages = Recording.load(case.name).messages()
    reducer = OutputReducer()
    errors = [message for _, message in messages if message["msg_type"] == "error"]
    for message in errors:
        reducer.feed(message)
    assert [edit.output for edit in reducer.take()] == [  # type: ignore[union-attr]
        {"output_type": "error", **{key: error["content"][key] for key in ("ename", "evalue", "traceback")}}
        for error in errors
    ]


@each_case
def test_payload(case: Case) -> None:
    for cell, reply in Recording.load(case.name).messages("shell"):
        if reply["content"]["status"] != "ok":
            assert case.payload.get(cell, []) == []
            continue
        payload = Payload.read(reply["content"])
        expected = list(case.payload.get(cell, []))
        read: list[dict[str, object]] = [{"output_type": "display_data", **page} for page in payload.pages]
        if payload.next_input is not None:
            read.append({"replace": payload.next_input.replace, "text": payload.next_input.text})
        assert read == expected


@pytest.fixture(scope="module")
def jupyterlab() -> Iterator[JupyterLab]:
    jupyterlab = JupyterLab()
    yield jupyterlab
    jupyterlab.stop()


@each_case
def test_jupyterlab(case: Case, jupyterlab: JupyterLab) -> None:
    expected = [
        [*outputs, *(entry for entry in case.payload.get(cell, []) if "output_type" in entry)]
        for cell, outputs in enumerate(case.outputs)
    ]
    shown = jupyterlab.outputs(Recording.load(case.name))
    assert (shown == expected) is not bool(case.jupyterlab), shown


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.jupyterlab == NO_CURSOR], ids=lambda case: case.name
)
def test_jupyterlab_without_cursor_movements(case: Case, jupyterlab: JupyterLab) -> None:
    saved = written(case, lambda: True, cursor_movement=False).get()
    assert [cell["outputs"] for cell in saved["cells"]] == jupyterlab.outputs(Recording.load(case.name))


@each_case
def test_nbclient(case: Case, tmp_path: Path) -> None:
    """Its own code, message by message. Only what it leaves to others is done here: to join streams."""
    notebook = nbformat.from_dict(new_document(case).get())  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, record_timing=False)
    # It answers some messages, and nobody needs to hear it.
    client.kc = BlockingKernelClient(transport="ipc", ip=str(tmp_path / "nobody"), shell_port=1)
    for index, message in Recording.load(case.name).messages():
        if message["msg_type"] == "execute_input":
            client.clear_before_next_output = False  # as ``async_execute_cell`` does
        try:
            client.process_message(message, notebook.cells[index], index)
        except CellExecutionComplete:
            assert message["content"]["execution_state"] == "idle"
        except nbformat.ValidationError:
            assert case.nbclient
    client.kc.stop_channels()
    outputs = [joined(cell.outputs) for cell in notebook.cells]
    assert (outputs == [list(outputs) for outputs in case.outputs]) is not bool(case.nbclient), outputs


def new_document(case: Case) -> YNotebook:
    document = YNotebook()
    document.set(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "id": CellId(f"cell-{number}"),
                    "source": cell,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
                for number, cell in enumerate(case.cells)
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    return document


def written(case: Case, take: Callable[[], bool], cursor_movement: bool = True) -> YNotebook:
    """The document in the end, if outputs are taken when ``take`` says so. They are of all cells then."""
    document = new_document(case)
    notebook = Notebook(document)
    ids = notebook.order()
    reducers = [OutputReducer(cursor_movement=cursor_movement) for _ in ids]
    changed: list[int] = []

    def write() -> None:
        with document.ydoc.transaction(origin=FromKernel()):
            for cell in changed:
                notebook.apply(ids[cell], reducers[cell].take())
        changed.clear()

    for cell, message in Recording.load(case.name).messages():
        reducers[cell].feed(message)
        if cell not in changed:
            changed.append(cell)
        ended = message["content"].get("execution_state") == "idle"
        if ended:
            reducers[cell].end()
        if ended or take():
            write()
    write()
    return document


def joined(outputs: list[Output]) -> list[Output]:
    """Streams of one name in a row as one, with control characters obeyed."""
    result: list[Output] = []
    for output in outputs:
        last = result[-1] if result else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            result.append(dict(output))
    for output in result:
        if output["output_type"] == "stream":
            output["text"] = processed(output["text"])
    return result
