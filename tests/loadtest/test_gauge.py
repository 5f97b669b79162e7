"""Held means held: a connection that dies between two messages is counted out at once."""

import select
import time
from collections.abc import Iterator

import pytest

from loadtest.client.connection import Connection
from loadtest.client.gauge import Gauge
from tests.loadtest.conftest import Server
from tests.loadtest.harness import HostileServer, closing_after_one, honest


@pytest.fixture
def gauge() -> Iterator[Gauge]:
    gauge = Gauge(select.epoll)
    yield gauge
    gauge.close()


@pytest.fixture
def connections() -> Iterator[list[Connection]]:
    opened: list[Connection] = []
    yield opened
    for connection in opened:
        connection.close()


def wait_for_lost(gauge: Gauge, count: int) -> list[Connection]:
    lost: list[Connection] = []
    deadline = time.monotonic() + 10.0
    while len(lost) < count and time.monotonic() < deadline:
        lost += gauge.find_lost()
        time.sleep(0.005)
    return lost


def hold(gauge: Gauge, connections: list[Connection], port: int, count: int) -> None:
    for _ in range(count):
        connection = Connection.open("127.0.0.1", port, None, 5.0)
        connections.append(connection)
        gauge.add(connection)


def test_a_connection_that_dies_idle_is_found_without_a_message(
    gauge: Gauge, connections: list[Connection]
) -> None:
    with HostileServer(closing_after_one) as server:
        hold(gauge, connections, server.port, 3)
        gauge.restart()
        connections[1].echo(64, 5.0)
        assert wait_for_lost(gauge, 1) == [connections[1]]
    assert (gauge.held, gauge.low, gauge.lost) == (2, 2, 1)
    assert connections[1].lost
    assert not connections[0].lost


def test_a_connection_that_we_close_is_not_lost(
    gauge: Gauge, connections: list[Connection]
) -> None:
    with HostileServer(honest) as server:
        hold(gauge, connections, server.port, 2)
        gauge.release(connections[0])
        assert (gauge.held, gauge.lost) == (1, 0)


def test_a_connection_is_lost_only_once(gauge: Gauge, connections: list[Connection]) -> None:
    with HostileServer(honest) as server:
        hold(gauge, connections, server.port, 2)
        gauge.lose(connections[0])
        gauge.lose(connections[0])
        gauge.release(connections[0])
        assert (gauge.held, gauge.lost) == (1, 1)


def test_the_lowest_count_survives_a_reconnect(gauge: Gauge, connections: list[Connection]) -> None:
    with HostileServer(honest) as server:
        hold(gauge, connections, server.port, 3)
        gauge.restart()
        gauge.lose(connections[0])
        hold(gauge, connections, server.port, 1)
        assert (gauge.held, gauge.low) == (3, 2)


def test_a_reused_fd_number_is_not_taken_for_the_one_before(
    gauge: Gauge, connections: list[Connection], asyncio_server: Server
) -> None:
    # A server in another process: nobody in this one takes the number in between.
    hold(gauge, connections, asyncio_server.echo, 1)
    first = connections[0]
    number = first.fileno()
    gauge.release(first)
    first.close()
    hold(gauge, connections, asyncio_server.echo, 1)
    assert connections[1].fileno() == number
    gauge.lose(first)
    assert (gauge.held, gauge.lost) == (1, 0)


def test_an_unused_gauge_holds_nothing(gauge: Gauge) -> None:
    assert gauge.find_lost() == []
    assert gauge.held == 0
