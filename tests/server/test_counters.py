"""Every connection is counted once when it comes and once when it goes, and every byte."""

import contextlib
import socket

import pytest

from server.metrics import SECONDS, Closed, Counters, Histogram, add, reason_for
from tests.server.conftest import Start
from tests.server.harness import (
    eventually,
    receive,
    receive_line,
    receive_rest,
    reset,
    sending,
)


def test_bytes_and_reasons_are_those_of_the_clients(start: Start) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        echo = [stack.enter_context(server.connect("echo")) for _ in range(5)]
        sleep = [stack.enter_context(server.connect("sleep")) for _ in range(4)]
        payload = bytes(1_000_000)
        for sock in echo[:3]:
            with sending(sock, iter([payload])):
                assert receive(sock, len(payload)) == payload
        for sock in echo[3:]:
            sock.sendall(b"x")
            assert receive(sock, 1) == b"x"
            reset(sock)
        for sock in sleep[:2]:
            sock.sendall(b"0\n0.01\n")
            assert receive(sock, 7) == b"0\n0.01\n"
        sleep[2].sendall(b"1" * 65537)
        error = receive_rest(sleep[2])
        sleep[3].sendall(b"0")
        sleep[3].shutdown(socket.SHUT_WR)
        ending = receive_rest(sleep[3])
    assert eventually(server.is_idle)
    server.stop()
    figures = server.figures()
    payloads = 3 * len(payload) + 2 + 2 * 7 + len(b"ping")
    assert figures["received"] == payloads + 65537 + 1
    assert figures["sent"] == payloads + len(error) + len(ending)
    assert server.closed() == {"finished": 5, "broken": 2, "bad_line": 2}


def test_lines_that_come_during_a_sleep_are_counted(start: Start) -> None:
    server = start()
    with server.connect("sleep") as sock:
        sock.sendall(b"0.05\n")
        assert receive_line(sock) == b"0.05\n"
        sock.sendall(b"0.05\n")
        sock.sendall(b"0.01\n" * 100)
        sock.shutdown(socket.SHUT_WR)
        assert len(receive_rest(sock)) == 505
    server.stop()
    assert server.figures()["received"] == server.figures()["sent"] == 510 + len(b"ping")


def test_what_the_drain_cuts_off_is_counted_as_aborted(start: Start) -> None:
    server = start("--drain-timeout", "0.1")
    with server.connect("sleep") as sock, server.connect("echo") as idle:
        sock.sendall(b"0\n3600\n")
        assert receive_line(sock) == b"0\n"
        idle.sendall(b"x")
        assert receive(idle, 1) == b"x"
        server.signal()
        assert server.wait() == 0
    assert server.closed() == {"aborted": 1, "finished": 1}


def test_one_more_from_an_address_is_closed_at_once(start: Start) -> None:
    server = start("--max-per-address", "2")
    assert eventually(server.is_idle)
    with server.connect("echo") as one, server.connect("sleep") as two:
        for sock in (one, two):
            sock.sendall(b"0\n")
            assert receive(sock, 2) == b"0\n"
        with server.connect("echo") as third, contextlib.suppress(ConnectionResetError):
            assert receive_rest(third) == b""
        address = ("127.0.0.1", server.port("echo"))
        with socket.create_connection(address, source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"0\n")
            assert receive(other, 2) == b"0\n"
        one.close()
        assert eventually(lambda: can_echo(server.connect("echo")))
    server.stop()
    assert set(server.closed()) == {"finished"}


def can_echo(sock: socket.socket) -> bool:
    with sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"x")
        return receive(sock, 1) == b"x"
    return False


class TestArithmetic:
    def test_open_connections_are_those_that_have_not_ended(self) -> None:
        counters = Counters(connections=5)
        counters.closes[Closed.BROKEN] += 2
        assert counters.snapshot()["current"] == 3

    def test_figures_of_several_processes_add_up(self) -> None:
        one, two = Counters(connections=1, received=3), Counters(connections=2, sent=4)
        one.closes[Closed.FINISHED] += 1
        one.accept_failed(OSError(24, "too many"))
        two.accept_failed(OSError(24, "too many"))
        two.accept_failed(OSError(4096, "unheard of"))
        two.reject("per_address")
        one.handshake_seconds.observe(0.003)
        two.handshake_seconds.observe(0.003)
        total = add([one.snapshot(), two.snapshot()])
        assert total["connections"] == 3
        assert total["current"] == 2
        assert (total["received"], total["sent"]) == (3, 4)
        assert total["closes"]["finished"] == 1
        assert total["accept_errors"] == {"EMFILE": 2, "unknown": 1}
        assert total["rejected"] == {"per_address": 1}
        assert total["handshake_seconds"]["sum"] == pytest.approx(0.006)
        assert total["handshake_seconds"]["counts"][SECONDS.index(0.005)] == 2
        assert add([one.snapshot()]) == one.snapshot()

    def test_a_duration_falls_into_the_first_bucket_that_holds_it(self) -> None:
        histogram = Histogram()
        for seconds in (0.0, 0.001, 0.0011, 10.0, 10.1):
            histogram.observe(seconds)
        assert histogram.counts == [2, 1] + [0] * 10 + [1, 1]

    def test_a_peer_that_is_not_heard_of_is_told_from_one_that_resets(self) -> None:
        assert reason_for(TimeoutError(110, "timed out")) is Closed.PEER_TIMEOUT
        assert reason_for(ConnectionResetError(104, "reset")) is Closed.BROKEN
        assert reason_for(EOFError()) is Closed.BROKEN
