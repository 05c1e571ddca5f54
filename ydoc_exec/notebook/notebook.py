"""The verbs of a notebook over the shared document.

Nobody else knows the keys of a cell, of an output or of the live map, nor the indices of a shared text (which
are UTF-8 bytes). The fields are those of ``jupyter_ydoc.YNotebook``; what is live and must not reach
the file is in the root map ``execution`` beside them, which saving does not look at:

    execution: Map
      now      Map
        kernel   what ``set_kernel`` was given
        runs     Map  cell id -> what ``queue_runs`` and ``set_run`` were given
        total    how many runs were queued since there was none
        since    when the first of them was
        prompts  Map  run id -> Map of what ``set_prompt`` was given, with ``value``: Text, which is what people type.
                 A password has none.

Every value that is replaced in a shared map leaves an item with its author, its predecessor and its place, for as
long as the map is there. ``now`` is therefore replaced as a whole by the first run when there was none: what
happened in the one before is a single trace then, however much it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal

from jupyter_ydoc import YNotebook
from pycrdt import Array, Map, Text
from typing_extensions import assert_never

from ydoc_exec.errors import CellNotFound
from ydoc_exec.ids import CellId, RunId
from ydoc_exec.notebook.cell_results import CellResult
from ydoc_exec.notebook.cell_view import CellView
from ydoc_exec.notebook.edits import (
    AppendOutput,
    ClearOutputs,
    Edit,
    EditTail,
    ReplaceDisplay,
    ReplaceLast,
)
from ydoc_exec.notebook.output_change import OutputChange, plain_output
from ydoc_exec.notebook.shareable import shareable, shareable_text

Displays = dict[CellId, tuple[tuple[str | None, ...], str]]
"""For each cell that displays something under an id: the ids of its outputs, and a digest of these."""

_NOTHING = object()
_RESULT = frozenset({"outputs", "execution_count"})
"""The keys of a cell that say what came of running it."""


class Notebook:
    """A notebook that is being run.

    Everything here writes into the transaction that is open: the caller says who writes, and when, with
    ``with document.ydoc.transaction(origin=...)``. Without an origin every write would become an item of the
    document's undo history. Never call it from inside an observer.

    Cells and outputs are looked up anew for every call, since clients move and replace them at any time.
    Writing to a cell that is gone is not an error: the verbs return ``False`` then. Nothing is written that
    does not change.

    Display ids are not part of the file format. They are remembered here, for each cell beside its outputs,
    and forgotten for a cell as soon as somebody else has changed how many outputs it has; an output that a
    client has replaced in its place (plotly does) keeps its id. ``displays`` and ``restore_displays`` carry them
    over from one life of a document to the next.
    """

    def __init__(self, document: YNotebook) -> None:
        self._document = document
        self._cells: Array[Any] = document.ycells
        self._live: Map[Any] = document.ydoc.get("execution", type=Map)
        self._positions: dict[CellId, int] = {}
        self._display_ids: dict[CellId, list[str | None]] = {}
        self._drafts: dict[str, str] = {}
        """By a prompt's id, what was typed when ``reset_live`` took it away."""

    # Reading

    def order(self) -> list[CellId]:
        """The ids of all cells, from top to bottom."""
        return [cell_id for cell_id, _, _ in self._scan()]

    def cell(self, cell_id: CellId) -> CellView:
        """The cell as it is now. Raises ``CellNotFound``."""
        cell = self._find(cell_id)
        if cell is None:
            raise CellNotFound(cell_id, self._document.path or "")
        metadata = _read(cell, "metadata")
        tags = metadata.get("tags") if isinstance(metadata, (Map, dict)) else None
        return CellView(
            cell_id=cell_id,
            cell_type=str(_read(cell, "cell_type", "")),
            source=str(_read(cell, "source", "")),
            tags=tuple(str(tag) for tag in tags) if isinstance(tags, (list, Array)) else (),
        )

    def code_cells(self) -> list[CellId]:
        """The ids of the cells that can run, from top to bottom."""
        return [
            cell_id for cell_id, _, cell in self._scan() if cell_id and _read(cell, "cell_type") == "code"
        ]

    def kernel_name(self) -> str | None:
        """The kernel that the notebook is for, if it says so."""
        metadata = self._document.ydoc.get("meta", type=Map).get("metadata")
        spec = metadata.get("kernelspec") if isinstance(metadata, (Map, dict)) else None
        name = spec.get("name") if isinstance(spec, (Map, dict)) else None
        return name if isinstance(name, str) and name else None

    def source(self, cell_id: CellId) -> str | None:
        """The cell's source as it is now; None if the cell is gone."""
        cell = self._find(cell_id)
        return None if cell is None else str(_read(cell, "source", ""))

    # A run

    def begin(self, cell_id: CellId) -> bool:
        """Make the cell one that is being run by somebody who may: no outputs, no count, trusted, running.

        ``False``, and nothing written, if it is gone or not a code cell.
        """
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        outputs = self._outputs(cell)
        if len(outputs):
            del outputs[0 : len(outputs)]
        self._display_ids.pop(cell_id, None)
        if _read(cell, "execution_count", _NOTHING) is not None:
            cell["execution_count"] = None
        metadata = _metadata(cell)
        if "execution" in metadata:
            del metadata["execution"]
        _put(metadata, "trusted", True)
        _put(cell, "execution_state", "running")
        return True

    def set_state(self, cell_id: CellId, state: Literal["running", "idle"]) -> bool:
        """Show the cell as running (or queued), or as idle. ``False`` if it is gone or not a code cell."""
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        _put(cell, "execution_state", state)
        return True

    def finish(self, cell_id: CellId, execution_count: int | None) -> bool:
        """Show the cell as idle, with its count if there is one. ``False`` if it is gone or not a code cell.

        Both belong in one transaction: a count without ``idle`` makes every open tab write ``idle`` itself.
        """
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        if execution_count is not None:
            _put(cell, "execution_count", execution_count)
        _put(cell, "execution_state", "idle")
        return True

    def set_timings(self, cell_id: CellId, timings: Mapping[str, str]) -> bool:
        """Write when the cell's run did what, under the keys of ``metadata.execution``.

        ``False`` if the cell is gone or not a code cell.
        """
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        _put(_metadata(cell), "execution", dict(timings))
        return True

    def set_source(self, cell_id: CellId, source: str) -> bool:
        """Replace the cell's source. ``False`` if the cell is gone."""
        cell = self._find(cell_id)
        if cell is None:
            return False
        source = shareable_text(source)
        text = _read(cell, "source")
        if not isinstance(text, Text):
            cell["source"] = Text(source)
        elif str(text) != source:
            del text[0 : len(text)]
            text.insert(0, source)
        return True

    def insert_below(self, cell_id: CellId, new_id: CellId, source: str) -> None:
        """Insert a code cell below this one, or at the end of the notebook if it is gone.

        It is not trusted, although its source came from a kernel that is: as in JupyterLab
        (``handlePayload`` in ``@jupyterlab/notebook``), its reader did not write it.
        """
        new: dict[str, Any] = {
            "id": new_id,
            "cell_type": "code",
            "source": shareable_text(source),
            "metadata": {"trusted": False},
            "outputs": [],
            "execution_count": None,
        }
        above = [position for found_id, position, _ in self._scan() if found_id == cell_id]
        position = above[0] + 1 if above else len(self._cells)
        self._cells.insert(position, self._document.create_ycell(new))

    # Displays

    def displays(self) -> Displays:
        """What is displayed under which id now, to be given to ``restore_displays`` of a later life."""
        displays: Displays = {}
        for cell_id, display_ids in self._display_ids.items():
            cell = self._find_code(cell_id)
            if cell is not None and len(self._outputs(cell)) == len(display_ids):
                displays[cell_id] = tuple(display_ids), _digest(self._outputs(cell))
        return displays

    def restore_displays(self, displays: Displays) -> None:
        """Know again what is displayed under which id, in the cells whose outputs are still the same."""
        for cell_id, (display_ids, digest) in displays.items():
            cell = self._find_code(cell_id)
            if cell is not None and _digest(self._outputs(cell)) == digest:
                self._display_ids[cell_id] = list(display_ids)

    def apply(self, cell_id: CellId, edits: Sequence[Edit]) -> bool:
        """Carry out edits of the cell's outputs, in order.

        Any edits go together, whatever open tabs can understand of one transaction (``output_change.py``).
        ``False`` if the cell is gone or not a code cell; what concerns outputs of other cells is done all
        the same.
        """
        changes: dict[CellId, OutputChange] = {}
        shown: dict[str, set[CellId]] | None = None
        added: set[str | None] = set()
        own = self._change(changes, cell_id)
        for edit in edits:
            match edit:
                case ReplaceDisplay(display_id, data, metadata):
                    shown = self._shown() if shown is None else shown
                    own_too = {cell_id} if display_id in added else set()
                    for other in sorted(shown.get(display_id, set()) | own_too):
                        change = self._change(changes, other)
                        if change is not None:
                            change.replace_display(display_id, data, metadata)
                case ClearOutputs():
                    if own is not None:
                        own.clear()
                case EditTail(name, erase, append):
                    if own is not None:
                        own.edit_tail(name, erase, append)
                case AppendOutput(output, display_id):
                    if own is not None:
                        own.append(output, display_id)
                        added.add(display_id)
                case ReplaceLast(count, outputs):
                    if own is not None:
                        own.replace_last(count, outputs)
                        added.update(output.display_id for output in outputs)
                case _:
                    assert_never(edit)
        for changed_id, change in changes.items():
            change.write()
            if any(change.display_ids):
                self._display_ids[changed_id] = change.display_ids
            else:
                self._display_ids.pop(changed_id, None)
        return own is not None

    def set_outputs(self, cell_id: CellId, outputs: Sequence[dict[str, Any]]) -> bool:
        """Let the cell have these outputs, as a file has them. ``False`` if it is gone or not a code cell."""
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        self._become(cell_id, cell, tuple(AppendOutput(output) for output in outputs))
        return True

    # Cells that come back (``returned_cells.py``)

    def touched(self, events: Sequence[Any]) -> tuple[list[CellId], list[CellId]]:
        """What events on the cells were about: cells that were inserted, and cells whose outputs or count changed.

        The events are those that ``YNotebook.observe`` gives for ``cells``. To be called inside the observer.
        """
        inserted: list[CellId] = []
        changed: list[CellId] = []
        for event in events:
            if not event.path:
                cells = [cell for part in event.delta for cell in part.get("insert", ())]
                inserted += [CellId(str(_read(cell, "id"))) for cell in cells if isinstance(cell, Map)]
                continue
            cell, key = self._cells[event.path[0]], event.path[1:2]
            keys = getattr(event, "keys", ())  # only events of a map have them
            if isinstance(cell, Map) and (key == ["outputs"] or (not key and not _RESULT.isdisjoint(keys))):
                changed.append(CellId(str(_read(cell, "id"))))
        return inserted, changed

    def says_it_runs(self, cell_id: CellId) -> bool:
        """Whether there is such a cell and it shows itself as running."""
        cell = self._find(cell_id)
        return cell is not None and cell.get("execution_state") == "running"

    def has(self, cell_id: CellId) -> bool:
        """Whether there is such a cell, of whatever type."""
        return self._find(cell_id) is not None

    def result(self, cell_id: CellId) -> CellResult | None:
        """What the cell shows of its execution, without display ids; None if it is gone or not a code cell."""
        cell = self._find_code(cell_id)
        if cell is None:
            return None
        outputs = cell.get("outputs")
        return CellResult(
            outputs=tuple(
                AppendOutput(plain_output(output))
                for output in (outputs if isinstance(outputs, Array) else ())
                if isinstance(output, (Map, dict))
            ),
            execution_count=cell.get("execution_count"),
            running=cell.get("execution_state", "idle") == "running",
        )

    def provenance(self, cell_id: CellId) -> tuple[dict[str, str], bool]:
        """When the cell's run did what, as far as that was recorded, and whether the cell is trusted."""
        cell = self._find(cell_id)
        metadata = None if cell is None else _read(cell, "metadata")
        said = (metadata.to_py() if isinstance(metadata, Map) else None) or {}
        timings = said.get("execution")
        return timings if isinstance(timings, dict) else {}, bool(said.get("trusted"))

    def restore(self, cell_id: CellId, result: CellResult, *, trusted: bool = True) -> bool:
        """Make the cell show this result of a run, which was that of somebody who may unless it is not ``trusted``.

        If the outputs are not known, only its state is written. ``False`` if it is gone or not a code cell.
        """
        cell = self._find_code(cell_id)
        if cell is None:
            return False
        if result.outputs is not None:
            self._become(cell_id, cell, result.outputs)
            display_ids = tuple(output.display_id for output in result.outputs)
            if any(display_ids):
                self.restore_displays({cell_id: (display_ids, _digest(self._outputs(cell)))})
            if "execution_count" not in cell or cell["execution_count"] != result.execution_count:
                cell["execution_count"] = result.execution_count
            metadata = _metadata(cell)
            _put(metadata, "execution", dict(result.timings) or None)
            _put(metadata, "trusted", trusted)
        _put(cell, "execution_state", "running" if result.running else "idle")
        return True

    # Live state

    def reset_live(self) -> None:
        """Nothing claims to run, be queued or wait for input, and no kernel is known.

        For a document that was just loaded: what it says of such things is from another life. A kernel behind a gateway may
        still wait for input, and then what was typed is there again (``set_prompt``).
        """
        now = self._now()
        self._drafts = {
            prompt["prompt_id"]: prompt["value"]
            for prompt in self.prompts().values()
            if isinstance(prompt, dict)
            and isinstance(prompt.get("prompt_id"), str)
            and isinstance(prompt.get("value"), str)
        }
        if now is None or now.to_py() != {"runs": {}}:
            self._renew(None)
        for _, _, cell in self._scan():
            if cell.get("execution_state", "idle") != "idle":
                cell["execution_state"] = "idle"

    def queue_runs(self, entries: Mapping[CellId, dict[str, Any]]) -> None:
        """Say that these runs are there, and count them.

        Who comes later can tell from ``total`` and ``since`` how much is done already, and how long all of it takes.
        """
        now, total = self._now(), 0
        runs = None if now is None else _read(now, "runs")
        if now is None or not isinstance(runs, Map) or not (runs or self.prompts()):
            first = next(iter(entries.values()), {})
            now = self._renew(None if now is None else _read(now, "kernel"), since=first.get("queued_at"))
            runs = now["runs"]
        elif isinstance(said := _read(now, "total"), (int, float)):
            total = int(said)
        now["total"] = total + len(entries)
        for cell_id, entry in entries.items():
            _put(runs, cell_id, entry)

    def set_run(self, cell_id: CellId, entry: dict[str, Any] | None) -> None:
        """Say how the cell's run stands; ``None`` when there is none any more."""
        runs = self._runs()
        if entry is not None and runs is None:
            now = self._now()
            self._renew(None if now is None else _read(now, "kernel"))
            runs = self._runs()
        if runs is not None:
            _put(runs, cell_id, entry)

    def runs(self) -> dict[CellId, dict[str, Any]]:
        """What was last said of each cell that has a run. Numbers may come back as floats."""
        runs = self._runs()
        entries = None if runs is None else runs.to_py()
        return {CellId(cell_id): entry for cell_id, entry in (entries or {}).items()}

    def run(self, cell_id: CellId) -> dict[str, Any] | None:
        """The same for one cell."""
        runs = self._runs()
        entry = None if runs is None else _read(runs, cell_id)
        return entry if isinstance(entry, dict) else None

    def set_prompt(self, run_id: RunId, entry: dict[str, Any] | None) -> None:
        """Say that a run waits for input, with nothing typed yet but before ``reset_live``; ``None`` when it does not any more.

        It is the run's, not the cell's: a cell may be gone, or another run's, and the kernel waits all the same.
        """
        now = self._now()
        prompts = None if now is None else _read(now, "prompts")
        if entry is None:
            if isinstance(prompts, Map) and run_id in prompts:
                del prompts[run_id]
            return
        if now is None:
            now = self._renew(None)
        if not isinstance(prompts, Map):
            prompts = now["prompts"] = Map()
        draft = {} if entry["password"] else {"value": Text(self._drafts.pop(entry["prompt_id"], ""))}
        prompts[run_id] = Map({**shareable(entry), **draft})

    def prompts(self) -> dict[RunId, Any]:
        """What runs wait for, each with what was typed so far."""
        now = self._now()
        prompts = None if now is None else _read(now, "prompts")
        entries = prompts.to_py() if isinstance(prompts, Map) else None
        return {RunId(run_id): entry for run_id, entry in (entries or {}).items()}

    def set_kernel(self, entry: dict[str, Any] | None) -> None:
        """Say how the notebook's kernel stands; ``None`` when it has none."""
        now = self._now()
        if now is None:
            self._renew(entry)
        else:
            _put(now, "kernel", entry)

    # Private

    def _now(self) -> Map[Any] | None:
        now = _read(self._live, "now")
        return now if isinstance(now, Map) else None

    def _runs(self) -> Map[Any] | None:
        now = self._now()
        runs = None if now is None else _read(now, "runs")
        return runs if isinstance(runs, Map) else None

    def _renew(self, kernel: dict[str, Any] | None, since: str | None = None) -> Map[Any]:
        """Begin another ``now``, without runs."""
        known = {"kernel": kernel, "since": since}
        said = {key: shareable(value) for key, value in known.items() if value is not None}
        now = self._live["now"] = Map({**said, "runs": Map()})
        return now

    def _scan(self) -> Iterator[tuple[CellId, int, Map[Any]]]:
        for position in range(len(self._cells)):
            cell = self._cells[position]
            if isinstance(cell, Map):
                cell_id = _read(cell, "id")
                # A client can write anything there.
                yield CellId(cell_id if isinstance(cell_id, str) else ""), position, cell

    def _find(self, cell_id: CellId) -> Map[Any] | None:
        """The (first) cell with this id. Where it was the last time is tried before the rest."""
        hint = self._positions.get(cell_id)
        if hint is not None and hint < len(self._cells):
            cell = self._cells[hint]
            if isinstance(cell, Map) and _read(cell, "id") == cell_id:
                return cell
        # All of them, as the others are asked for next: looking for each would take the square of it.
        self._positions.clear()
        found: Map[Any] | None = None
        for found_id, position, cell in self._scan():
            id_: object = found_id  # anybody who can edit can write anything there
            if isinstance(id_, str) and self._positions.setdefault(found_id, position) == position:
                found = cell if found_id == cell_id else found
        return found

    def _find_code(self, cell_id: CellId) -> Map[Any] | None:
        cell = self._find(cell_id)
        return cell if cell is not None and _read(cell, "cell_type") == "code" else None

    def _outputs(self, cell: Map[Any]) -> Array[Any]:
        outputs = _read(cell, "outputs")
        if isinstance(outputs, Array):
            return outputs
        outputs = cell["outputs"] = Array()
        return outputs

    def _become(self, cell_id: CellId, cell: Map[Any], outputs: tuple[AppendOutput, ...]) -> None:
        """Change the outputs from the first that is another one on."""
        old = _whole_numbers(self._outputs(cell).to_py())
        new = _whole_numbers([output.output for output in outputs])
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        if same < max(len(old), len(new)):
            self.apply(cell_id, [ReplaceLast(len(old) - same, outputs[same:])])

    def _change(self, changes: dict[CellId, OutputChange], cell_id: CellId) -> OutputChange | None:
        """The change of this cell's outputs, begun if it is not yet. ``None`` if there is no such cell."""
        if cell_id not in changes:
            cell = self._find_code(cell_id)
            if cell is None:
                self._display_ids.pop(cell_id, None)
                return None
            outputs = self._outputs(cell)
            display_ids = self._display_ids.get(cell_id, [])
            if len(display_ids) != len(outputs):
                display_ids = []
            changes[cell_id] = OutputChange(outputs, display_ids)
        return changes[cell_id]

    def _shown(self) -> dict[str, set[CellId]]:
        """The cells that show each display. Made once for many edits: each may be about another display."""
        shown: dict[str, set[CellId]] = {}
        for cell_id, display_ids in self._display_ids.items():
            for display_id in display_ids:
                if display_id is not None:
                    shown.setdefault(display_id, set()).add(cell_id)
        return shown


def _metadata(cell: Map[Any]) -> Map[Any]:
    said = _read(cell, "metadata")
    if isinstance(said, Map):
        return said
    metadata = cell["metadata"] = Map(said if isinstance(said, dict) else {})
    return metadata


def _digest(outputs: Array[Any]) -> str:
    """The same for the same outputs, also after they were in a file or a log, where 1.0 may become 1."""
    content = json.dumps(_whole_numbers(outputs.to_py()), sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _put(target: Map[Any], key: str, value: Any) -> None:
    """Set, or with ``None`` remove, unless that is how it is already."""
    if value is None:
        if key in target:
            del target[key]
    elif _read(target, key, _NOTHING) != value:
        target[key] = shareable(value)


def _read(target: Map[Any], key: str, default: Any = None) -> Any:
    """``Map.get``, which asks twice whether the key is there, in a transaction each, before it reads (pycrdt 0.14.13)."""
    try:
        return target[key]
    except KeyError:
        return default
