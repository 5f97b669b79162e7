"""What every connection has from its listener."""

import errno
import os
import socket
from typing import NoReturn

import pytest

from server import config
from server.errors import UsageError
from server.listeners import MAX_UNSENT, open_listeners
from tests.server.harness import eventually

KIB = 1 << 10


def test_a_peer_that_does_not_read_costs_the_kernel_little_more_than_its_window() -> None:
    settings, _ = config.load(["--echo", "127.0.0.1:0"], {}, 1000)
    window = 64 * KIB
    with open_listeners(settings) as (listener,), socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        peer.connect((listener.address.host, listener.address.port))
        accepted, _ = listener.sock.accept()
        with accepted:
            accepted.setblocking(False)
            sent = 0

            def is_full() -> bool:
                nonlocal sent
                try:
                    sent += accepted.send(bytes(64 * KIB))
                except BlockingIOError:
                    return True
                return False

            for _ in range(3):  # the peer's kernel takes what it has room for, in its own time
                assert eventually(is_full)
            # Linux doubles what is asked for, and the last send may overshoot.
            assert sent <= 2 * window + MAX_UNSENT + 128 * KIB


def test_a_machine_without_ipv6_says_so_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> NoReturn:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    settings, _ = config.load(["--echo", "[::1]:0"], {}, 1000)
    monkeypatch.setattr(socket, "socket", no_socket)
    with (
        pytest.raises(UsageError, match=r"cannot listen on echo \[::1\]:0: Address family"),
        open_listeners(settings),
    ):
        pytest.fail("opened")
