"""How many connections are really held, which is not how many users there are.

A user that waits ten seconds between messages does not notice that its connection died in the
meantime. So every connection also sits in an epoll set of ours that asks for nothing but the
peer's end of stream: one system call, whatever the number of connections, tells which are gone.
The lowest count since a given moment is kept, because held means held throughout.
"""

from __future__ import annotations  # gevent takes select.epoll away from annotations

import select
from collections.abc import Callable

from loadtest.client.connection import Connection


class Gauge:
    """The connections of this process that both sides still hold."""

    def __init__(self, make_epoll: Callable[[], select.epoll]) -> None:
        # Made on first use: Locust's --processes forks after the import, and an epoll set that
        # is shared across a fork reports the events of both.
        self._make_epoll = make_epoll
        self._epoll: select.epoll | None = None
        self._held: dict[int, Connection] = {}
        self.low = 0
        self.high = 0
        self.lost = 0

    @property
    def held(self) -> int:
        return len(self._held)

    def connections(self) -> list[Connection]:
        return list(self._held.values())

    def add(self, connection: Connection) -> None:
        if self._epoll is None:
            self._epoll = self._make_epoll()
        self._epoll.register(connection.fileno(), select.EPOLLRDHUP | select.EPOLLET)
        self._held[connection.fileno()] = connection
        self.high = max(self.high, self.held)

    def release(self, connection: Connection) -> None:
        """Our own side is about to close it."""
        self._remove(connection)

    def lose(self, connection: Connection) -> None:
        """It broke: at the peer's hand, or because the peer broke the protocol."""
        if self._remove(connection):
            self.lost += 1
            connection.lost = True

    def find_lost(self) -> list[Connection]:
        """Count out the connections that the peer has ended, and return them."""
        if self._epoll is None:
            return []
        gone = []
        for fd, _ in self._epoll.poll(0, max(1, self.held)):
            connection = self._held.get(fd)
            if connection is not None:
                self.lose(connection)
                gone.append(connection)
        return gone

    def restart(self) -> None:
        """Forget the lows and losses of what went before; what is held stays."""
        self.low = self.high = self.held
        self.lost = 0

    def close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def _remove(self, connection: Connection) -> bool:
        if self._held.get(connection.fileno()) is not connection:
            return False
        del self._held[connection.fileno()]
        if self._epoll is not None:
            self._epoll.unregister(connection.fileno())
        self.low = min(self.low, self.held)
        return True
