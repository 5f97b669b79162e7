"""What the engine ``threads`` does around its two services: accept, keep count, cut off, drain.

All this is the main thread's, which otherwise waits in ``poll``. It accepts only while there is
room, so that the maximum is exact and the rest waits in the kernel's backlog, and it comes by every
fraction of a second to see whose deadline is over.

What a thread costs was measured at 3,000 idle connections on Python 3.11. ``threading.Thread``
takes 25,100 resident bytes, ``_thread.start_new_thread`` 23,000, and it starts without waiting
for a handshake; we need no name and no ``join``, so it is the second. The size of the stack
changes none of that, for only pages that were touched are resident, and it bounds how many
threads fit into the address space: 128 KiB instead of 8 MiB.
"""

import _thread
import contextlib
import logging
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

from server import logs
from server.accepting import PAUSE, AcceptErrors
from server.addresses import Addresses
from server.deadlines import Deadlines
from server.drain import Drain
from server.engines import threads_stacks, threads_tls
from server.instance import Instance
from server.metrics import Closed, Snapshot, reason_for
from server.protocol import SleepProtocol
from server.tls import Certificate

STACK_SIZE = 128 * 1024
"""Bytes of C stack per thread. Both services run, handshakes, errors and logging included, in
32 KiB, the least that Python allows; the rest is for signal frames, which grow with the CPU's
registers, and for C libraries that keep thread-local data on the stack."""

SWITCH_INTERVAL = 0.1
"""Seconds for which a thread may keep the interpreter lock while others want it. Ours give it up
at every system call, so this is no latency, but each waiting thread wakes up that often to ask
for the lock. When thousands of connections echo at once, an echo takes 35 to 50 us of CPU so; with
Python's default of 5 ms now as much, now five times that and more. The price is memory, about half
as much again (docs/performance.md)."""

ABORT_GRACE = 1.0
"""Seconds for the threads that the drain's deadline aborted to come to their end."""


class Connection:
    """A connection, which the thread that serves it alone reads, writes and closes.

    ``received`` and ``sent`` are here and not in the counters of all because ``+=`` is a read and
    a write: two threads that do it to one number at a time lose one of the two.
    """

    __slots__ = ("host", "lines", "reason", "received", "sent", "server", "sock", "thread")

    def __init__(self, server: "ThreadServer", sock: socket.socket, host: str) -> None:
        self.server = server
        self.sock = sock
        self.host = host
        self.lines: SleepProtocol | None = None
        self.received = 0
        self.sent = 0
        self.reason: Closed | None = None
        """Why it is being cut off, if it is."""
        self.thread: int


Handler = Callable[[Connection], None]


class Service(NamedTuple):
    """A listening socket and what is behind it; with a certificate, behind TLS."""

    sock: socket.socket
    handler: Handler
    certificate: Certificate | None


