"""What is particular to the engine ``threads``: sockets that two threads share, and counting."""

import _thread
import contextlib
import logging
import os
import re
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from server import config, logs
from server.engines import threads, threads_accept, threads_stacks, threads_tls
from server.instance import Instance, State
from server.listeners import open_listeners
from server.metrics import Closed
from server.tls import Certificate
from tests.server.conftest import Start
from tests.server.harness import (
    TIMEOUT,
    Authority,
    eventually,
    receive,
    receive_line,
    receive_rest,
    reset,
    send_until_stuck,
)


@pytest.fixture
def mode() -> str:
    return "threads"


class InProcess:
    """The engine in a thread of the test's process, whose instance can be looked at."""

    def __init__(self, signals: SimpleNamespace, authority: Authority, *flags: str) -> None:
        self._signals = signals
        names = ("echo", "sleep", "echo-tls")
        flags = (
            *(f"--{name}=127.0.0.1:0" for name in names),
            f"--tls-cert={authority.file}",
            *flags,
        )
        settings, _ = config.load(flags, {}, 1000)
        self._opened = contextlib.ExitStack()
        listeners = self._opened.enter_context(open_listeners(settings))
        self._addresses = {each.name: each.sock.getsockname() for each in listeners}
        self._serving = threading.Event()
        self._authority = authority
        self.instance = Instance(settings, listeners, Certificate(settings), self._serving.set)
        self._thread = threading.Thread(target=threads.run, args=(self.instance,), name="acceptor")

    def begin(self) -> None:
        self._thread.start()
        assert self._serving.wait(TIMEOUT)

    def connect(self, name: str) -> socket.socket:
        return socket.create_connection(self._addresses[name], timeout=TIMEOUT)

    def connect_tls(self) -> ssl.SSLSocket:
        sock, context = self.connect("echo-tls"), self._authority.context()
        return context.wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def echoes(self) -> bool:
        with self.connect("echo") as sock:
            return echoes(sock)

    def ended(self) -> dict[str, int]:
        """How many connections have ended, by reason."""
        return {
            reason: count for reason, count in self.instance.snapshot()["closes"].items() if count
        }

    def signal(self) -> None:
        self._signals.handler(signal.SIGTERM, None)
        with contextlib.suppress(BrokenPipeError):  # it has seen it already
            os.write(self._signals.wakeup_fd, b"\0")

    def end(self) -> None:
        if self._thread.is_alive() and self.instance.state is not State.DRAINING:
            self.signal()
        if self._thread.ident is not None:
            self._thread.join(TIMEOUT)
        self._opened.close()
        assert not self._thread.is_alive()


@pytest.fixture
def inside(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., InProcess]]:
    """Makes such engines; what they change in the process is put back."""

    def set_wakeup_fd(fd: int, **_: object) -> None:
        if fd >= 0:
            signals.wakeup_fd = os.dup(fd)

    signals = SimpleNamespace(SIGTERM=signal.SIGTERM, SIGINT=signal.SIGINT)
    signals.signal = lambda _number, handler: setattr(signals, "handler", handler)
    signals.set_wakeup_fd = set_wakeup_fd
    monkeypatch.setattr(threads_accept, "signal", signals)
    monkeypatch.setattr(logs, "limits", {})
    interval, stack_size = sys.getswitchinterval(), threading.stack_size()
    made: list[InProcess] = []

    def make(*flags: str) -> InProcess:
        made.append(InProcess(signals, authority, *flags))
        return made[-1]

    yield make
    for each in made:
        each.end()
        os.close(signals.wakeup_fd)
    sys.setswitchinterval(interval)
    threading.stack_size(stack_size)


def echoes(sock: socket.socket, data: bytes = b"ping") -> bool:
    sock.sendall(data)
    return receive(sock, len(data)) == data


