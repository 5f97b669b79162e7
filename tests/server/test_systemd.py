"""What a service manager sees: sockets that it opened are served, and it is told the truth."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server import config
from server.errors import UsageError
from server.systemd import activation
from server.systemd.notify import Notifier
from tests.server.harness import TIMEOUT, Authority, clean_environment, receive, receive_line
from tests.server.scripted import WAIT_FOR_TERM, announced, outcome, scripted


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self._sock = sock
        self.environ = {"NOTIFY_SOCKET": address}

    def told(self) -> str:
        """The next message."""
        return self._sock.recv(4096).decode()

    def is_told_within(self, seconds: float) -> bool:
        return bool(select.select([self._sock], [], [], seconds)[0])


@contextlib.contextmanager
def managing(address: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind(address.replace("@", "\0"))
        yield Manager(sock, address)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with managing(str(tmp_path / "notify")) as manager:
        yield manager


@contextlib.contextmanager
def service(
    *arguments: str,
    socks: list[socket.socket] | None = None,
    environ: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The server as a service manager starts it, with sockets from descriptor 3 up."""
    fds = [sock.fileno() for sock in socks or ()]
    # A shell cannot: LISTEN_PID is that of the process which is to be the server.
    program = f"""
import fcntl, os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in {fds}]
for number, fd in enumerate(high, 3):
    os.dup2(fd, number)
    os.close(fd)
os.execv(sys.executable, [sys.executable, "-m", "server", *sys.argv[1:]])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=fds,
        env=clean_environment() | (environ or {}),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)


def stop(process: subprocess.Popen[str]) -> str:
    """End it as it should; returns its log."""
    process.send_signal(signal.SIGTERM)
    status, log = outcome(process)
    assert status == 0, log
    return log


# sd_notify.


@pytest.mark.parametrize("workers", [1, 2])
def test_the_manager_is_told_of_the_start_a_reload_and_the_end(
    mode: str, workers: int, manager: Manager
) -> None:
    flags = ("--mode", mode, "--echo=127.0.0.1:0", f"--workers={workers}")
    serving = "READY=1\nSTATUS=" + ("serving" if workers == 1 else "2 workers serve")
    with service(*flags, environ=manager.environ) as process:
        announced(process)
        assert manager.told() == serving
        process.send_signal(signal.SIGHUP)
        assert manager.told().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.told() == serving
        stop(process)
        assert manager.told() == "STOPPING=1\nSTATUS=draining"
        assert not manager.is_told_within(0)


def test_a_manager_that_is_gone_is_one_log_line(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    with service("--echo=127.0.0.1:0", environ=environ) as process:
        announced(process)
        log = stop(process)
    assert log.count("cannot notify the service manager error=") == 1


BEATS_THEN_HANGS = """
instance.serving()
for _ in range(20):
    time.sleep(0.02)
    instance.beat(0.02)
print("hangs", flush=True)
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""


def test_the_watchdog_is_reset_while_the_loop_is_alive_and_not_when_it_hangs(
    manager: Manager,
) -> None:
    environ = manager.environ | {"WATCHDOG_USEC": "400000"}
    with scripted(BEATS_THEN_HANGS, environ=environ) as process:
        announced(process)
        assert manager.told().startswith("READY=1")
        assert manager.told() == "WATCHDOG=1"
        assert manager.told() == "WATCHDOG=1"
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        while manager.is_told_within(0.4):
            assert manager.told() == "WATCHDOG=1"


BEATS = """
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
instance.serving()
while not stop.wait(0.02):
    instance.beat(0.02)
"""


