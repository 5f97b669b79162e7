"""What can be wrong with a stream, a listener or a channel.

Three faults that want three answers: closed here (a bug, or a shutdown that is under way), in use
by another task (a bug), and broken (the network's doing, and a server's daily bread).  A channel
has no network; in place of the third it has an end and a break, for the receiver and the sender.
"""

from __future__ import annotations

from typing import NoReturn


class ClosedError(Exception):
    """It was closed on this side, or the direction that is to be written was (`send_eof`)."""


class BusyError(Exception):
    """Another task waits on that side of it: one reader and one writer at a time."""


class BrokenError(OSError):
    """The connection is gone: reset, timed out, or closed by a peer that gets more."""


class EndOfChannel(Exception):
    """Every sender is closed, and what they sent has been received: nothing more will come."""


class BrokenChannel(Exception):
    """Every receiver is closed: nobody will ever receive what is sent."""


class WouldBlock(Exception):
    """It would have to wait, and was told not to."""


def closed(*_: object) -> NoReturn:
    """Stands in for every system call of a stream or listener that was closed."""
    raise ClosedError("it was closed on this side")


class ClosedSocket:
    """Stands in for the socket of a stream that was closed, so that nobody asks before each call.

    The methods of the true socket, bound once and kept, would do as well and not be faster; but
    they are 72 bytes each, for each of ten thousand connections.
    """

    __slots__ = ()

    recv = recv_into = send = closed
