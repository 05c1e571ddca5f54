"""Carries out a plan: a server's documents on a real folder with a real log, tabs, a kernel and another program."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import nbformat
from anyio import Event, create_task_group, sleep
from anyio.abc import TaskGroup
from jupyter_ydoc import YNotebook

from tests.documents.conftest import ROOM, Life, Site
from tests.node_process import NodeProcess
from tests.simulation.characters import Characters, followed
from tests.simulation.kernel import Kernel
from tests.simulation.ledger import PROGRAM, Ledger, chars_of
from tests.simulation.machine import Machine
from tests.simulation.outside import Program
from tests.simulation.plan import TABS, Log, Plan, Step
from tests.simulation.replica import Cell, PycrdtReplica, Replica, YjsReplica, content, whole_numbers
from tests.simulation.tab import Connection, Tab
from ydoc_exec.documents.ancestry import read_base
from ydoc_exec.documents.open_document import OpenDocument
from ydoc_exec.documents.open_files import OpenFiles
from ydoc_exec.errors import UpdateLogError, YdocExecError
from ydoc_exec.files.decision import fingerprint
from ydoc_exec.handlers.contents_manager import taken_over
from ydoc_exec.settings import Settings
from ydoc_exec.store.log_writer import LogWriter
from ydoc_exec.store.memory_update_log import MemoryUpdateLog
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog

RETRY = 1.0
"""Seconds after which a tab tries to connect again."""

NOTICED = 2.0
"""Seconds within which the server has noticed that another program has written the file."""

SETTLED = 120.0
"""Seconds within which all must be equal when nothing happens any more."""


@dataclass(slots=True)
class Outcome:
    """What became of a simulation. ``wrong`` says what is not as it must be."""

    wrong: list[str] = field(default_factory=list)
    characters: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


class PoweredLog(MemoryUpdateLog):
    """Takes nothing while the power is off."""

    def __init__(self, machine: Machine, lasts: bool) -> None:
        super().__init__()
        self._machine = machine
        self.lasts = lasts

    def _check_open(self, what: str) -> None:
        if self._machine.off:
            raise UpdateLogError(what, "the power is off")
        super()._check_open(what)


class World:
    """One simulation.

    Args:
        folder: an empty one.
        node: gives the process for tabs with Yjs.
        verbose: whether the story has what everybody sees after each step.
    """

    def __init__(
        self, plan: Plan, folder: Path, node: Callable[[], NodeProcess], *, verbose: bool = False
    ) -> None:
        self.plan = plan
        self.verbose = verbose
        self.machine = Machine(plan.seed)
        self.ledger = Ledger(nameless=plan.minor < 5)
        self.outputs = Characters(f"outputs {plan.seed}")
        self.kernel = Kernel(self)
        self.outcome = Outcome()
        self._node = node
        self._seen: dict[str, str] = {}
        self._characters = Characters(f"sources {plan.seed}")
        self._folder = folder
        self._site = Site(folder)
        usual = Settings()
        self._site.set(
            **{
                name: getattr(usual, name)
                for name in (
                    "log_delay",
                    "save_delay",
                    "save_interval",
                    "save_retry",
                    "poll_interval",
                    "linger",
                )
            }
        )
        self._make_log(whole=True)
        self._program = Program(self._site.file, self._characters, self.ledger, self.machine.random)
        self._tabs: list[Tab | None] = [None] * TABS
        self._all: list[Tab] = []
        self._connections: list[Connection] = []
        self._life: Life | None = None
        self._life_over: Event | None = None
        self._stop: Event | None = None
        self._killed: bool | None = None
        self._unlogged = False
        self._ended_at = 0.0
        self._file_at_the_end: frozenset[str] = frozenset()
        self._loaded: float | None = None
        self._log_left = False
        self._writing = 0
        self._unnoticed = 0
        self._tasks: TaskGroup
        self._numbers = count(1)

    def run(self) -> Outcome:
        """From beginning to end."""
        handler = _Errors(self)
        logger = logging.getLogger("ydoc_exec")
        logger.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.machine.run(self._run)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            self.outcome.wrong.append(f"it failed: {_reasons(error)}")
        finally:
            logger.removeHandler(handler)
        for tab in self._all:
            tab.replica.close()
        return self.outcome

    def say(self, what: str) -> None:
        """For the report of a failure."""
        self.outcome.story.append(f"{self.machine.now:9.3f} {what}")

    def note_back(self, by: str, back: frozenset[str]) -> None:
        """Somebody has brought back what was removed."""
        shown = {tab.name: tab.chars() for tab in self._tabs if tab is not None and tab.shown}
        self.ledger.note_others(by, back, shown)

    def in_file_for(self, tab: Tab, chars: frozenset[str]) -> frozenset[str]:
        """Those of which a tab knows the file as it was when another program took them out."""
        taken = {char: self._program.taken[char] for char in chars if char in self._program.taken}
        base = tab.replica.content()["base"] if taken else {}
        return frozenset(char for char, (cell, digest) in taken.items() if base.get(cell) == digest)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Have something called at a time, in the order of the times."""
        asyncio.get_running_loop().call_at(when, callback)

    # Private: the plan

    async def _run(self) -> None:
        self._site.file.write_bytes(self._first_notebook())
        async with create_task_group() as tasks:
            self._tasks = tasks
            for step in self.plan.steps:
                await sleep(step.pause)
                self.say(str(step))
                self.outcome.steps[step.kind] += 1
                await self._carry_out(step)
                self._say_where_we_are()
            await self._quiesce()
            if self._life is not None:
                await self._end_life(killed=False)
            tasks.cancel_scope.cancel()

    def _say_where_we_are(self) -> None:
        if not self.verbose:
            return
        seen = {"file": _brief(self._program.cells())}
        for document in self._life.documents.all() if self._life is not None else ():
            seen["server"] = f"({document.lineage[:4]}) {_brief(_cells_of(document))}"
        for tab in self._tabs:
            if tab is not None and tab.shown:
                seen[tab.name] = f"({'on' if tab.connected else 'off'}) {_brief(tab.cells())}"
        for who, what in seen.items():
            if self._seen.get(who) != what:
                self.say(f"    {who} {what}")
        self._seen = seen

    def _first_notebook(self) -> bytes:
        cells: list[dict[str, Any]] = []
        for number in range(self.plan.cells):
            text = self._characters.take(4)
            name = f"cell-{number}"
            self.ledger.note_typed("the author", name if self.plan.minor > 4 else "None", text)
            cell: dict[str, Any] = {
                "cell_type": "code",
                "metadata": {},
                "source": f"{text}\n",
                "outputs": [],
                "execution_count": None,
            }
            if number % 3 == 2:
                cell = {"cell_type": "markdown", "metadata": {}, "source": text}
            if self.plan.minor > 4:
                cell["id"] = name
            cells.append(cell)
        self.ledger.note_answered(self.ledger.as_they_are(self.ledger.typed), 0.0)
        whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": self.plan.minor}
        return json.dumps(whole, indent=1).encode()

    async def _carry_out(self, step: Step) -> None:
        slot = self._tabs[step.tab]
        match step.kind:
            case "wait":
                await sleep(step.seconds)
            case "start":
                if self._life is None:
                    await self._start(step.log)
            case "stop" | "kill":
                if self._life is not None:
                    self._unlogged = step.kind == "kill" and not step.flush
                    await self._end_life(killed=step.kind == "kill")
            case "open":
                if slot is None:
                    self._open(step.tab)
            case "close" | "reload":
                if slot is not None:
                    self._close(step.tab)
                    if step.kind == "reload":
                        self._open(step.tab)
            case "drop":
                if slot is not None and slot.connected:
                    self._drop(slot, step)
            case "return":
                for tab in self._tabs:
                    if tab is not None:
                        tab.away = False
            case "run":
                await self._run_cell(step)
            case "outside":
                self._tasks.start_soon(self._write_outside, step)
            case _:
                if slot is not None and slot.shown:
                    self._use(slot, step)

    # Private: users

    def _use(self, tab: Tab, step: Step) -> None:
        cells = tab.cells()
        if step.kind == "save":
            tab.save()
            return
        if not cells:
            return
        index = int(step.where[0] * len(cells))
        cell = cells[index]
        at = int(step.where[1] * (len(cell.source) + 1))
        match step.kind:
            case "type" | "paste":
                text = self._characters.take(step.count)
                self.ledger.note_typed(tab.name, cell.id, text)
                parts = [text] if step.kind == "paste" else list(text)
                for offset, part in enumerate(parts):
                    tab.act("type", index, at + offset, part, typed=part)
            case "erase":
                if at < len(cell.source):
                    tab.act("erase", index, at, min(step.count, len(cell.source) - at))
            case "insert":
                name = f"{tab.name}-{next(self._numbers)}"
                text = self._characters.take(step.count)
                self.ledger.note_typed(tab.name, name, text)
                kind = "code" if step.where[2] < 0.7 else "markdown"
                tab.act("insert", int(step.where[0] * (len(cells) + 1)), name, kind, text, typed=text)
            case "remove":
                if len(cells) > 1:
                    self.kernel.meddled([cell.id])
                    tab.act("remove", index)
            case "move":
                to = int(step.where[1] * len(cells))
                if to != index:
                    self.kernel.meddled([cell.id])
                    tab.act("move", index, to, replaced=(cell.id,))
            case "set-type":
                self.kernel.meddled([cell.id])
                tab.act("set_type", index, "markdown" if cell.type == "code" else "code", replaced=(cell.id,))
            case "clear":
                self.kernel.meddled([cell.id])
                if tab.connection is not None:
                    self.kernel.clearing(cell.id, tab.connection)
                tab.act("clear", index)
            case "undo" | "redo":
                self.kernel.meddled_with_all()
                tab.act(f"{step.kind}_last", replaced=tuple(sorted(tab.copied)))
            case "wipe":
                self.kernel.meddled_with_all()
                tab.act("wipe", f"{tab.name}-{next(self._numbers)}")
            case _:
                raise AssertionError(step.kind)
        if step.where[2] < 0.6:
            tab.ask_for_answer()

    def _open(self, slot: int) -> None:
        name = f"tab-{len(self._all) + 1}"
        client_id = self.machine.random.randrange(1, 2**32)
        replica: Replica
        if slot in self.plan.yjs:
            replica = YjsReplica(self._node(), f"{self.plan.seed} {name}", client_id)
        else:
            replica = PycrdtReplica(client_id)
        tab = Tab(self, name, replica)
        self._tabs[slot] = tab
        self._all.append(tab)
        self._tasks.start_soon(self._keep_connected, tab)

    def _close(self, slot: int) -> None:
        tab = self._tabs[slot]
        assert tab is not None
        tab.closed = True
        if tab.connected:
            assert tab.connection is not None
            tab.connection.cut(self.machine.random.randrange(3))
            tab.connection.client.left()
        self._tabs[slot] = None

    def _drop(self, tab: Tab, step: Step) -> None:
        connection = tab.connection
        assert connection is not None
        tab.away = step.where[0] < 0.6
        connection.cut(step.count)
        self._tasks.start_soon(self._notice, connection, step.seconds)

    async def _notice(self, connection: Connection, seconds: float) -> None:
        self._unnoticed += 1
        await sleep(seconds)
        connection.client.left()
        self._unnoticed -= 1

    async def _keep_connected(self, tab: Tab) -> None:
        while not tab.closed:
            if not tab.connected and not tab.away and self._life is not None:
                await self._connect(tab, self._life)
            await sleep(RETRY * self.machine.random.choice((0.05, 0.3, 1.0)))

    async def _connect(self, tab: Tab, life: Life) -> None:
        try:
            if tab.session is None:
                async with life.documents.open(ROOM) as document:
                    self._note_loaded(life, document)
                    tab.session = document.lineage
            await sleep(self.machine.random.choice((0.0, 0.01, 0.1)))
            async with life.documents.open(ROOM) as document:
                self._note_loaded(life, document)
                if life is not self._life or tab.closed or tab.away:
                    return
                connection = Connection(tab, next(self._numbers))
                self._connections.append(connection)
                self._tasks.start_soon(connection.carry)
                document.admit(connection.client, tab.session)
                tab.attach(connection)
        except (YdocExecError, RuntimeError, OSError) as error:
            # A server that is being stopped refuses, and one that was killed answers nothing.
            self.say(f"{tab.name} cannot connect: {error}")
            if life is self._life and self._stop is not None and not self._stop.is_set():
                raise

    def _note_loaded(self, life: Life, document: OpenDocument) -> None:
        if life is not self._life or self._loaded is not None:
            return
        self._loaded = self.machine.now
        if self._log_left:
            return
        base = read_base(document.room.doc)
        for tab in self._tabs:
            if tab is not None and tab.shown:
                known = tab.replica.content()["base"]
                same = [cell for cell in _cells_of(document) if base.get(cell.id) == known.get(cell.id)]
                self.ledger.note_indistinct(tab.name, chars_of(same) - tab.chars())

    # Private: the kernel and other programs

    async def _run_cell(self, step: Step) -> None:
        life = self._life
        if life is None:
            return
        async with life.documents.open(ROOM) as document:
            self._note_loaded(life, document)
            codes = [cell.id for cell in _cells_of(document) if cell.type == "code"]
            if codes:
                cell = codes[int(step.where[0] * len(codes))]
                self._tasks.start_soon(self.kernel.run, document, cell, step.seconds, step.count)
                await anyio.lowlevel.checkpoint()

    async def _write_outside(self, step: Step) -> None:
        data = self._program.read()
        changed = self._program.change(step.outside, data, step.where, step.count)
        if changed is None:
            return
        self._writing += 1
        await sleep(step.seconds)
        before = self._program.chars()
        cells = self._program.write(changed)
        self.note_back(PROGRAM, self.ledger.once_removed(self._program.chars() - before))
        if cells is None:
            self.kernel.meddled_with_all()
        else:
            self.kernel.meddled(cells)
        self.ledger.note_answered(self.ledger.as_they_are(self._program.chars()), self.machine.now)
        await sleep(NOTICED)
        self._writing -= 1

    # Private: the server

    def _make_log(self, *, whole: bool = False) -> None:
        """A log with nothing in it."""
        if self.plan.sqlite:
            path = self._folder / "log" / "log.db"
            for file in path.parent.glob("*"):
                file.unlink()
            self._site.log = SqliteUpdateLog(path)
        else:
            self._site.log = PoweredLog(self.machine, self.plan.keeps_log)

    async def _start(self, log: Log) -> None:
        intact = log == "intact" and self.plan.keeps_log
        if self._killed is not None:
            if self._killed or self._loaded is None:
                self.ledger.note_ended(
                    self._ended_at,
                    self._loaded,
                    flushed=not self._unlogged,
                    log_left=intact,
                    file=self._file_at_the_end,
                )
            self.ledger.note_begun(self.machine.now, log_left=intact)
        self._loaded = None
        self._log_left = intact
        if not self.plan.keeps_log or log == "wiped":
            self._make_log()
        elif log == "forgotten":
            async with self._site.log:
                await self._site.log.forget(ROOM)
        if self.verbose:
            await self._say_what_is_logged()
        started = Event()
        self._stop, self._life_over = Event(), Event()
        self._tasks.start_soon(self._live, started, self._stop, self._life_over)
        await started.wait()

    async def _say_what_is_logged(self) -> None:
        self.machine.instant = True
        async with self._site.log:
            history = await self._site.log.read(ROOM)
        self.machine.instant = False
        if history is not None:
            replica = PycrdtReplica(1)
            for update in history.updates:
                replica.apply(update)
            self.say(f"    log ({history.lineage[:4]}) {_brief(replica.cells())}, base {history.base}")

    async def _live(self, started: Event, stop: Event, over: Event) -> None:
        try:
            async with self._site.log:
                async with create_task_group() as writing:
                    async with create_task_group() as tasks:
                        life = Life(self._site, tasks)
                        life.writer = self._writer(life)
                        await writing.start(life.writer.run)
                        with taken_over(self._site.contents, OpenFiles(life.documents, lambda path: path)):
                            self._life = life
                            started.set()
                            await stop.wait()
                            if self._killed:
                                if not self._unlogged:
                                    await life.writer.flush()
                                self._turn_off()
                                writing.cancel_scope.cancel()
                                tasks.cancel_scope.cancel()
                            else:
                                self.kernel.lose()
                                await life.documents.close()
                    writing.cancel_scope.cancel()
                self.machine.off = self._site.killed = False
        finally:
            over.set()

    def _writer(self, life: Life) -> LogWriter:
        def say_degraded(error: UpdateLogError | None) -> None:
            if error is None:
                life.documents.log_is_back(life.writer.broken)
            elif not self.machine.off:
                self.outcome.wrong.append(f"the log failed: {error}")

        return LogWriter(self._site.log, self._site.settings.log_delay, say_degraded)

    def _turn_off(self) -> None:
        """Nothing that happens from now on happened."""
        self._ended_at = self.machine.now
        self._file_at_the_end = self._program.chars()
        self.machine.off = self._site.killed = True
        self.kernel.vanish()
        self.kernel.meddled_with_all()
        for connection in self._connections:
            connection.cut(0)

    async def _end_life(self, *, killed: bool) -> None:
        assert self._stop is not None
        assert self._life_over is not None
        self._killed = killed
        self._ended_at = self.machine.now
        self._file_at_the_end = self._program.chars()
        self._stop.set()
        await self._life_over.wait()
        self._life = None
        for connection in self._connections:
            connection.cut(0)
        self._connections.clear()

    # Private: the end

    async def _quiesce(self) -> None:
        owed: set[str] = set()
        for tab in self._tabs:
            if tab is not None:
                tab.away = False
                owed |= tab.chars() - self.ledger.outdated.get(tab.name, frozenset())
        self.say("quiesce")
        if self._life is None:
            await self._start("intact")
        assert self._life is not None
        async with self._life.documents.open(ROOM) as document:
            unequal: list[str] = ["nothing was compared"]
            with anyio.move_on_after(SETTLED):
                while unequal:
                    await sleep(2.0)
                    if not document.mirror.saves_unasked:
                        # Nothing is left in it, and somebody says that this is meant.
                        await document.mirror.save(recreate=True)
                    unequal = self._unequal(document)
            self.outcome.wrong += unequal
            self._judge(document, owed)

    def _unequal(self, document: OpenDocument) -> list[str]:
        wrong = []
        if self.kernel.busy:
            wrong.append("something is running")
        if self._writing:
            wrong.append("another program writes the file, or has just done so")
        if self._unnoticed:
            # What it had typed into cells that were gone is brought over when it has left.
            wrong.append("the server has not noticed that a tab is gone")
        if document.mirror.dirty:
            wrong.append("the document is not saved")
        tabs = [tab for tab in self._tabs if tab is not None]
        for tab in tabs:
            if not tab.connected or not tab.synced:
                wrong.append(f"{tab.name} is not connected")
            elif tab.connection is not None and not tab.connection.idle:
                wrong.append(f"frames of {tab.name} are under way")
        if wrong:
            return wrong
        here = content(document.room.doc)
        for tab in tabs:
            there = whole_numbers(tab.replica.content())
            wrong += [
                f"{root} of {tab.name} is {there[root]!r} instead of {here[root]!r}"
                for root in here
                if there[root] != here[root]
            ]
        return wrong

    def _judge(self, document: OpenDocument, owed: set[str]) -> None:
        wrong = self.outcome.wrong
        cells = _cells_of(document)
        kept = self._kept()
        found, self.outcome.characters = self.ledger.verdict(cells, kept, owed)
        wrong += found
        names = [cell.id for cell in cells]
        if len(set(names)) != len(names):
            wrong.append(f"a cell id is there twice: {names}")
        self._judge_file(document)
        self._judge_outputs(document)

    def _judge_file(self, document: OpenDocument) -> None:
        wrong = self.outcome.wrong
        text = self._program.read().decode()
        notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
        try:
            nbformat.validate(notebook)
        except nbformat.ValidationError as error:
            wrong.append(f"the file is not valid: {error}")
        mine = json.loads(json.dumps(document.read()))
        prints = fingerprint(_plain(notebook)), fingerprint(_plain(mine))
        base = document.mirror.base
        # A document that nobody has changed has what is filled in besides, which alone is not worth a save.
        if len(set(prints)) > 1 and (base is None or prints != (base.file, base.document)):
            wrong.append(f"the file is {_plain(notebook)!r} and the document {_plain(mine)!r}")

    def _judge_outputs(self, document: OpenDocument) -> None:
        wrong = self.outcome.wrong
        said: dict[str, list[dict[str, Any]]] = {}
        for cell in content(document.room.doc)["cells"]:
            for output in cell.get("outputs") or ():
                # A traceback says again what the error is called.
                once = output.get("ename", output)
                for char in followed(json.dumps(once, ensure_ascii=False)):
                    said.setdefault(char, []).append(cell)
            if cell.get("execution_state", "idle") != "idle":
                wrong.append(f"{cell['id']} is {cell['execution_state']}")
            shown = self.kernel.shown.get(cell["id"])
            if shown is not None and shown.sure and cell["cell_type"] == "code":
                if cell["outputs"] != whole_numbers(shown.outputs):
                    wrong.append(f"{cell['id']} shows {cell['outputs']} instead of {shown.outputs}")
                elif cell["execution_count"] != shown.count:
                    wrong.append(f"{cell['id']} has the count {cell['execution_count']}, not {shown.count}")
        wrong += [
            f"the output {char} is there {len(cells)} times, in {[cell['id'] for cell in cells]}"
            for char, cells in said.items()
            # Cells that are there twice are so with their outputs. Whether they may be is judged by their sources.
            if len(cells) > 1 and not _are_copies(cells)
        ]

    def _kept(self) -> frozenset[str]:
        """The characters in all versions that were kept elsewhere."""
        folders = [self._folder / "aside", self._folder / "recovery"]
        files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
        texts = [file.read_text(errors="replace") for file in files]
        return frozenset(char for text in texts for char in followed(text))


