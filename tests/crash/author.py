"""A client that writes, remembers every state of what it wrote, and knows which of them must be there after a kill."""

from __future__ import annotations

import random
import threading
from typing import Any

import anyio
from pycrdt import Array, Text

from tests.crash.forked_server import ForkedServer
from tests.crash.logged_document import logged_document
from tests.headless.client import RoomClient
from tests.server import code_cell, stream_text

NOTEBOOK = "a.ipynb"
RUN_CELL = "run"

State = tuple[tuple[str, str], ...]
"""The cells of one author: ids and texts."""


class Author:
    """One client with cells of its own, which nobody else changes. Their ids begin with its name.

    Its words are ``{name}{number}.``, and no word is written twice; the full stop tells a word from a part of one. What is in another document or a file must be one
    of its states, because its changes are sent one after the other.
    """

    def __init__(self, server: ForkedServer, name: str, rng: random.Random) -> None:
        self.name = name
        self._server = server
        self.client = RoomClient(server, NOTEBOOK)
        self.states: list[State] = [((f"{name}-0", ""),)]
        self.settled = 0
        """Everything up to this state was in the server's log, whatever becomes of the clients."""
        self.settled_lines = 0
        """So many printed lines were."""
        self.saved = 0
        """Everything up to this state must be in the file."""
        self._rng = rng
        self._words = 0
        self._cells = 0

    # What it does

    async def come(self) -> None:
        """Come (back) to the room, with the document it has."""
        await self.client.reconnect()
        await self.ask()

    async def write(self, saves: float, left: threading.Event) -> None:
        """Write until ``left`` is set, or the connection ends, which raises.

        ``saves`` says how often it presses save; a word has 60.
        """
        actions = {
            self.type_word: 60.0,
            self.paste: 6.0,
            self.add_cell: 14.0,
            self.delete_cell: 6.0,
            self.save: saves,
        }
        while not left.is_set():
            for action in self._rng.choices(list(actions), list(actions.values())):
                await action()
            if self._rng.random() < 0.8:
                await self.ask()
            await anyio.sleep(self._rng.uniform(0, 0.01))

    async def type_word(self) -> None:
        """One transaction for each character, as a person types."""
        source = self._any_cell()
        for character in self._word():
            source += character
            self._note()
            if self._rng.random() < 0.05:
                await anyio.sleep(0.001)

    async def paste(self) -> None:
        """A long text at once."""
        text = "".join(self._word() for _ in range(100))
        source = self._any_cell()
        source += text
        self._note()

    async def add_cell(self) -> None:
        """A cell of its own anywhere."""
        self._cells += 1
        cells = self.client.ycells
        cell = code_cell(self._word()) | {"id": f"{self.name}-{self._cells}"}
        cells.insert(self._rng.randrange(len(cells) + 1), self.client.notebook.create_ycell(cell))
        self._note()

    async def delete_cell(self) -> None:
        """One of the cells that it has added."""
        cells = self.client.ycells
        mine = [index for index, name in self._own(cells) if name != f"{self.name}-0"]
        if mine:
            del cells[self._rng.choice(mine)]
            self._note()

    async def save(self) -> None:
        """Press save, and wait for the answer."""
        state = self.last
        status = await self.client.save()
        assert status == "success", f"{self.name} pressed save and got {status}"
        self.saved = max(self.saved, state)

    async def run_cell(self) -> None:
        """Start a kernel and the cell that prints, and wait for its first line."""
        kernel = await self.client.start_kernel()
        await self.client.execute(kernel, [self._index_of(RUN_CELL)])
        await self.client.wait(lambda: self.lines)

    async def ask(self) -> None:
        """Have the server answer for everything up to now."""
        await self.client.barrier()

    async def settle(self) -> None:
        """Write a word, have the server answer for it, and write on until it is in the server's log."""
        await self.type_word()
        await self.ask()
        word = self.last
        while self.settled < word:
            await self.type_word()
            await self.ask()
            document = await logged_document(self._server.update_log, self.client.document_id)
            if document is None:
                continue
            cells = document.get("cells", type=Array)
            index = self.index(state_in(cells, self.name))
            assert index is not None, "what is in the log was never so"
            self.settled = max(self.settled, index)
            self.settled_lines = max(self.settled_lines, len(printed_lines(cells)))

    def killed(self) -> None:
        """The server was killed. What was saved is in its log too."""
        self.settled = max(self.settled, self.saved)

    # What it has

    @property
    def last(self) -> int:
        """The state that it has now."""
        return len(self.states) - 1

    @property
    def lines(self) -> list[str]:
        """What the cell that runs has printed, as far as it is seen here."""
        return printed_lines(self.client.ycells)

    def shows_idle(self) -> bool:
        """Whether no cell claims to run."""
        code = [cell for cell in self.client.ycells if cell["cell_type"] == "code"]
        return not self.client.live_runs and all(cell["execution_state"] == "idle" for cell in code)

    def now(self) -> State:
        """What is in its own document now."""
        return state_in(self.client.ycells, self.name)

    def accept(self) -> None:
        """Go on from what the server made of its cells."""
        self._note()

    def index(self, state: State) -> int | None:
        """Which of its states this is, the last one if there are several."""
        for index in range(self.last, -1, -1):
            if self.states[index] == state:
                return index
        return None

    def had(self, state: State) -> bool:
        """Whether it had each of these cells just so at some time, be it not all at once."""
        known = {cell for one in self.states for cell in one}
        return set(state) <= known

    # Private

    def _note(self) -> None:
        state = self.now()
        if state != self.states[-1]:
            self.states.append(state)

    def _word(self) -> str:
        self._words += 1
        return f" {self.name}{self._words}."

    def _any_cell(self) -> Text:
        cells = self.client.ycells
        index, _ = self._rng.choice(self._own(cells))
        source: Text = cells[index]["source"]
        return source

    def _index_of(self, name: str) -> int:
        return [cell["id"] for cell in self.client.ycells].index(name)

    def _own(self, cells: Array[Any]) -> list[tuple[int, str]]:
        names = ((index, str(cell["id"])) for index, cell in enumerate(cells))
        return [(index, name) for index, name in names if name.startswith(f"{self.name}-")]


def state_in(cells: Array[Any], name: str) -> State:
    """What is in these shared cells of the author of this name."""
    return tuple(
        (str(cell["id"]), str(cell["source"])) for cell in cells if str(cell["id"]).startswith(f"{name}-")
    )


def printed_lines(cells: Array[Any]) -> list[str]:
    """What the cell that runs has printed, as far as it is in these shared cells."""
    return [
        line for cell in cells if cell["id"] == RUN_CELL for line in stream_text(cell.to_py()).splitlines()
    ]
