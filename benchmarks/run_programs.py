"""Two programs that run small cells, each for a process of its own: with a kernel alone, and through a server.

Both do as little as can be done with what they are given, so that what is compared is not the reader: the one has
``jupyter_client``'s session on blocking sockets, the other writes a frame and applies the updates that come.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import anyio
from output_programs import TIMEOUT, Address, Bare, DocumentClient
from pycrdt import Map

T = TypeVar("T")

RESULT = "6 * 7"
"""One cell whose result is waited for."""

REST = 0.05
"""Seconds between two cells: what comes after one is over, mostly, when the next is asked for."""


def assignments(count: int) -> list[str]:
    """So many cells of one line."""
    return [f"x = {number}" for number in range(count)]


class KernelAlone(Bare):
    """A kernel and one client of it."""

    def start(self) -> None:
        """Start the kernel."""
        self.open("flushed")  # which of them does not matter
        settle()

    def one(self) -> float:
        """The seconds of one cell, until its result, its reply and its idle status are there."""
        began = time.perf_counter()
        self._until_over([self._client.execute(RESULT)])
        seconds = time.perf_counter() - began
        time.sleep(REST)
        return seconds

    def all_at_once(self, count: int) -> float:
        """The seconds of so many cells that are sent together."""
        began = time.perf_counter()
        self._until_over([self._client.execute(source) for source in assignments(count)])
        return time.perf_counter() - began

    def one_by_one(self, count: int) -> float:
        """The seconds of so many cells, each sent when the one before is over."""
        began = time.perf_counter()
        for source in assignments(count):
            self._until_over([self._client.execute(source)])
        return time.perf_counter() - began

    def _until_over(self, requests: Sequence[str]) -> None:
        session, last = self._client.session, requests[-1]
        while True:
            _, message = session.recv(self._client.iopub_channel.socket, 0)
            if (
                message["msg_type"] == "status"
                and message["content"]["execution_state"] == "idle"
                and message["parent_header"].get("msg_id") == last
            ):
                break
        while session.recv(self._client.shell_channel.socket, 0)[1]["parent_header"].get("msg_id") != last:
            pass


class ThroughServer:
    """A client of a notebook whose first cell has a result and whose others are ``assignments``."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()

    def start(self, path: str) -> None:
        """Start a kernel for the notebook and open it."""
        body = {"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}}
        self._kernel = self._server.request("POST", "/api/sessions", body)["kernel"]["id"]
        self._client = self._run(RunClient(self._server, path).__aenter__())
        self.one()
        settle()

    def one(self) -> float:
        """The seconds of one cell, until the document shows its result, and that it is idle."""
        return self._run(self._client.seconds(self._kernel, slice(0, 1)))

    def all_at_once(self, count: int) -> float:
        """The seconds of so many cells that are asked for together."""
        return self._run(self._client.seconds(self._kernel, slice(1, count + 1)))

    def close(self) -> None:
        """Leave."""
        self._run(self._client.__aexit__())
        self._loop.close()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(what)


class RunClient(DocumentClient):
    """A client of a room that knows the ids of its cells."""

    async def __aenter__(self) -> RunClient:
        await super().__aenter__()
        self._ids: list[str] = [cell["id"] for cell in self._cells]
        return self

    async def seconds(self, kernel: str, which: slice) -> float:
        """Run these cells, and then rest."""
        cell: Map[Any] = self._cells[which.stop - 1]
        started = False
        with anyio.fail_after(TIMEOUT):
            began = time.perf_counter()
            request = await self._ask(kernel, self._ids[which])
            while True:
                await self._receive()
                state = cell.get("execution_state")
                started = started or state == "running"
                if started and state == "idle":
                    break
            seconds = time.perf_counter() - began
            await self._answer(request)
        if which.stop == 1:
            outputs = cell["outputs"].to_py()
            assert [output["data"]["text/plain"] for output in outputs] == ["42"], outputs
        with anyio.move_on_after(REST):
            while True:
                await self._receive()
        return seconds


def settle() -> None:
    """From now on the garbage collector of this process does not count into anything."""
    gc.collect()
    gc.freeze()
    gc.disable()