def _cells_of(document: OpenDocument) -> list[Cell]:
    assert isinstance(document.document, YNotebook)
    return [
        Cell(str(cell.get("id")), str(cell.get("cell_type")), str(cell.get("source", "")))
        for cell in document.document.ycells
    ]


def _are_copies(cells: list[dict[str, Any]]) -> bool:
    """Whether these are different cells that have something in their sources in common."""
    sources = [set(followed(cell["source"])) for cell in cells]
    return len({cell["id"] for cell in cells}) == len(cells) and bool(set.intersection(*sources))


def _brief(cells: list[Cell]) -> str:
    return " | ".join(f"{cell.id}: {cell.source}" for cell in cells).replace("\n", "/")


def _plain(notebook: Any) -> Any:
    value = json.loads(json.dumps(notebook))
    for cell in value["cells"]:
        cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = "".join(output["text"])
    return value


def _reasons(error: BaseException) -> str:
    inside = getattr(error, "exceptions", ())
    return "; ".join(map(_reasons, inside)) or "".join(traceback.format_exception(error))[-3500:]


class _Errors(logging.Handler):
    """What the server says is wrong is wrong, as long as there is power."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self._world.say(f"[{record.levelname}] {text}")
        if record.levelno >= logging.ERROR and not self._world.machine.off:
            self._world.outcome.wrong.append(f"the server said: {text}")
