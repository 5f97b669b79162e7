"""The engine ``threads``: one thread per connection, blocking calls, the kernel schedules.

Everything a service does is a short function that reads as the service is described. A thread
that is blocked in a system call cannot be told anything, so whoever wants to end a connection, a
deadline or the drain, shuts its socket down and leaves the rest to its thread, which wakes up,
comes to the end of its function and closes.
"""

import errno
import functools
import os
import select
import socket
import time

from server.engines import threads_tls
from server.engines.threads_accept import Connection, Handler, ThreadServer
from server.instance import Instance

CHUNK = 65536
"""Most bytes received at a time. A thread waits with the buffer in its hands, of which two pages
become resident: 7 of the 22 kB that a connection takes. To wait for bytes first, by ``poll``, would
be one more system call and turn of the interpreter lock in each echo."""


def echo(connection: Connection) -> None:
    """Send every byte back until the peer's end of stream."""
    sock = connection.sock
    while data := sock.recv(CHUNK):
        connection.received += len(data)
        sock.sendall(data)
        connection.sent += len(data)


def sleep(connection: Connection) -> None:
    """Answer lines in order, each after the time it names."""
    sock = connection.sock
    connection.lines = lines = connection.server.new_lines()
    while not lines.closed:
        data = sock.recv(CHUNK)
        connection.received += len(data)
        for answer in lines.feed(data) if data else lines.end():
            if answer.seconds:
                wait_connected(sock, answer.seconds)
            sock.sendall(answer.line)
            connection.sent += len(answer.line)


def wait_connected(sock: socket.socket, seconds: float) -> None:
    """Sleep, but not longer than the connection lives.

    A poll for no event at all still reports errors and hang-ups: the peer's reset, or our own
    ``shutdown`` of both directions. The peer's half-close is neither. It asks the kernel, so
    over TLS it is the same: what OpenSSL may have read ahead is no event, and waits for ``recv``.
    """
    poller = select.poll()
    poller.register(sock, 0)
    if poller.poll(seconds * 1000):
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
        raise OSError(number, os.strerror(number))


def over_tls(handler: Handler, connection: Connection) -> None:
    """Make the handshake, then serve as if there were no TLS."""
    server, began = connection.server, time.monotonic()
    threads_tls.handshake(connection.sock, server.settings.handshake_timeout)
    server.handshake_took(time.monotonic() - began)
    handler(connection)
    threads_tls.say_goodbye(connection.sock)


HANDLERS: dict[str, Handler] = {"echo": echo, "sleep": sleep}


def run(instance: Instance) -> None:
    """Serve by a thread per connection."""
    server = ThreadServer(instance)
    for listener in instance.listeners:
        handler = HANDLERS[listener.service]
        if listener.secure:
            assert instance.certificate is not None
            server.add(listener.sock, functools.partial(over_tls, handler), instance.certificate)
        else:
            server.add(listener.sock, handler)
    server.serve()
