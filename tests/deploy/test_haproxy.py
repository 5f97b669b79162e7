"""The shipped configuration of HAProxy, in a real HAProxy, before real servers.

Only what a machine without containers cannot have is exchanged: the names that DNS would tell for
addresses, and the ports. Every number and every rule is what users run.
"""

import contextlib
import csv
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.files import HAPROXY, program
from tests.server.harness import ServerProcess, receive

Start = Callable[[str], ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[ServerProcess] = []

    def start_server(name: str) -> ServerProcess:
        directory = tmp_path / name
        directory.mkdir()
        process = ServerProcess(directory, "runtime", "--admin=127.0.0.1:0", "--drain-timeout=20")
        started.append(process)
        return process

    yield start_server
    for process in started:
        process.stop()


class HAProxy:
    """A running one: a port for clients, and one for who wants to know."""

    def __init__(self, echo: int, admin: int) -> None:
        self._echo = echo
        self._admin = admin

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._echo), timeout=10)

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}{path}", timeout=10) as page:
            text: bytes = page.read()
            return text.decode()

    def is_ready(self) -> bool:
        try:
            self.page("/readyz")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503:
                raise
            return False
        return True

    def table(self) -> dict[str, dict[str, str]]:
        """What its statistics say of each server."""
        rows = csv.DictReader(self.page("/stats;csv").splitlines())
        wanted = (row for row in rows if row["# pxname"] == "servers")
        return {row["svname"]: row for row in wanted if row["svname"] != "BACKEND"}

    def sessions(self) -> list[int]:
        return [int(row["scur"]) for row in self.table().values()]

    def up(self) -> list[str]:
        """Who gets connections; "UP 1/2" is about to be DOWN, but is not yet."""
        return [name for name, row in self.table().items() if row["status"].startswith("UP")]


# Clients that an HAProxy of the tests has places for.
FULL = 100


@contextlib.contextmanager
def proxied(
    servers: list[ServerProcess],
    directory: Path,
    changed: str = "",
    tracer: tuple[str, ...] = (),
) -> Iterator[HAProxy]:
    """HAProxy before these servers, checked and ready; `changed` is put before what it knows of
    each server, and a tracer before the command."""
    haproxy = program("haproxy")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as echo,
        socket.create_server(("127.0.0.1", 0), backlog=128) as admin,
    ):
        config = directory / "haproxy.cfg"
        config.write_text(adapted(servers, echo.fileno(), admin.fileno(), changed))
        log = directory / "haproxy.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*tracer, haproxy, "-db", "-f", str(config)],
                stdout=out,
                stderr=out,
                pass_fds=[echo.fileno(), admin.fileno()],
                env={"PROXY_CONNECTIONS": str(FULL), "PROXY_PROCESS": "200"},
            )
        try:
            made = HAProxy(echo.getsockname()[1], admin.getsockname()[1])
            assert soon(lambda: process.poll() is None and is_checked(made)), log.read_text()
            yield made
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            process.wait(10)


def talking(proxy: HAProxy) -> socket.socket:
    """A client who has had an echo."""
    client = proxy.connect()
    try:
        client.sendall(b"ping")
        assert receive(client, 4) == b"ping"
    except BaseException:
        client.close()
        raise
    return client


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true in time: two checks of a server that hangs take six seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_checked(proxy: HAProxy) -> bool:
    """Whether every server has echoed to a check."""
    return all(row["check_status"] == "L7OK" for row in proxy.table().values())


