"""What an engine does when ``accept()`` fails.

Two kinds of failure matter. Either the connection died while it waited in the backlog, and the
next one is fine; or the process or the machine is short of something, the connection stays in
the backlog, and accepting again at once would fail again, for ever, at full speed. For the
second kind an engine stops accepting for ``PAUSE`` seconds; established connections go on.
"""

import errno
import logging

from server import logs
from server.metrics import Counters

PAUSE = 0.1
"""Seconds without accepting after a failure that would repeat itself."""

CONNECTION_DIED = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
        errno.ETIMEDOUT,
    }
)
"""Errors that Linux reports for a connection which broke before it was accepted (accept(2))."""


class AcceptErrors:
    """Counts failed accepts, logs them, and says how long to pause."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def pause_after(self, error: OSError) -> float:
        """Seconds to wait before the next accept: 0 where only one connection was lost."""
        self._counters.accept_failed(error)
        if error.errno in CONNECTION_DIED:
            return 0.0
        logs.often(logging.WARNING, "cannot accept", error=str(error))
        return PAUSE
