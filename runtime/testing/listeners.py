"""Listeners for tests: one in memory, and one whose accept(2) fails when it is told to.

A server meets the errors of accept only when a machine is at its end, so they are what it has been
tested with least.  `FaultyListener` is a `Listener` on a real port, and the errors take the place
of the system call's: everything above that is the code that will run.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Generator
from typing import Any

from ..closing import AsyncClosing
from ..errors import BusyError, closed
from ..executor import Executor
from ..leaf import leaf
from ..listener import Listener
from ..readiness import give_way
from ..task import Task, current_executor, current_task
from .streams import PLAIN, Link, MemoryStream, memory_stream_pair


class FaultyListener(Listener):
    """Listens on a port of 127.0.0.1; accept fails with each of `faults`, then works again.

    A fault is an errno: ECONNABORTED is a connection that died in the backlog, EMFILE a process
    that has no descriptor left.

    >>> from errno import ECONNABORTED, EMFILE
    >>> async def main():
    ...     async with FaultyListener(ECONNABORTED, EMFILE) as listener:
    ...         try:
    ...             listener.accept_nowait()
    ...         except OSError as error:
    ...             return listener.calls, error.strerror
    >>> run(main())
    (2, 'Too many open files')
    """

    __slots__ = ("_real_accept", "calls", "faults")

    def __init__(self, *faults: int) -> None:
        #: What is still to go wrong, next first.
        self.faults = deque(faults)
        #: How often accept was called.
        self.calls = 0
        sock = socket.create_server(("127.0.0.1", 0))
        try:
            super().__init__(sock)
        except BaseException:
            sock.close()
            raise
        self._real_accept = self._accept
        self._accept = self._accept_or_fail

    def fail(self, *faults: int) -> None:
        """Let accept fail with these as well; a task that waits in it meets the first at once."""
        self.faults.extend(faults)
        self.readable = True
        if self.reader is not None:
            self.reader.wake()

    def _accept_or_fail(self) -> tuple[socket.socket, Any]:
        self.calls += 1
        if self.faults:
            code = self.faults.popleft()
            raise OSError(code, os.strerror(code))
        return self._real_accept()


class MemoryListener(AsyncClosing):
    """A listener of `MemoryStream`s, for `serve`: `connect` makes one and hands over the other.

    The links are as for `memory_stream_pair`, `there` from the client to the server.
    """

    __slots__ = ("_backlog", "_closed", "_connected", "_links", "_reader", "_waiting")

    def __init__(
        self,
        there: Link = PLAIN,
        back: Link | None = None,
        *,
        backlog: int = 128,
    ) -> None:
        self._links = there, back
        self._backlog = backlog
        self._waiting: deque[MemoryStream] = deque()
        self._connected = 0
        self._reader: Task[Any] | None = None
        self._closed = False

    @property
    def address(self) -> tuple[str, int]:
        """Where the clients think it is."""
        return ("memory", 0)

    async def connect(self) -> MemoryStream:
        """A stream to whoever accepts the other end.

        Raises ConnectionRefusedError if the listener is closed, or its backlog full.
        """
        if self._closed or len(self._waiting) >= self._backlog:
            why = "it is closed" if self._closed else f"{self._backlog} connections wait already"
            raise ConnectionRefusedError(f"the listener in memory takes no more: {why}")
        self._connected += 1
        here = ("memory", self._connected)
        client, server = memory_stream_pair(*self._links, addresses=(here, self.address))
        self._waiting.append(server)
        if self._reader is not None:
            self._reader.wake()
        return client

    def accept_nowait(self) -> MemoryStream | None:
        """The next connection if one is there, else None.  ClosedError if it is closed."""
        if self._closed:
            closed()
        return self._waiting.popleft() if self._waiting else None

    @leaf
    def accept(self) -> Generator[None, None, MemoryStream]:
        """The next connection, waiting for it if need be; raises as `Listener.accept` does."""
        executor: Executor = current_executor()
        if executor.budget < 0:
            yield from give_way(executor)
        if self._reader is not None:
            raise BusyError("another task waits on this listener; one at a time")
        self._reader = current_task()
        try:
            while (stream := self.accept_nowait()) is None:
                yield
        finally:
            self._reader = None
        executor.budget -= 1
        return stream

    def close(self) -> None:
        """Stop listening.  Connections that nobody has accepted are reset; again: nothing."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().reset()
        if self._reader is not None:
            self._reader.wake()
