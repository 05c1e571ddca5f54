"""A process that appends to an update log until it is killed. Not a test.

Arguments: the database, the room's file id, how many numbers one commit has. It begins the room unless it has a
history, appends the numbers from 0 on and prints after each commit how many there are.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import anyio

from ydoc_exec.ids import Lineage, RoomId
from ydoc_exec.store.sqlite_update_log import SqliteUpdateLog


async def main(path: str, file_id: str, batch: int) -> None:
    room = RoomId("json", "notebook", file_id)
    async with SqliteUpdateLog(Path(path), busy_timeout=30) as log:
        await log.begin(room, Lineage(file_id), b"snapshot", None)
        for first in count(0, batch):
            await log.append([(room, b"%d" % number) for number in range(first, first + batch)])
            print(first + batch, flush=True)


anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
