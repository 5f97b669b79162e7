"""How many connections each peer's address has, where that is limited.

Off unless asked for: behind a proxy or NAT, thousands of clients share one address. One more than
the limit is accepted and closed at once, since in the backlog it would keep out everybody else.
"""

from collections import Counter

from server.metrics import Counters


class Addresses:
    """The limit per address. It holds an entry for each address that has a connection."""

    def __init__(self, most: int, counters: Counters) -> None:
        self._most = most
        self._counters = counters
        self._open: Counter[str] = Counter()

    def admit(self, host: str) -> bool:
        """Whether another connection from there may be served; one that may is counted."""
        if not self._most:
            return True
        if self._open[host] >= self._most:
            self._counters.reject("per_address")
            return False
        self._open[host] += 1
        return True

    def release(self, host: str) -> None:
        """A connection that was admitted has ended."""
        if self._most:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]
