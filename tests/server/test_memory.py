"""What a connection costs while nothing happens on it."""

import contextlib

import pytest

from tests.server.conftest import Start
from tests.server.harness import MODES, receive

CHUNK = 64 << 10

# A thread that blocks in recv holds the memory into which it is to receive.
TASKS = [mode for mode in MODES if mode != "threads"]


@pytest.mark.parametrize("mode", TASKS)
def test_a_connection_that_is_idle_holds_nothing_of_what_it_has_echoed(start: Start) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect("echo")) for _ in range(200)]
        for sock in socks:
            sock.sendall(b"x")
            assert receive(sock, 1) == b"x"
        before = server.rss()
        for sock in socks:
            sock.sendall(bytes(CHUNK))
            assert receive(sock, CHUNK) == bytes(CHUNK)
        grown = (server.rss() - before) / len(socks)
        assert grown < CHUNK / 2