def test_the_watchdog_is_reset_while_all_workers_are_alive(manager: Manager) -> None:
    environ = manager.environ | {"WATCHDOG_USEC": "400000"}
    with scripted(BEATS, "--workers=2", environ=environ) as process:
        announced(process)
        for _ in range(3):  # pings may come while they begin
            while manager.told() != "WATCHDOG=1":
                pass
        hanging = psutil.Process(process.pid).children()[0]
        hanging.suspend()
        while manager.is_told_within(0.4):
            manager.told()
        hanging.resume()
        assert manager.is_told_within(TIMEOUT)
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({"WATCHDOG_USEC": "4000000"}, 1.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_whom_it_names(
    variables: dict[str, str], interval: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "/nobody", **variables}
    assert Notifier(environ).interval == interval
    assert environ == {}


def test_a_reload_before_the_server_serves_is_not_readiness(manager: Manager) -> None:
    engine = """
os.kill(os.getppid() if instance.settings.workers > 1 else os.getpid(), signal.SIGHUP)
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.01)
"""
    for workers in ("1", "2"):
        go = f"{manager.environ['NOTIFY_SOCKET']}.{workers}"
        environ = manager.environ | {"GO": go}
        with scripted(engine + WAIT_FOR_TERM, f"--workers={workers}", environ=environ) as process:
            assert process.stderr is not None
            assert "nothing to reload" in process.stderr.readline()
            assert not manager.is_told_within(0.05)
            Path(go).touch()
            announced(process)
            assert manager.told().startswith("READY=1")
            stop(process)
            assert manager.told().startswith("STOPPING=1")


def test_a_reload_during_the_drain_is_no_readiness_either(manager: Manager) -> None:
    notifier = Notifier(dict(manager.environ))
    notifier.ready("serving")
    assert manager.told().startswith("READY=1")
    with notifier.reloading():
        assert manager.told().startswith("RELOADING=1")
        notifier.stopping()
        assert manager.told().startswith("STOPPING=1")
    with notifier.reloading():
        pass
    assert not manager.is_told_within(0)


@pytest.mark.parametrize(
    "microseconds", ["9" * 400, "9" * 5000, "9" * 30, "1", "0", "-1", "\u0663"]
)
def test_a_watchdog_time_beyond_reason_is_no_watchdog(microseconds: str, manager: Manager) -> None:
    assert Notifier(manager.environ | {"WATCHDOG_USEC": microseconds}).interval is None


def test_an_address_may_be_abstract() -> None:
    with managing(f"@c10k-test-{os.getpid()}") as manager:
        Notifier(manager.environ).stopping()
        assert manager.told() == "STOPPING=1\nSTATUS=draining"


def test_without_a_manager_nothing_is_said() -> None:
    notifier = Notifier({})
    notifier.ready("serving")
    notifier.alive(0.0)
    assert notifier.interval is None


# Socket activation.


@contextlib.contextmanager
def listening(count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=TIMEOUT)


@pytest.mark.parametrize("workers", [1, 2])
def test_named_sockets_are_served(mode: str, workers: int) -> None:
    flags = ("--mode", mode, f"--workers={workers}")
    with listening(2) as socks:
        sleep, echo = socks
        environ = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "sleep:echo"}
        with service(*flags, socks=socks, environ=environ) as process:
            port = sleep.getsockname()[1]
            assert announced(process) == f"listening sleep 127.0.0.1:{port}\n"
            with connect(echo) as one, connect(sleep) as other:
                one.sendall(b"7.5\n")
                assert receive_line(one) == b"7.5\n"
                other.sendall(b"x\n")
                assert receive_line(other).startswith(b"error")
            stop(process)


def test_given_sockets_are_set_up_as_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(activation, "FIRST_FD", sock.detach())
    settings, _ = config.load([], {}, 1000, sockets_given=True)
    with activation.adopt_listeners(settings, ["echo"]) as (listener,):
        assert listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30000
        assert not listener.sock.getblocking()
        assert not listener.sock.get_inheritable()
    assert listener.sock.fileno() == -1


def test_nobody_is_refused_while_the_server_is_restarted() -> None:
    with listening(1) as socks:
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"}
        with service(socks=socks, environ=environ) as process:
            announced(process)
            stop(process)
        with connect(socks[0]) as waiting:
            waiting.sendall(b"ping")
            with service(socks=socks, environ=environ) as process:
                announced(process)
                assert receive(waiting, 4) == b"ping"
                waiting.close()
                stop(process)


