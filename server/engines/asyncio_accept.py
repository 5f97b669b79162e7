"""What the asyncio engines share: accept up to the maximum, drain on a signal.

asyncio's own servers cannot stop at a maximum: ``start_server`` accepts whatever comes, and a
connection that is accepted only to wait or to be closed is no backpressure. So the listening
sockets are watched here, a connection is accepted only while there is room, and the rest stay
in the kernel's backlog.

Measured at 5,000 connections, resident bytes per connection, ``create_server`` against accepting
here with ``connect_accepted_socket``:

    asyncio, streams    5443   5358        uvloop, streams     5095   5168
    asyncio, Protocol   1809   1667        uvloop, Protocol    1316   1477

The stock loop loses nothing. uvloop would: it keeps the Python socket object alive beside its own
handle, and accepting takes twice the CPU. No author who chose uvloop would pay that while the
maximum is far away, so on uvloop ``create_server`` accepts until only ``NATIVE_MARGIN`` are left
to the maximum, and the listeners are watched here from then on. Until then a failing accept is
libuv's affair: it tries again, and out of descriptors it sheds what waits in the backlog.
"""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from server import logs
from server.accepting import AcceptErrors
from server.drain import Drain
from server.instance import Instance
from server.metrics import Closed, reason_for

NATIVE_MARGIN = 256
"""uvloop accepts at most one connection per listener and turn of the loop, so that it could stop
exactly; the margin is for a libuv that accepts more at a time, as older ones did."""

ACCEPT_BURST = 64
"""Accepted per listener and turn of the loop: a connect storm does not starve the connected."""

ABORT_GRACE = 1.0
"""Seconds for the loop to finish the connections that the drain's deadline aborted."""

ProtocolFactory = Callable[["Acceptor"], asyncio.Protocol]


class Acceptor:
    """The open connections of one server, and the decision whether to accept another."""

    def __init__(
        self,
        instance: Instance,
        services: Mapping[str, ProtocolFactory],
    ) -> None:
        settings = instance.settings
        self.counters = instance.counters
        self._loop = asyncio.get_running_loop()
        self._maximum = settings.max_connections
        self._backlog = settings.backlog
        self._drain_timeout = settings.drain_timeout
        self._listeners = [
            (listener.sock, functools.partial(services[listener.service], self))
            for listener in instance.listeners
        ]
        self._live: set[asyncio.Transport] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._errors = AcceptErrors(self.counters)
        self._watching = False
        self._paused = False
        self._draining = False
        self._aborting = False
        self._all_closed = asyncio.Event()

    # Called by the protocols.

    def opened(self, transport: asyncio.Transport) -> None:
        """A connection has begun (``connection_made``)."""
        self.counters.connections += 1
        self._live.add(transport)
        if self._servers and self._room() <= NATIVE_MARGIN:
            self._stop_native_accept()

    def closed(self, transport: asyncio.Transport, error: Exception | None) -> None:
        """A connection has ended (``connection_lost``)."""
        self._live.discard(transport)
        if self._aborting:
            reason = Closed.ABORTED
        elif error is not None:
            reason = reason_for(error)
        else:
            reason = Closed.FINISHED
        self.counters.closes[reason] += 1
        self._changed()

    # Accepting.

    async def start(self, *, native_accept: bool) -> None:
        """Begin to accept; ``native_accept`` lets the loop do it while the maximum is far away."""
        if native_accept and self._room() > NATIVE_MARGIN:
            self._loop.set_exception_handler(self._on_loop_error)
            for sock, factory in self._listeners:
                # The server closes its socket in the end, so it gets a duplicate.
                server = await self._loop.create_server(
                    factory, sock=sock.dup(), backlog=self._backlog
                )
                self._servers.append(server)
        self._changed()

    def _room(self) -> int:
        return self._maximum - len(self._live) - len(self._starting)

    def _changed(self) -> None:
        """Watch the listeners if and only if another connection may be accepted."""
        wanted = self._room() > 0 and not (self._servers or self._paused or self._draining)
        if wanted != self._watching:
            self._watching = wanted
            for sock, factory in self._listeners:
                if wanted:
                    self._loop.add_reader(sock, self._accept, sock, factory)
                else:
                    self._loop.remove_reader(sock)
        if self._draining and not (self._live or self._starting):
            self._all_closed.set()

    def _accept(self, sock: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        for _ in range(min(self._room(), ACCEPT_BURST)):
            try:
                connection, _peer = sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                self._accept_failed(error)
                break
            connection.setblocking(False)
            task = self._loop.create_task(self._adopt(connection, factory))
            self._starting.add(task)
            task.add_done_callback(self._adopted)
        self._changed()

    async def _adopt(
        self, connection: socket.socket, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        try:
            await self._loop.connect_accepted_socket(factory, connection)
        except OSError as error:
            connection.close()
            self._accept_failed(error)

    def _adopted(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        self._changed()

    def _accept_failed(self, error: OSError) -> None:
        pause = self._errors.pause_after(error)
        if pause and not self._paused:
            self._paused = True
            self._loop.call_later(pause, self._resume)
            self._changed()

    def _resume(self) -> None:
        self._paused = False
        self._changed()

    def _stop_native_accept(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._changed()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Leave out what is everyday: a peer that is gone without a word.

        The stock loop reports no network error; uvloop does so with a traceback for all but
        resets. It ends one connection, which ``closed`` counts.
        """
        if not (isinstance(context.get("exception"), OSError) and "transport" in context):
            loop.default_exception_handler(context)

    # Draining.

    async def drain(self) -> None:
        """Close the listeners, answer what was received, abort what is open at the deadline."""
        self._draining = True
        self._stop_native_accept()
        for sock, _factory in self._listeners:
            sock.close()
        logs.event(logging.INFO, "draining", connections=len(self._live))
        drain = Drain(self._drain_timeout)
        while seconds := drain.step(self._fds()):
            if await self._all_closed_within(seconds):
                return
        logs.event(logging.WARNING, "drain timeout", aborted=len(self._live))
        self._aborting = True
        for transport in tuple(self._live):
            transport.abort()
        await self._all_closed_within(ABORT_GRACE)

    def _fds(self) -> Iterator[int]:
        for transport in self._live:
            fd = cast(socket.socket, transport.get_extra_info("socket")).fileno()
            if fd >= 0:  # else it is closed, and connection_lost on its way
                yield fd

    async def _all_closed_within(self, seconds: float) -> bool:
        if self._live or self._starting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_closed.wait()
        return not (self._live or self._starting)


async def serve(
    instance: Instance,
    services: Mapping[str, ProtocolFactory],
    *,
    native_accept: bool,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    acceptor = Acceptor(instance, services)
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    await acceptor.start(native_accept=native_accept)
    instance.serving()
    await stopping.wait()  # no deadline: it is the operator's to end
    instance.draining()
    await acceptor.drain()
    logs.stopped(instance.snapshot())
