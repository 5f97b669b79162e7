"""Servers that misbehave in one way each, and Locust runs against them.

Locust monkey-patches the process that imports it, so it always runs as a child; what it found
comes back through its figures file. All ports come from the kernel, every wait has an end.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from loadtest.results.figures import LineTail, LoadResult, Progress, decode

REPOSITORY = Path(__file__).parent.parent.parent
LOCUSTFILE = REPOSITORY / "loadtest" / "locustfile.py"
PATIENCE = 45.0

Handler = Callable[[socket.socket], None]


class HostileServer:
    """Accepts connections and hands each to `handler` in a thread; a context manager."""

    def __init__(self, handler: Handler, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._handler = handler
        self._listener = socket.create_server(address, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[str] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, peer = self._listener.accept()
            except OSError:  # the listener was shut down
                return
            conn.settimeout(PATIENCE)
            self.peers.append(peer[0])
            self._open.add(conn)
            thread = threading.Thread(target=self._serve, args=(conn,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket) -> None:
        with conn, suppress(OSError):  # clients may hang up whenever they like
            self._handler(conn)
        self._open.discard(conn)

    def __enter__(self) -> "HostileServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE)
        for conn in list(self._open):
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)


def honest(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)


def corrupting(conn: socket.socket) -> None:
    """Flips one bit in the last byte of each piece."""
    while data := conn.recv(65536):
        conn.sendall(data[:-1] + bytes([data[-1] ^ 1]))


def adding(conn: socket.socket) -> None:
    """Echoes, and then some."""
    while data := conn.recv(65536):
        conn.sendall(data + b"!")


def closing_early(conn: socket.socket) -> None:
    """Closes in the middle of its first answer."""
    data = conn.recv(65536)
    conn.sendall(data[: len(data) // 2])


def closing_after_one(conn: socket.socket) -> None:
    """Answers once, then closes while nobody is asking anything."""
    conn.sendall(conn.recv(65536))


def closing_unasked(conn: socket.socket) -> None:
    """Closes after a while, whatever was asked."""
    time.sleep(0.3)


def silent(conn: socket.socket) -> None:
    while conn.recv(65536):
        pass


class CrossedWires:
    """Answers each message with the one that arrived before it, on whatever connection."""

    def __init__(self) -> None:
        self._last = b""
        self._lock = threading.Lock()

    def __call__(self, conn: socket.socket) -> None:
        while data := conn.recv(65536):
            with self._lock:
                answer, self._last = self._last, data
            conn.sendall(answer or data)


@dataclass(frozen=True)
class Finished:
    """A Locust run that has ended."""

    status: int
    result: LoadResult | None
    output: str

    @property
    def errors(self) -> dict[str, str]:
        """The text of the failures of each kind."""
        assert self.result is not None, self.output
        return {failure.kind: failure.error for failure in self.result.failures}

    def measured(self) -> LoadResult:
        assert self.result is not None, self.output
        return self.result


class LocustRun:
    """Locust started with some flags; `finish` waits for its end."""

    def __init__(self, directory: Path, port: int, *flags: str) -> None:
        self._figures = directory / "figures.jsonl"
        self._tail = LineTail(self._figures)
        self._log = directory / "locust.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
        command += ["--only-summary", "--host", f"tcp://127.0.0.1:{port}"]
        command += ["--figures", str(self._figures), "--exit-code-on-error", "0", *flags]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until(self, condition: Callable[[Progress], bool]) -> None:
        """Until Locust reports progress that meets the condition."""
        deadline = time.monotonic() + PATIENCE
        while not any(condition(progress) for progress in self._news()):
            assert time.monotonic() < deadline, self._log.read_text()
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def stop_when(self, condition: Callable[[Progress], bool]) -> Finished:
        """End it as soon as its progress meets the condition."""
        self.wait_until(condition)
        self._process.terminate()
        return self.finish()

    def kill_a_worker(self) -> None:
        """One of its processes dies without a word."""
        psutil.Process(self._process.pid).children()[0].kill()

    def stop_a_worker_for(self, seconds: float) -> None:
        """One of its processes gets no time."""
        worker = psutil.Process(self._process.pid).children()[0]
        worker.suspend()
        time.sleep(seconds)
        worker.resume()

    def _news(self) -> list[Progress]:
        records = [decode(line) for line in self._tail.read()]
        return [record for record in records if isinstance(record, Progress)]

    def finish(self) -> Finished:
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        output = self._log.read_text()
        if not self._figures.exists():
            return Finished(status, None, output)
        records = [decode(line) for line in self._figures.read_text().splitlines()]
        results = [record for record in records if isinstance(record, LoadResult)]
        return Finished(status, results[0] if results else None, output)


def run_loadtest(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`python -m loadtest`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