class ThreadServer:
    """The open connections, each with its thread, and the main thread that looks after them."""

    def __init__(self, instance: Instance) -> None:
        self.settings = instance.settings
        self.live: dict[int, Connection] = {}
        self._instance = instance
        self.new_lines = instance.new_lines
        self._counters = instance.counters
        self._services: dict[int, Service] = {}
        self._errors = AcceptErrors(self._counters)
        self._addresses = Addresses(self.settings.max_per_address, self._counters)
        self._deadlines = Deadlines(self.settings)
        self._next_look = 0.0
        # The lock orders what several threads do with ``live``, the counters and the addresses,
        # and the closing of a socket against a shutdown of it.
        self._lock = threading.Lock()
        self._stopping = False
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._only_wake, self._wake_or_accept = select.poll(), select.poll()
        for poller in (self._only_wake, self._wake_or_accept):
            poller.register(self._wake_read, select.POLLIN)
        instance.snapshot = self._snapshot
        instance.describe_tasks = self._describe_threads

    # The main thread.

    def add(
        self, sock: socket.socket, handler: Handler, certificate: Certificate | None = None
    ) -> None:
        """Serve what comes on another listener, too."""
        self._services[sock.fileno()] = Service(sock, handler, certificate)
        self._wake_or_accept.register(sock, select.POLLIN)

    def serve(self) -> None:
        """Accept until a signal, then drain."""
        threading.stack_size(STACK_SIZE)
        sys.setswitchinterval(SWITCH_INTERVAL)
        with self._wake_read, self._wake_write, self._signals():
            self._instance.serving()
            while not self._stopping:
                self._accept_what_comes()
            self._instance.draining()
            self._drain()
            logs.stopped(self._snapshot())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            os._exit(128 + number)
        self._stopping = True

    def _wait(self, poller: select.poll, seconds: float) -> list[int]:
        """Wait for so long at most, and keep time meanwhile.

        Ends sooner if woken, or for listeners that are ready, whose descriptors it returns.
        """
        until = time.monotonic() + seconds
        while True:
            if time.monotonic() >= self._next_look:
                self._look_for_overdue()
            seconds = max(0.0, min(until, self._next_look) - time.monotonic())
            ready = [fd for fd, _event in poller.poll(seconds * 1000)]
            if ready or time.monotonic() >= until:
                break
        if self._wake_read.fileno() in ready:
            self._wake_read.recv(4096)
            ready.remove(self._wake_read.fileno())
        return ready

    def _look_for_overdue(self) -> None:
        self._instance.beat(self._deadlines.interval)
        self._next_look = self._instance.beat_at + self._deadlines.interval
        for connection, reason in self._deadlines.overdue(self.live):
            self._cut_off(connection, reason)

    def _cut_off(self, connection: Connection, reason: Closed) -> None:
        """End it from outside: its thread finds the socket shut down."""
        with self._lock:
            if connection.reason is None:
                connection.reason = reason
                # Closed or not connected means that its own thread came first.
                with contextlib.suppress(OSError):
                    threads_tls.shut_down(connection.sock, socket.SHUT_RDWR)

    def _accept_what_comes(self) -> None:
        full = len(self.live) >= self.settings.max_connections
        # No deadline: it waits for a client, for a connection to end, or for a signal.
        for fd in self._wait(self._only_wake if full else self._wake_or_accept, math.inf):
            if len(self.live) < self.settings.max_connections:
                self._accept(self._services[fd])

    def _accept(self, service: Service) -> None:
        try:
            sock, peer = service.sock.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if pause := self._errors.pause_after(error):
                self._wait(self._only_wake, pause)
            return
        host = peer[0] if self.settings.max_per_address else ""
        with self._lock:
            admitted = self._addresses.admit(host)
        if not admitted:
            sock.close()
            return
        try:
            if service.certificate is not None:
                sock = threads_tls.wrap(sock, service.certificate.context)
        except threads_tls.HandshakeError as error:
            with self._lock:
                self._counters.connections += 1
                self._ended(host, error.reason)
            return
        self._begin(Connection(self, sock, host), service.handler)

    def _begin(self, connection: Connection, handler: Handler) -> None:
        try:
            with self._lock:  # until it is counted, its thread cannot end
                connection.thread = _thread.start_new_thread(self._serve, (connection, handler))
                self.live[connection.sock.fileno()] = connection
                self._counters.connections += 1
        except (RuntimeError, MemoryError) as error:
            # Out of threads or memory. The connection is lost, those that have a thread go on.
            logs.often(logging.WARNING, "cannot start a thread", error=repr(error))
            with self._lock:
                connection.sock.close()
                self._addresses.release(connection.host)
                self._counters.reject("no_thread")
            self._wait(self._only_wake, PAUSE)

    def _drain(self) -> None:
        for service in self._services.values():
            service.sock.close()
        logs.event(logging.INFO, "draining", connections=len(self.live))
        drain = Drain(self.settings.drain_timeout)
        while self.live and (seconds := self._drain_step(drain)):
            self._wait(self._only_wake, seconds)
        if self.live:
            logs.event(logging.WARNING, "drain timeout", aborted=len(self.live))
            for connection in tuple(self.live.values()):
                self._cut_off(connection, Closed.ABORTED)
            until = time.monotonic() + ABORT_GRACE
            while self.live and time.monotonic() < until:
                self._wait(self._only_wake, until - time.monotonic())

    def _drain_step(self, drain: Drain) -> float:
        with self._lock:
            return drain.step(self.live)

    # The thread of a connection.

    def _serve(self, connection: Connection, handler: Handler) -> None:
        outcome = self._outcome(connection, handler)
        with self._lock:
            was_full = len(self.live) >= self.settings.max_connections
            del self.live[connection.sock.fileno()]
            connection.sock.close()
            self._counters.received += connection.received
            self._counters.sent += connection.sent
            self._ended(connection.host, connection.reason or outcome)
            if not self.live if self._stopping else was_full:
                self._wake()

    def _outcome(self, connection: Connection, handler: Handler) -> Closed:
        """Serve it; returns how that ended. A peer that is gone is no error, a bug of ours is."""
        try:
            handler(connection)
        except threads_tls.HandshakeError as error:
            return error.reason
        except OSError as error:
            return reason_for(error)
        except Exception:
            logs.logger.exception("handler failed")
            return Closed.FAILED
        return Closed.BAD_LINE if connection.lines and connection.lines.failed else Closed.FINISHED

    def _ended(self, host: str, reason: Closed) -> None:
        """With the lock held: a connection is over."""
        self._addresses.release(host)
        self._counters.closes[reason] += 1

    def handshake_took(self, seconds: float) -> None:
        """Count the duration of a handshake."""
        with self._lock:
            self._counters.handshake_seconds.observe(seconds)

    def _wake(self) -> None:
        # Full is as good: the main thread has not yet seen the bytes in it. Closed means that it
        # has waited for long enough, and ends the process without us.
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    # Any thread.

    def _snapshot(self) -> Snapshot:
        """The counters, with what the open connections have not yet added to them."""
        with self._lock:
            figures = self._counters.snapshot()
            for connection in self.live.values():
                figures["received"] += connection.received
                figures["sent"] += connection.sent
        return figures

    def _describe_threads(self) -> str:
        """Without the lock, which may be what the threads wait for."""
        return threads_stacks.describe(
            {each.thread: each.sock for each in tuple(self.live.values())}
        )
