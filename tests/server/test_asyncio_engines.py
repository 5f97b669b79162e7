"""What is particular to the engines on asyncio and uvloop: their TLS transports, their tasks."""

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from server import config, engines
from server.engines import asyncio_tasks
from server.engines.asyncio_accept import Acceptor, Entrance
from server.instance import Instance
from server.listeners import open_listeners
from server.metrics import Closed, Counters
from server.protocol import SleepProtocol
from server.tls import Certificate
from tests.conftest import signals_put_back
from tests.server.conftest import Start
from tests.server.harness import (
    TIMEOUT,
    Authority,
    ServerProcess,
    eventually,
    receive,
    receive_line,
    receive_rest,
    send_until_stuck,
    sending,
)

MODES = ("asyncio", "uvloop", "uvloop-protocol")

MIB = 1 << 20


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Those engines alone."""
    return str(request.param)


class Serving:
    """A server in this process, on the main thread, for a client in another."""

    def __init__(self, mode: str, *flags: str) -> None:
        self.mode = mode
        self.settings, _ = config.load(
            ["--mode", mode, "--echo", "127.0.0.1:0", "--sleep", "127.0.0.1:0", *flags], {}, 1000
        )
        self.instance: Instance
        self.failures: list[BaseException] = []

    def connect(self, service: str) -> socket.socket:
        (listener,) = (each for each in self.instance.listeners if each.name == service)
        return socket.create_connection(listener.sock.getsockname(), timeout=TIMEOUT)

    def __call__(self, client: Callable[[], None]) -> Counters:
        """Serve while the client runs, drain, and return what was counted."""

        def run() -> None:
            try:
                client()
            except BaseException as failure:
                self.failures.append(failure)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=run)
        certificate = Certificate(self.settings) if self.settings.tls_cert else None
        with open_listeners(self.settings) as listeners, signals_put_back():
            self.instance = Instance(self.settings, listeners, certificate, thread.start)
            engines.load(self.mode)(self.instance)
        thread.join(TIMEOUT)
        assert not thread.is_alive()
        for failure in self.failures:
            raise failure
        return self.instance.counters


def ended(counters: Counters) -> dict[Closed, int]:
    return {reason: count for reason, count in counters.closes.items() if count}


class TestTlsEnds:
    @pytest.fixture
    def server(self, start: Start, authority: Authority) -> ServerProcess:
        return start("--half-close-timeout", "0.4", "--drain-timeout", "20", authority=authority)

    def test_a_drain_does_not_wait_for_a_goodbye(self, server: ServerProcess) -> None:
        with server.connect_tls("echo") as silent, server.connect_tls("sleep") as asleep:
            silent.sendall(b"hello")
            assert receive(silent, 5) == b"hello"
            asleep.sendall(b"0\n0.3\n")
            assert receive_line(asleep) == b"0\n"
            began = time.monotonic()
            server.signal()
            assert server.wait() == 0
            assert time.monotonic() - began < 10
            assert receive_rest(silent) == b""  # by a close_notify: a truncation would raise
            assert receive_rest(asleep) == b"0.3\n"
        assert server.closed() == {"finished": 2}

    def test_a_drain_answers_what_came_before_a_last_line_without_an_end(
        self, server: ServerProcess
    ) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"0\n0.3\n0.1\n0")
            assert receive_line(sock) == b"0\n"
            server.signal()
            assert eventually(server.refuses)
            assert receive_line(sock) == b"0.3\n"
            assert receive_line(sock) == b"0.1\n"
            assert receive_rest(sock).startswith(b"error: last line not ended;")
        assert server.wait() == 0
        closes = server.closed()
        assert closes.pop("bad_line") == 1
        assert set(closes) <= {"finished"}  # those that asked whether it refuses

    def test_a_drain_stops_listening_to_a_peer_that_is_never_quiet(
        self, start: Start, authority: Authority
    ) -> None:
        server = start("--drain-timeout", "1", authority=authority)
        with server.connect_tls("echo") as sock:
            server.signal()
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() < began + 5:
                    sock.sendall(b"still here")
                    if not receive(sock, 10):
                        break
            assert 0.4 <= time.monotonic() - began < 5
        assert server.wait() == 0
        assert not server.closed().get("aborted")

    def test_a_drain_ends_a_peer_that_reads_late_without_a_fault(
        self, start: Start, authority: Authority
    ) -> None:
        server = start("--drain-timeout", "1.2", authority=authority)
        with server.connect_tls("echo") as sock:
            sock.setblocking(False)
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    sock.send(bytes(65536))
            server.signal()
            time.sleep(0.7)  # more than half of the drain's time
            sock.settimeout(TIMEOUT)
            with contextlib.suppress(OSError):
                receive_rest(sock)
        assert server.wait() == 0

    @pytest.mark.parametrize("by", ["goodbye", "half-close"])
    def test_answers_still_to_come_are_lost_with_the_peers_end(
        self, server: ServerProcess, by: str
    ) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"0\n0.3\n" + b"0\n" * 100)
            assert receive_line(sock) == b"0\n"
            if by == "goodbye":
                sock.unwrap().close()
            else:
                socket.socket.shutdown(sock, socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    assert receive_rest(sock) == b""
            assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"broken": 1}
        assert server.log().count("\n") == 2  # draining, stopped: no word for each lost answer

    def test_an_echo_cut_short_by_the_peers_goodbye_has_not_finished(
        self, mode: str, server: ServerProcess, authority: Authority
    ) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        payload = bytes(3 * MIB)
        received = 0
        with server.connect("echo-tls") as sock:
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                    break
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
            tls.write(payload)
            with contextlib.suppress(ssl.SSLError):
                tls.unwrap()
            with sending(sock, iter([outgoing.read()])):
                while chunk := sock.recv(65536):
                    incoming.write(chunk)
                    with contextlib.suppress(ssl.SSLError):
                        while plain := tls.read(65536):
                            received += len(plain)
        assert eventually(server.is_idle)
        server.stop()
        whole = received == len(payload)
        assert server.closed() == {"finished" if whole else "broken": 1}
        assert whole or mode != "uvloop-protocol"

    def test_a_peer_that_never_says_goodbye_has_a_deadline(self, server: ServerProcess) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"1" * 65537)
            began = time.monotonic()
            assert eventually(server.is_idle)
            assert time.monotonic() - began >= 0.3
            assert receive_rest(sock).startswith(b"error: line longer")
        server.stop()
        assert server.closed() == {"half_close_timeout": 1}

    def test_more_from_a_peer_that_was_told_goodbye_is_no_fault(
        self, server: ServerProcess
    ) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"1" * 65537)
            assert receive_rest(sock).startswith(b"error: line longer")
            with contextlib.suppress(OSError):
                sock.sendall(b"1\n")
                sock.sendall(b"1\n")
        assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"bad_line": 1}


def test_a_connection_counts_from_its_accept_on(start: Start, authority: Authority) -> None:
    server = start("--max-connections", "2", "--handshake-timeout", "0.4", authority=authority)
    assert eventually(server.is_idle)
    with server.connect("echo-tls"), server.connect("echo-tls"):
        assert eventually(lambda: server.fds() == server.idle_fds + 2)
        with server.connect("echo") as third:
            third.sendall(b"x")
            third.settimeout(0.05)
            with pytest.raises(TimeoutError):
                third.recv(1)
            third.settimeout(TIMEOUT)
            assert receive(third, 1) == b"x"
        assert eventually(server.is_idle)
    server.stop()
    assert server.closed() == {"handshake_timeout": 2, "finished": 1}


@pytest.mark.parametrize("service", ["echo", "echo-tls"])
def test_a_flood_of_handshakes_is_accepted_a_few_at_a_time(
    mode: str, service: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a limit per address uvloop, too, accepts plain connections as the others do.
    flags = ("--max-per-address", "100", "--echo-tls", "127.0.0.1:0")
    serving = Serving(mode, *flags, "--tls-cert", str(authority.file))
    flooded = threading.Event()
    accepted = []
    accept = Acceptor._accept

    def after_the_flood(self: Acceptor, entrance: Entrance) -> None:
        assert flooded.wait(TIMEOUT)
        before = len(self.live)
        accept(self, entrance)
        accepted.append(len(self.live) - before)

    monkeypatch.setattr(Acceptor, "_accept", after_the_flood)

    def client() -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(21):
                stack.enter_context(serving.connect(service))
            flooded.set()
            assert eventually(lambda: sum(accepted) == 21)

    serving(client)
    assert accepted[:11] == [2] * 10 + [1] if service == "echo-tls" else accepted[0] == 21


@pytest.mark.parametrize("service", ["echo", "echo-tls"])
def test_one_that_is_overdue_when_it_is_accepted_is_cut_off_and_counted(
    mode: str, service: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It may have waited in the backlog for longer than it may be idle.
    flags = ("--max-per-address", "100", "--echo-tls", "127.0.0.1:0")
    serving = Serving(mode, *flags, "--tls-cert", str(authority.file))
    accept = Acceptor._accept

    def and_cut_off(self: Acceptor, entrance: Entrance) -> None:
        accept(self, entrance)
        for each in tuple(self.live.values()):
            each.cut_off(Closed.IDLE_TIMEOUT)

    monkeypatch.setattr(Acceptor, "_accept", and_cut_off)

    def client() -> None:
        with serving.connect(service) as sock, contextlib.suppress(ConnectionResetError):
            assert receive_rest(sock) == b""

    assert ended(serving(client)) == {Closed.IDLE_TIMEOUT: 1}


def test_one_may_be_cut_off_in_its_handshake(start: Start, authority: Authority) -> None:
    server = start("--idle-timeout", "0.2", authority=authority)
    with server.connect("echo-tls") as sock:
        sock.sendall(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionResetError):
            assert receive_rest(sock) == b""
        assert eventually(server.is_idle)
    server.stop()
    assert server.closed() == {"idle_timeout": 1}


class TestBugs:
    def test_one_in_a_handler_ends_its_own_connection_alone(
        self, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        correct = SleepProtocol._answer

        def answer(self: SleepProtocol, line: bytes) -> object:
            if line == b"42\n":
                raise RuntimeError("a bug")
            return correct(self, line)

        monkeypatch.setattr(SleepProtocol, "_answer", answer)
        serving = Serving(mode)

        def client() -> None:
            with serving.connect("sleep") as one, serving.connect("sleep") as other:
                for sock in (one, other):
                    sock.sendall(b"0\n")
                    assert receive_line(sock) == b"0\n"
                one.sendall(b"0\n42\n0\n")
                assert receive_rest(one) == b"0\n"
                other.sendall(b"0\n")
                assert receive_line(other) == b"0\n"

        assert ended(serving(client)) == {Closed.FAILED: 1, Closed.FINISHED: 1}
        (record,) = (each for each in caplog.records if each.levelname == "ERROR")
        assert record.getMessage() == "handler failed"
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "a bug"

    def test_one_in_what_the_loop_calls_is_logged_and_counted(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def feed(self: SleepProtocol, data: bytes) -> object:
            raise RuntimeError("a bug")

        monkeypatch.setattr(SleepProtocol, "feed", feed)
        serving = Serving("uvloop-protocol")

        def client() -> None:
            with serving.connect("sleep") as sock, contextlib.suppress(ConnectionResetError):
                sock.sendall(b"0\n")
                assert receive_rest(sock) == b""

        assert ended(serving(client)) == {Closed.FAILED: 1}
        (record,) = (each for each in caplog.records if each.levelname == "ERROR")
        assert record.getMessage() == "handler failed"


class TestTasks:
    def test_tells_where_everybody_stands(self, mode: str) -> None:
        serving = Serving(mode)

        def client() -> None:
            with contextlib.ExitStack() as stack:
                for _ in range(5):
                    sock = stack.enter_context(serving.connect("echo"))
                    sock.sendall(b"x")
                    assert receive(sock, 1) == b"x"
                sleeper = stack.enter_context(serving.connect("sleep"))
                sleeper.sendall(b"0\n0.2\n")
                assert receive_line(sleeper) == b"0\n"
                text = serving.instance.describe_tasks()
                assert "\n6 connections\n" in text
                assert "_keep_time (" in text
                if mode == "uvloop-protocol":
                    assert "5 echo, reading\n" in text
                    assert "1 sleep, waiting for its time\n" in text
                else:
                    assert "5 tasks: Task-" in text
                    assert " and 2 more\n    at echo (" in text
                    assert "    at StreamReader.read (" in text
                    assert "1 task: Task-" in text
                    assert "\n    at sleep (" in text

        serving(client)

    def test_tells_of_a_peer_that_does_not_read(self) -> None:
        serving = Serving("uvloop-protocol", "--drain-timeout", "0.1")

        def client() -> None:
            with serving.connect("echo") as echo, serving.connect("sleep") as sleep:
                send_until_stuck(echo, bytes(65536), 64 * MIB)
                send_until_stuck(sleep, b"0\n" * 30000, 64 * MIB)

                def text_has(line: str) -> bool:
                    return f"{line}\n" in serving.instance.describe_tasks()

                assert text_has("1 echo, waiting for the peer to read")
                assert eventually(lambda: text_has("1 sleep, waiting for the peer to read"))

        serving(client)

    def test_works_while_the_loop_hangs(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        hanging, enough = threading.Event(), threading.Event()

        def hang(self: SleepProtocol, data: bytes) -> SleepProtocol:
            hanging.set()
            enough.wait(TIMEOUT)
            return self

        monkeypatch.setattr(SleepProtocol, "feed", hang)
        serving = Serving(mode)

        def client() -> None:
            with serving.connect("sleep") as sock:
                sock.sendall(b"0\n")
                assert hanging.wait(TIMEOUT)
                try:
                    text = serving.instance.describe_tasks()
                finally:
                    enough.set()
                _, _, stack = text.partition("the thread of the event loop:\n")
                assert ".hang (" in stack

        serving(client)

    def test_a_coroutine_is_followed_to_where_it_waits(self) -> None:
        async def inner() -> None:
            await Forever()

        async def outer() -> None:
            await inner()

        class Forever:
            def __await__(self):  # type: ignore[no-untyped-def]
                yield

        coro = outer()
        coro.send(None)
        functions = [function for _, _, function in asyncio_tasks._stack(coro)]
        assert [each.rpartition(".")[2] for each in functions] == ["outer", "inner"]
        coro.close()
