"""What real kernels ask, through the runner: in order with what they print, and never for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import anyio
import pytest

from tests.kernel.place import Kernels, Place, kernel_of, place_with
from tests.room.waiting import until
from ydoc_exec.errors import PromptAnswered, PromptWithdrawn
from ydoc_exec.execution.prompts import DOTS, Answer, Prompt
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel import kernel_runner
from ydoc_exec.kernel.run import Run
from ydoc_exec.kernel.run_book import PromptStep

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

LONG_AGO = datetime.now(timezone.utc) - timedelta(hours=2)


async def asks(place: Place, run: Run, text: str) -> Prompt:
    """What the run asks, when it does."""
    return await place.target.wait(
        lambda: run.prompt if run.prompt is not None and run.prompt.text == text else None
    )


async def answer(place: Place, run: Run, value: str, prompt: Prompt | None = None) -> Prompt:
    said = Answer("bob", "Bob", "2026-01-01T00:00:00Z", value)
    return await place.runners.answer(run.kernel, run.id, None if prompt is None else prompt.id, said)


@asynccontextmanager
async def watched(kernels: Kernels, **settings: object) -> AsyncIterator[tuple[Place, list[PromptStep]]]:
    """Runners, and what happens to questions."""
    async with place_with(kernels, **settings) as place:
        steps: list[PromptStep] = []
        place.book.observe_prompts(steps.append)
        yield place, steps


async def test_all_that_was_printed_before_is_there(kernels: Kernels) -> None:
    """Printing and asking are two connections. Of thousands of messages the last are long on their way."""
    async with place_with(kernels) as place, kernel_of(kernels, place) as kernel_id:
        thread = "get_ipython().kernel.iopub_thread"
        await place.run(kernel_id, f"{thread}.schedule(lambda: setattr({thread}.socket, 'sndhwm', 0))")
        for number in range(5):
            source = f"for i in range(3000): print(i, flush=True)\nprint(input('{number}?'))"
            [run] = await place.submit(kernel_id, source)
            await asks(place, run, f"{number}?")
            assert place.target.text(run).split() == [str(i) for i in range(3000)]
            await answer(place, run, "yes")
            await place.target.wait_ended(run)
            assert place.target.text(run).endswith(f"2999\n{number}? yes\nyes\n")
            outputs = [output["name"] for output in place.target.outputs[run.id]]
            assert outputs == ["stdout", "stdin", "stdout"]


async def test_a_kernel_that_says_nothing_while_it_waits(
    kernels: Kernels, kernel_id: KernelId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every kernel has a thread for its control channel. It is shown all the same, a moment later."""
    async with watched(kernels) as (place, _):
        await place.run(kernel_id, "1")
        link = (await place.runner(kernel_id))._link
        assert link is not None
        monkeypatch.setattr(link, "mark", lambda: "never heard", raising=False)
        [run] = await place.submit(kernel_id, "print('before')\ninput('Name?')")
        await asks(place, run, "Name?")
        assert place.target.text(run) == "before\n"
        await answer(place, run, "Ada")
        await place.target.wait_ended(run)
        assert place.target.text(run) == "before\nName? Ada\n"


