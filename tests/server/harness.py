"""Runs the server as its users do: a process, addresses from its standard output, signals.

A test that passes here says something about the program, not about its parts. Every wait has a
deadline, and a server that leaves a traceback, or does not exit with status 0 when asked to,
fails the test that used it.
"""

import contextlib
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import trustme

MODES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio")

TIMEOUT = 10.0
"""Seconds after which something that should happen is held not to happen."""


class Authority:
    """A certificate authority, a certificate of its own making in a file, and who trusts it."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.file = directory / "server.pem"
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)
        self.renew()

    def renew(self) -> None:
        """Put a new certificate, with its key, into the file."""
        self._ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.file)

    def write_to(self, file: Path) -> None:
        """Put its own certificate into a file: whoever reads that trusts it."""
        self._ca.cert_pem.write_to_path(file)

    def context(self) -> ssl.SSLContext:
        """A client's, which trusts this authority."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


class ServerProcess:
    """A running server on ports of the kernel's choice, with TLS if given an authority."""

    def __init__(
        self, directory: Path, mode: str, *arguments: str, authority: Authority | None = None
    ) -> None:
        self._log = directory / "stderr"
        self._authority = authority
        names = ["echo", "sleep"]
        if authority is not None:
            names += ["echo-tls", "sleep-tls"]
            arguments = (f"--tls-cert={authority.file}", *arguments)
        lines = len(names) + ("--admin=127.0.0.1:0" in arguments)
        listeners = [f"--{name}=127.0.0.1:0" for name in names]
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "--mode", mode, *listeners, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean_environment(),
                start_new_session=True,  # a group of its own, as a terminal makes it
            )
        self._ports: dict[str, int] = {}
        for _ in range(lines):
            word, service, address = self._read_line().split()
            assert word == "listening"
            self._ports[service] = int(address.rpartition(":")[2])
        self.idle_fds = self._count_idle_fds()

    def _count_idle_fds(self) -> int:
        with self.connect("echo") as sock:  # some event loops open more at the first one
            sock.sendall(b"ping")
            assert receive(sock, 4) == b"ping"
            return self.fds() - 1

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        line = b""
        deadline = time.monotonic() + TIMEOUT
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
            byte = os.read(fd, 1) if readable else b""
            if not byte:
                self.kill()
                raise AssertionError(f"the server does not announce itself: {self.log()}")
            line += byte
        return line.decode()

    def port(self, service: str) -> int:
        """Where a service listens, as the server announced it."""
        return self._ports[service]

    def connect(self, service: str) -> socket.socket:
        """A connection to a service; no operation on it waits for ever."""
        return socket.create_connection(("127.0.0.1", self._ports[service]), timeout=TIMEOUT)

    def connect_tls(self, service: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """The same over TLS, with the handshake made; a cut-off is an error, not an end."""
        assert self._authority is not None
        return (context or self._authority.context()).wrap_socket(
            self.connect(f"{service}-tls"),
            server_hostname="127.0.0.1",
            suppress_ragged_eofs=False,
        )

    def echoes(self) -> bool:
        """Whether a new connection gets its bytes back."""
        with self.connect("echo") as sock:
            sock.sendall(b"ping")
            return receive(sock, 4) == b"ping"

    def fds(self) -> int:
        """How many file descriptors the server has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def workers(self) -> list[int]:
        """Its child processes that are alive, by process id."""
        children = psutil.Process(self.process.pid).children()
        return [each.pid for each in children if is_alive(each.pid)]

    def is_idle(self) -> bool:
        """Whether all its connections are closed."""
        return self.fds() == self.idle_fds

    def rss(self) -> int:
        """Its resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(TIMEOUT)

    def log(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text()

    def figures(self) -> dict[str, int]:
        """What it counted, by name and by reason, as the last line of its log says."""
        (line,) = (line for line in self.log().splitlines() if " stopped connections=" in line)
        words = line.partition(" stopped ")[2].split()  # workers, if any, have lines of their own
        return {key: int(value) for key, _, value in (word.partition("=") for word in words)}

    def closed(self) -> dict[str, int]:
        """How many connections ended, by reason, the harness's own first one left out."""
        figures = self.figures()
        figures["finished"] -= 1
        connections = figures.pop("connections") - 1
        closes = {
            name: count
            for name, count in figures.items()
            if count and name not in ("received", "sent")
        }
        assert sum(closes.values()) == connections
        return closes

    def refuses(self) -> bool:
        """Whether a connection attempt fails: refused, or reset as the listener closes."""
        try:
            self.connect("echo").close()
        except ConnectionError:
            return True
        return False

    def stop(self) -> None:
        """End it as an operator does, if that is yet to do, and check that it ended well."""
        try:
            if self.process.poll() is None:
                self.signal()
                assert self.wait() == 0, self.log()
        finally:
            self.kill()
        log = self.log()
        assert "Traceback" not in log, log
        assert "Exception" not in log, log

    def kill(self) -> None:
        """Leave no process behind, whatever happened."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()


def clean_environment() -> dict[str, str]:
    """The environment without settings of the server's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("C10K_")}


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return str(psutil.Process(pid).status()) != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, or fewer if the stream ends before."""
    data = bytearray()
    while len(data) < size and (chunk := sock.recv(min(65536, size - len(data)))):
        data += chunk
    return bytes(data)


def receive_line(sock: socket.socket) -> bytes:
    """Bytes up to and with a newline, and not one more."""
    line = b""
    while not line.endswith(b"\n") and (byte := sock.recv(1)):
        line += byte
    return line


def receive_rest(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    data = bytearray()
    while chunk := sock.recv(65536):
        data += chunk
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset and not an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def send_until_stuck(sock: socket.socket, data: bytes, limit: int) -> int:
    """Send ``data`` over and over until no byte goes for 200 ms; returns how many went."""
    sent = 0
    while sent < limit:
        _, writable, _ = select.select([], [sock], [], 0.2)
        if not writable:
            break
        sent += sock.send(data)
    return sent


@contextlib.contextmanager
def sending(sock: socket.socket, chunks: Iterator[bytes]) -> Iterator[threading.Thread]:
    """Send the chunks from another thread, which is over when the block is left."""

    def send() -> None:
        for chunk in chunks:
            sock.sendall(chunk)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
