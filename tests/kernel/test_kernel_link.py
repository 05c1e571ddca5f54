"""The link to a real kernel: it is up in time, whatever the kernel does, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import zmq
from jupyter_client.session import Session

from tests.gateway_process import Network
from tests.kernel.place import Kernels, place_with, somebody
from tests.server import eventually
from ydoc_exec.errors import KernelUnavailable
from ydoc_exec.execution.run_state import RunState
from ydoc_exec.ids import KernelId
from ydoc_exec.kernel import kernel_link
from ydoc_exec.kernel.kernel import Channel, Message
from ydoc_exec.kernel.kernel_link import KernelLink, open_context

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@asynccontextmanager
async def no_descriptors_left(connections: int) -> AsyncIterator[None]:
    """So many connections are made inside, and far fewer descriptors than that are left in the end.

    ZMQ closes sockets in a thread of its own, a little later, and others in this process have their own business: so it
    is waited until the count is back, but for a tenth of what one descriptor from each connection would make.
    """
    process = psutil.Process()
    before = process.num_fds()
    yield
    await eventually(lambda: process.num_fds() <= before + connections // 10)


async def test_it_comes_up_while_the_kernel_is_busy_with_somebody_elses_cell(
    kernels: Kernels, kernel_id: KernelId, tmp_path: Path
) -> None:
    """And the run waits in the kernel: it is sent, and answered when the other's cell has ended."""
    ended = anyio.Event()
    async with somebody(kernels, kernel_id) as other, place_with(kernels) as place:
        await other.wait_for_ready()
        go = tmp_path / "go"
        wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
        code = f"import os, time\nprint('busy', flush=True)\n{wait}\ntheirs = 'was first'"
        theirs = other.execute(code, reply=False)
        while (await other.get_iopub_msg())["msg_type"] != "stream":
            pass

        async def their_end() -> None:
            while (await other.get_shell_msg())["parent_header"].get("msg_id") != theirs:
                pass
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(their_end)
            [run] = await place.submit(kernel_id, "print(theirs)")
            await place.target.wait(lambda: ("started", run.id) in place.target.calls)
            assert not ended.is_set()
            go.touch()
            await place.target.wait_ended(run)
        assert place.target.text(run) == "was first\n"
        assert "busy" not in place.target.text(run), "the other's output is none of ours"


async def test_the_server_hears_the_kernel_before_it_is_given_anything(kernels: Kernels) -> None:
    """Or it calls the kernel "starting" for as long as the first cell runs."""
    context = open_context()
    try:
        for _ in range(3):
            new = KernelId(await kernels.start_kernel(kernel_name="python3"))
            manager = kernels.get_kernel(new)
            async with KernelLink.connect(new, manager, context, lambda *_: None, timeout=30) as link:
                assert manager.execution_state == "idle"
                busy = anyio.Event()
                manager.observe(
                    lambda change, busy=busy: busy.set() if change.new == "busy" else None, "execution_state"
                )
                link.execute("import time; time.sleep(60)", stop_on_error=True, allow_stdin=False)
                with anyio.fail_after(30):
                    await busy.wait()
            await kernels.shutdown_kernel(new, now=True)
    finally:
        context.destroy(linger=0)


async def test_a_kernel_that_says_nothing_is_given_up(kernels: Kernels, kernel_id: KernelId) -> None:
    pid = kernels.get_kernel(kernel_id).provisioner.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        async with place_with(kernels, kernel_timeout=3.0) as place:
            runs = await place.submit(kernel_id, "print(1)", "print(2)")
            await place.target.wait_ended(*runs)
            assert [run.state for run in runs] == [RunState.LOST] * 2
            outcome = runs[0].outcome
            assert outcome is not None
            assert "cannot be reached" in outcome.reason
            # Somebody looks at the cell and wonders.
            assert place.target.errors(runs[0]) == ["KernelDied"]
            assert place.target.errors(runs[1]) == []
        async with place_with(kernels) as place:
            os.kill(pid, signal.SIGCONT)
            assert (await place.run(kernel_id, "print(1)")).state is RunState.OK
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_connecting_says_that_nothing_was_heard(kernels: Kernels, kernel_id: KernelId) -> None:
    manager = kernels.get_kernel(kernel_id)
    context = open_context()
    os.kill(manager.provisioner.pid, signal.SIGSTOP)
    try:
        with pytest.raises(KernelUnavailable):
            async with KernelLink.connect(kernel_id, manager, context, lambda *_: None, timeout=0.5):
                pytest.fail("it is not connected")
    finally:
        os.kill(manager.provisioner.pid, signal.SIGCONT)
        context.destroy(linger=0)


async def test_a_request_sent_while_a_reply_arrives_does_not_deafen(
    kernels: Kernels, kernel_id: KernelId
) -> None:
    """ZMQ signals "there is something" once. Whoever looks at a socket must take all that is there, and a
    send looks too: what the send has seen and nobody takes is never signalled again."""
    replies: list[str] = []
    both = anyio.Event()

    def deliver(channel: Channel, message: Message) -> None:
        if message["msg_type"] == "execute_reply":
            replies.append(message["parent_header"]["msg_id"])
            if len(replies) == 2:
                both.set()

    context = open_context()
    try:
        async with KernelLink.connect(
            kernel_id, kernels.get_kernel(kernel_id), context, deliver, timeout=30
        ) as link:
            first = link.execute("1", stop_on_error=True, allow_stdin=False)
            time.sleep(0.5)  # noqa: ASYNC251  # the event loop is held, the reply arrives unread
            second = link.execute("2", stop_on_error=True, allow_stdin=False)
            with anyio.fail_after(30):
                await both.wait()
    finally:
        context.destroy(linger=0)
    assert replies == [first, second]


