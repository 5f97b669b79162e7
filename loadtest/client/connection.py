"""One connection to the server, and every byte that it owes us.

A server that mixes up two connections still looks healthy to a client that sends everybody the
same bytes. So each message is keyed by its connection and its number, and each byte that comes
back is compared. This module knows sockets and nothing of Locust: under gevent's monkey-patching
its blocking calls are cooperative, in a test they are plain.

All that can go wrong is an OSError with a message of few variants, since Locust keeps one line
of statistics for each different text.
"""

import hashlib
import itertools
import os
import random
import socket
import time
from collections.abc import Iterator

from loadtest.client.addresses import dial

# Bytes under way at once. A peer that echoes stops reading while we do not read, so sending a
# large payload whole before reading would lock both up; this much always fits their buffers.
WINDOW = 32 * 1024


# libuv's clock counts whole milliseconds, so its timers may fire that much before their time.
EARLY_TOLERANCE = 0.002


class PeerClosed(ConnectionError):
    """The server ended the connection, or ended it in the middle of an answer."""


class WrongBytes(OSError):
    """The server sent bytes other than those it owed."""


class EarlyAnswer(OSError):
    """The sleep service answered before the time was up."""


def payload(connection: int, message: int, size: int) -> bytes:
    """`size` bytes that no other message of this run shares, without a period inside."""
    return hashlib.shake_128(b"%d:%d" % (connection, message)).digest(size)


def sleep_line(seconds: float, connection: int, message: int) -> bytes:
    """A line for the sleep service: the seconds, then digits under a microsecond as the key."""
    return b"%.6f%06d%03d\n" % (seconds, connection % 1_000_000, message % 1000)


def backoff(attempts: int, first: float = 0.1, ceiling: float = 3.0) -> Iterator[float]:
    """Seconds to wait after each failed attempt but the last: doubling, with half of it random
    so that clients who failed together do not return together."""
    for attempt in range(attempts - 1):
        delay = min(ceiling, first * 2**attempt)
        yield delay * random.uniform(0.5, 1.0)


class Connection:
    """A connected socket with a number of its own, which no other of this machine has."""

    _numbers = itertools.count()

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._messages = itertools.count()
        # Of one process among several, which must not send the same.
        self.number = (os.getpid() << 32) + next(Connection._numbers)
        # Between messages: an end of stream seen by somebody else has not been seen here.
        self.idle = True
        self.lost = False
        # Messages answered, since whoever counts them set it to zero.
        self.exchanges = 0

    @classmethod
    def open(cls, address: str, port: int, source: str | None, timeout: float) -> "Connection":
        return cls(dial(address, port, source, timeout))

    def fileno(self) -> int:
        return self._sock.fileno()

    def echo(self, size: int, timeout: float) -> None:
        """Send `size` keyed bytes and see the same ones come back within `timeout` seconds."""
        sent = payload(self.number, next(self._messages), size)
        self._exchange(sent, timeout)

    def sleep(self, seconds: float, timeout: float) -> float:
        """Ask the sleep service for `seconds`; return by how many seconds it was late."""
        line = sleep_line(seconds, self.number, next(self._messages))
        started = time.perf_counter()
        self._exchange(line, timeout)
        late = time.perf_counter() - started - seconds
        if late < -EARLY_TOLERANCE:
            raise EarlyAnswer("the sleep service answered before the time was up")
        return late

    def close(self) -> None:
        self._sock.close()

    def _exchange(self, sent: bytes, timeout: float) -> None:
        deadline = time.perf_counter() + timeout
        self.idle = False
        for start in range(0, len(sent), WINDOW):
            window = sent[start : start + WINDOW]
            self._sock.settimeout(_remaining(deadline))
            self._sock.sendall(window)
            if self._receive(len(window), deadline) != window:
                raise WrongBytes("the bytes that came back differ from those sent")
        self.idle = True
        self.exchanges += 1

    def _receive(self, size: int, deadline: float) -> bytes:
        """Exactly `size` bytes. One more is asked for, so that a surplus is seen at once."""
        received = bytearray()
        while len(received) < size:
            self._sock.settimeout(_remaining(deadline))
            chunk = self._sock.recv(size - len(received) + 1)
            if not chunk:
                where = "in the middle of an answer" if received else "before it answered"
                raise PeerClosed(f"the server closed the connection {where}")
            received += chunk
        if len(received) > size:
            raise WrongBytes("more bytes came back than were sent")
        return bytes(received)


def _remaining(deadline: float) -> float:
    left = deadline - time.perf_counter()
    if left <= 0:
        raise TimeoutError("no complete answer within the reply timeout")
    return left
