"""SIGTERM and SIGINT: listeners close at once, what was received is answered, exit status 0."""

import signal
import time

import pytest

from tests.server.conftest import Start
from tests.server.harness import (
    eventually,
    receive,
    receive_line,
    receive_rest,
    send_until_stuck,
    sending,
)

MIB = 1 << 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_closes_listeners_and_idle_connections_at_once(start: Start, number: int) -> None:
    server = start()
    with server.connect("echo") as echo, server.connect("sleep") as sleep:
        assert server.echoes()
        began = time.monotonic()
        server.signal(number)
        assert receive_rest(echo) == receive_rest(sleep) == b""
        assert server.wait() == 0
        assert time.monotonic() - began < 5
        assert "aborted=0" in server.log()


def test_a_sleep_under_way_gets_its_answer_while_new_connections_are_refused(start: Start) -> None:
    server = start()
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n0.3\n0.1\n0")
        assert receive_line(sock) == b"0\n"
        server.signal()
        assert eventually(server.refuses)
        assert server.process.poll() is None
        assert receive_line(sock) == b"0.3\n"
        assert receive_line(sock) == b"0.1\n"
        assert receive_rest(sock).startswith(b"error: last line not ended;")
    assert server.wait() == 0


def test_an_echo_under_way_is_not_truncated(start: Start) -> None:
    server = start()
    payload = bytes(range(256)) * (16 * MIB // 256)
    with server.connect("echo") as sock:
        with sending(sock, iter([payload])) as sender:
            received = bytearray()
            while sender.is_alive():  # until the last byte has left the client
                received += receive(sock, MIB // 4)
                sender.join(0.001)
        in_flight = len(payload) - len(received)
        server.signal()
        assert eventually(server.refuses)
        received += receive_rest(sock)
        assert received == payload
        assert in_flight > 0
    assert server.wait() == 0


def test_an_echo_whose_client_takes_a_breath_is_not_truncated(start: Start) -> None:
    # As over a long way, or from a client that is busy: there is a while between two parts.
    server = start()
    with server.connect("echo") as sock:
        sock.sendall(b"first part, ")
        assert receive(sock, 12) == b"first part, "
        server.signal()
        assert eventually(server.refuses)
        time.sleep(0.25)
        sock.sendall(b"second part")
        assert receive_rest(sock) == b"second part"
    assert server.wait() == 0


def test_the_deadline_ends_what_is_still_open(start: Start) -> None:
    server = start("--drain-timeout", "0.1")
    with server.connect("sleep") as sleeper, server.connect("echo") as stuck:
        sleeper.sendall(b"0\n3600\n")
        assert receive_line(sleeper) == b"0\n"
        send_until_stuck(stuck, bytes(65536), 64 * MIB)
        began = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert 0.1 <= time.monotonic() - began < 5
        assert "aborted=2" in server.log()
        assert receive(sleeper, 1) == b""


def test_a_second_signal_exits_at_once(start: Start) -> None:
    server = start("--drain-timeout", "60")
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n3600\n")
        assert receive_line(sock) == b"0\n"
        server.signal(signal.SIGTERM)
        assert eventually(server.refuses)
        server.signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
