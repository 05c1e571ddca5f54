"""A real Kernel Gateway in a process of its own, and a network in between that can be cut."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from tests.server import free_port

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class GatewayProcess:
    """One gateway: ``start``, ``stop``, ``kill``. Port, token and data stay the same for the object's life."""

    def __init__(self, directory: Path) -> None:
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self._directory = directory
        self._log = directory / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def flags(self) -> tuple[str, str]:
        """What a server is told whose kernels are all here."""
        return f"--gateway-url={self.url}", f"--GatewayClient.auth_token={self.token}"

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start, and come back when requests are answered."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "KG_"))}
        folders = {
            f"JUPYTER_{name}_DIR": str(self._directory / name) for name in ("CONFIG", "DATA", "RUNTIME")
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "kernel_gateway",
                    "--KernelGatewayApp.ip=127.0.0.1",
                    f"--KernelGatewayApp.port={self.port}",
                    "--KernelGatewayApp.port_retries=0",
                    f"--KernelGatewayApp.auth_token={self.token}",
                    "--JupyterWebsocketPersonality.list_kernels=True",
                ],
                env=kept | folders | {"IPYTHONDIR": str(self._directory / "ipython")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"The gateway did not start. It said:\n{self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, which ends its kernels, and wait until it has."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        self.kill()

    def kill(self) -> None:
        """End it at once. Its kernels go with it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)
        self._process = None
        connection_file = str(self._directory / "RUNTIME")
        for process in psutil.process_iter(["cmdline"]):
            if any(word.startswith(connection_file) for word in process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def api(self, method: str, path: str) -> httpx.Response:
        """One authenticated request."""
        headers = {"Authorization": f"token {self.token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30)

    def _answers(self) -> bool:
        try:
            return self.api("GET", "/api").status_code == 200
        except httpx.TransportError:
            return False


class Network:
    """A port of this machine that leads to another one, as long as nobody cuts it.

    It works in threads, because a test that asks a server for something waits for the answer.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._ends: list[socket.socket] = []
        self._guard = threading.Lock()
        self._up = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def cut(self) -> None:
        """End all connections, and let nobody through."""
        with self._guard:
            self._up = False
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        """Let people through again."""
        with self._guard:
            self._up = True

    # Private

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._guard:
                if not self._up:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
            for end in (near, far):
                # What is passed on in pieces is not kept back until the piece before is acknowledged.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