async def test_a_thousand_connections_leave_no_descriptor(kernels: Kernels, kernel_id: KernelId) -> None:
    manager = kernels.get_kernel(kernel_id)
    context = open_context()

    async def connect(times: int) -> None:
        for _ in range(times):
            async with KernelLink.connect(kernel_id, manager, context, lambda *_: None, timeout=60):
                pass

    try:
        await connect(20)  # what ZMQ and the event loop keep for the next time is there
        async with no_descriptors_left(1000), anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(connect, 100)
    finally:
        context.destroy(linger=0)


async def test_runs_on_new_connections_leave_no_descriptor(kernels: Kernels, kernel_id: KernelId) -> None:
    async with place_with(kernels) as place:
        await place.run(kernel_id, "1")
        async with no_descriptors_left(100):
            for _ in range(50):
                (await place.runner(kernel_id)).lose("for the test", said=False)
                assert (await place.run(kernel_id, "1")).state is RunState.OK
                (await place.runner(kernel_id)).close("for the test")
                assert (await place.run(kernel_id, "1")).state is RunState.OK


async def test_a_message_that_is_not_signed_is_dropped_and_the_next_is_heard(
    kernels: Kernels, kernel_id: KernelId
) -> None:
    """A forger publishes where the kernel does: its messages have another key, or are no messages at all."""
    heard: list[str] = []
    enough = anyio.Event()

    def deliver(channel: Channel, message: Message) -> None:
        if channel == "iopub" and message["msg_type"] == "stream":
            heard.append(message["content"]["text"])
            if message["content"]["text"] == "a bug of the receiver":
                raise RuntimeError("a bug")
            if message["content"]["text"] == "the end":
                enough.set()

    manager = kernels.get_kernel(kernel_id)
    context = open_context()
    forged = context.socket(zmq.PUB)
    port = forged.bind_to_random_port("tcp://127.0.0.1")
    real, fake = Session(key=manager.session.key), Session(key=b"another")

    class Elsewhere:
        """The same kernel, publishing at the forger's port."""

        client_factory = manager.client_factory
        kernel_name = manager.kernel_name

        @staticmethod
        def get_connection_info(session: bool = False) -> dict[str, object]:
            return {**manager.get_connection_info(session=session), "iopub_port": port}

    def say(session: Session, text: str) -> None:
        session.send(forged, "stream", {"name": "stdout", "text": text})

    connected = anyio.CancelScope()

    async def talk() -> None:
        with connected:
            while True:
                say(real, "hello")
                await anyio.sleep(0.02)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(talk)
            async with KernelLink.connect(kernel_id, Elsewhere(), context, deliver, timeout=30):  # type: ignore[arg-type]
                connected.cancel()
                with anyio.fail_after(30):
                    say(fake, "forged")
                    forged.send_multipart([b"stream"])
                    forged.send_multipart([b"<IDS|MSG>", b"x"])
                    forged.send_multipart([b"<IDS|MSG>", b"", b"{", b"}", b"[", b"]"])
                    say(real, "a bug of the receiver")
                    say(real, "the end")
                    await enough.wait()
        assert heard[-2:] == ["a bug of the receiver", "the end"]
        assert "forged" not in heard
    finally:
        forged.close(linger=0)
        context.destroy(linger=0)


class Diverted:
    """A manager of a kernel whose stdin port is another one."""

    def __init__(self, manager: Any, stdin_port: int) -> None:
        self._manager = manager
        self._stdin_port = stdin_port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def get_connection_info(self, session: bool = False) -> dict[str, Any]:
        return {**self._manager.get_connection_info(session=session), "stdin_port": self._stdin_port}


async def test_a_kernel_can_ask_as_soon_as_the_link_is_up(
    kernels: Kernels, kernel_id: KernelId, tmp_path: Path
) -> None:
    """What it asks before its stdin socket is connected to ours is heard by nobody."""
    manager = kernels.get_kernel(kernel_id)
    port = manager.get_connection_info()["stdin_port"]
    go = tmp_path / "go"
    away = f"socket, port = get_ipython().kernel.stdin_socket, 'tcp://127.0.0.1:{port}'\nsocket.unbind(port)"
    back = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\ntime.sleep(0.5)\nsocket.bind(port)"
    asked = anyio.Event()

    def deliver(channel: Channel, message: Message) -> None:
        if channel == "iopub":
            go.touch()
        if message["msg_type"] == "input_request":
            asked.set()

    context = open_context()
    try:
        async with somebody(kernels, kernel_id) as other:
            reply = await other.execute(away, reply=True, timeout=30)
            assert reply["content"]["status"] == "ok"
            other.execute(back)
            async with KernelLink.connect(kernel_id, manager, context, deliver, timeout=30) as link:
                link.execute("input('Name?')", stop_on_error=True, allow_stdin=True)
                with anyio.fail_after(10):
                    await asked.wait()
    finally:
        context.destroy(linger=0)
    await kernels.interrupt_kernel(kernel_id)


async def test_a_kernel_that_cannot_ask_runs_all_the_same(
    kernels: Kernels, kernel_id: KernelId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_link, "STDIN_PATIENCE", 0.5)
    manager = kernels.get_kernel(kernel_id)
    ended = anyio.Event()

    def deliver(channel: Channel, message: Message) -> None:
        if message["msg_type"] == "execute_reply":
            ended.set()

    context = open_context()
    with Network(manager.get_connection_info()["stdin_port"]) as network:
        network.cut()
        diverted: Any = Diverted(manager, network.port)
        try:
            async with KernelLink.connect(kernel_id, diverted, context, deliver, timeout=30) as link:
                link.execute("1", stop_on_error=True, allow_stdin=True)
                with anyio.fail_after(10):
                    await ended.wait()
        finally:
            context.destroy(linger=0)
