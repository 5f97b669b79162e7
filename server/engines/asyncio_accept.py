"""How the asyncio engines accept: up to the maximum, counted from the first moment.

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
TLS listeners are always watched here (``asyncio_tls.py`` says why), and so are all
of them with a limit per address, which is asked before there is a transport.
"""

import asyncio
import functools
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from server import logs
from server.accepting import AcceptErrors
from server.addresses import Addresses
from server.engines import asyncio_tls
from server.engines.asyncio_connection import NATIVE, Connection
from server.instance import Instance
from server.listeners import Listener
from server.metrics import Closed, reason_for
from server.tls import ACCEPTED_PER_TURN, Certificate

NATIVE_MARGIN = 256
"""uvloop accepts at most one connection per listener and turn of the loop, so that it could stop
exactly; the margin is for a libuv that accepts more at a time, as older ones did."""

ACCEPT_BURST = 64
"""Accepted per listener and turn of the loop: a connect storm does not starve the connected."""

Starting = asyncio.Task[tuple[asyncio.Transport, Connection]]

ConnectionFactory = Callable[["Acceptor"], Connection]


@dataclass(frozen=True, slots=True)
class Entrance:
    """A listening socket, and what becomes of those who come by it."""

    sock: socket.socket
    connect: Callable[[], Connection]
    certificate: Certificate | None
    """For TLS, else None."""
    burst: int


