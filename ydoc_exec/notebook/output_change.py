"""What one transaction does to the outputs of one cell, in the one shape that open tabs understand.

An open JupyterLab does not read the document again: it plays the events of a transaction on its own list of
outputs (``CodeCellModel._onSharedModelChanged`` in ``@jupyterlab/cells``). Of all changed texts it looks at
one only, always takes that for the text of its last output, and cuts and appends at the end whatever the
position; it appends every inserted output, whatever the position, and merges a stream with the one before it
if they have the same name. So:

1. new outputs are put at the end, then old ones are deleted from some position up to the old end;
2. text is edited only in the last output, only at its end, and only if that output stays;
3. what is new is written before the old is deleted, so that the event reads retain, delete, insert, whoever
   orders an insertion beside a deletion (pycrdt 0.14.13 puts one at the end behind what was deleted there,
   and so keeps this true of several changes in one transaction or update);
4. two streams of one name never follow each other;
5. what is written where something was deleted begins with an output that is no stream, or nothing is left
   before it. For a tab that loses its last outputs goes on believing that a stream of that name is the last,
   and merges the next one of the name with whatever is (``_lastStreamName`` of ``OutputAreaModel``, which only
   a display, a result or an error resets). It may have missed several transactions, so this holds also
   where nothing is written yet, and whatever was deleted.

``tests/notebook/test_live_tab.py`` holds this against the real front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycrdt import Array, Map, Text

from ydoc_exec.notebook.edits import AppendOutput
from ydoc_exec.notebook.shareable import shareable

_DISPLAYED = ("display_data", "execute_result")


class OutputChange:
    """Edits of one cell's outputs, gathered first and written then.

    Nothing is written before ``write``.
    """

    def __init__(self, outputs: Array[Any], display_ids: Sequence[str | None]) -> None:
        self._outputs = outputs
        self._kept = len(outputs)  # so many of the old outputs stay where they are
        self._ids = list(display_ids[: self._kept])
        self._ids.extend([None] * (self._kept - len(self._ids)))
        self._erase = ""  # from the last old output, if it stays
        self._append = ""
        self._added: list[dict[str, Any]] = []

    @property
    def display_ids(self) -> list[str | None]:
        """The display ids of the outputs as they will be, one for each, ``None`` for those without."""
        return list(self._ids)

    def clear(self) -> None:
        """Remove everything."""
        self._kept = 0
        self._ids.clear()
        self._erase = self._append = ""
        self._added.clear()

    def edit_tail(self, name: str, erase: str, append: str) -> None:
        """Erase from the end of the last output and append to it, if it is a stream called ``name``.

        If somebody made it another meanwhile, ``append`` becomes an output of its own; if somebody changed
        its text so that it does not end with ``erase``, nothing is erased.
        """
        last = self._last_stream(name)
        if last is None:
            if append:
                self._add({"output_type": "stream", "name": name, "text": append}, None)
        elif self._added:
            text: str = self._added[-1]["text"]
            self._added[-1]["text"] = text.removesuffix(erase) + append
        elif self._kept < len(self._outputs) or not isinstance(last.get("text"), Text):
            # Not the last output of the tabs, or not as we or the front end write it: it is written anew.
            self._take_over(self._kept - 1)
            self.edit_tail(name, erase, append)
        elif self._append.endswith(erase):
            self._append = self._append.removesuffix(erase) + append
        elif erase.endswith(self._append) and str(last["text"]).removesuffix(self._erase).endswith(
            erase.removesuffix(self._append)
        ):
            self._erase = erase.removesuffix(self._append) + self._erase
            self._append = append
        else:
            self._append += append

    def append(self, output: dict[str, Any], display_id: str | None) -> None:
        """Add an output; or only its text, if it is a stream and the last output is one of the same name."""
        if output.get("output_type") == "stream" and self._last_stream(output["name"]) is not None:
            self.edit_tail(output["name"], "", output["text"])
        else:
            self._add(output, display_id)

    def replace_last(self, count: int, outputs: Sequence[AppendOutput]) -> None:
        """Remove the last ``count`` outputs, or all if there are fewer, and add these."""
        end = len(self._ids) - min(count, len(self._ids))
        del self._ids[end:]
        del self._added[max(end - self._kept, 0) :]
        if end < self._kept:
            self._kept = end
            self._erase = self._append = ""
        for output in outputs:
            self.append(output.output, output.display_id)

    def replace_display(self, display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Show other data in every output displayed under this id."""
        new = {"data": shareable(data), "metadata": shareable(metadata)}
        for position, own_id in enumerate(self._ids):
            if own_id != display_id:
                continue
            kept = position < self._kept
            old = plain_output(self._outputs[position]) if kept else self._added[position - self._kept]
            if old.get("output_type") not in _DISPLAYED:
                continue  # a client has put something else in its place
            if kept:
                if {"data": old.get("data"), "metadata": old.get("metadata")} == new:
                    continue
                self._take_over(position)
            self._added[position - self._kept].update(new)

    def write(self) -> None:
        """Write into the open transaction. What does not change is not written."""
        old_end = len(self._outputs)
        if self._kept < old_end:
            self._take_over(self._start())
        if self._kept == old_end and (self._erase or self._append):
            text = self._outputs[old_end - 1]["text"]
            end = len(text)
            if self._append:
                text.insert(end, self._append)
            if self._erase:
                del text[end - len(self._erase.encode()) : end]
        # All of them first and what they contain then: so their items are neighbours, and what is left of them
        # when they are deleted is one. Measured: each run of 5,000 displays left 80 kB and made the next one
        # slower (0.1 s, 0.2, 0.7, 1.1); now it leaves 1 kB and takes 0.1 s each time.
        added: list[Map[Any]] = [Map() for _ in self._added]
        self._outputs.extend(added)
        for shared, output in zip(added, self._added, strict=True):
            _fill(shared, output)
        if self._kept < old_end:
            del self._outputs[self._kept : old_end]

    # Private

    def _last_stream(self, name: str) -> dict[str, Any] | Map[Any] | None:
        """The last output, if it is a stream called ``name``."""
        if self._added:
            last: Any = self._added[-1]
        elif self._kept:
            last = self._outputs[self._kept - 1]
        else:
            return None
        is_it = last.get("output_type") == "stream" and last.get("name") == name
        return last if is_it else None

    def _start(self) -> int:
        """Where the outputs have to be written anew from, if some are deleted."""
        start = self._kept
        if self._added and self._added[0].get("output_type") != "stream":
            return start
        while start:
            start -= 1
            if self._outputs[start].get("output_type") != "stream":
                break
        return start

    def _add(self, output: dict[str, Any], display_id: str | None) -> None:
        self._added.append(shareable(output))
        self._ids.append(display_id)

    def _take_over(self, start: int) -> None:
        """Have the outputs from ``start`` on written anew, to change them on the way."""
        copies = [plain_output(self._outputs[position]) for position in range(start, self._kept)]
        if copies and (self._erase or self._append):
            copies[-1]["text"] = copies[-1]["text"].removesuffix(self._erase) + self._append
            self._erase = self._append = ""
        self._added[:0] = copies
        self._kept = start


def plain_output(output: Any) -> dict[str, Any]:
    """The output as nbformat has it. Old clients wrote plain objects and lists of lines."""
    plain: dict[str, Any] = dict((output.to_py() if isinstance(output, Map) else output) or {})
    if plain.get("output_type") == "stream" and not isinstance(plain.get("text"), str):
        plain["text"] = "".join(plain.get("text") or [])
    return plain


def _fill(shared: Map[Any], output: dict[str, Any]) -> None:
    for key, value in output.items():
        is_text = key == "text" and output.get("output_type") == "stream"
        shared[key] = Text(value) if is_text else value
