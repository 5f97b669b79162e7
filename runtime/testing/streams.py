"""Streams without sockets: a connection in memory, with the faults of a network for the asking.

Sockets on one machine never show what a network does.  A line comes whole, a write goes through,
nothing is ever late, so code that takes one `recv` for one message passes its tests and fails in
use.  In memory it can all be had, and twice the same: bytes in pieces of chosen sizes, bytes that
take their time, a reset at a chosen byte.

A connection is two pipes, one for each direction, and a stream is an end of both.  The facts that
shaped the pipe: it holds a bounded number of bytes, so a sender outrun by nobody waits, as it does
for a socket's buffer; and what is sent stands in one queue with the time at which it arrives, the
end and the reset behind the bytes that went before them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from errno import ECONNRESET, EPIPE
from math import inf
from operator import index
from random import Random
from typing import Any, Final

from ..closing import AsyncClosing
from ..errors import BrokenError, BusyError, closed
from ..executor import Executor
from ..leaf import leaf
from ..readiness import give_way
from ..stream import Buffer
from ..task import Task, current_executor, current_task
from ..timers import timer as make_timer

_END: Final = 0
"""What stands for a proper end where an errno stands for a broken one."""


class RandomSizes:
    """Sizes from 1 to `largest`, without end, the same ones for the same seed."""

    def __init__(self, seed: int, largest: int = 4096) -> None:
        if largest < 1:
            raise ValueError(f"sizes begin at 1, so {largest} cannot be the largest")
        self._seed, self._largest = seed, largest

    def __repr__(self) -> str:
        return f"RandomSizes({self._seed}, {self._largest})"

    def __iter__(self) -> Iterator[int]:
        random = Random(self._seed)
        while True:
            yield random.randint(1, self._largest)


@dataclass(frozen=True, slots=True)
class Link:
    """What one direction of a connection does to the bytes.

    `reads` and `writes` are sizes in bytes, for example `[1, 1, 5]` or `RandomSizes(seed)`; when
    they come to an end there is no limit any more.

    >>> async def main():
    ...     left, right = memory_stream_pair(Link(delay=0.5, reads=[3]))
    ...     async with left, right:
    ...         await left.send_all(b"hello")
    ...         return await right.recv(100), await right.recv(100), now()
    >>> run(main(), clock=VirtualClock())
    (b'hel', b'lo', 0.5)
    """

    #: How many bytes it holds that nobody has read; a sender of more waits.
    capacity: int = 65536
    #: Seconds of the runtime's clock that each byte is under way, and the end, too.
    delay: float = 0.0
    #: Each read gets no more than the next of these.
    reads: Iterable[int] = ()
    #: `send_all` hands over so many at a time, and the other tasks run in between.
    writes: Iterable[int] = ()
    #: After so many bytes the connection is reset, in place of the next one; None is never.
    reset_after: int | None = None

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"a capacity of {self.capacity} bytes lets nothing through")
        if not 0 <= self.delay < inf:
            raise ValueError(f"a delay of {self.delay} seconds cannot be; give 0 or more")
        if self.reset_after is not None and self.reset_after < 0:
            raise ValueError(f"cannot reset after {self.reset_after} bytes; give 0 or more")


#: A link that does nothing to the bytes.
PLAIN: Final = Link()


class _Pipe:
    """One direction.  Its two ends are streams; each wakes whoever waits at the other."""

    __slots__ = (
        "_arrived",
        "_reads",
        "_under_way",
        "_writes",
        "end",
        "finished",
        "held",
        "link",
        "reader",
        "refusal",
        "sent",
        "writer",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self._reads, self._writes = iter(link.reads), iter(link.writes)
        #: When it arrives, the bytes, and what ends the stream behind them.
        self._under_way: deque[tuple[float, bytes, int | None]] = deque()
        self._arrived = bytearray()
        #: Bytes under way and arrived, and those of all time.
        self.held = self.sent = 0
        #: Whether the sender has said the end, and what it is once it has arrived.
        self.finished = False
        self.end: int | None = None
        #: The errno of every further write, if there is a reason to refuse it.
        self.refusal: int | None = None
        self.reader: Task[Any] | None = None
        self.writer: Task[Any] | None = None

    def put(self, data: memoryview, now: float) -> None:
        """Send bytes for which there is room."""
        if data:
            self._under_way.append((now + self.link.delay, bytes(data), None))
            self.held += len(data)
            self.sent += len(data)
            if self.reader is not None:
                self.reader.wake()

    def finish(self, end: int, now: float) -> None:
        """Send the end; only the first one counts."""
        if not self.finished:
            self.finished = True
            self._under_way.append((now + self.link.delay, b"", end))
            self.wake()

    def cut(self, code: int, now: float) -> None:
        """Break it off: what has arrived can be read, what is under way is lost."""
        self.settle(now)
        self._under_way.clear()
        self.held = len(self._arrived)
        self.finished, self.refusal, self.end = True, code, code
        self.wake()

    def wake(self) -> None:
        """Have both sides look again."""
        for waiter in (self.reader, self.writer):
            if waiter is not None:
                waiter.wake()

    def settle(self, now: float) -> bool:
        """Let arrive what is due; whether a read has something to tell."""
        queue = self._under_way
        while queue and queue[0][0] <= now:
            _, data, end = queue.popleft()
            self._arrived += data
            if end is not None:
                self.end = end
        return bool(self._arrived) or self.end is not None

    def next_arrival(self) -> float | None:
        """When more arrives by itself; None if nothing is under way."""
        return self._under_way[0][0] if self._under_way else None

    def take(self, limit: int) -> bytes:
        """What a read gets, after `settle`."""
        if self._arrived:
            count = min(limit, len(self._arrived), _next_size(self._reads))
            data = bytes(memoryview(self._arrived)[:count])
            del self._arrived[:count]
            self.held -= count
            if self.writer is not None:
                self.writer.wake()
            return data
        if self.end:
            raise BrokenError(self.end, os.strerror(self.end))
        return b""

    def portion(self, wanted: int) -> int:
        """How many of so many bytes can be sent now; 0 if there is no room."""
        room = self.link.capacity - self.held
        return min(wanted, room, _next_size(self._writes)) if room else 0


def _next_size(sizes: Iterator[int]) -> int:
    size = next(sizes, None)
    if size is None:
        return 1 << 62
    if size < 1:
        raise ValueError(f"a size of {size} bytes in a link would stop it for ever; give 1 or more")
    return size


class MemoryStream(AsyncClosing):
    """One end of a connection in memory; it does what a `Stream` does.

    Both ends belong to tasks of one run.  As with sockets, closing one with bytes in it that
    nobody has read resets the connection.
    """

    __slots__ = ("_closed", "_eof_sent", "_incoming", "_outgoing", "_peer_address")

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer_address: object) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._peer_address = peer_address
        self._closed = self._eof_sent = False

    def __repr__(self) -> str:
        return f"<MemoryStream to {self._peer_address}{', closed' if self._closed else ''}>"

    @property
    def peer_address(self) -> Any:
        """Where the other end is: a pair, as of TCP; None once it is gone."""
        gone = self._closed or self._outgoing.refusal == ECONNRESET
        return None if gone else self._peer_address

    @leaf
    def recv(self, limit: int) -> Generator[None, None, bytes]:
        """What has arrived, 1 to `limit` bytes, waiting for it if need be; b"" at the end.

        Raises as `Stream.recv` does.
        """
        return (yield from self._receive(limit))

    @leaf
    def recv_into(self, buffer: bytearray | memoryview) -> Generator[None, None, int]:
        """Like `recv`, into memory of the caller's; how many bytes came, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = yield from self._receive(len(view))
        view[: len(data)] = data
        return len(data)

    def _receive(self, limit: int) -> Generator[None, None, bytes]:
        if index(limit) < 1:
            raise ValueError("cannot receive no bytes: that would look like the end of the stream")
        executor = current_executor()
        if executor.budget < 0:
            yield from give_way(executor)
        yield from self._wait_for_bytes(executor)
        executor.budget -= 1
        return self._incoming.take(limit)

    def _wait_for_bytes(self, executor: Executor) -> Generator[None, None, None]:
        pipe, task = self._incoming, current_task()
        if pipe.reader is not None:
            raise BusyError("another task is reading this stream; one reader at a time")
        pipe.reader = task
        try:
            while not self._closed and not pipe.settle(executor.clock.now()):
                arrival = pipe.next_arrival()
                if arrival is None:
                    yield
                    continue
                timer = make_timer(arrival, task)
                executor.timers.add(timer)
                try:
                    yield
                finally:
                    executor.timers.cancel(timer)
        finally:
            pipe.reader = None
        if self._closed:
            closed()

    @leaf
    def send_all(self, data: Buffer) -> Generator[None, None, None]:
        """Send all of `data`, waiting for room when the link is full.

        Raises as `Stream.send_all` does; BrokenError at once if the other end was closed.
        """
        rest = memoryview(data).cast("B")
        executor = current_executor()
        if executor.budget < 0:
            yield from give_way(executor)
        pipe, task = self._outgoing, current_task()
        if pipe.writer is not None:
            raise BusyError("another task is writing to this stream; one writer at a time")
        pipe.writer = task
        try:
            self._check_writable()
            while rest:
                sent = self._send(rest, executor.clock.now())
                rest = rest[sent:]
                if rest:
                    if sent:
                        task.wake()  # in pieces, and the others run in between
                    yield
                    self._check_writable()
        finally:
            pipe.writer = None
        executor.budget -= 1

    def _check_writable(self) -> None:
        if self._closed or self._eof_sent:
            closed()
        refusal = self._outgoing.refusal
        if refusal is not None:
            raise BrokenError(refusal, os.strerror(refusal))

    def _send(self, data: memoryview, now: float) -> int:
        """Hand over what there is room for, up to the byte that is fatal."""
        pipe = self._outgoing
        count, fatal = pipe.portion(len(data)), pipe.link.reset_after
        if fatal is not None and pipe.sent + count > fatal:
            pipe.put(data[: fatal - pipe.sent], now)
            pipe.finish(ECONNRESET, now)  # behind the bytes
            pipe.refusal = ECONNRESET
            self._incoming.cut(ECONNRESET, now)
            self._check_writable()
        pipe.put(data[:count], now)
        return count

    def send_eof(self) -> None:
        """Tell the peer that nothing more will come; reading goes on.  Again: nothing.

        Raises as `Stream.send_eof` does.
        """
        pipe = self._outgoing
        if pipe.writer is not None:
            raise BusyError("another task is writing to this stream; one writer at a time")
        if self._closed:
            closed()
        if pipe.refusal == ECONNRESET:
            raise BrokenError(ECONNRESET, os.strerror(ECONNRESET))
        self._eof_sent = True
        pipe.finish(_END, current_executor().clock.now())

    def close(self) -> None:
        """Close both directions.  Tasks that wait on the stream get ClosedError; again: nothing."""
        self._close(ECONNRESET if self._incoming.held else _END)

    def reset(self) -> None:
        """Close, and have the peer get a reset, now: what it has not received is lost."""
        if not self._closed:
            self._outgoing.cut(ECONNRESET, current_executor().clock.now())
            self._close(ECONNRESET)

    def _close(self, end: int) -> None:
        if self._closed:
            return
        self._closed = True
        self._outgoing.finish(end, current_executor().clock.now())
        self._incoming.refusal = self._incoming.refusal or end or EPIPE
        self._incoming.wake()


def memory_stream_pair(
    there: Link = PLAIN,
    back: Link | None = None,
    *,
    addresses: tuple[object, object] = (("memory", 1), ("memory", 2)),
) -> tuple[MemoryStream, MemoryStream]:
    """Two connected streams, to be used inside one run.

    What the first sends goes over the link `there`, what the second sends over `back`: by default
    one of the same kind.  `addresses` are where the two are, as the other one sees it.
    """
    to_right, to_left = _Pipe(there), _Pipe(there if back is None else back)
    left = MemoryStream(to_left, to_right, addresses[1])
    return left, MemoryStream(to_right, to_left, addresses[0])
