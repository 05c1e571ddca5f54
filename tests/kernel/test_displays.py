"""Displays that more than one run has a hand in."""

from __future__ import annotations

import pytest

from tests.kernel.place import Kernels, place_with
from ydoc_exec.ids import KernelId
from ydoc_exec.notebook.edits import Edit, ReplaceDisplay

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

TALK = """
import contextvars, threading
go, said = threading.Event(), threading.Event()
def talk():
    go.wait()
    handle.update({'text/plain': 'late'}, raw=True)
    said.set()
handle = display({'text/plain': 'first'}, raw=True, display_id='x')
threading.Thread(target=contextvars.copy_context().run, args=(talk,)).start()"""


def replaced(edits: list[Edit]) -> list[str]:
    return [str(edit.data["text/plain"]) for edit in edits if isinstance(edit, ReplaceDisplay)]


@pytest.mark.parametrize("last", ["late", "now"])
async def test_the_last_word_is_the_last(kernels: Kernels, kernel_id: KernelId, last: str) -> None:
    """A thread of a cell that has ended and the cell that runs change one display within one flush."""
    now = "handle.update({'text/plain': 'now'}, raw=True)"
    late = "go.set(); said.wait()"
    body = (
        f"print('dirty', flush=True)\n{now}\n{late}"
        if last == "late"
        else f"print('dirty', flush=True)\n{late}\n{now}"
    )
    async with place_with(kernels, flush_interval=0.3) as place:
        [first] = await place.submit(kernel_id, TALK)
        await place.target.wait_ended(first)
        [second] = await place.submit(kernel_id, f"{body}\nimport time; time.sleep(0.5)")
        await place.target.wait_ended(second)
        assert replaced(place.target.edits)[-1] == last


async def test_a_run_that_has_lost_its_cell_still_updates_displays_elsewhere(
    kernels: Kernels, kernel_id: KernelId
) -> None:
    async with place_with(kernels) as place:
        [first] = await place.submit(kernel_id, TALK, cell="same")
        await place.target.wait_ended(first)
        [twin] = await place.submit(kernel_id, "display({'text/plain': 'twin'}, raw=True, display_id='x')")
        [second] = await place.submit(kernel_id, "print('mine')", cell="same")
        await place.target.wait_ended(twin, second)
        [third] = await place.submit(kernel_id, "go.set(); said.wait()")
        await place.target.wait_ended(third)
        await place.target.wait(lambda: "late" in replaced(place.target.edits))
        assert place.target.text(second) == "mine\n"


async def test_the_last_update_of_a_run_that_has_lost_its_cell(kernels: Kernels, kernel_id: KernelId) -> None:
    """It is said right before the end, so that no regular flush comes for it."""
    show = "handle = display({'text/plain': 'first'}, raw=True, display_id='x')"
    update = "print('old', flush=True); handle.update({'text/plain': 'last'}, raw=True)"
    async with place_with(kernels, flush_interval=60.0) as place:
        await place.run(kernel_id, show)
        [old] = await place.submit(kernel_id, update, cell="same")
        [new] = await place.submit(kernel_id, "print('new')", cell="same")
        await place.target.wait_ended(old, new)
        assert replaced(place.target.edits)[-1] == "last"
        assert place.target.text(old) == ""
        assert place.target.text(new) == "new\n"
