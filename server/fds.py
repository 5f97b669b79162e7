"""A socket's options and queues by its descriptor alone.

The engines hold their connections as sockets, streams or transports, and uvloop's transports give
no socket that can be asked for everything. What they have in common is the descriptor.
"""

import fcntl
import socket
import struct
import termios


class borrowed:
    """A socket object for a descriptor that belongs to somebody else, who will close it."""

    __slots__ = ("_sock",)

    def __init__(self, fd: int) -> None:
        # None of this is looked at by what is asked here, and what is not told is asked for.
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *_: object) -> None:
        self._sock.detach()


def unread(fd: int) -> int:
    """Bytes that have come and that nobody has received."""
    return _queued(fd, termios.FIONREAD)


def unacknowledged(fd: int) -> int:
    """Bytes that were sent and that the peer's kernel has not acknowledged."""
    return _queued(fd, termios.TIOCOUTQ)


def _queued(fd: int, request: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))
    return int(count)