def open_sockets() -> list[str]:
    """Those of this process."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [name for name in names if name.startswith("socket:")]


class TestCounting:
    def test_bytes_of_open_connections_are_in_the_figures(
        self, inside: Callable[..., InProcess]
    ) -> None:
        server = inside()
        server.begin()
        with server.connect("echo") as sock, server.connect_tls() as over_tls:
            assert echoes(sock, b"plain")
            assert echoes(over_tls, b"sealed")
            figures = server.instance.snapshot()
            assert figures["received"] == 11
            # The thread counts after it has sent, so the client may be ahead of it.
            assert eventually(lambda: server.instance.snapshot()["sent"] == 11)
            assert figures["current"] == figures["connections"] == 2
            assert sum(figures["handshake_seconds"]["counts"]) == 1
            assert figures["handshake_seconds"]["sum"] > 0

    def test_no_byte_is_missed_or_counted_twice_while_connections_end(
        self, inside: Callable[..., InProcess]
    ) -> None:
        server = inside()
        server.begin()

        def come_and_go() -> None:
            for _ in range(40):
                assert server.echoes()

        clients = [threading.Thread(target=come_and_go) for _ in range(4)]
        for each in clients:
            each.start()
        before = server.instance.snapshot()
        while any(each.is_alive() for each in clients):
            now = server.instance.snapshot()
            assert before["received"] <= now["received"] <= 4 * now["connections"]
            assert before["sent"] <= now["sent"] <= now["received"]
            assert now["current"] >= 0
            before = now
        assert eventually(lambda: server.ended() == {"finished": 160})
        assert server.instance.snapshot()["sent"] == server.instance.snapshot()["received"] == 640

    @pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
    def test_a_connection_that_gets_no_thread_is_closed_and_the_others_go_on(
        self,
        inside: Callable[..., InProcess],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        error: Exception,
    ) -> None:
        server = inside("--max-per-address", "2")
        server.begin()

        def no_thread(*_: object) -> int:
            raise error

        with server.connect("echo") as established:
            assert echoes(established)
            with monkeypatch.context() as patch:
                patch.setattr(
                    threads_accept, "_thread", SimpleNamespace(start_new_thread=no_thread)
                )
                for _ in range(3):
                    with server.connect("echo") as sock:
                        assert receive_rest(sock) == b""
            assert echoes(established)
            assert server.echoes()
        figures = server.instance.snapshot()
        assert figures["rejected"] == {"no_thread": 3}
        assert figures["connections"] == 2
        assert "cannot start a thread" in caplog.text

    def test_a_bug_of_ours_ends_its_connection_and_is_logged(
        self,
        inside: Callable[..., InProcess],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def buggy(_: threads_accept.Connection) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setitem(threads.HANDLERS, "sleep", buggy)
        server = inside()
        server.begin()
        with server.connect("sleep") as sock:
            assert receive_rest(sock) == b""
        assert server.echoes()
        assert eventually(lambda: server.ended() == {"failed": 1, "finished": 1})
        assert "ZeroDivisionError: a bug" in caplog.text

    def test_peers_that_were_gone_before_they_were_accepted_have_made_no_handshake(
        self, inside: Callable[..., InProcess]
    ) -> None:
        server = inside("--max-per-address", "8")
        for data in (b"", b"\x16", b"\x16\x03\x01"):
            for leave in (reset, socket.socket.close):
                sock = server.connect("echo-tls")
                sock.sendall(data)
                leave(sock)
        before = len(open_sockets())
        server.begin()
        assert eventually(lambda: server.ended() == {"handshake_failed": 6})
        with server.connect_tls() as over_tls:
            assert echoes(over_tls)
            # The two ends of this connection, and the engine's own: a pair, one end twice.
            assert len(open_sockets()) == before + 2 + 3

    def test_a_socket_that_takes_no_tls_is_closed_and_its_address_free_again(
        self, inside: Callable[..., InProcess]
    ) -> None:
        server = inside("--max-per-address", "1")

        class Refusing(ssl.SSLSocket):
            @classmethod
            def _create(cls, *_: Any, **__: Any) -> "Refusing":
                raise ssl.SSLError(1, "out of something")

        assert server.instance.certificate is not None
        server.instance.certificate.context.sslsocket_class = Refusing
        server.begin()
        for _ in range(3):
            with server.connect("echo-tls") as sock:
                assert receive_rest(sock) == b""
        assert eventually(lambda: server.ended() == {"handshake_failed": 3})
        assert server.instance.snapshot()["current"] == 0


class TestTime:
    def test_the_heart_beats_through_a_drain(self, inside: Callable[..., InProcess]) -> None:
        server = inside("--line-timeout", "0.16", "--drain-timeout", "60")
        server.begin()
        with server.connect("sleep") as sock:
            sock.sendall(b"0\n3600\n")
            assert receive_line(sock) == b"0\n"
            server.signal()
            assert eventually(lambda: server.instance.state is State.DRAINING)
            for _ in range(3):
                last = server.instance.beat_at
                assert eventually(lambda last=last: server.instance.beat_at > last)  # type: ignore[misc]
            reset(sock)

    def test_and_deadlines_hold_in_it(self, start: Start) -> None:
        server = start("--idle-timeout", "0.8", "--drain-timeout", "60")
        with server.connect("echo") as sock:
            # With bytes unread it is not quiet, and the drain leaves it alone for 30 s.
            assert send_until_stuck(sock, bytes(65536), 1 << 26) < 1 << 26
            server.signal()
            assert server.wait() == 0
        assert server.closed() == {"idle_timeout": 1}

    def test_a_peer_that_stops_reading_is_noticed_during_a_sleep(self, start: Start) -> None:
        server = start("--write-timeout", "0.3")
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", server.port("sleep")))
            sock.sendall((b"0." + b"0" * 97 + b"\n") * 200 + b"3600\n")
            assert eventually(lambda: not server.is_idle())
            assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"peer_timeout": 1}
        assert server.figures()["sent"] >= 20_000  # it was asleep, and not in the midst of sending

    def test_a_thread_that_outlives_the_drain_ends_in_silence(
        self, inside: Callable[..., InProcess], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        let_go, begun = threading.Event(), threading.Event()

        def stuck(_: threads_accept.Connection) -> None:
            begun.set()
            let_go.wait(TIMEOUT)

        monkeypatch.setitem(threads.HANDLERS, "sleep", stuck)
        monkeypatch.setattr(threads_accept, "ABORT_GRACE", 0.02)
        server = inside("--drain-timeout", "0.02", "--idle-timeout", "0.05")
        server.begin()
        unraisable: list[object] = []
        monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
        with server.connect("sleep") as sock:
            assert begun.wait(TIMEOUT)
            assert receive_rest(sock) == b""  # cut off, and the thread does not notice
            server.end()
            assert server.instance.snapshot()["current"] == 1
            let_go.set()
            assert eventually(lambda: server.ended() == {"idle_timeout": 1})
        assert eventually(lambda: ", in _serve\n" not in server.instance.describe_tasks())
        assert unraisable == []


@pytest.fixture
def tls_pair(authority: Authority) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """A client and the engine's end of a connection."""
    certificate = Certificate(config.load([f"--tls-cert={authority.file}"], {}, 1000)[0])
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(TIMEOUT)
        end = threads_tls.wrap(there, certificate.context)
        shaking = threading.Thread(target=threads_tls.handshake, args=(end, TIMEOUT))
        shaking.start()
        client = authority.context().wrap_socket(
            here, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        )
        shaking.join(TIMEOUT)
        with client, end:
            yield client, end


