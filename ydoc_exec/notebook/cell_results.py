"""What the server wrote into each cell, kept as plain values beside the document.

A cell that a client removes takes its outputs along, and what undoing or moving brings back is a copy of what that
client had. What the server wrote meanwhile is only here (``ReturnedCells`` writes it back).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import assert_never

from ydoc_exec.ids import CellId
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.shareable import shareable

LARGEST_RESULT = 8 * 1024 * 1024
"""Bytes of one cell's outputs. Nearly all cells have less, and writing that much back costs every client as much."""

LARGEST_TOTAL = 64 * 1024 * 1024
"""Bytes of all outputs of one notebook. The document itself has them too, so this at most doubles what a usual
notebook takes, and is little beside what a kernel takes."""

PIECE = 4096
"""Characters. A text is kept in pieces, so that an edit of its end costs no more than one of them, however long
it is; and short ones are joined, so that a piece is mostly text."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a code cell shows of its execution. ``outputs`` is None where they are not known (any more)."""

    outputs: tuple[AppendOutput, ...] | None
    execution_count: int | None
    running: bool
    timings: Mapping[str, str] = field(default_factory=dict)


class CellResults:
    """Remembers the results of cells, fed with the very edits that ``Notebook.apply`` is given.

    The outputs are those that ``OutputChange`` makes of the same edits in a document that nobody else touches. What
    is done to a cell that never began here, or was forgotten, is ignored. The cost of an edit is linear in
    the edit. Memory is bounded by ``largest_result`` and ``largest_total`` and a few hundred bytes for each cell
    that ran: what exceeds them loses its outputs, ended cells first and the oldest of them first. Such a cell
    has its outputs again when it is cleared or begins anew.
    """

    def __init__(self, largest_result: int = LARGEST_RESULT, largest_total: int = LARGEST_TOTAL) -> None:
        self._largest_result = largest_result
        self._largest_total = largest_total
        self._total = 0
        # In the order in which they began, or ended if they did.
        self._results: dict[CellId, _Result] = {}
        self._showing: dict[str, dict[CellId, None]] = {}
        self._too_large: set[CellId] = set()

    @property
    def size(self) -> int:
        """Bytes of all outputs that are remembered, as Python objects."""
        return self._total

    def __contains__(self, cell_id: CellId) -> bool:
        return cell_id in self._results

    def __getitem__(self, cell_id: CellId) -> CellResult:
        """What the cell has to show. Raises ``KeyError``."""
        result = self._results[cell_id]
        outputs = None if result.outputs is None else tuple(output.plain() for output in result.outputs)
        return CellResult(outputs, result.execution_count, result.running, dict(result.timings))

    # A run

    def begin(self, cell_id: CellId) -> None:
        """The cell is queued or run (again): no outputs, no count."""
        self.forget(cell_id)
        self._results[cell_id] = _Result()

    def apply(self, cell_id: CellId, edits: Sequence[Edit]) -> None:
        """Carry out edits of the cell's outputs; what concerns outputs of other cells is done there."""
        own = self._results.get(cell_id)
        for edit in edits:
            match edit:
                case ReplaceDisplay(display_id, data, metadata):
                    self._replace_display(display_id, data, metadata)
                case ClearOutputs():
                    self._clear(cell_id)
                case EditTail(name, erase, append):
                    if own is not None and own.outputs is not None:
                        self._edit_tail(cell_id, own.outputs, name, erase, append)
                case AppendOutput():
                    self._append(cell_id, edit)
                case ReplaceLast(count, outputs):
                    self._remove_last(cell_id, count)
                    for output in outputs:
                        self._append(cell_id, output)
                case _:
                    assert_never(edit)
            # At once, because what is to come may be many times the limit.
            self._bound()

    def set_timings(self, cell_id: CellId, timings: Mapping[str, str]) -> None:
        """When the cell's run did what, as ``Notebook.set_timings`` has it."""
        if cell_id in self._results:
            self._results[cell_id].timings = dict(timings)

    def finish(self, cell_id: CellId, execution_count: int | None) -> None:
        """The cell is idle, with its count if there is one."""
        result = self._results.pop(cell_id, None)
        if result is not None:
            result.running = False
            if execution_count is not None:
                result.execution_count = execution_count
            self._results[cell_id] = result

    # What others do

    def replace(self, cell_id: CellId, result: CellResult) -> None:
        """Remember other outputs, and while it does not run, another count: somebody changed them on purpose."""
        known = self._results.get(cell_id)
        if known is None:
            return
        if not known.running:
            known.execution_count = result.execution_count
        self._clear(cell_id)
        for output in result.outputs or ():
            self._append(cell_id, output)
        self._bound()

    def note_text(self, cell_id: CellId, is_text: bool) -> None:
        """Whether the cell is no code cell at present."""
        if cell_id in self._results:
            self._results[cell_id].is_text = is_text

    def is_text(self, cell_id: CellId) -> bool:
        """Whether the cell was no code cell when it was looked at last."""
        return cell_id in self._results and self._results[cell_id].is_text

    def is_running(self, cell_id: CellId) -> bool:
        """Whether the cell began and did not finish."""
        return cell_id in self._results and self._results[cell_id].running

    def forget_outputs(self, cell_id: CellId) -> None:
        """Know of the cell only whether it runs, until it is cleared or begins anew."""
        if cell_id in self._results:
            self._drop(cell_id)

    def forget(self, cell_id: CellId) -> None:
        """Know nothing of the cell."""
        if cell_id in self._results:
            self._drop(cell_id)
            del self._results[cell_id]

    def forget_ended(self) -> None:
        """Know nothing but of the cells that run."""
        for cell_id in [cell_id for cell_id, result in self._results.items() if not result.running]:
            self.forget(cell_id)

    # Private

    def _append(self, cell_id: CellId, new: AppendOutput) -> None:
        result = self._results.get(cell_id)
        if result is None or result.outputs is None:
            return
        is_stream = new.output.get("output_type") == "stream"
        if _size(new.output) > self._largest_result:
            self._drop(cell_id)  # before it is copied
        elif is_stream and _ends_with_stream(result.outputs, new.output["name"]):
            self._edit_tail(cell_id, result.outputs, new.output["name"], "", new.output["text"])
        else:
            output = _Output(shareable(new.output), new.display_id)
            result.outputs.append(output)
            if new.display_id is not None:
                result.positions.setdefault(new.display_id, []).append(len(result.outputs) - 1)
                self._showing.setdefault(new.display_id, {})[cell_id] = None
            self._count(cell_id, output.size)

    def _edit_tail(self, cell_id: CellId, outputs: list[_Output], name: str, erase: str, append: str) -> None:
        if len(append) > self._largest_result:
            self._drop(cell_id)
        elif _ends_with_stream(outputs, name):
            self._count(cell_id, outputs[-1].edit_text(erase, append))
        elif append:
            self._append(cell_id, AppendOutput({"output_type": "stream", "name": name, "text": append}))

    def _remove_last(self, cell_id: CellId, count: int) -> None:
        result = self._results.get(cell_id)
        if result is None or result.outputs is None:
            return
        for _ in range(min(count, len(result.outputs))):
            output = result.outputs.pop()
            self._count(cell_id, -output.size)
            if output.display_id is not None:
                positions = result.positions[output.display_id]
                positions.pop()
                if not positions:
                    self._hide(cell_id, result, output.display_id)

    def _replace_display(self, display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        cell_ids = list(self._showing.get(display_id, ()))
        new = {"data": shareable(data), "metadata": shareable(metadata)} if cell_ids else {}
        for cell_id in cell_ids:
            result = self._results[cell_id]
            assert result.outputs is not None
            for position in result.positions[display_id]:
                old = result.outputs[position]
                result.outputs[position] = _Output({**old.fields, **new}, display_id)
                self._count(cell_id, result.outputs[position].size - old.size)

    def _clear(self, cell_id: CellId) -> None:
        if cell_id in self._results:
            self._drop(cell_id)
            self._results[cell_id].outputs = []

    def _drop(self, cell_id: CellId) -> None:
        result = self._results[cell_id]
        for display_id in list(result.positions):
            self._hide(cell_id, result, display_id)
        self._count(cell_id, -result.size)
        result.outputs = None

    def _hide(self, cell_id: CellId, result: _Result, display_id: str) -> None:
        del result.positions[display_id]
        del self._showing[display_id][cell_id]
        if not self._showing[display_id]:
            del self._showing[display_id]

    def _count(self, cell_id: CellId, size: int) -> None:
        result = self._results[cell_id]
        result.size += size
        self._total += size
        if result.size > self._largest_result:
            self._too_large.add(cell_id)

    def _bound(self) -> None:
        while self._too_large:
            self._drop(self._too_large.pop())
        if self._total > self._largest_total:
            ended = [cell_id for cell_id, result in self._results.items() if not result.running]
            running = [cell_id for cell_id, result in self._results.items() if result.running]
            for cell_id in ended + running:
                self._drop(cell_id)
                if self._total <= self._largest_total:
                    break


@dataclass(slots=True)
class _Result:
    outputs: list[_Output] | None = field(default_factory=list)
    positions: dict[str, list[int]] = field(default_factory=dict)  # of display ids, ascending
    size: int = 0
    execution_count: int | None = None
    running: bool = True
    timings: dict[str, str] = field(default_factory=dict)
    is_text: bool = False


class _Output:
    def __init__(self, fields: dict[str, Any], display_id: str | None) -> None:
        self.fields = fields
        self.display_id = display_id
        self.size = 0
        self._pieces: list[str] = []
        self._is_stream = fields.get("output_type") == "stream"
        if self._is_stream:
            self._add(fields.pop("text"))
        self.size += _size(fields)

    def plain(self) -> AppendOutput:
        fields = {**self.fields, "text": "".join(self._pieces)} if self._is_stream else self.fields
        return AppendOutput(fields, self.display_id)

    def edit_text(self, erase: str, append: str) -> int:
        """Erase from the end if the text ends so, then append; by how much ``size`` grew."""
        before = self.size
        if self._ends_with(erase):
            self._cut(len(erase))
        self._add(append)
        return self.size - before

    # Private

    def _ends_with(self, text: str) -> bool:
        left = len(text)
        for piece in reversed(self._pieces):
            if not left:
                break
            part = text[max(left - len(piece), 0) : left]
            if not piece.endswith(part):
                return False
            left -= len(part)
        return not left

    def _cut(self, length: int) -> None:
        while length:
            piece = self._pieces.pop()
            self.size -= sys.getsizeof(piece)
            if len(piece) > length:
                self._put(piece[: len(piece) - length])
            length -= min(len(piece), length)

    def _add(self, text: str) -> None:
        if text and self._pieces and len(self._pieces[-1]) < PIECE:
            piece = self._pieces.pop()
            self.size -= sys.getsizeof(piece)
            room = PIECE - len(piece)
            self._put(piece + text[:room])
            text = text[room:]
        for start in range(0, len(text), PIECE):
            self._put(text[start : start + PIECE])

    def _put(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += sys.getsizeof(piece)


def _ends_with_stream(outputs: list[_Output], name: str) -> bool:
    last = outputs[-1].fields if outputs else {}
    return last.get("output_type") == "stream" and last.get("name") == name


def _size(value: Any) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        size += sum(_size(key) + _size(item) for key, item in value.items())
    elif isinstance(value, list):
        size += sum(map(_size, value))
    return size