def adapted(servers: list[ServerProcess], echo: int, admin: int, changed: str) -> str:
    """The shipped text with other addresses; the sockets are given, so nobody takes the ports."""
    text = HAPROXY.read_text()
    for old, new in (
        ("    bind :7007 ", f"    bind fd@{echo} "),
        ("    bind :8404\n", f"    bind fd@{admin}\n"),
        ("    default-server ", f"    default-server {changed} "),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    lines = text.splitlines(keepends=True)
    (place,) = (n for n, line in enumerate(lines) if line.lstrip().startswith("server-template"))
    # A template for each, of one place, with all that the shipped one says besides.
    _, _, _, _, options = lines[place].split(maxsplit=4)
    lines[place : place + 1] = [
        f"    server-template c10k{n}- 1 127.0.0.1:{server.port('echo')} {options}"
        for n, server in enumerate(servers)
    ]
    return "".join(lines)


def test_haproxy_accepts_its_configuration_without_a_warning() -> None:
    done = subprocess.run(
        [program("haproxy"), "-c", "-dW", "-f", str(HAPROXY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_new_connections_go_where_there_are_fewest(start: Start, tmp_path: Path) -> None:
    """Not where it is somebody's turn: a server that lost its clients gets all the next ones."""
    with proxied([start("a"), start("b")], tmp_path) as proxy, contextlib.ExitStack() as clients:
        first = [clients.enter_context(talking(proxy)) for _ in range(6)]
        assert proxy.sessions() == [3, 3]
        for client in first[::2]:
            client.close()
        assert soon(lambda: sorted(proxy.sessions()) == [0, 3])
        for _ in range(3):
            clients.enter_context(talking(proxy))
        assert proxy.sessions() == [3, 3]
        assert "haproxy_server_current_sessions" in proxy.page("/metrics")


def test_a_proxy_that_is_full_still_answers_probes(start: Start, tmp_path: Path) -> None:
    with proxied([start("a")], tmp_path) as proxy, contextlib.ExitStack() as clients:
        for _ in range(FULL):
            clients.enter_context(talking(proxy))
        waiting = clients.enter_context(proxy.connect())
        waiting.sendall(b"ping")
        assert proxy.sessions() == [FULL]
        assert "haproxy_server_current_sessions" in proxy.page("/metrics")


def test_checks_count_as_clients_who_finished_and_not_as_broken_connections(
    start: Start, tmp_path: Path
) -> None:
    server = start("a")
    with proxied([server], tmp_path) as proxy:
        assert soon(lambda: int(proxy.table()["c10k0-1"]["check_duration"] or -1) >= 0)
    server.stop()
    assert set(server.closed()) == {"finished"}


def test_a_server_that_hangs_while_its_kernel_accepts_gets_no_connections(
    start: Start, tmp_path: Path
) -> None:
    hangs, works = start("a"), start("b")
    with proxied([hangs, works], tmp_path) as proxy:
        hangs.signal(signal.SIGSTOP)
        try:
            assert soon(lambda: proxy.up() == ["c10k1-1"])
            for _ in range(4):
                talking(proxy).close()
        finally:
            hangs.signal(signal.SIGCONT)
        assert soon(lambda: proxy.up() == ["c10k0-1", "c10k1-1"])


def test_a_client_of_a_server_that_is_gone_is_served_by_another(
    start: Start, tmp_path: Path
) -> None:
    """At once, before a check has failed: connecting is tried again elsewhere."""
    goes, stays = start("a"), start("b")
    with proxied([goes, stays], tmp_path) as proxy:
        goes.stop()
        for _ in range(4):
            talking(proxy).close()


def test_the_kernel_looks_after_peers_that_are_gone_without_a_word(
    start: Start, tmp_path: Path
) -> None:
    """HAProxy accepts such settings in places where they have no effect, so the kernel is asked."""
    trace = tmp_path / "trace"
    tracer = (program("strace"), "-D", "-f", "-e", "setsockopt", "-o", str(trace))
    server = start("a")
    with proxied([server], tmp_path, tracer=tracer) as proxy:
        talking(proxy).close()
    # The tracer is a process of its own, and may be writing still.
    assert soon(lambda: "+++ killed by SIGTERM +++" in trace.read_text())
    calls = trace.read_text()
    # For the listener, whose connections inherit it.
    assert calls.count("TCP_USER_TIMEOUT, [30000]") == 1
    # For our client's connection, and that to the server; checks have it as well.
    assert calls.count("TCP_KEEPIDLE, [60]") >= 2


def test_a_connection_survives_that_its_draining_server_is_marked_down(
    start: Start, tmp_path: Path
) -> None:
    assert echoes_although_down(start("a"), tmp_path)


def test_it_would_not_if_sessions_were_shut_down_with_the_mark(
    start: Start, tmp_path: Path
) -> None:
    """Why the configuration does without it."""
    assert not echoes_although_down(start("a"), tmp_path, "on-marked-down shutdown-sessions")


def echoes_although_down(server: ServerProcess, directory: Path, changed: str = "") -> bool:
    """Whether a client that keeps talking still does when the checks have failed."""
    with proxied([server], directory, changed) as proxy, talking(proxy) as client:
        server.signal()
        deadline = time.monotonic() + 8
        while proxy.up():
            assert time.monotonic() < deadline, "the checks do not fail"
            client.sendall(b"more")
            assert receive(client, 4) == b"more"
            time.sleep(0.02)
        assert not proxy.is_ready()
        client.sendall(b"last")
        answered = receive(client, 4) == b"last"
    assert server.wait() == 0
    return answered
