"""Kernel messages of one run in, edits of that cell's outputs out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ydoc_exec.notebook.edits import AppendOutput, ClearOutputs, Edit, EditTail, ReplaceDisplay
from ydoc_exec.notebook.terminal import TerminalText

_JSON_TYPE = re.compile(r"application/(.*\+)?json\Z")
"""As in nbformat's schema (``mimebundle``)."""


@dataclass(slots=True)
class _Stream:
    """A stream output that more text can still come to."""

    name: str
    text: TerminalText


class OutputReducer:
    """The outputs of one run, reduced to what has changed since somebody last asked.

    Pure: it knows no document and no clock. The caller feeds it every iopub message of the run, in order, and
    takes the edits as often as it likes; the outputs in the end do not depend on when. It expects that
    the cell had no outputs when the run began, or that those it had are not its concern.

    Malformed content never raises: what is missing is taken as empty.

    Args:
        process: names the kernel's process. Display ids mean something within one process only (JupyterLab forgets
            them when a kernel is restarted), so the edits have them joined: an id that an earlier process used
            is another one.
        cursor_movement: see ``TerminalText``.
    """

    def __init__(self, process: str = "", *, cursor_movement: bool = True) -> None:
        self._process = process
        self._cursor_movement = cursor_movement
        self._cleared = False
        self._clear_next = False
        self._replaced: dict[str, ReplaceDisplay] = {}
        self._tail: _Stream | None = None  # the stream that was the last output at the last take
        self._appended: list[_Stream | AppendOutput] = []
        self._displayed: dict[str, list[int]] = {}  # display id -> where in the list above
        self._open: _Stream | None = None  # the last output, if it is a stream: one of the two above

    @property
    def pending(self) -> bool:
        """Whether there may be something to take. A ``clear_output(wait=True)`` still waiting is nothing."""
        return bool(
            self._cleared
            or self._replaced
            or self._appended
            or (self._tail is not None and self._tail.text.changed)
        )

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take note of one iopub message (as ``jupyter_client`` gives it).

        Messages that say nothing about outputs (``status``, ``execute_input``, ``comm_msg``, ...) are ignored
        on purpose. ``clear_output(wait=True)`` takes effect with the next output. An ``update_display_data``
        is not one: it changes outputs and never adds any. A display under an id that is in use does both, as
        in JupyterLab (``KernelConnection._handleDisplayId`` of ``@jupyterlab/services``) and nbclient.
        """
        content = _mapping(message.get("content"))
        match message.get("msg_type") or _mapping(message.get("header")).get("msg_type"):
            case "stream":
                self._stream(_text(content.get("name")) or "stdout", _text(content.get("text")))
            case "display_data":
                self._append(
                    {
                        "output_type": "display_data",
                        "data": _bundle(content.get("data")),
                        "metadata": _mapping(content.get("metadata")),
                    },
                    self._display_id(content),
                )
            case "execute_result":
                count = content.get("execution_count")
                self._append(
                    {
                        "output_type": "execute_result",
                        "data": _bundle(content.get("data")),
                        "metadata": _mapping(content.get("metadata")),
                        "execution_count": count if type(count) is int and count >= 0 else None,
                    },
                    self._display_id(content),
                )
            case "error":
                traceback = content.get("traceback")
                lines = traceback if isinstance(traceback, list) else [traceback] if traceback else []
                self._append(
                    {
                        "output_type": "error",
                        "ename": _text(content.get("ename")),
                        "evalue": _text(content.get("evalue")),
                        "traceback": [_text(line) for line in lines],
                    },
                    None,
                )
            case "clear_output":
                if content.get("wait"):
                    self._clear_next = True
                else:
                    self._clear()
            case "update_display_data":
                display_id = self._display_id(content)
                if display_id is not None:
                    self._replace(display_id, _bundle(content.get("data")), _mapping(content.get("metadata")))

    def replaces(self, message: Mapping[str, Any]) -> bool:
        """Whether what is to be taken shows other data in the display that this message is about."""
        if not self._replaced:
            return False
        display_id = self._display_id(_mapping(message.get("content")))
        return display_id is not None and display_id in self._replaced

    def take(self) -> list[Edit]:
        """The edits since the last take, as few as possible, in the order in which they must be applied.

        At most one ``ClearOutputs``; one ``ReplaceDisplay`` for each id; at most one ``EditTail``, for the
        output that was the last at the last take; then the new outputs. The order is the true one: an output
        that was appended and then updated before it was ever taken already has its last content.
        """
        edits: list[Edit] = []
        if self._cleared:
            edits.append(ClearOutputs())
        edits.extend(self._replaced.values())
        if self._tail is not None:
            erase, append = self._tail.text.take()
            if erase or append:
                edits.append(EditTail(self._tail.name, erase, append))
        for output in self._appended:
            if isinstance(output, _Stream):
                _, text = output.text.take()
                output_ = {"output_type": "stream", "name": output.name, "text": text}
                edits.append(AppendOutput(output_))
            else:
                edits.append(output)
        self._cleared = False
        self._replaced = {}
        self._appended = []
        self._displayed = {}
        self._tail = self._open
        return edits

    def end(self) -> None:
        """The run has ended: what was held back because more was to come is written. More may come all the same."""
        self._end_stream()

    # Private

    def _end_stream(self) -> None:
        if self._open is not None:
            self._open.text.end()

    def _stream(self, name: str, text: str) -> None:
        self._begin_output()
        if not text:
            return
        if self._open is None or self._open.name != name:
            # Two outputs of one name in a row are never made: browsers would merge them.
            self._end_stream()
            self._open = _Stream(name, TerminalText(cursor_movement=self._cursor_movement))
            self._appended.append(self._open)
        self._open.text.feed(text)

    def _append(self, output: dict[str, Any], display_id: str | None) -> None:
        self._begin_output()
        self._end_stream()
        self._open = None
        if display_id is not None:
            self._replace(display_id, output["data"], output["metadata"])
            self._displayed.setdefault(display_id, []).append(len(self._appended))
        self._appended.append(AppendOutput(output, display_id))

    def _begin_output(self) -> None:
        if self._clear_next:
            self._clear()

    def _clear(self) -> None:
        self._clear_next = False
        self._cleared = True
        self._tail = None
        self._open = None
        self._appended = []
        self._displayed = {}

    def _replace(self, display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        for position in self._displayed.get(display_id, []):
            output = self._appended[position]
            assert isinstance(output, AppendOutput)
            updated = {**output.output, "data": data, "metadata": metadata}
            self._appended[position] = AppendOutput(updated, display_id)
        # Outputs with this id may be anywhere in the notebook, so this is said even if one was pending here.
        self._replaced.pop(display_id, None)
        self._replaced[display_id] = ReplaceDisplay(display_id, data, metadata)

    def _display_id(self, content: Mapping[str, Any]) -> str | None:
        display_id = _mapping(content.get("transient")).get("display_id")
        if not isinstance(display_id, str) or not display_id:
            return None
        return f"{self._process}/{display_id}" if self._process else display_id


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _bundle(value: Any) -> dict[str, Any]:
    """Data by type as nbformat has it: whatever JSON has for types that are JSON, and text for all others.

    Kernels send what they are told to, and a notebook with anything else in it would be invalid. JSON text says the
    same.
    """
    return {
        key: item if _JSON_TYPE.match(key) or _is_text(item) else json.dumps(item, ensure_ascii=False)
        for key, item in _mapping(value).items()
    }


def _is_text(value: Any) -> bool:
    """Lines are as good as a text in nbformat."""
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(line, str) for line in value)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