@pytest.mark.parametrize("names", ["", "unknown:unknown", "c10k.socket:c10k.socket"])
def test_sockets_without_names_are_echo_and_sleep_in_that_order(names: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
    assert activation.names(environ) == ["echo", "sleep"]
    assert environ == {}


@pytest.mark.parametrize("environ", [{"LISTEN_PID": "1", "LISTEN_FDS": "2"}, {"LISTEN_FDS": "2"}])
def test_sockets_for_another_process_are_not_taken(environ: dict[str, str]) -> None:
    assert activation.names(environ) == []
    assert environ == {}


@pytest.mark.parametrize(
    ("count", "names", "reason"),
    [
        ("two", "", "'two' is not a number of sockets"),
        ("\u0663", "", "is not a number of sockets"),
        ("9" * 20, "", "is not a number of sockets"),
        ("9" * 5000, "echo", "is not a number of sockets"),
        ("2", "echo", "has 1 names for 2 sockets"),
        ("1", "http", "is named 'http'; name the sockets by FileDescriptorName=: echo, sleep"),
        ("2", "echo:unknown", "is named 'unknown'"),
        ("5", "", "5 sockets without names are too many"),
    ],
)
def test_what_cannot_be_assigned_is_a_usage_error(count: str, names: str, reason: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names}
    with pytest.raises(UsageError, match=reason):
        activation.names(environ)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--sleep=127.0.0.1:0"], "sleep is set, but the sockets to listen on are given by"),
        (["--max-connections=x"], "is not a whole number"),
    ],
)
def test_flags_do_not_open_listeners_as_well(flags: list[str], reason: str) -> None:
    with (
        listening(1) as socks,
        service(*flags, socks=socks, environ={"LISTEN_FDS": "1"}) as process,
    ):
        status, log = outcome(process)
    assert status == 2
    assert reason in log
    assert log.count("\n") == 1


def test_given_sockets_leave_no_default_to_open() -> None:
    settings, _ = config.load([], {}, 1000, sockets_given=True)
    assert list(settings.listeners()) == []


def test_a_socket_for_tls_needs_a_certificate(authority: Authority) -> None:
    with listening(1) as socks:
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo-tls"}
        with service(socks=socks, environ=environ) as process:
            status, log = outcome(process)
        assert (status, log.count("\n")) == (2, 1)
        assert "echo-tls needs a certificate" in log
        with service(f"--tls-cert={authority.file}", socks=socks, environ=environ) as process:
            announced(process)
            stop(process)


def test_what_does_not_listen_on_tcp_is_a_usage_error(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        connected = stack.enter_context(socket.socket())
        datagram = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(tmp_path / "local"))
        local.listen()
        for sock in (connected, datagram, local):
            with service(socks=[sock], environ={"LISTEN_FDS": "1"}) as process:
                status, log = outcome(process)
            assert (status, log.count("\n")) == (2, 1)
            assert "descriptor 3, for echo, does not listen on TCP" in log


def test_a_descriptor_that_is_no_socket_is_a_usage_error() -> None:
    with service(environ={"LISTEN_FDS": "1"}) as process:
        status, log = outcome(process)
    assert (status, log.count("\n")) == (2, 1)
    assert "descriptor 3, for echo, is no socket" in log


def test_nothing_of_the_managers_is_left_for_children(manager: Manager) -> None:
    # What a process of ours would hand on.
    engine = """
ours = ("LISTEN_", "NOTIFY_", "WATCHDOG_")
left = [key for key in os.environ if key.startswith(ours)]
os.write(1, f"listening with {left}\\n".encode())  # in one piece: there are two of them
"""
    environ = manager.environ | {"LISTEN_FDS": "1", "LISTEN_PID": "1", "WATCHDOG_USEC": "1000000"}
    with scripted(engine + WAIT_FOR_TERM, "--workers=2", environ=environ) as process:
        assert announced(process) == "listening with []\n"
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0
