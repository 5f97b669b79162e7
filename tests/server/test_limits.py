"""The maximum of connections is exact, and what waits beyond it is served in its turn."""

import contextlib
import select
import socket

import pytest

from tests.server.conftest import Start
from tests.server.harness import (
    Authority,
    ServerProcess,
    eventually,
    receive,
    receive_rest,
    reset,
)

SERVICES = ("echo", "sleep", "echo-tls", "sleep-tls")


def answered(sock: socket.socket, seconds: float) -> bool:
    """Whether bytes arrive within a time."""
    return bool(select.select([sock], [], [], seconds)[0])


def ask(server: ServerProcess, service: str) -> socket.socket:
    sock = server.connect(service)
    sock.sendall(b"0\n")
    return sock


def test_one_more_than_the_maximum_waits_until_another_leaves(start: Start) -> None:
    server = start("--max-connections", "3")
    with contextlib.ExitStack() as stack:
        # Both services count against the one maximum.
        served = [stack.enter_context(ask(server, name)) for name in ("echo", "sleep", "echo")]
        assert [receive(sock, 2) for sock in served] == [b"0\n"] * 3
        fds = server.fds()
        waiting = stack.enter_context(ask(server, "echo"))
        assert not answered(waiting, 0.05)
        assert server.fds() == fds
        served[0].close()
        assert receive(waiting, 2) == b"0\n"


@pytest.mark.parametrize("maximum", [1, 300])
def test_never_more_than_the_maximum_are_open_in_a_connect_storm(
    start: Start, maximum: int
) -> None:
    server = start("--max-connections", str(maximum))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(ask(server, "echo")) for _ in range(maximum + 20)]
        assert eventually(lambda: count_answered(socks) == maximum)
        select.select([], [], [], 0.05)
        assert count_answered(socks) == maximum
        assert server.fds() <= server.idle_fds + maximum
        # All are served in the end, each as one before it leaves.
        for sock in socks:
            assert receive(sock, 2) == b"0\n"
            sock.close()


def count_answered(socks: list[socket.socket]) -> int:
    poller = select.poll()
    for sock in socks:
        poller.register(sock, select.POLLIN)
    return len(poller.poll(0))


def test_all_listeners_share_the_maximum_and_the_counters_show_no_more(
    start: Start, authority: Authority
) -> None:
    server = start("--max-connections", "4", authority=authority)
    with contextlib.ExitStack() as stack:
        served = [stack.enter_context(server.connect(name)) for name in ("echo", "sleep")]
        served += [stack.enter_context(server.connect_tls(name)) for name in ("echo", "sleep")]
        for sock in served:
            sock.sendall(b"0\n")
            assert receive(sock, 2) == b"0\n"
        # On each listener one more; a handshake does not even begin.
        waiting = [stack.enter_context(server.connect(name)) for name in SERVICES]
        for sock in waiting:
            sock.sendall(b"0\n")
        assert not any(answered(sock, 0.02) for sock in waiting)
        assert server.fds() == server.idle_fds + 4
        # What waits when the server ends has never been a connection of its.
        server.signal()
        assert eventually(server.refuses)
        for sock in served:
            assert receive_rest(sock) == b""
        for sock in waiting:
            with contextlib.suppress(ConnectionResetError):
                assert receive_rest(sock) == b""
    assert server.wait() == 0
    assert server.closed() == {"finished": 4}


def test_after_the_maximum_was_full_each_place_is_one_place(start: Start) -> None:
    # If a place were counted twice, or not given back, the maximum would drift.
    server = start("--max-connections", "2")
    for leave in (socket.socket.close, reset) * 5:
        with contextlib.ExitStack() as stack:
            first, second, third, fourth = (
                stack.enter_context(ask(server, "echo")) for _ in range(4)
            )
            assert receive(first, 2) == receive(second, 2) == b"0\n"
            assert not answered(third, 0.01)
            leave(first)
            assert receive(third, 2) == b"0\n"
            assert not answered(fourth, 0.01)
            leave(second)
            assert receive(fourth, 2) == b"0\n"
        assert eventually(server.is_idle)
    server.stop()
    closed = server.closed()
    assert set(closed) <= {"finished", "broken"}
    assert sum(closed.values()) == 40


def test_a_place_freed_by_a_reset_is_filled(start: Start) -> None:
    server = start("--max-connections", "1")
    with ask(server, "sleep") as first:
        assert receive(first, 2) == b"0\n"
        with ask(server, "echo") as waiting:
            assert not answered(waiting, 0.02)
            reset(first)
            assert receive(waiting, 2) == b"0\n"
