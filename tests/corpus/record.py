"""Record what a real ipykernel says for the cases: ``python tests/corpus/record.py [case ...]``.

Without names all cases are recorded again. It runs the kernel of the interpreter it is started with; a case
that needs packages which are not installed there keeps the recording it has. Expectations are not
touched: what a case has to show is written in ``cases/`` by hand.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import re
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from tests.corpus.case import Case
from tests.corpus.cases import CASES
from tests.corpus.recording import DATE, Recording, Said

PATIENCE = 30.0
"""Seconds after which a kernel that says nothing is given up."""

HOME = "/home/user"
"""Where the kernel says that it runs."""

_IDS = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f])"
)


class Normaliser:
    """Takes out of one recording what differs from run to run and from machine to machine."""

    def __init__(self, folder: Path) -> None:
        self._seen: dict[str, str] = {}
        self.names = {str(folder): HOME, sys.prefix: "/python", sys.base_prefix: "/python"}
        """What is known to be other each time, and what is written instead."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(key): self(item) for key, item in value.items() if key != "engine"}
        if isinstance(value, list):
            return [self(item) for item in value]
        return value

    def _text(self, text: str) -> str:
        for said, written in self.names.items():
            text = text.replace(said, written)
        text = re.sub(r"python3\.\d+/site-packages", "site-packages", text)
        text = re.sub(r"/tmp/ipykernel_\d+/", "/tmp/ipykernel_1/", text)
        text = re.sub(r"\b0x[0-9a-f]{9,}\b", "0x123456789", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)", DATE, text)
        return _IDS.sub(self._id, text)

    def _id(self, match: re.Match[str]) -> str:
        number = len(self._seen) + 1
        return self._seen.setdefault(match.group(), f"{number:032x}")


class Recorder:
    """Runs the cells of one case in a kernel of its own and writes down what it says of them."""

    def __init__(self, case: Case, client: AsyncKernelClient) -> None:
        self._case = case
        self._client = client
        self._cells: dict[str, int] = {}
        self._said: list[Said] = []
        self._texts = ""

    async def record(self, normalise: Normaliser) -> list[Said]:
        for number, cell in enumerate(self._case.cells):
            request = self._client.execute(cell, allow_stdin=False)
            self._cells[request] = number
            normalise.names[request] = f"cell {number}"
            while not await self._hear(request):
                pass
            while True:
                reply = await self._client.get_shell_msg(timeout=PATIENCE)
                if reply["parent_header"].get("msg_id") == request:
                    self._note(reply, number, "shell")
                    break
        while self._case.last not in self._texts:
            await self._hear("")
        return [
            Said(
                said.cell,
                said.channel,
                said.msg_type,
                normalise(said.content),
                normalise(said.metadata),
                said.buffers,
            )
            for said in self._said
        ]

    async def _hear(self, request: str) -> bool:
        """Take one message from iopub. Whether it says that the request has been dealt with."""
        message = await self._client.get_iopub_msg(timeout=PATIENCE)
        parent = message["parent_header"].get("msg_id")
        if parent in self._cells:
            self._note(message, self._cells[parent], "iopub")
        state = message["content"].get("execution_state")
        return bool(state == "idle" and parent == request)

    def _note(self, message: dict[str, Any], cell: int, channel: str) -> None:
        content = message["content"]
        if message["msg_type"] != "execute_input":
            self._texts += json.dumps(content, ensure_ascii=False)
        self._said.append(
            Said(
                cell,
                channel,
                message["msg_type"],
                content,
                message.get("metadata") or {},
                len(message.get("buffers") or []),
            )
        )


def record(case: Case) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(_record(case, Path(temporary).resolve()))


async def _record(case: Case, folder: Path) -> None:
    environment = {
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / ".ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": str(folder / ".matplotlib"),
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": "0",
        "TERM": "xterm-color",
        "TZ": "UTC",
    }
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "notes.txt").write_text("print('from a file')\n")
    (folder / ".runtime").mkdir()
    manager = AsyncKernelManager(
        kernel_name="python3",
        transport="ipc",
        ip=str(folder / ".runtime" / "ipc"),
        connection_file=str(folder / ".runtime" / "kernel.json"),
    )
    command = [
        sys.executable,
        "-Xfrozen_modules=off",
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
    ]
    assert manager.kernel_spec is not None
    manager.kernel_spec.argv = command
    await manager.start_kernel(cwd=str(folder / "notebooks"), env=environment)
    client = manager.client()
    assert isinstance(client, AsyncKernelClient)
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=PATIENCE)
        said = await Recorder(case, client).record(Normaliser(folder))
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    recording = Recording(case.name, case.cells, _versions(case), said)
    told = json.dumps([vars(each) for each in said])
    for secret in (str(folder), sys.prefix, str(Path.home()), socket.gethostname(), os.environ.get("USER")):
        assert not secret or len(secret) < 5 or secret not in told, f"{case.name} tells {secret}"
    recording.save()


def _versions(case: Case) -> str:
    names = ["ipykernel", "ipython", *case.requires]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([*versions, f"Python {platform.python_version()}"])


def main(names: list[str]) -> None:
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        sys.exit(f"There are no such cases: {', '.join(sorted(unknown))}")
    for case in CASES:
        if names and case.name not in names:
            continue
        missing = [package for package in case.requires if find_spec(package) is None]
        if missing:
            print(f"{case.name}: not recorded, {', '.join(missing)} is not installed")
            continue
        print(case.name, flush=True)
        record(case)


if __name__ == "__main__":
    main(sys.argv[1:])
