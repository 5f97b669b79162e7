"""When a draining server stops reading from a connection.

What a client has sent must be answered before the server goes, though a byte stream does not say
where a request ends, and part of it may still lie in the client's own send buffer. So reading
is not shut down at the signal but when the connection is *quiet*: all that arrived has been
read, all that was sent is acknowledged, and nothing has arrived for ``QUIET`` seconds. The
engine then sees the end of the stream and closes the way it always does, after the answers it
owes. A client that never falls quiet is cut short when half of the time is over, which
leaves it and the engine the other half.

Shutting down at once loses data: ``recv`` returns the end of stream whenever the receive buffer
happens to be empty, and a 16 MiB echo under way was truncated so on two engines of four.

All this is asked of the kernel, during the drain alone. No engine pays for it per echo.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable

from server import logs
from server.fds import borrowed, unacknowledged, unread

INTERVAL = 0.05
"""Seconds between two looks at the connections."""

QUIET = 0.5
"""Seconds without new data: more than a round trip around the world, or than a busy client stops
for in the middle of a request. A time of 50 ms cut 15 of 1,000 echoes short, of a client that had
3,000 TLS connections to look after. Who had been quiet for so long before the signal, as most had,
is not waited for."""

QUIET_PART = 1 / 8
"""Of the drain timeout, if that is less."""

_LAST_DATA_RECEIVED = struct.Struct("=52xI")
"""In ``struct tcp_info`` of linux/tcp.h: milliseconds since the last data arrived."""


class Drain:
    """The drain of one server. An engine calls ``step`` until no connection or no time is left."""

    def __init__(self, timeout: float) -> None:
        now = time.monotonic()
        self._patient_until = now + timeout / 2
        self._deadline = now + timeout
        self._quiet = min(QUIET, timeout * QUIET_PART)
        # No connection is accepted during a drain, so a number stands for one connection.
        self._shut: set[int] = set()

    def step(self, fds: Iterable[int], shut: Callable[[int], bool] | None = None) -> float:
        """Shut down reading on the quiet ones of the open connections.

        An engine may bring a ``shut`` of its own, which says whether it is to be left alone now.
        Returns in how many seconds to come again, sooner if all are closed; 0 means that
        the time is over and what is open is to be aborted.
        """
        now = time.monotonic()
        for fd in fds:
            due = fd not in self._shut and (now >= self._patient_until or is_quiet(fd, self._quiet))
            if due and (shut or shut_reading)(fd):
                self._shut.add(fd)
        return max(0.0, min(INTERVAL, self._deadline - now))


def is_quiet(fd: int, seconds: float) -> bool:
    """Whether nothing is under way on a connection, nor was in the last so many seconds."""
    try:
        with borrowed(fd) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.size)
        (milliseconds,) = _LAST_DATA_RECEIVED.unpack(info)
        return milliseconds >= seconds * 1000 and not (unread(fd) or unacknowledged(fd))
    except OSError:
        return True  # reset or closed: reading will say so


def shut_reading(fd: int) -> bool:
    """``shutdown(SHUT_RD)`` by file descriptor: uvloop's socket objects do not offer it."""
    try:
        with borrowed(fd) as sock:
            sock.shutdown(socket.SHUT_RD)
    except OSError:
        # The peer's reset came first, and the engine is about to see it.
        logs.logger.debug("connection reset during the drain")
    return True