class Acceptor:
    """The open connections of one server, and the decision whether to accept another."""

    def __init__(self, instance: Instance, services: Mapping[str, ConnectionFactory]) -> None:
        self.settings = instance.settings
        self.counters = instance.counters
        self.live: dict[int, Connection] = {}
        """By descriptor, from the accept to ``connection_lost``."""
        self.starting: dict[Connection, Starting] = {}
        """Those that have no transport yet, and the tasks that see to it."""
        self.all_closed = asyncio.Event()
        """Set when the last one has ended after ``stop``."""
        self._loop = asyncio.get_running_loop()
        self.instance = instance
        self._entrances = [
            self._entrance(each, functools.partial(services[each.service], self))
            for each in instance.listeners
        ]
        self._native: list[asyncio.AbstractServer] = []
        self._watched: Collection[Entrance] = ()
        self._addresses = Addresses(self.settings.max_per_address, self.counters)
        self._hosts: dict[Connection, str] = {}
        """Where they come from, if that is limited."""
        self._errors = AcceptErrors(self.counters)
        self._paused = False
        self._stopped = False

    def _entrance(self, listener: Listener, connect: Callable[[], Connection]) -> Entrance:
        if not listener.secure:
            return Entrance(listener.sock, connect, None, ACCEPT_BURST)
        assert self.instance.certificate is not None
        return Entrance(listener.sock, connect, self.instance.certificate, ACCEPTED_PER_TURN)

    async def start(self, *, native_accept: bool) -> None:
        """Begin to accept; ``native_accept`` lets the loop do it while the maximum is far away."""
        self._loop.set_exception_handler(self._on_loop_error)
        limited = self.settings.max_per_address
        if native_accept and not limited and self._room() > NATIVE_MARGIN:
            for each in self._entrances:
                if each.certificate is None:
                    # The server closes its socket in the end, so it gets a duplicate.
                    server = await self._loop.create_server(
                        each.connect, sock=each.sock.dup(), backlog=self.settings.backlog
                    )
                    self._native.append(server)
        self._changed()

    def stop(self) -> None:
        """Close the listeners."""
        self._stopped = True
        self._stop_native_accept()
        for each in self._entrances:
            each.sock.close()

    # Called by the connections.

    def opened(self, connection: Connection) -> None:
        """A connection has its transport."""
        if connection.fd == NATIVE:
            assert connection.transport is not None
            sock = cast(socket.socket, connection.transport.get_extra_info("socket"))
            self._begin(connection, sock.fileno())
        if self._native and self._room() <= NATIVE_MARGIN:
            self._stop_native_accept()

    def closed(self, connection: Connection, reason: Closed) -> None:
        """A connection has ended."""
        # Its descriptor is closed, and may be another one's already.
        if self.live.get(connection.fd) is connection:
            del self.live[connection.fd]
        self._addresses.release(self._hosts.pop(connection, ""))
        self.counters.closes[reason] += 1
        self._changed()

    def failed(self, connection: Connection, bug: BaseException) -> None:
        """A fault of ours ends the connection it came up on, and no other."""
        logs.logger.error("handler failed", exc_info=bug)
        connection.cut_off(Closed.FAILED)

    # Accepting.

    def _begin(self, connection: Connection, fd: int) -> None:
        connection.fd = fd
        self.live[fd] = connection
        self.counters.connections += 1

    def _room(self) -> int:
        return self.settings.max_connections - len(self.live)

    def _changed(self) -> None:
        """Watch those listeners, and only while, of which we may accept another connection."""
        wanted: Collection[Entrance] = ()
        if self._room() > 0 and not (self._paused or self._stopped):
            wanted = self._entrances
            if self._native:
                wanted = [each for each in wanted if each.certificate is not None]
        if wanted != self._watched:
            for each in self._watched:
                self._loop.remove_reader(each.sock)
            for each in wanted:
                self._loop.add_reader(each.sock, self._accept, each)
            self._watched = wanted
        if self._stopped and not self.live:
            self.all_closed.set()

    def _accept(self, entrance: Entrance) -> None:
        for _ in range(min(self._room(), entrance.burst)):
            try:
                sock, peer = entrance.sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                self._accept_failed(error)
                break
            host = str(peer[0]) if self.settings.max_per_address else ""
            if not self._addresses.admit(host):
                sock.close()
                continue
            sock.setblocking(False)
            self._start(entrance.connect(), sock, host, entrance.certificate)
        self._changed()

    def _start(
        self,
        connection: Connection,
        sock: socket.socket,
        host: str,
        certificate: Certificate | None,
    ) -> None:
        """Make it a transport, with TLS by a handshake."""
        self._begin(connection, sock.fileno())
        if host:
            self._hosts[connection] = host
        tls: asyncio_tls.Arguments = {}
        if certificate is not None:
            tls = asyncio_tls.arguments(self.settings, certificate.context)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: connection, sock, **tls)
        )
        self.starting[connection] = task
        # Not by a ``finally`` around it, which is not run if it is cancelled before it has begun.
        began = time.monotonic()
        task.add_done_callback(
            functools.partial(self._started, connection, sock, secure=bool(tls), began=began)
        )

    def _started(
        self,
        connection: Connection,
        sock: socket.socket,
        task: Starting,
        *,
        secure: bool,
        began: float,
    ) -> None:
        del self.starting[connection]
        failure = None if task.cancelled() else task.exception()
        if connection.transport is not None:
            if secure:
                self.counters.handshake_seconds.observe(time.monotonic() - began)
        else:
            sock.close()
            self.closed(connection, connection.reason or self._no_start(failure, secure=secure))

    def _no_start(self, failure: BaseException | None, *, secure: bool) -> Closed:
        if failure is not None and not isinstance(failure, OSError):
            logs.logger.error("handler failed", exc_info=failure)
            return Closed.FAILED
        if secure:
            return asyncio_tls.handshake_failed(failure)
        if failure is None:
            return Closed.ABORTED
        self._accept_failed(failure)
        return reason_for(failure)

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
        for server in self._native:
            server.close()
        self._native.clear()
        self._changed()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What the loop caught: a connection's own fault, or a fault of the server's.

        Leave out what is everyday, a peer that is gone without a word. The stock loop reports no
        network error; uvloop does so with a traceback for all but resets. It ends one connection,
        which ``closed`` counts. So does what our callbacks raised.
        """
        error = context.get("exception")
        if error is None or "transport" not in context:
            loop.default_exception_handler(context)
        elif not isinstance(error, OSError):
            logs.logger.error("handler failed", exc_info=error)
