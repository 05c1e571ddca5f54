"""The outputs of cells as a client without any cleverness keeps them: one list, one message at a time.

Independent of the package, quadratic, and obvious. The rules are JupyterLab's: of ``OutputAreaModel`` and of
``KernelConnection`` for display ids, and beyond them, that a result with a display id can be updated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.notebook.messages import Message, Output


class NaiveOutputs:
    """All outputs of a notebook, by cell. ``text_of`` makes of all that a stream said what it shows."""

    def __init__(self, text_of: Callable[[str], str]) -> None:
        self._text_of = text_of
        self._outputs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._clear_next: set[str] = set()

    def begin(self, cell: str) -> None:
        """The cell is run (again)."""
        self._outputs[cell] = []
        self._clear_next.discard(cell)

    def feed(self, cell: str, message: Message) -> None:
        content: dict[str, Any] = message["content"]
        kind = message["msg_type"]
        display_id = (content.get("transient") or {}).get("display_id")
        if kind in ("display_data", "update_display_data", "execute_result") and display_id:
            for outputs in self._outputs.values():
                for output in outputs:
                    if output["display_id"] == display_id:
                        output["output"] = {
                            **output["output"],
                            "data": content["data"],
                            "metadata": content["metadata"],
                        }
        if kind == "clear_output":
            if content["wait"]:
                self._clear_next.add(cell)
            else:
                self._outputs[cell] = []
        elif kind in ("stream", "display_data", "execute_result", "error"):
            if cell in self._clear_next:
                self._clear_next.discard(cell)
                self._outputs[cell] = []
            output = {key: value for key, value in content.items() if key != "transient"}
            self._add(cell, {"output_type": kind, **output}, display_id)

    def outputs(self, cell: str) -> list[Output]:
        return [shown["output"] for shown in self._outputs[cell]]

    # Private

    def _add(self, cell: str, output: Output, display_id: str | None) -> None:
        outputs = self._outputs[cell]
        if output["output_type"] == "stream":
            if not output["text"]:
                return
            last = outputs[-1]["output"] if outputs else {}
            if last.get("name") != output["name"]:
                last = {**output, "text": ""}
                outputs.append({"output": last, "display_id": None, "raw": ""})
            outputs[-1]["raw"] += output["text"]
            last["text"] = self._text_of(outputs[-1]["raw"])
        else:
            outputs.append({"output": output, "display_id": display_id})


def processed(raw: str) -> str:
    """The text of a stream after JupyterLab's treatment of ``\\r``, ``\\b`` and ``\\n``, from the beginning."""
    lines: list[str] = []
    line: list[str] = []
    cursor = 0
    for char in raw:
        if char == "\n":
            lines.append("".join(line) + "\n")
            line, cursor = [], 0
        elif char == "\r":
            cursor = 0
        elif char == "\b":
            if cursor:
                # JupyterLab takes the character at the cursor along with the one before it.
                del line[cursor - 1 : cursor + 1]
                cursor -= 1
        else:
            line[cursor : cursor + 1] = [char]
            cursor += 1
    return "".join(lines) + "".join(line)
