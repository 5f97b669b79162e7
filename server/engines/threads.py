"""The engine ``threads``: one thread per connection, blocking calls, the kernel schedules.

The main thread accepts, and only while there is room, so that the maximum is exact and the
rest waits in the kernel's backlog. Everything else is two short functions that read as the
services are described.

What a thread costs was measured at 3,000 idle connections on Python 3.11. ``threading.Thread``
takes 25,100 resident bytes, ``_thread.start_new_thread`` 23,000, and it starts without waiting
for a handshake; we need no name and no ``join``, so it is the second. The size of the stack
changes none of that, for only pages that were touched are resident, and it bounds how many
threads fit into the address space: 128 KiB instead of 8 MiB.
"""

import _thread
import contextlib
import errno
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from server import logs
from server.accepting import PAUSE, AcceptErrors
from server.config import Settings
from server.drain import Drain
from server.instance import Instance
from server.metrics import Closed, reason_for
from server.protocol import SleepProtocol

STACK_SIZE = 128 * 1024
"""Bytes of C stack per thread. Both services run, errors and logging included, in 32 KiB, the least
that Python allows; the rest is for signal frames, which grow with the CPU's registers, and for C
libraries that keep thread-local data on the stack."""

SWITCH_INTERVAL = 0.1
"""Seconds for which a thread may keep the interpreter lock while others want it. Ours give it up
at every system call, so this is no latency, but each waiting thread wakes up that often to ask
for the lock. When thousands of connections echo at once, an echo takes 35 to 50 us of CPU so; with
Python's default of 5 ms now as much, now five times that and more. The price is memory, about half
as much again (docs/performance.md)."""

CHUNK = 65536
"""Most bytes received at a time. The buffer costs nothing until bytes arrive in it."""

ABORT_GRACE = 1.0
"""Seconds for the threads that the drain's deadline aborted to come to their end."""

Handler = Callable[[socket.socket], None]


def echo(sock: socket.socket) -> None:
    """Send every byte back until the peer's end of stream."""
    while data := sock.recv(CHUNK):
        sock.sendall(data)


def sleep(settings: Settings, sock: socket.socket) -> None:
    """Answer lines in order, each after the time it names."""
    lines = SleepProtocol(settings.max_line, settings.max_sleep)
    while not lines.closed:
        data = sock.recv(CHUNK)
        for answer in lines.feed(data) if data else lines.end():
            if answer.seconds:
                wait_connected(sock, answer.seconds)
            sock.sendall(answer.line)


def wait_connected(sock: socket.socket, seconds: float) -> None:
    """Sleep, but not longer than the connection lives.

    A poll for no event at all still reports errors and hang-ups: the peer's reset, or our
    own ``shutdown`` of both directions when the drain's time is over. The peer's
    half-close is neither.
    """
    poller = select.poll()
    poller.register(sock, 0)
    if poller.poll(seconds * 1000):
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class ThreadServer:
    """The open connections, each with its thread, and the main thread that accepts them."""

    def __init__(self, instance: Instance) -> None:
        settings = instance.settings
        handlers: dict[str, Handler] = {"echo": echo, "sleep": lambda sock: sleep(settings, sock)}
        self._instance = instance
        self._settings = settings
        self._handlers = {
            listener.sock.fileno(): (listener.sock, handlers[listener.service])
            for listener in instance.listeners
        }
        self.counters = instance.counters
        self._errors = AcceptErrors(self.counters)
        # The lock orders what several threads do with _live, the counters, and the closing of
        # a socket against a shutdown of it.
        self._lock = threading.Lock()
        self._live: set[socket.socket] = set()
        self._stopping = False
        self._aborting = False
        self._all_closed = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)

    # The main thread.

    def serve(self) -> None:
        """Accept until a signal, then drain."""
        threading.stack_size(STACK_SIZE)
        sys.setswitchinterval(SWITCH_INTERVAL)
        with self._wake_read, self._wake_write, self._signals():
            self._instance.serving()
            self._accept_until_signal()
            self._instance.draining()
            self._drain()
        logs.stopped(self._instance.snapshot())

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

    def _accept_until_signal(self) -> None:
        only_wake, wake_or_accept = select.poll(), select.poll()
        for poller in (only_wake, wake_or_accept):
            poller.register(self._wake_read, select.POLLIN)
        for fd in self._handlers:
            wake_or_accept.register(fd, select.POLLIN)
        while not self._stopping:
            # No deadline: either waits for a client, for a connection to end, or for a signal.
            full = len(self._live) >= self._settings.max_connections
            for fd, _event in (only_wake if full else wake_or_accept).poll():
                if fd == self._wake_read.fileno():
                    self._wake_read.recv(4096)
                elif len(self._live) < self._settings.max_connections:
                    self._accept(*self._handlers[fd], only_wake)

    def _accept(self, listener: socket.socket, handler: Handler, only_wake: select.poll) -> None:
        try:
            sock, _peer = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            pause = self._errors.pause_after(error)
            if pause:
                only_wake.poll(pause * 1000)
            return
        with self._lock:
            self._live.add(sock)
            self.counters.connections += 1
        try:
            _thread.start_new_thread(self._serve_connection, (sock, handler))
        except RuntimeError as error:
            # Out of threads or memory. The connection is lost, those that have a thread go on.
            logs.often(logging.WARNING, "cannot start a thread", error=str(error))
            self._close(sock, error)
            only_wake.poll(PAUSE * 1000)

    def _drain(self) -> None:
        for listener, _handler in self._handlers.values():
            listener.close()
        logs.event(logging.INFO, "draining", connections=len(self._live))
        drain = Drain(self._settings.drain_timeout)
        while seconds := self._drain_step(drain):
            if self._all_closed.wait(seconds):
                return
        logs.event(logging.WARNING, "drain timeout", aborted=len(self._live))
        self._abort()
        self._all_closed.wait(ABORT_GRACE)

    def _drain_step(self, drain: Drain) -> float:
        with self._lock:
            if not self._live:
                self._all_closed.set()
            return drain.step(sock.fileno() for sock in self._live)

    def _abort(self) -> None:
        with self._lock:
            self._aborting = True
            for sock in self._live:
                # Not connected means that its own thread is about to find out.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    # The thread of a connection.

    def _serve_connection(self, sock: socket.socket, handler: Handler) -> None:
        error: Exception | None = None
        try:
            handler(sock)
        except OSError as broken:
            error = broken
        except Exception as bug:
            logs.logger.exception("handler failed")
            error = bug
        self._close(sock, error)

    def _close(self, sock: socket.socket, error: Exception | None) -> None:
        with self._lock:
            was_full = len(self._live) >= self._settings.max_connections
            accepting = not self._stopping
            self._live.discard(sock)
            sock.close()
            if self._aborting:
                reason = Closed.ABORTED
            elif error is not None:
                reason = reason_for(error)
            else:
                reason = Closed.FINISHED
            self.counters.closes[reason] += 1
            if self._stopping and not self._live:
                self._all_closed.set()
        if was_full and accepting:
            self._wake()

    def _wake(self) -> None:
        # A full pipe is as good: the main thread has not yet seen the bytes in it.
        with contextlib.suppress(BlockingIOError):
            self._wake_write.send(b"\0")


def run(instance: Instance) -> None:
    """Serve by a thread per connection."""
    ThreadServer(instance).serve()
