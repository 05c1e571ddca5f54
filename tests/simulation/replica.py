"""Documents as they are in browsers, and what their users do to them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Protocol

from jupyter_ydoc import YNotebook
from pycrdt import Array, Assoc, Doc, Map, Text, TransactionEvent, UndoManager

from tests.node_process import NodeProcess

ROOTS = ("cells", "meta", "state", "execution", "base", "lineage")


@dataclass(frozen=True, slots=True)
class Cell:
    """What of a cell can be followed."""

    id: str
    type: str
    source: str
    item: str = ""
    """Which cell with this id: the item of the shared document that holds it, by its author and clock."""


class Replica(Protocol):
    """One browser's document. Places in sources count characters."""

    def apply(self, update: bytes) -> list[bytes]:
        """Take an update from the server; the updates that this made the browser write."""
        ...

    def act(self, action: str, *parameters: Any) -> list[bytes]:
        """The user does something: what was written. See ``PycrdtReplica`` for what there is."""
        ...

    def state(self) -> bytes: ...

    def diff(self, state: bytes) -> bytes: ...

    def cells(self) -> list[Cell]: ...

    def content(self) -> dict[str, Any]:
        """All there is, by the names of the roots."""
        ...

    def close(self) -> None: ...


class PycrdtReplica:
    """With pycrdt. A method for each action."""

    def __init__(self, client_id: int) -> None:
        self._doc: Doc[Any] = Doc(client_id=client_id)
        self._notebook = YNotebook(self._doc)
        self._cells: Array[Any] = self._notebook.ycells
        self._undo = UndoManager(scopes=[self._cells], capture_timeout_millis=0, timestamp=lambda: 0)
        self._written: list[bytes] = []
        self._subscription = self._doc.observe(self._note)

    def apply(self, update: bytes) -> list[bytes]:
        with self._doc.transaction(origin="server"):
            self._doc.apply_update(update)
        self._written.clear()
        return []

    def act(self, action: str, *parameters: Any) -> list[bytes]:
        getattr(self, f"_{action}")(*parameters)
        written, self._written = self._written, []
        return written

    def state(self) -> bytes:
        return self._doc.get_state()

    def diff(self, state: bytes) -> bytes:
        return self._doc.get_update(state)

    def cells(self) -> list[Cell]:
        return [
            Cell(
                str(cell.get("id")),
                str(cell.get("cell_type")),
                str(cell.get("source", "")),
                "{client}:{clock}".format(**self._cells.sticky_index(index, Assoc.AFTER).to_json()["item"]),
            )
            for index, cell in enumerate(self._cells)
        ]

    def content(self) -> dict[str, Any]:
        return content(self._doc)

    def close(self) -> None:
        self._doc.unobserve(self._subscription)
        self._notebook.unobserve()

    # Actions

    def _type(self, index: int, at: int, text: str) -> None:
        source: Text = self._cells[index]["source"]
        source.insert(len(str(source)[:at].encode()), text)

    def _erase(self, index: int, at: int, count: int) -> None:
        source: Text = self._cells[index]["source"]
        text = str(source)
        start = len(text[:at].encode())
        del source[start : start + len(text[at : at + count].encode())]

    def _insert(self, at: int, id: str, type: str, text: str) -> None:
        new: dict[str, Any] = {"id": id, "cell_type": type, "source": text, "metadata": {"trusted": True}}
        if type == "code":
            new |= {"outputs": [], "execution_count": None}
        self._cells.insert(at, self._notebook.create_ycell(new))

    def _remove(self, index: int) -> None:
        del self._cells[index]

    def _move(self, index: int, to: int) -> None:
        with self._doc.transaction():
            cell = self._notebook.get_cell(index)
            cell.setdefault("id", self._cells[index]["id"])
            del self._cells[index]
            self._cells.insert(to, self._notebook.create_ycell(cell))

    def _set_type(self, index: int, type: str) -> None:
        cell = self._cells[index]
        id, source = str(cell["id"]), str(cell["source"])
        with self._doc.transaction():
            del self._cells[index]
            self._insert(index, id, type, source)

    def _clear(self, index: int) -> None:
        cell = self._cells[index]
        with self._doc.transaction(origin="not to be undone"):
            if cell.get("outputs") is not None and len(cell["outputs"]):
                cell["outputs"].clear()
            if cell.get("execution_count") is not None:
                cell["execution_count"] = None

    def _undo_last(self) -> None:
        self._undo.undo()

    def _redo_last(self) -> None:
        self._undo.redo()

    def _wipe(self, id: str) -> None:
        with self._doc.transaction():
            self._cells.clear()
            self._insert(0, id, "code", "")

    def _say_document(self, name: str) -> None:
        # ``jupyter-docprovider`` (``yprovider.ts``) does it at every sync.
        with self._doc.transaction(origin="not to be undone"):
            self._notebook.ystate["document_id"] = name

    # Private

    def _note(self, event: TransactionEvent) -> None:
        self._written.append(event.update)


class YjsReplica:
    """With Yjs and JupyterLab's models, in Node (``tests/node/replica.mjs``)."""

    def __init__(self, node: NodeProcess, name: str, client_id: int) -> None:
        self._node = node
        self._name = name
        self._ask(make=client_id)

    def apply(self, update: bytes) -> list[bytes]:
        return self._written(self._ask(apply=_text(update)))

    def act(self, action: str, *parameters: Any) -> list[bytes]:
        return self._written(self._ask(act=action, parameters=parameters))

    def state(self) -> bytes:
        return b64decode(self._ask(state=True)["state"])

    def diff(self, state: bytes) -> bytes:
        return b64decode(self._ask(diff=_text(state))["diff"])

    def cells(self) -> list[Cell]:
        return [Cell(**cell) for cell in self._ask(cells=True)["cells"]]

    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(content=ROOTS)["content"]
        return found

    def close(self) -> None:
        self._ask(close=True)

    # Private

    def _ask(self, **command: Any) -> dict[str, Any]:
        answer = self._node.ask({"tab": self._name, **command})
        assert answer["errors"] == [], answer["errors"]
        return answer

    def _written(self, answer: dict[str, Any]) -> list[bytes]:
        return [b64decode(update) for update in answer["written"]]


def content(doc: Doc[Any]) -> dict[str, Any]:
    """All that is in a shared document."""
    types: dict[str, type[Any]] = dict.fromkeys(ROOTS, Map) | {"cells": Array}
    return {name: whole_numbers(doc.get(name, type=types[name]).to_py()) for name in ROOTS}


def whole_numbers(value: Any) -> Any:
    """Yjs does not tell 1 from 1.0."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(data: bytes) -> str:
    return b64encode(data).decode()
