"""One round: authors write, servers are killed, and what must be true is looked at.

- The file is a complete version at every moment: of each author one of the states that it has gone through, never an
  older one than was saved for it.
- What an author was answered for comes into the log while it writes on, and what was in the log is there without that
  author.
- What an author has is there, as it has it, when it has come back. Nothing is there twice.
- If something has happened to the log, what an author has may be in a recovery copy instead, as two versions cannot
  always be told apart then. The rest still holds.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread
import httpx
from websockets.exceptions import WebSocketException

from tests.crash.author import NOTEBOOK, RUN_CELL, Author, State, printed_lines, state_in
from tests.crash.forked_server import ForkedServer
from tests.crash.plan import Life, Log, Moment, Plan
from tests.crash.watcher import Version, Watcher, cells_of
from tests.headless.client import RoomClient, RoomClosed
from tests.server import code_cell, markdown_cell

GONE = (RoomClosed, WebSocketException, httpx.HTTPError, OSError)
"""What a client meets when the server is killed."""

BALLAST = "ballast"
PRINTS = "import time\nfor i in range(100_000):\n    print('line', i, flush=True)\n    time.sleep(0.002)"

SAVES = {Moment.SAVING: 40.0, Moment.REPLACING: 40.0}
PATIENCE = 1.0
"""Seconds after which a server is killed although the moment has not come."""

WITHOUT_CLIENTS = (Moment.STARTING, Moment.COMING)
"""These moments are not waited for until clients are there."""


class Tally:
    """What was met in all rounds."""

    def __init__(self) -> None:
        self.rounds = 0
        self.kills: Counter[Moment] = Counter()
        self.half_saved = 0
        """Kills that left a new version of the file behind that had not taken its place."""
        self.unlogged = 0
        """Times that a fresh client did not find everything that was written."""
        self.settled = 0
        """Times that a fresh client found what had been in the log and no client had saved."""
        self.settled_lines = 0
        """The same of what was printed."""
        self.versions = 0
        """Versions of files that were seen."""


class Round:
    """One round with a server that is not running yet."""

    def __init__(self, planned: Plan, server: ForkedServer, watcher: Watcher, tally: Tally) -> None:
        self._plan = planned
        self._server = server
        self._watcher = watcher
        self._tally = tally
        self._rng = random.Random(planned.number)
        self._authors = [self._author(name) for name in "ab"[: planned.authors]]
        self._leavers = [self._author("z")] if planned.leaver else []
        self._ballast = "".join(self._rng.choices("abcdefgh ", k=1000)) * (planned.ballast // 1000)
        self._faulted = False
        """Whether something has happened to the log."""

    async def play(self) -> None:
        """Raises ``AssertionError`` for what is not true."""
        self._watcher.watch(self._server.write_notebook(NOTEBOOK, *self._first_cells()))
        try:
            with ExitStack() as repairs:
                authors = self._everybody
                for life in self._plan.lives:
                    before = self._copy_log()
                    await self._live(life, authors)
                    repairs.close()
                    self._check_file()
                    self._do_to_log(life.log, before, repairs)
                    authors = self._authors
                await self._live_on(repairs)
            self._server.kill()
            self._check_file()
        finally:
            versions, broken = self._watcher.report()
            for author in self._everybody:
                await author.client.__aexit__()
        assert broken == [], "the file was not complete at every moment"
        for version in versions:
            self._check_version(version)
        self._tally.versions += len(versions)
        self._tally.rounds += 1

    # Private: lives

    async def _live(self, life: Life, authors: list[Author]) -> None:
        """A life that ends with a kill."""
        if life.moment is Moment.STARTING:
            self._server.begin()
        else:
            await anyio.to_thread.run_sync(self._server.start)
        go, left = threading.Event(), threading.Event()
        with anyio.fail_after(40):
            if life.moment not in WITHOUT_CLIENTS:
                await self._come(authors, life.fresh_first)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.to_thread.run_sync, self._kill, life, go, left)
                    if life.moment is not Moment.STARTING:
                        for author in authors:
                            tasks.start_soon(self._take_part, author, life, go, left)
                    if life.moment is not Moment.RUNNING and not life.settles:
                        go.set()
            finally:
                go.set()
        self._server.kill()
        self._tally.kills[life.moment] += 1
        self._count_half_saved()
        if not life.kernels_outlive:
            self._end_kernels(life)
        for author in authors:
            author.killed()
            await author.client.disconnect()

    async def _take_part(
        self, author: Author, life: Life, go: threading.Event, left: threading.Event
    ) -> None:
        try:
            if life.moment is Moment.COMING:
                await author.come()
            if life.moment is Moment.SAVING:
                await author.type_word()
                await author.save()
            if author is self._authors[0]:
                if life.moment is Moment.RUNNING:
                    await author.run_cell()
                if life.settles:
                    await author.settle()
                go.set()
            await author.write(0.0 if life.settles else SAVES.get(life.moment, 5.0), left)
        except GONE:
            return
        finally:
            if author is self._authors[0]:
                go.set()  # what goes wrong here is not waited for
        await author.client.disconnect()

    def _kill(self, life: Life, go: threading.Event, left: threading.Event) -> None:
        """Wait for the moment, in a thread of its own: what clients do just then must have no say in it."""
        go.wait()
        deadline = time.monotonic() + life.before + PATIENCE
        if life.moment not in WITHOUT_CLIENTS:
            time.sleep(life.before)
        left_log = self._log_state()
        if life.moment is Moment.LEAVING:
            left.set()
        elif life.moment is Moment.STOPPING:
            self._server.ask_to_stop()
        elif life.moment is Moment.REPLACING:
            while not self._half_saved() and time.monotonic() < deadline:
                time.sleep(0.0003)
        elif life.moment is Moment.COMMITTING:
            while self._log_state() == left_log and time.monotonic() < deadline:
                time.sleep(0.0003)
        time.sleep(life.delay)
        self._server.strike()

    async def _come(self, authors: list[Author], fresh_first: bool) -> None:
        """Let authors come back, in any order, and look at what is there then."""
        had = {author.name: self._newest_known(author) for author in self._everybody}
        if fresh_first:
            async with RoomClient(self._server, NOTEBOOK) as fresh:
                self._check_without_authors(fresh)
        for author in self._rng.sample(authors, len(authors)):
            await author.come()
        for author in authors:
            await author.ask()
        for author in authors:
            self._check_document(author.client)
            for other in self._everybody:
                self._check_author(author.client, other, had[other.name], other in authors)
            assert author.shows_idle(), "the document claims that something runs"
        for author in authors:
            author.accept()

    async def _live_on(self, repairs: ExitStack) -> None:
        """The last life: everybody comes back, goes on, and saves."""
        await anyio.to_thread.run_sync(self._server.start)
        repairs.close()
        with anyio.fail_after(40):
            await self._come(self._authors, self._plan.fresh_first)
            for author in self._authors:
                await author.type_word()
                await author.ask()
            last = self._authors[0]
            await self._equal(self._authors)
            await last.save()
            async with RoomClient(self._server, NOTEBOOK) as fresh:
                self._check_document(fresh)
                assert cells_of(self._server.read_notebook(NOTEBOOK)) == cells_of({"cells": fresh.cells})
                for author in self._authors:
                    assert state_in(fresh.ycells, author.name) == author.states[-1]
        for author in self._everybody:
            await author.client.disconnect()
        if not self._faulted:
            assert self._kept_texts() == [], "there was no conflict"
        assert "Traceback" not in self._server.log

    async def _equal(self, authors: list[Author]) -> None:
        first, *others = (author.client for author in authors)
        for other in others:
            while first.cells != other.cells:
                await first.barrier()
                await other.barrier()

    # Private: what must be true

    def _check_file(self) -> None:
        self._check_version(cells_of(self._server.read_notebook(NOTEBOOK)))
        if self._faulted:
            return
        for author in self._everybody:
            index = author.index(_state_of(cells_of(self._server.read_notebook(NOTEBOOK)), author.name))
            assert index is not None
            assert index >= author.saved, "the file is older than what was saved"

    def _check_version(self, version: Version) -> None:
        """What must be true of every version of the file that anybody can ever read."""
        texts = {name: text for name, text, _ in version}
        assert len(texts) == len(version), "a cell is there twice"
        assert texts[BALLAST] == cells_of({"cells": [{"id": "", "source": self._ballast}]})[0][1]
        _check_words(texts)
        for author in self._everybody:
            self._check_state(author, _state_of(version, author.name))
        for name, _, printed in version:
            _check_lines(printed.splitlines() if name == RUN_CELL else [])

    def _check_state(self, author: Author, state: State) -> None:
        if self._faulted:
            assert author.had(state), f"{author.name} never had these cells: {state}"
        else:
            assert author.index(state) is not None, f"{author.name} never was at {state}"

    def _check_document(self, client: RoomClient) -> None:
        """What must be true of every document."""
        self._check_version(cells_of({"cells": client.cells}))

    def _check_without_authors(self, fresh: RoomClient) -> None:
        """What must be there without those who wrote it."""
        self._check_document(fresh)
        for author in self._everybody:
            state = state_in(fresh.ycells, author.name)
            index = author.index(state)
            if self._faulted:
                continue
            assert index is not None
            assert index >= author.settled, f"the log had {author.states[author.settled]}"
            assert len(printed_lines(fresh.ycells)) >= author.settled_lines
            self._tally.unlogged += index < author.last
            self._tally.settled += author.settled > author.saved
            self._tally.settled_lines += author.settled_lines > 0

    def _check_author(self, client: RoomClient, author: Author, had: State, is_here: bool) -> None:
        """What must be there of an author: if it is here all that it had, else what somebody knew of it."""
        state = state_in(client.ycells, author.name)
        if self._faulted:
            copies = self._kept_texts()
            for cell in had:
                assert cell in state or any(cell[1] in text for text in copies), f"{cell} is lost"
        elif is_here:
            assert state == had
        else:
            index = author.index(state)
            assert index is not None
            assert index >= max(author.settled, author.index(had) or 0)
        if not self._faulted:
            assert len(printed_lines(client.ycells)) >= max(len(one.lines) for one in self._authors)

    # Private: the rest

    def _author(self, name: str) -> Author:
        return Author(self._server, name, self._rng)

    @property
    def _everybody(self) -> list[Author]:
        return self._authors + self._leavers

    def _first_cells(self) -> list[dict[str, Any]]:
        return [
            *({"id": f"{author.name}-0"} | markdown_cell("") for author in self._everybody),
            {"id": BALLAST} | markdown_cell(self._ballast),
            {"id": RUN_CELL} | code_cell(PRINTS),
        ]

    def _newest_known(self, author: Author) -> State:
        """The newest state of an author that is in the document of somebody who comes back."""
        if author in self._authors:
            return author.states[-1]
        states = [
            state_in(other.client.ycells, author.name) for other in self._authors if other.client.session_id
        ]
        return max(states, key=lambda state: author.index(state) or 0, default=author.states[0])

    def _half_saved(self) -> list[str]:
        return [name for name in os.listdir(self._server.root) if name.startswith(".~")]

    def _count_half_saved(self) -> None:
        left = self._half_saved()
        self._tally.half_saved += bool(left)
        for name in left:
            (self._server.root / name).unlink()

    def _end_kernels(self, life: Life) -> None:
        if life.moment is Moment.RUNNING:
            self._server.end_kernels()

    def _kept_texts(self) -> list[str]:
        """All that was kept aside."""
        return [path.read_text() for path in self._server.recovery.glob("*/content.*")]

    # Private: the log

    def _log_state(self) -> tuple[int, int]:
        try:
            info = os.stat(f"{self._server.update_log}-wal")
        except FileNotFoundError:
            return (0, 0)
        return info.st_mtime_ns, info.st_size

    def _log_files(self) -> list[str]:
        return [f"{self._server.update_log}{suffix}" for suffix in ("", "-wal", "-shm")]

    def _copy_log(self) -> dict[str, bytes]:
        copy = {}
        for name in self._log_files():
            if os.path.isfile(name):
                with open(name, "rb") as file:
                    copy[name] = file.read()
        return copy

    def _do_to_log(self, fate: Log, before: dict[str, bytes], repairs: ExitStack) -> None:
        """``repairs`` are made after the next life, or in the last one when it has begun."""
        log = self._server.update_log
        if fate is Log.KEPT or not log.exists():
            return
        self._faulted = True
        if fate is Log.LOCKED:
            connection = sqlite3.connect(log, isolation_level=None)
            repairs.callback(connection.close)
            connection.execute("BEGIN IMMEDIATE")
            return
        now = self._copy_log()
        for name in now:
            os.unlink(name)
        if fate is Log.CORRUPT:
            for name, data in now.items():
                _write(name, b"x" * len(data))
        elif fate is Log.OLDER:
            for name, data in before.items():
                _write(name, data)
        elif fate is Log.UNREACHABLE:
            log.mkdir()
            repairs.callback(self._bring_back, now)

    def _bring_back(self, log: dict[str, bytes]) -> None:
        shutil.rmtree(self._server.update_log)
        for name, data in log.items():
            _write(name, data)


def _write(name: str, data: bytes) -> None:
    with open(name, "wb") as file:
        file.write(data)


def _state_of(version: Version, author: str) -> State:
    return tuple((name, text) for name, text, _ in version if name.startswith(f"{author}-"))


def _check_words(texts: dict[str, str]) -> None:
    words = Counter(word for text in texts.values() for word in re.findall(r"[abz]\d+\.", text))
    assert [word for word, times in words.items() if times > 1] == [], "words are there twice"


def _check_lines(lines: list[str]) -> None:
    assert lines == [f"line {number}" for number in range(len(lines))], "the output is not what was printed"
