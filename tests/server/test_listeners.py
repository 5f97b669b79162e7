"""What every connection has from its listener."""

import errno
import os
import socket
from typing import NoReturn

import pytest

from server import config
from server.errors import UsageError
from server.listeners import MAX_UNSENT, inherited, open_listeners
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


class TestKeepalive:
    def options(self, *flags: str) -> dict[int, int]:
        settings = config.load(flags, {}, 1000)[0]
        return {option: value for (_, option), value in inherited(settings)}

    def test_an_idle_timeout_finds_who_is_gone_without_it(self) -> None:
        assert socket.SO_KEEPALIVE not in self.options()
        assert self.options("--idle-timeout", "0")[socket.SO_KEEPALIVE] == 1

    @pytest.mark.parametrize("write_timeout", ["30", "10", "600"])
    def test_a_probe_that_is_dropped_ends_nobody(self, write_timeout: str) -> None:
        """Linux gives up at the first probe without an answer once the write timeout is over."""
        found = self.options("--idle-timeout", "0", "--write-timeout", write_timeout)
        first, interval = found[socket.TCP_KEEPIDLE], found[socket.TCP_KEEPINTVL]
        assert first + 3 * interval < found[socket.TCP_USER_TIMEOUT] / 1000
        assert first + 3 * interval <= 120

    def test_without_a_write_timeout_probes_are_counted(self) -> None:
        found = self.options("--idle-timeout", "0", "--write-timeout", "0")
        assert socket.TCP_USER_TIMEOUT not in found
        assert found[socket.TCP_KEEPCNT] == 4
