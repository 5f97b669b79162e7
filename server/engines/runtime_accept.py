"""What the engine ``runtime`` does around its two services: accept, keep count, cut off, drain.

A connection's task is spawned on its own, not in a task group: what goes wrong in it ends that
connection and is logged by the runtime, and no other hears of it. ``Server.live`` is what keeps
count of them, for the maximum, the deadlines and the drain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from types import TracebackType

import runtime
from runtime import BrokenError, ClosedError, Stream
from server import logs
from server.accepting import AcceptErrors
from server.addresses import Addresses
from server.deadlines import Deadlines
from server.drain import Drain
from server.instance import Instance
from server.metrics import Closed, reason_for
from server.protocol import SleepProtocol

ACCEPT_BURST = 64
"""Accepted in a row: a connect storm does not starve the connected."""

CUT_BURST = 16
"""Cut off in a row: a thousand that are overdue at the same time leave the others their turn."""


class Connection:
    """A connection and its task, which serves it inside of ``with connection as stream:``."""

    __slots__ = ("host", "lines", "reason", "server", "stream", "task")

    def __init__(self, server: Server, stream: Stream, host: str) -> None:
        self.server = server
        self.stream = stream
        self.host = host
        self.lines: SleepProtocol | None = None
        self.reason: Closed | None = None
        """Why it is being cut off, if it is."""
        self.task: runtime.JoinHandle[None]

    def cut_off(self, reason: Closed) -> None:
        """End it from outside."""
        if self.reason is None:
            self.reason = reason
            self.task.cancel()

    def __enter__(self) -> Stream:
        return self.stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it and count why it ended. A peer that is gone is no error, a bug of ours is."""
        self.server.closed(self, self.reason or self._outcome(error))
        return isinstance(error, BrokenError | TimeoutError)

    def _outcome(self, error: BaseException | None) -> Closed:
        match error:
            case None:
                return Closed.BAD_LINE if self.lines and self.lines.failed else Closed.FINISHED
            case runtime.HandshakeError():
                return Closed.HANDSHAKE_FAILED
            case BrokenError():
                return reason_for(error)
            case TimeoutError():
                return Closed.HANDSHAKE_TIMEOUT
            case runtime.Cancelled():
                return Closed.ABORTED
            case _:
                return Closed.FAILED


Handler = Callable[[Connection], Coroutine[None, None, None]]


class Server:
    """The open connections, and whether there is room for another."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.settings = instance.settings
        self.counters = instance.counters
        self.live: dict[int, Connection] = {}
        self._addresses = Addresses(self.settings.max_per_address, self.counters)
        self._changed = runtime.Event()

    async def accept(self, listener: runtime.Listener, handler: Handler, burst: int) -> None:
        """Give every connection a task, while there is room, until cancelled or closed."""
        errors = AcceptErrors(self.counters)
        accepted = 0
        while True:
            await self._below(self.settings.max_connections)
            try:
                stream = listener.accept_nowait()
                if stream is None:
                    await listener.wait()
                    continue
            except ClosedError:
                return  # it is not cancelled yet, but the drain has begun
            except OSError as error:
                await runtime.sleep(errors.pause_after(error))
                continue
            self._begin(stream, handler)
            accepted = (accepted + 1) % burst
            if not accepted:
                await runtime.yield_now()

    def _begin(self, stream: Stream, handler: Handler) -> None:
        # The address is a system call, which nobody pays who does not limit it.
        peer = stream.peer_address if self.settings.max_per_address else None
        host = peer[0] if peer else ""
        if not self._addresses.admit(host):
            stream.close()
            return
        connection = Connection(self, stream, host)
        self.live[stream.fd] = connection  # the stream's own number: another int is 32 bytes more
        self.counters.connections += 1
        connection.task = runtime.spawn(handler(connection))

    def closed(self, connection: Connection, reason: Closed) -> None:
        """A connection's task is over."""
        stream = connection.stream
        del self.live[stream.socket.fileno()]
        stream.close()
        self._addresses.release(connection.host)
        self.counters.closes[reason] += 1
        self._changed.set()

    async def _below(self, maximum: int) -> None:
        """Wait until fewer than ``maximum`` connections are open."""
        while len(self.live) >= maximum:
            if self._changed.is_set:
                self._changed = runtime.Event()
            await self._changed.wait()

    async def keep_time(self) -> None:
        """Say that the loop is alive and cut off what is overdue, until cancelled."""
        deadlines = Deadlines(self.settings)
        while True:
            await runtime.sleep(deadlines.interval)
            self.instance.beat(deadlines.interval)
            for number, (connection, reason) in enumerate(deadlines.overdue(self.live), start=1):
                connection.cut_off(reason)
                if number % CUT_BURST == 0:
                    await runtime.yield_now()

    async def drain(self) -> None:
        """Answer what was received, cut off what is open at the deadline."""
        logs.event(logging.INFO, "draining", connections=len(self.live))
        drain = Drain(self.settings.drain_timeout)
        while self.live and (seconds := drain.step(tuple(self.live))):
            with runtime.move_on_after(seconds):
                await self._below(1)
        if self.live:
            logs.event(logging.WARNING, "drain timeout", aborted=len(self.live))
            for connection in tuple(self.live.values()):
                connection.cut_off(Closed.ABORTED)
            await self._below(1)
