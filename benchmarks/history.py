"""What a long past costs: opening a document, and the update log on disk.

- *Opening*: two notebooks with the same content are typed into, one with 10 edits and one with 100,000, each edit an
  update of its own as a key in a browser is. Then a tab opens each, first when it was closed, then after the server was
  killed (SIGKILL), when the log is as it was in the middle of life.
- *Size*: a cell prints 100,000 lines, several times, one line at a time, and somebody types 10,000 keys; how large
  the log is on disk, beside the file and the document.

Everything goes through a real server and a client's websocket.

``python benchmarks/history.py [--edits N] [--prints N]``
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import AsyncExitStack

import anyio
from anyio import to_thread
from bench import lab_server, table

from tests.headless.client import RoomClient
from tests.server import LabServer

CELLS = 20
LONG = 400
FEW = 10
OPENINGS = 10
KILLS = 3
BEFORE_KILL = 2000
KEYS = 10_000
RUNS = 3
SETTLED = 1.0


class Typist:
    """Types words into cells here and there, takes back a tenth of it, and now and then deletes a passage.

    The content stays about as large as it was.
    """

    def __init__(self, client: RoomClient, cells: int = CELLS) -> None:
        self._client = client
        self._random = random.Random(1)
        self._cells = cells
        self._cell = self._place = 0

    def press(self) -> None:
        """One key: one update."""
        if self._random.random() < 0.05:
            self._cell = self._random.randrange(self._cells)
            self._place = self._random.randint(0, len(self._client.source(self._cell)))
        text = self._client.ycells[self._cell]["source"]
        length = len(text)
        if length > LONG + 100:
            del text[100:200]
            self._place = 100
        elif self._place and self._random.random() < 0.1:
            self._place -= 1
            del text[self._place : self._place + 1]
        else:
            self._place = min(self._place, length)
            text.insert(self._place, self._random.choice("abcdefghijklmnopqrstuvwxyz "))
            self._place += 1

    async def type(self, keys: int) -> None:
        """So many keys, as fast as the server takes them."""
        for number in range(keys):
            self.press()
            if number % 200 == 199:
                await self._client.barrier()
        await self._client.barrier()


async def opening(server: LabServer, path: str) -> tuple[float, int]:
    """The seconds until a fresh tab has the document, and its bytes."""
    client = RoomClient(server, path)
    await client.request("GET", "/api/status")  # the connection is there
    before = time.perf_counter()
    async with client:
        return time.perf_counter() - before, len(client.doc.get_update())


async def openings(edits: int) -> None:
    """Ten edits beside many, in turn; of each the best counts."""
    paths = {FEW: "few.ipynb", edits: "many.ipynb"}
    with lab_server("--YdocExec.linger=0") as server:
        for path in ("warm.ipynb", *paths.values()):
            server.write_notebook(path, *["y" * LONG] * CELLS)
        for number, path in paths.items():
            async with RoomClient(server, path) as client:
                await Typist(client).type(number)
        await anyio.sleep(SETTLED)
        rows = [
            await rows_of("after it was closed", server, paths, killed=False),
            await rows_of("after the server was killed", server, paths, killed=True),
        ]
        table(
            f"Opening a notebook with {FEW} and with {edits:,} past edits, best of {OPENINGS} and of {KILLS}",
            ["", f"ms, {FEW}", f"ms, {edits:,}", "ratio", f"document, {FEW}", f"document, {edits:,}"],
            rows,
        )


async def rows_of(when: str, server: LabServer, paths: dict[int, str], *, killed: bool) -> list[object]:
    seconds: dict[int, list[float]] = {number: [] for number in paths}
    bytes_: dict[int, int] = {}
    for _ in range(KILLS if killed else OPENINGS):
        if killed:
            async with AsyncExitStack() as stack:
                for number, path in paths.items():
                    client = await stack.enter_async_context(RoomClient(server, path))
                    await Typist(client).type(min(number, BEFORE_KILL))
                await to_thread.run_sync(server.kill)
            await to_thread.run_sync(server.start)
        for _ in range(3):
            await opening(server, "warm.ipynb")
        for number, path in paths.items():
            await anyio.sleep(SETTLED)  # closed, and nothing else to do
            took, bytes_[number] = await opening(server, path)
            seconds[number].append(took)
    few, many = (min(seconds[number]) for number in paths)
    return [when, few * 1000, many * 1000, many / few, *bytes_.values()]


async def sizes(prints: int) -> None:
    with lab_server() as server:
        server.write_notebook("a.ipynb", f"for i in range({prints}):\n    print(i, flush=True)", "")
        largest = 0
        rows: list[list[object]] = []
        async with RoomClient(server, "a.ipynb") as client:
            kernel = await client.start_kernel()
            typed = 0
            for number in range(RUNS):
                await client.execute(kernel, [0])
                share = KEYS // RUNS if number < RUNS - 1 else KEYS - typed
                for _ in range(share):
                    client.type_into(1, "x")
                    if typed % 50 == 49:
                        await client.barrier()
                        largest = max(largest, server.update_log_size)
                    typed += 1
                await client.wait_ended(0, number + 1, timeout=600)
                await client.wait(lambda: client.state.get("dirty") is False)
                await anyio.sleep(SETTLED)
                file = (server.root / "a.ipynb").stat().st_size
                log = server.update_log_size
                largest = max(largest, log)
                rows.append(
                    [number + 1, typed, file, len(client.doc.get_update()), log, log / file, largest / file]
                )
        await to_thread.run_sync(server.stop)
        log = server.update_log_size
        rows.append(["stopped", typed, file, "", log, log / file, ""])
        table(
            f"The update log after runs of {prints:,} prints and so many keys",
            ["runs", "keys", "file", "document", "log on disk", "log / file", "largest log / file"],
            rows,
        )


async def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=100_000)
    parser.add_argument("--prints", type=int, default=100_000)
    options = parser.parse_args()
    await openings(options.edits)
    await sizes(options.prints)


if __name__ == "__main__":
    anyio.run(main)
