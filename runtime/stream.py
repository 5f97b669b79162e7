"""Streams: connected sockets that tasks read and write.

A stream is a `Source` of the reactor with a socket in it.  It does the system call first and asks
the reactor only when the kernel says "not now".  What it learns from each call it keeps:

* a read **shorter than asked** has emptied the socket, so the next one waits at once instead of
  paying for a system call that can only fail (tokio does this too, tokio#5866);
* unless the stream has ended: then the end stands behind the bytes, and no further edge tells.
  (Urgent data, too, cut a read short with more behind it.)

That makes an echo one `recv`, one `send` and a share of one `epoll_wait`, which is all that a
server in C does.  The rest is arranged so that Python adds little to it: `recv` and `send_all` are
generators that `yield` by themselves (one frame fewer to resume than an `async def` around
`park`), and closing puts something whose methods raise in the place of the socket, so that nobody
has to ask "closed?" before each call.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from operator import index
from selectors import EVENT_READ
from typing import Any, TypeAlias, cast

from .closing import AsyncClosing
from .errors import BrokenError, BusyError, ClosedSocket, closed
from .executor import Executor
from .leaf import leaf
from .reactor import BOTH, Source
from .readiness import close_source, give_way, wait_readable, wait_writable
from .task import current_executor

#: Bytes, or anything that shows itself as bytes.
Buffer: TypeAlias = bytes | bytearray | memoryview

#: In the place of a socket that was closed.
CLOSED = cast(socket.socket, ClosedSocket())

#: A full buffer may have more behind it.  It counts as one operation of the budget, and one more
#: for each 4 KiB of it: copying them takes as long, and a flood is not to outlast its turn.
_BUDGET_SHIFT = 12

BUSY_READING = "another task is reading this stream; one reader at a time"
NO_BYTES = "cannot receive no bytes: that would look like the end of the stream"
BUSY_WRITING = "another task is writing to this stream; one writer at a time"


def broken(error: OSError) -> BrokenError:
    """The same fault as an error of the connection, with its errno."""
    return BrokenError(error.errno, error.strerror)


class Stream(AsyncClosing, Source):
    """A connected socket.  One task may read it and one may write to it at the same time.

    Close it when done, or use it as `async with stream:`.
    """

    __slots__ = ("_executor", "_input", "_output", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket; it becomes non-blocking."""
        sock.setblocking(False)
        super().__init__(sock.fileno())
        # On a Unix socket, a descriptor that is passed along ends a read early.
        self.hangup = sock.family == socket.AF_UNIX
        self._executor: Executor = current_executor()
        self._socket = sock
        # Where calls go; each is CLOSED when its direction is.
        self._input = self._output = sock
        self._executor.reactor.register(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._socket.fileno()}>"

    def detach(self) -> socket.socket:
        """Give up the socket, open and non-blocking: the stream is closed, the connection is not.

        Raises BusyError if a task waits on the stream, ClosedError if it is closed.
        """
        if self._input is CLOSED:
            closed()
        if self.reader is not None or self.writer is not None:
            raise BusyError("a task waits on this stream; it cannot be taken away")
        self._executor.reactor.deregister(self)
        self._input = self._output = CLOSED
        self.readable = True  # so that whoever uses it still finds out by trying
        return self._socket

    @property
    def socket(self) -> socket.socket:
        """The socket, for options; reading or writing it directly confuses the stream."""
        return self._socket

    @property
    def peer_address(self) -> Any:
        """Where the other end is, in the form of its address family; None once it is gone.

        Asked of the kernel each time: ten thousand addresses that nobody looks at are not kept.
        """
        try:
            return self._socket.getpeername()
        except OSError:
            return None

    @leaf
    def recv(self, limit: int) -> Generator[None, None, bytes]:
        """What has come, 1 to `limit` bytes, waiting for it if need be; b"" at the end.

        Raises BrokenError if the connection is gone, ClosedError if it is closed on this side
        (while waiting, too), BusyError if another task is reading, ValueError for a limit below 1.
        """
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.reader is not None:
            raise BusyError(BUSY_READING)
        while True:
            if self.readable:
                try:
                    data = self._input.recv(limit)
                except BlockingIOError:
                    self.readable = False
                except OSError as error:
                    raise broken(error) from error
                else:
                    if len(data) < limit:
                        if self.hangup:
                            executor.budget -= 1
                        else:
                            self.readable = False
                    elif limit:
                        executor.budget -= 1 + (limit >> _BUDGET_SHIFT)
                    else:
                        raise ValueError(NO_BYTES)
                    return data
            else:
                if index(limit) < 1:  # which a float must not slip through, to wait first
                    raise ValueError(NO_BYTES)
                if self.interest != BOTH:
                    executor.reactor.watch(self, EVENT_READ)
                self.reader = executor.current
                try:
                    yield
                finally:
                    self.reader = None

    @leaf
    def recv_into(self, buffer: bytearray | memoryview) -> Generator[None, None, int]:
        """Like `recv`, into memory of the caller's; how many bytes came, 0 at the end."""
        if not len(buffer):
            raise ValueError(NO_BYTES)
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.reader is not None:
            raise BusyError(BUSY_READING)
        while True:
            try:
                count = self._input.recv_into(buffer)
            except BlockingIOError:
                yield from wait_readable(self, executor)
            except OSError as error:
                raise broken(error) from error
            else:
                executor.budget -= 1
                return count

    @leaf
    def send_all(self, data: Buffer) -> Generator[None, None, None]:
        """Hand all of `data` to the kernel, waiting for room when its buffer is full.

        Raises as `recv` does.  After an exception it is not known how much the peer will get.
        """
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.writer is not None:
            raise BusyError(BUSY_WRITING)
        try:
            sent = self._output.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise broken(error) from error
        executor.budget -= 1
        # The length of a memoryview counts items, and those need not be bytes.
        if sent != len(data) or type(data) is memoryview:
            yield from self._send_rest(memoryview(data).cast("B")[sent:])

    def _send_rest(self, rest: memoryview) -> Generator[None, None, None]:
        """The slow way: the kernel's buffer is full."""
        executor = self._executor
        while rest:
            yield from wait_writable(self, executor)
            try:
                rest = rest[self._output.send(rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise broken(error) from error

    def send_eof(self) -> None:
        """Tell the peer that nothing more will come; reading goes on.  Again: nothing.

        From then on `send_all` raises ClosedError.  Raises BrokenError if the connection is gone,
        BusyError if another task is writing.
        """
        if self.writer is not None:
            raise BusyError(BUSY_WRITING)
        if self._input is CLOSED:
            closed()
        if self._output is CLOSED:
            return  # once both ends have sent theirs, the kernel calls it "not connected"
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise broken(error) from error
        self._output = CLOSED

    def close(self) -> None:
        """Close both directions.  Tasks that wait on the stream get ClosedError; again: nothing."""
        if self._input is CLOSED:
            return
        self._input = self._output = CLOSED
        close_source(self, self._executor, self._socket)
