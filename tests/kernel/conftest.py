"""One kernel manager, and one kernel for the tests that leave it as they found it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from ydoc_exec.ids import KernelId


@pytest.fixture(scope="module")
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Connection files and histories of the kernels go there; the machine's own are left alone."""
    folder = tmp_path_factory.mktemp("jupyter")
    names = {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython"}
    with pytest.MonkeyPatch.context() as patch:
        for name, where in names.items():
            (folder / where).mkdir()
            patch.setitem(os.environ, name, str(folder / where))
        yield folder


class PatientKernels(AsyncMappingKernelManager):
    """A restart answers with a future that fails after a minute if the kernel has said nothing until then. In a test it
    has ended long before, and what nobody retrieves would fail the test that happens to run in that moment."""

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> Any:  # type: ignore[override]
        heard = await self._async_restart_kernel(kernel_id, now=now)  # type: ignore[no-untyped-call]
        heard.add_done_callback(lambda heard: heard.cancelled() or heard.exception())
        return heard


@pytest.fixture(scope="module")
async def kernels(_own_folders: Path) -> AsyncIterator[AsyncMappingKernelManager]:
    """Jupyter Server's manager of kernels."""
    manager = PatientKernels(  # type: ignore[no-untyped-call]
        root_dir=str(_own_folders), connection_dir=str(_own_folders / "runtime")
    )
    yield manager
    await manager.shutdown_all(now=True)
    # What it does with the context when it is garbage itself waits for ever for sockets that are garbage too.
    manager.context.destroy(linger=0)


@pytest.fixture(scope="module")
async def kernel_id(kernels: AsyncMappingKernelManager) -> KernelId:
    """A kernel for the tests of one module."""
    return KernelId(await kernels.start_kernel(kernel_name="python3"))
