"""Every byte is compared: what a misbehaving server does is an error with a name."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest.client.connection import (
    WINDOW,
    Connection,
    EarlyAnswer,
    PeerClosed,
    WrongBytes,
    backoff,
    payload,
    sleep_line,
)
from tests.loadtest import harness
from tests.loadtest.harness import Handler, HostileServer


@contextmanager
def connected(handler: Handler) -> Iterator[Connection]:
    with HostileServer(handler) as server:
        connection = Connection.open("127.0.0.1", server.port, None, 5.0)
        try:
            yield connection
        finally:
            connection.close()


@pytest.mark.parametrize("size", [1, 64, WINDOW, 5 * WINDOW + 1])
def test_an_honest_echo_passes(size: int) -> None:
    with connected(harness.honest) as connection:
        for _ in range(3):
            connection.echo(size, 5.0)
        assert connection.idle


@pytest.mark.parametrize("size", [1, 64, 2 * WINDOW])
def test_a_single_flipped_bit_is_seen(size: int) -> None:
    with (
        connected(harness.corrupting) as connection,
        pytest.raises(WrongBytes, match="differ"),
    ):
        connection.echo(size, 5.0)


def test_the_answer_to_another_connection_is_seen() -> None:
    with HostileServer(harness.CrossedWires()) as server:
        first = Connection.open("127.0.0.1", server.port, None, 5.0)
        second = Connection.open("127.0.0.1", server.port, None, 5.0)
        try:
            first.echo(64, 5.0)
            with pytest.raises(WrongBytes, match="differ"):
                second.echo(64, 5.0)
        finally:
            first.close()
            second.close()


def test_the_answer_to_the_message_before_is_seen() -> None:
    with connected(harness.CrossedWires()) as connection:
        connection.echo(64, 5.0)
        with pytest.raises(WrongBytes, match="differ"):
            connection.echo(64, 5.0)


def test_surplus_bytes_are_seen() -> None:
    with connected(harness.adding) as connection, pytest.raises(WrongBytes, match="more bytes"):
        connection.echo(64, 5.0)


def test_an_end_in_the_middle_of_an_answer_is_no_answer() -> None:
    with connected(harness.closing_early) as connection, pytest.raises(PeerClosed, match="middle"):
        connection.echo(64, 5.0)


def test_an_end_instead_of_an_answer_is_a_failure() -> None:
    def hang_up(conn: socket.socket) -> None:
        conn.recv(64)

    with connected(hang_up) as connection, pytest.raises(PeerClosed, match="before"):
        connection.echo(64, 5.0)


def test_a_silent_server_costs_no_more_than_the_reply_timeout() -> None:
    started = time.monotonic()
    with connected(harness.silent) as connection, pytest.raises(TimeoutError):
        connection.echo(64, 0.05)
    assert time.monotonic() - started < 2.0


def test_a_trickle_does_not_extend_the_reply_timeout() -> None:
    stop = threading.Event()

    def trickle(conn: socket.socket) -> None:
        for byte in conn.recv(4096):
            conn.sendall(bytes([byte]))
            if stop.wait(0.02):
                return

    started = time.monotonic()
    with connected(trickle) as connection:
        with pytest.raises(TimeoutError):
            connection.echo(4096, 0.1)
        stop.set()
    assert time.monotonic() - started < 2.0


def test_sleep_reports_how_late_the_answer_was() -> None:
    with connected(harness.honest) as connection, pytest.raises(EarlyAnswer):
        connection.sleep(5.0, 10.0)

    def tardy(conn: socket.socket) -> None:
        line = conn.recv(64)
        time.sleep(float(line) + 0.02)
        conn.sendall(line)

    with connected(tardy) as connection:
        assert 0.02 <= connection.sleep(0.01, 10.0) < 1.0


def test_no_two_messages_share_their_bytes() -> None:
    keys = itertools.product(range(50), range(50))
    assert len({payload(connection, message, 64) for connection, message in keys}) == 2500
    assert payload(1, 2, 3000)[:1000] != payload(1, 2, 3000)[1000:2000]


def test_sleep_lines_differ_and_name_the_same_time() -> None:
    lines = [sleep_line(0.25, connection, message) for connection in (1, 2) for message in (1, 2)]
    assert len(set(lines)) == 4
    assert all(float(line) == pytest.approx(0.25, abs=1e-6) for line in lines)


def test_backoff_doubles_up_to_a_ceiling_with_jitter() -> None:
    delays = list(backoff(8, first=0.1, ceiling=3.0))
    assert len(delays) == 7
    for attempt, delay in enumerate(delays):
        assert min(3.0, 0.1 * 2**attempt) / 2 <= delay <= min(3.0, 0.1 * 2**attempt)


def test_a_failed_connect_leaks_no_socket() -> None:
    with HostileServer(harness.honest) as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        Connection.open("127.0.0.1", port, None, 5.0)
