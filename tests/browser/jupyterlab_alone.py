"""JupyterLab as it is without us, to see what it would have shown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from tests.server import LabServer

DISABLED = {
    "@ydoc-exec/lab": True,
    "@jupyter/collaboration-extension": True,
    "@jupyter/docprovider-extension": True,
    # which these two are disabled by
    "@jupyterlab/notebook-extension:cell-executor": False,
    "@jupyterlab/filebrowser-extension:defaultFileBrowser": False,
}


@asynccontextmanager
async def jupyterlab_alone(directory: Path) -> AsyncIterator[LabServer]:
    """A server where the browser executes and nothing is shared."""
    config = directory / "config" / "labconfig"
    config.mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": DISABLED}))
    server = LabServer(directory, '--ServerApp.jpserver_extensions={"ydoc_exec": False}')
    await anyio.to_thread.run_sync(server.start)
    try:
        yield server
    finally:
        await anyio.to_thread.run_sync(server.stop)