class TestTls:
    def test_what_was_sealed_before_a_shutdown_is_opened_all_the_same(
        self, tls_pair: tuple[ssl.SSLSocket, ssl.SSLSocket]
    ) -> None:
        client, end = tls_pair
        client.sendall(b"secret")
        threads_tls.shut_down(end, socket.SHUT_RD)
        assert end.recv(100) == b"secret"
        assert end.recv(100) == b""
        end.sendall(b"answer")
        threads_tls.say_goodbye(end)
        assert receive_rest(client) == b"answer"  # and a regular end

    def test_after_the_handshake_no_wait_has_a_timeout(
        self, tls_pair: tuple[ssl.SSLSocket, ssl.SSLSocket]
    ) -> None:
        assert tls_pair[1].gettimeout() is None

    def test_goodbye_to_a_peer_that_is_gone_is_no_error(
        self, tls_pair: tuple[ssl.SSLSocket, ssl.SSLSocket]
    ) -> None:
        client, end = tls_pair
        client.close()
        threads_tls.say_goodbye(end)
        threads_tls.say_goodbye(end)
        assert end.fileno() >= 0

    def test_goodbye_does_not_wait_for_the_peers(self, start: Start, authority: Authority) -> None:
        server = start(authority=authority)
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"1" * 65537)
            assert eventually(server.is_idle)  # it has made the handshake, so it was not before
            assert receive_rest(sock).startswith(b"error: line longer than")

    def test_goodbye_waits_for_room_behind_the_last_answer(
        self, tls_pair: tuple[ssl.SSLSocket, ssl.SSLSocket]
    ) -> None:
        client, end = tls_pair
        record = bytes(1000)
        sent = 0
        end.sendall(b"x")
        assert receive(client, 1) == b"x"  # and the tickets that the handshake leaves
        end.setblocking(False)
        with contextlib.suppress(ssl.SSLWantWriteError):
            while True:
                sent += end.send(record)
        end.setblocking(True)

        def finish() -> None:
            end.sendall(record)
            threads_tls.say_goodbye(end)

        finishing = threading.Thread(target=finish)
        finishing.start()
        received = len(receive(client, len(record)))  # which makes room for one, and no more
        finishing.join(0.05)
        assert finishing.is_alive()
        assert received + len(receive_rest(client)) == sent + len(record)
        finishing.join(TIMEOUT)
        assert not finishing.is_alive()

    def test_a_client_that_says_goodbye_first_gets_its_answers(
        self, start: Start, authority: Authority
    ) -> None:
        server = start(authority=authority)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = authority.context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with server.connect("sleep-tls") as sock:

            def until_done(step: Callable[[], Any]) -> Any:
                while True:
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        result = None
                        sock.sendall(outgoing.read())
                        incoming.write(sock.recv(65536))
                    else:
                        sock.sendall(outgoing.read())
                        return result

            until_done(client.do_handshake)
            until_done(lambda: client.write(b"0.05\n0.01\n"))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
            sock.sendall(outgoing.read())
            sealed = receive_rest(sock)
        incoming.write(sealed)
        assert client.read(100) + client.read(100) == b"0.05\n0.01\n"
        with pytest.raises(ssl.SSLZeroReturnError):  # the server's goodbye
            client.read(100)
        server.stop()
        assert server.closed() == {"finished": 1}
        assert server.figures()["sent"] == 10 + len(b"ping")