@pytest.mark.parametrize("stops", [True, False])
async def test_a_kernel_that_goes_on_printing_while_it_waits(
    kernels: Kernels, kernel_id: KernelId, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """What it prints may be what it has printed before, and be late. It may also have no end."""
    monkeypatch.setattr(kernel_runner, "MARK_PATIENCE", 1.5)
    monkeypatch.setattr(kernel_runner, "MARK_LIMIT", 60.0 if stops else 1.0)
    source = f"""\
import threading, time
over = False
def say():
    for number in range(25 if {stops} else 10**9):
        if over: break
        print(number, flush=True)
        time.sleep(0.1)
threading.Thread(target=say, daemon=True).start()
input('Name?')"""
    async with watched(kernels) as (place, _):
        await place.run(kernel_id, "1")
        link = (await place.runner(kernel_id))._link
        assert link is not None
        monkeypatch.setattr(link, "mark", lambda: "never heard", raising=False)
        [run] = await place.submit(kernel_id, source)
        await asks(place, run, "Name?")
        if stops:
            assert place.target.text(run).split() == [str(number) for number in range(25)]
        await answer(place, run, "Ada")
        await place.target.wait_ended(run)
        await place.run(kernel_id, "over = True")


async def test_what_happens_to_questions_is_told(kernels: Kernels, kernel_id: KernelId) -> None:
    async with watched(kernels) as (place, steps):
        [run] = await place.submit(
            kernel_id, "from getpass import getpass\ninput('a'); getpass('b'); input('c')"
        )
        first = await asks(place, run, "a")
        assert run.state is RunState.INPUT
        await answer(place, run, "1", first)
        second = await asks(place, run, "b")
        assert second.password
        with pytest.raises(PromptAnswered):
            await answer(place, run, "late", first)
        await answer(place, run, "secret")
        await asks(place, run, "c")
        await kernels.interrupt_kernel(kernel_id)
        await place.target.wait_ended(run)
        assert [(step.state.value, step.prompt.text) for step in steps] == [
            ("asked", "a"),
            ("answered", "a"),
            ("asked", "b"),
            ("answered", "b"),
            ("asked", "c"),
            ("withdrawn", "c"),
        ]
        assert place.target.text(run) == f"a 1\nb {DOTS}\n"
        assert place.target.prompts[-1][1] is not None, "the end says that it is over"
        assert run.prompt is None
        with pytest.raises(PromptWithdrawn):
            await answer(place, run, "late")
        assert (
            "secret" not in f"{place.target.outputs} {[step.answer and step.answer.value for step in steps]}"
        )


async def test_a_cell_that_is_run_again_while_it_asks(kernels: Kernels, kernel_id: KernelId) -> None:
    async with watched(kernels) as (place, _):
        [old] = await place.submit(kernel_id, "print(input('old?'))", cell="asked again")
        await asks(place, old, "old?")
        [new] = await place.submit(kernel_id, "print(input('new?'))", cell="asked again")
        await answer(place, old, "1")
        await asks(place, new, "new?")
        await answer(place, new, "2")
        await place.target.wait_ended(old, new)
        assert [place.target.text(run) for run in (old, new)] == ["", "new? 2\n2\n"]


async def test_the_kernel_is_gone_when_the_answer_comes(kernels: Kernels) -> None:
    async with watched(kernels) as (place, _), kernel_of(kernels, place) as kernel_id:
        [run] = await place.submit(kernel_id, "input('?')")
        prompt = await asks(place, run, "?")
        await kernels.shutdown_kernel(kernel_id, now=True)
        await place.target.wait_ended(run)
        assert run.state is RunState.LOST
        with pytest.raises(PromptWithdrawn):
            await answer(place, run, "x", prompt)


async def test_a_task_asks_behind_its_cell_and_holds_up_nobody(
    kernels: Kernels, kernel_id: KernelId, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs in the kernel's one thread, so whatever is asked for next would never run."""
    # Between cells ``input`` is Python's own again.
    source = (
        "import asyncio\nask = input\nasyncio.get_running_loop().call_later(0.3, lambda: ask('Still there?'))"
    )
    async with watched(kernels) as (place, steps):
        first = await place.run(kernel_id, source)
        await until(lambda: "is refused" in caplog.text)
        second = await place.run(kernel_id, "print('goes on')")
        assert [first.state, second.state] == [RunState.OK, RunState.OK]
        assert place.target.text(second) == "goes on\n"
        assert steps == []


async def test_many_questions(kernels: Kernels, kernel_id: KernelId) -> None:
    """Each is one of its own, and each answer is for one."""
    async with watched(kernels) as (place, steps):
        [run] = await place.submit(kernel_id, "print([input(f'{i}?') for i in range(100)])")
        for number in range(100):
            prompt = await asks(place, run, f"{number}?")
            await answer(place, run, str(number), prompt)
        await place.target.wait_ended(run)
        assert len({step.prompt.id for step in steps}) == 100
        assert str([str(number) for number in range(100)]) in place.target.text(run)


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_whether_a_kernel_that_waits_for_input_is_at_work(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, keep_alive: bool
) -> None:
    monkeypatch.setattr(kernel_runner, "WATCH_INTERVAL", 0.05)
    async with (
        watched(kernels, prompts_keep_alive=keep_alive) as (place, _),
        kernel_of(kernels, place) as kernel_id,
    ):
        manager = kernels.get_kernel(kernel_id)
        [run] = await place.submit(kernel_id, "input('?')\nimport time; time.sleep(1)")
        await asks(place, run, "?")
        await until(lambda: manager.execution_state == "busy")
        await anyio.sleep(0.2)  # the last word of the kernel
        manager.last_activity = LONG_AGO
        if keep_alive:
            await until(lambda: manager.last_activity > LONG_AGO)
        else:
            await anyio.sleep(0.3)  # the claim itself
            assert manager.last_activity == LONG_AGO
        await answer(place, run, "x")
        # From then on it works.
        await until(lambda: manager.last_activity > LONG_AGO)
        await place.target.wait_ended(run)


async def test_the_first_question_is_heard(kernels: Kernels) -> None:
    """A kernel drops what it asks of somebody whose connection is not complete. Who connects while it is being started
    connects again and again, each socket in its own time."""
    async with watched(kernels) as (place, _):
        for number in range(10):
            async with kernel_of(kernels, place) as kernel_id:
                [run] = await place.submit(kernel_id, f"input('{number}?')")
                await asks(place, run, f"{number}?")
                await answer(place, run, "")
                await place.target.wait_ended(run)
