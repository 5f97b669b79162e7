"""The self-pipe: how a thread, or a signal, ends a poll that would go on sleeping.

A poll knows only descriptors, so a wake-up from outside becomes a byte in a pipe that the poll
watches.  Signals use the same pipe: the interpreter's C handler writes to it (see `run.py`),
so that a signal which arrives between two lines of Python is never slept through.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from .reactor import Reactor, Source


class WakeupPipe:
    """A non-blocking pipe; its reading end is a source like any other."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        read_end, self.write_end = os.pipe()
        # Whoever wakes us may be about to write when the pipe closes, and by then its number may be
        # another file's.  Reentrant, because a signal handler can interrupt another one.
        self._lock = threading.RLock()
        self._open = True
        os.set_blocking(read_end, False)
        os.set_blocking(self.write_end, False)
        self._source = Source(read_end)
        self._source.readable = False
        # The loop itself looks at `readable` each turn; this keeps a level-triggered reactor
        # from dropping an interest that nobody seems to have.
        self._source.reader = self
        try:
            reactor.register(self._source)
        except BaseException:
            self.close()
            raise

    def wake(self) -> None:
        """The reactor says that the pipe is readable; the loop drains it next."""

    def notify(self) -> None:
        """End the poll that is going on, or the next one.  Any thread."""
        with self._lock, suppress(BlockingIOError):  # a full pipe wakes as well as a fuller one
            if self._open:
                os.write(self.write_end, b"\0")

    def drain(self) -> None:
        """Empty the pipe, if there is anything in it."""
        if self._source.readable:
            self._source.readable = False
            with suppress(BlockingIOError):  # it may hold an exact multiple of the buffer
                while len(os.read(self._source.fd, 4096)) == 4096:
                    pass

    def close(self) -> None:
        with self._lock:
            self._open = False
            self._reactor.deregister(self._source)
            os.close(self._source.fd)
            os.close(self.write_end)