class TestStacks:
    def test_equal_stacks_are_one_entry(self, inside: Callable[..., InProcess]) -> None:
        server = inside()
        server.begin()
        with contextlib.ExitStack() as stack:
            sleeper = stack.enter_context(server.connect("sleep"))
            sleeper.sendall(b"0\n3600\n")
            assert receive_line(sleeper) == b"0\n"
            few = self.settled(server, idle=0)
            socks = [stack.enter_context(server.connect("echo")) for _ in range(30)]
            assert all(echoes(sock) for sock in socks)
            many = self.settled(server, idle=30)
            (entry,) = (each for each in many.split("\n\n") if "in echo" in each)
            assert re.match(
                r"30 threads: 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+ and 27 more\n",
                entry,
            )
            assert "sock.recv(CHUNK)" in entry.splitlines()[-1]
            assert many.count("\n") <= few.count("\n") + 15
            (asleep,) = (each for each in many.split("\n\n") if "in wait_connected" in each)
            assert asleep.startswith(f"1 thread: 127.0.0.1:{sleeper.getsockname()[1]}\n")
            (acceptor,) = (each for each in many.split("\n\n") if "1 thread: acceptor\n" in each)
            assert "in serve\n" in acceptor
            reset(sleeper)

    def settled(self, server: InProcess, idle: int) -> str:
        """The text, once the threads of idle connections wait for the next bytes."""

        def text() -> str:
            return server.instance.describe_tasks()

        waiting = f"{idle} threads: 127" if idle else "in wait_connected"
        assert eventually(lambda: waiting in text() and "in wait_connected" in text())
        return text()

    def test_a_stack_without_end_is_cut_short(self) -> None:
        depth_reached, let_go = threading.Event(), threading.Event()

        def left(more: int) -> None:
            if more:
                right(more - 1)
            else:
                depth_reached.set()
                let_go.wait(TIMEOUT)

        def right(more: int) -> None:  # two in turn, since equal lines are not shown again
            left(more)

        thread = threading.Thread(target=left, args=(200,), name="deep one")
        thread.start()
        assert depth_reached.wait(TIMEOUT)
        text = threads_stacks.describe({})
        let_go.set()
        thread.join(TIMEOUT)
        (entry,) = (each for each in text.split("\n\n") if each.startswith("1 thread: deep one"))
        assert "in left\n" in entry
        assert entry.count("  File ") == threads_stacks.DEPTH

    def test_names_what_it_can(self) -> None:
        begun, let_go, done = threading.Event(), threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            let_go.wait(TIMEOUT)
            done.set()

        ident = _thread.start_new_thread(wait, ())
        assert begun.wait(TIMEOUT)
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            client = socket.create_connection(listener.getsockname()[:2])
            accepted, _ = listener.accept()
            with accepted, client:
                port = client.getsockname()[1]
                assert f"1 thread: [::1]:{port}\n" in threads_stacks.describe({ident: accepted})
            assert "a connection that has ended" in threads_stacks.describe({ident: accepted})
        assert f"1 thread: thread {ident}\n" in threads_stacks.describe({})
        let_go.set()
        assert done.wait(TIMEOUT)


def test_every_reason_a_handshake_fails_for_is_the_peers(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(config.load([f"--tls-cert={authority.file}"], {}, 1000)[0])
    for data, reason in (
        (b"", Closed.HANDSHAKE_TIMEOUT),
        (b"GET / HTTP/1.1\r\n\r\n", Closed.HANDSHAKE_FAILED),
    ):
        here, there = socket.socketpair()
        with here, threads_tls.wrap(there, certificate.context) as end:
            here.sendall(data)
            with caplog.at_level(logging.INFO), pytest.raises(threads_tls.HandshakeError) as caught:
                threads_tls.handshake(end, 0.05)
            assert caught.value.reason is reason
    assert "handshake failed" in caplog.text
