"""What can be wrong with a stream or a listener.

Three faults that want three answers: closed here (a bug, or a shutdown that is under way), in use
by another task (a bug), and broken (the network's doing, and a server's daily bread).
"""

from __future__ import annotations

from typing import NoReturn


class ClosedError(Exception):
    """It was closed on this side."""


class BusyError(Exception):
    """Another task waits on that side of it: one reader and one writer at a time."""


class BrokenError(OSError):
    """The connection is gone: reset, timed out, or closed for writing."""


def closed(*_: object) -> NoReturn:
    """Stands in for every system call of a stream or listener that was closed."""
    raise ClosedError("it was closed on this side")
