"""What a kernel said when a case was recorded: one JSON file for each case, one message a line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
DATE = "2000-01-01T00:00:00.000000Z"

Message = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """One message of the kernel, told apart from those of another day by nothing but what it says.

    Ids, sessions, user names, dates and signatures are not kept. A request is called after its cell: ``cell 0``.
    """

    cell: int
    """The position of the cell whose request is the message's parent."""

    channel: str
    msg_type: str
    content: dict[str, Any]
    metadata: dict[str, Any]
    buffers: int = 0
    """How many there were; nothing that an output needs is in them."""


@dataclass(frozen=True)
class Recording:
    """All that was said, in the order in which it arrived: iopub, and each cell's reply after its idle."""

    name: str
    cells: Sequence[str]
    kernel: str
    said: Sequence[Said]

    @classmethod
    def load(cls, name: str) -> Recording:
        """The committed recording. Raises ``FileNotFoundError``."""
        whole = json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))
        said = [Said(**{"channel": "iopub", "metadata": {}, **entry}) for entry in whole["said"]]
        return cls(name, ["\n".join(lines) for lines in whole["cells"]], whole["kernel"], said)

    def save(self) -> None:
        lines = []
        for each in self.said:
            entry = {
                key: value
                for key, value in vars(each).items()
                if not (key in ("metadata", "buffers") and not value) and (key, value) != ("channel", "iopub")
            }
            lines.append("    " + _dumps(entry))
        head = {"name": self.name, "kernel": self.kernel}
        parts = [f"  {json.dumps(key)}: {_dumps(value)}" for key, value in head.items()]
        parts.append(
            '  "cells": [\n' + ",\n".join("    " + _lines(cell.split("\n")) for cell in self.cells) + "\n  ]"
        )
        parts.append('  "said": [\n' + ",\n".join(lines) + "\n  ]")
        text = "{\n" + ",\n".join(parts) + "\n}\n"
        assert json.loads(text)["cells"] == [cell.split("\n") for cell in self.cells]
        (RECORDINGS / f"{self.name}.json").write_text(text, "utf-8")

    def messages(self, channel: str = "iopub") -> list[tuple[int, Message]]:
        """The messages of one channel as a client gets them, each with the position of its cell."""
        return [(said.cell, _message(said, n)) for n, said in enumerate(self.said) if said.channel == channel]

    def all_messages(self) -> list[Message]:
        """The messages of both channels as a client gets them."""
        return [_message(said, n) for n, said in enumerate(self.said)]


def _message(said: Said, number: int) -> Message:
    header = {"msg_id": f"message {number}", "msg_type": said.msg_type}
    parent = {"msg_id": f"cell {said.cell}", "msg_type": "execute_request"}
    common = {"session": "kernel", "username": "user", "date": DATE, "version": "5.4"}
    return {
        "channel": said.channel,
        "header": {**header, **common},
        "msg_id": header["msg_id"],
        "msg_type": said.msg_type,
        "parent_header": {**parent, **common},
        "metadata": said.metadata,
        "content": said.content,
        "buffers": [b""] * said.buffers,
    }


def _lines(lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return _dumps(list(lines))
    return "[\n" + ",\n".join("      " + _dumps(line) for line in lines) + "\n    ]"


def _dumps(value: Any) -> str:
    """JSON that can be reviewed: what cannot be seen is escaped, what can be is not."""
    return re.sub(r"[^ -~]", _escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else json.dumps(char)[1:-1]
