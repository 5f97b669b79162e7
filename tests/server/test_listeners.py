"""What every connection has from its listener."""

import socket

from server import config
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
