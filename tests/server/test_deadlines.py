"""Deadlines: who is cut off, who is not, and never early."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from server import config
from server.deadlines import Deadlines, Round
from server.metrics import Closed
from server.protocol import SleepProtocol
from tests.server.conftest import Start
from tests.server.harness import (
    ServerProcess,
    eventually,
    receive,
    receive_line,
    receive_rest,
    send_until_stuck,
)

MIB = 1 << 20


def seconds_until_closed(sock: socket.socket) -> float:
    began = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        receive_rest(sock)
    return time.monotonic() - began


class TestIdle:
    @pytest.mark.parametrize("service", ["echo", "sleep"])
    def test_a_connection_that_says_nothing_is_closed(self, start: Start, service: str) -> None:
        server = start("--idle-timeout", "0.3")
        with server.connect(service) as sock:
            assert seconds_until_closed(sock) >= 0.25  # a few milliseconds went by before
        server.stop()
        assert server.closed() == {"idle_timeout": 1}

    def test_one_that_falls_silent_is_closed_that_long_after(self, start: Start) -> None:
        server = start("--idle-timeout", "0.3")
        with server.connect("echo") as sock:
            for _ in range(10):
                sock.sendall(b"still here")
                assert receive(sock, 10) == b"still here"
                time.sleep(0.05)
            assert seconds_until_closed(sock) >= 0.2
        server.stop()
        assert server.closed() == {"idle_timeout": 1}

    def test_waiting_for_an_answer_is_not_idle(self, start: Start) -> None:
        server = start("--idle-timeout", "0.1", "--half-close-timeout", "0.1")
        with server.connect("sleep") as sock, server.connect("sleep") as half_closed:
            sock.sendall(b"0.5\n")
            half_closed.sendall(b"0.5\n")
            half_closed.shutdown(socket.SHUT_WR)
            assert receive_line(sock) == receive_rest(half_closed) == b"0.5\n"
            assert seconds_until_closed(sock) >= 0.05
        server.stop()
        assert server.closed() == {"idle_timeout": 1, "finished": 1}


class TestLine:
    def test_a_line_that_trickles_is_cut_off(self, start: Start) -> None:
        server = start("--line-timeout", "0.3")
        with server.connect("sleep") as sock:
            sock.sendall(b"0\n0.")
            assert receive_line(sock) == b"0\n"
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() < began + 5:
                    sock.send(b"0")
                    time.sleep(0.03)
            assert 0.25 <= time.monotonic() - began < 4
        assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"line_timeout": 1}

    def test_whole_lines_now_and_then_are_not(self, start: Start) -> None:
        server = start("--line-timeout", "0.2")
        with server.connect("sleep") as sock:
            for _ in range(8):
                sock.sendall(b"0.")
                time.sleep(0.05)
                sock.sendall(b"0\n")
                assert receive_line(sock) == b"0.0\n"
            sock.sendall(b"0.5\n0.0")  # the second begins behind an answer that is on its way
            assert receive_line(sock) == b"0.5\n"
            sock.sendall(b"\n")
            assert receive_line(sock) == b"0.0\n"
        server.stop()
        assert server.closed() == {"finished": 1}

    def test_an_echo_has_no_lines(self, start: Start) -> None:
        server = start("--line-timeout", "0.05")
        with server.connect("echo") as sock:
            sock.sendall(b"no newline")
            time.sleep(0.15)
            assert receive(sock, 10) == b"no newline"
            assert receive_nothing(sock)


class TestWriting:
    @pytest.mark.parametrize("service", ["echo", "sleep"])
    def test_a_peer_that_reads_nothing_is_cut_off(self, start: Start, service: str) -> None:
        server = start("--write-timeout", "0.5")
        with server.connect(service) as sock:
            assert send_until_stuck(sock, b"0\n" * 30_000, 64 * MIB) < 64 * MIB
            assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"peer_timeout": 1}

    def test_one_that_reads_is_not(self, start: Start) -> None:
        server = start("--write-timeout", "0.5")
        with server.connect("echo") as sock:
            sent = 0
            sock.settimeout(5)
            began = time.monotonic()
            while time.monotonic() < began + 1:
                sock.sendall(bytes(65536))
                sent += 65536
                assert receive(sock, 65536) == bytes(65536)
        server.stop()
        assert server.closed() == {"finished": 1}


class TestHalfClose:
    def test_one_that_reads_gets_everything(self, start: Start) -> None:
        server = start("--half-close-timeout", "0.3", "--idle-timeout", "0.3")
        with server.connect("echo") as sock:
            sock.sendall(bytes(3 * MIB))
            sock.shutdown(socket.SHUT_WR)
            assert len(receive_rest(sock)) == 3 * MIB
        server.stop()
        assert server.closed() == {"finished": 1}


def test_zero_is_no_deadline(start: Start) -> None:
    names = ("idle", "line", "write", "half-close")
    server = start(*(f"--{name}-timeout=0" for name in names))
    with server.connect("echo") as idle, server.connect("sleep") as in_line:
        in_line.sendall(b"0.")
        time.sleep(0.3)
        assert receive_nothing(idle)
        assert receive_nothing(in_line)
    server.stop()
    assert set(server.closed()) <= {"finished", "bad_line", "broken"}


@pytest.mark.parametrize("service", ["echo", "sleep"])
def test_what_came_while_the_server_was_stopped_is_answered(start: Start, service: str) -> None:
    """A stopped process, as a suspended machine: all deadlines are over when it goes on."""
    server = start("--idle-timeout", "0.2", "--half-close-timeout", "0.2")
    with server.connect(service) as one, server.connect(service) as ended:
        for sock in (one, ended):
            sock.sendall(b"0\n")
            assert receive(sock, 2) == b"0\n"
        server.signal(signal.SIGSTOP)
        one.sendall(b"0\n")
        ended.sendall(b"0\n")
        ended.shutdown(socket.SHUT_WR)
        time.sleep(0.4)
        server.signal(signal.SIGCONT)
        assert receive(one, 2) == b"0\n"
        assert receive(ended, 2) == b"0\n"


def test_cutting_off_many_at_a_time_disturbs_nobody(start: Start) -> None:
    server = start("--idle-timeout", "1")
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(server.connect("echo"))
        for _ in range(200):
            stack.enter_context(server.connect("echo"))
        assert eventually(lambda: server.fds() == server.idle_fds + 201)
        began = time.monotonic()
        while time.monotonic() < began + 5 and server.fds() > server.idle_fds + 1:
            busy.sendall(b"here")
            assert receive(busy, 4) == b"here"
        assert server.fds() == server.idle_fds + 1
    server.stop()
    assert server.closed() == {"idle_timeout": 200, "finished": 1}


@dataclass
class One:
    """A connection without an engine."""

    sock: socket.socket
    lines: SleepProtocol | None = None


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with client, listener.accept()[0] as accepted:
            yield client, accepted


def overdue(live: dict[int, One], *flags: str, seconds: float) -> list[Closed]:
    """Who is cut off within so many seconds."""
    deadlines = Deadlines(config.load(flags, {}, 1000)[0])
    found = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one, reason in deadlines.overdue(live):
            found.append(reason)
            del live[one.sock.fileno()]
        time.sleep(deadlines.interval)
    return found


class TestLooks:
    def test_each_is_looked_at_within_half_of_the_deadline(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        # Whatever the descriptor is, which decides in which step its turn comes.
        _, accepted = pair
        socks = [accepted.dup() for _ in range(20)]
        live = {sock.fileno(): One(sock) for sock in socks}
        assert overdue(live, "--idle-timeout", "0.2", seconds=0.5) == [Closed.IDLE_TIMEOUT] * 20
        for sock in socks:
            sock.close()

    def test_every_descriptor_has_its_turn_in_each_round_and_none_has_two(self) -> None:
        live = dict.fromkeys([3, 4, 5, 8, 9, 20, 41])
        for steps in (1, 2, 7, 100):
            round_ = Round(steps)
            for _ in range(3):
                looked = [fd for _ in range(steps) for fd in round_.part(live) if fd in live]
                assert sorted(looked) == sorted(live)

    def test_who_comes_during_a_round_has_a_turn_in_the_next(self) -> None:
        round_ = Round(4)
        assert not [fd for fd in round_.part({}) if fd == 9]
        live = {9: None}
        assert 9 in [fd for _ in range(7) for fd in round_.part(live)]

    def test_one_that_is_closed_meanwhile_is_passed_over(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        _, accepted = pair
        live = {accepted.fileno(): One(accepted)}
        accepted.close()
        assert overdue(live, "--idle-timeout", "0.05", seconds=0.2) == []

    def test_one_whose_peer_has_ended_has_a_deadline_of_its_own(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        # Not through an engine: how much must be unsent for it to wait is up to the kernel.
        client, accepted = pair
        flags = ("--idle-timeout", "0.1", "--half-close-timeout", "0.4")
        client.shutdown(socket.SHUT_WR)
        assert overdue({accepted.fileno(): One(accepted)}, *flags, seconds=0.3) == []
        assert overdue({accepted.fileno(): One(accepted)}, *flags, seconds=0.4) == [
            Closed.HALF_CLOSE_TIMEOUT
        ]

    def test_one_that_is_owed_an_answer_is_not_idle(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        _, accepted = pair
        lines = SleepProtocol(100, 1)
        one = One(accepted, lines)
        assert next(lines.feed(b"1\n")) is not None
        assert overdue({accepted.fileno(): one}, "--idle-timeout", "0.05", seconds=0.2) == []

    @pytest.mark.parametrize("ended", [False, True])
    def test_one_whose_request_we_have_not_read_is_not_idle(
        self, pair: tuple[socket.socket, socket.socket], ended: bool
    ) -> None:
        """We were stopped, or it was in the backlog for longer than the deadline."""
        client, accepted = pair
        client.sendall(b"ping")
        if ended:
            client.shutdown(socket.SHUT_WR)
        flags = ("--idle-timeout", "0.05", "--half-close-timeout", "0.05")
        assert overdue({accepted.fileno(): One(accepted)}, *flags, seconds=0.2) == []

    def test_one_that_takes_nothing_of_ours_is_idle_whatever_it_has_sent(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        client, accepted = pair
        client.sendall(b"ping")
        accepted.setblocking(False)
        send_until_stuck(accepted, bytes(65536), 1 << 26)
        assert overdue(
            {accepted.fileno(): One(accepted)}, "--idle-timeout", "0.05", seconds=0.2
        ) == [Closed.IDLE_TIMEOUT]

    def test_a_line_whose_rest_we_have_not_read_is_not_late(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        client, accepted = pair
        lines = SleepProtocol(100, 1)
        assert next(lines.feed(b"0."), None) is None
        client.sendall(b"1\n")
        live = {accepted.fileno(): One(accepted, lines)}
        assert overdue(live, "--line-timeout", "0.05", seconds=0.2) == []
        assert accepted.recv(100) == b"1\n"
        assert overdue(live, "--line-timeout", "0.05", seconds=0.2) == [Closed.LINE_TIMEOUT]

    def test_a_line_is_timed_from_its_own_beginning(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        client, accepted = pair
        lines = SleepProtocol(100, 1)
        one = One(accepted, lines)
        deadlines = Deadlines(config.load(["--line-timeout", "0.2"], {}, 1000)[0])
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            client.send(b".")
            assert next(lines.feed(b"0."), None) is None
            assert list(deadlines.overdue({accepted.fileno(): one})) == []
            time.sleep(0.03)
            assert next(lines.feed(b"0\n"), None) is not None
            assert lines.busy
            assert next(lines, None) is None

    def test_a_line_that_ends_while_it_is_looked_at_leaves_its_time_to_no_other(
        self, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        class EndsBehindTheLook(SleepProtocol):
            """Its own thread comes in between two steps of whoever looks."""

            looks = 0

            @property
            def in_line(self) -> bool:
                seen = super().in_line
                self.looks += 1
                if self.looks == 1:
                    assert next(self.feed(b"\n0.")) is not None
                return seen

        _, accepted = pair
        lines = EndsBehindTheLook(100, 1)
        assert next(lines.feed(b"0"), None) is None
        live = {accepted.fileno(): One(accepted, lines)}
        assert overdue(live, "--line-timeout", "0.4", seconds=0.2) == []
        assert lines.looks > 1
        assert lines.seen_at is None

    def test_at_no_moment_is_a_line_ended_and_neither_answered_nor_timed_anew(self) -> None:
        class Recording(SleepProtocol):
            """Notes what another thread would see when the time of a line is taken back."""

            in_line_then: bool

            def __setattr__(self, name: str, value: object) -> None:
                super().__setattr__(name, value)
                if name == "seen_at":
                    self.in_line_then = self.in_line

        lines = Recording(100, 1)
        lines.feed(b"0\n0.").seen_at = 1.0
        assert next(lines) is not None
        assert lines.seen_at is None
        assert not lines.in_line_then

    def test_steps_are_no_longer_than_a_sixteenth_of_the_deadline(self) -> None:
        def interval(*flags: str) -> float:
            return Deadlines(config.load(flags, {}, 1000)[0]).interval

        assert interval() == 0.25
        assert interval("--line-timeout", "1.6") == pytest.approx(0.1)
        assert interval("--idle-timeout", "0.8") == pytest.approx(0.05)
        assert interval("--half-close-timeout", "0.001") == 0.01


def receive_nothing(sock: socket.socket) -> bool:
    """Whether the connection is open and quiet."""
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    return False


def test_the_server_itself_still_serves(start: Start) -> None:
    server: ServerProcess = start("--idle-timeout", "0.05", "--line-timeout", "0.05")
    for _ in range(5):
        assert server.echoes()
        time.sleep(0.03)
