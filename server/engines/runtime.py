"""The engine ``runtime``: this project's own, a task per connection.

The echo reads as if it blocked. Each ``await`` gives the thread to whoever has something to do;
backpressure is that nobody reads while an answer is still being sent, so a connection holds
one chunk at most.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import signal
import time
from math import inf

import runtime
from runtime import HandshakeError, Stream, TlsStream
from server import logs
from server.engines.runtime_accept import ACCEPT_BURST, Connection, Handler, Server
from server.instance import Instance
from server.protocol import SleepProtocol
from server.tls import ACCEPTED_PER_TURN, Certificate

CHUNK = 65536
"""Most bytes taken at a time."""

MAX_UNANSWERED = 65536
"""Bytes of lines that wait behind a sleep before reading stops."""


async def echo(connection: Connection) -> None:
    """Send every byte back until the peer's end of stream."""
    counters = connection.server.counters
    with connection as stream:
        while data := await stream.recv(CHUNK):
            counters.received += len(data)
            await stream.send_all(data)
            counters.sent += len(data)
            del data  # an idle connection holds none of it


async def sleep(connection: Connection) -> None:
    """Answer lines in order, each after the time it names."""
    counters = connection.server.counters
    connection.lines = lines = connection.server.instance.new_lines()
    with connection as stream:
        while not lines.closed:
            data = await stream.recv(CHUNK)
            counters.received += len(data)
            for answer in lines.feed(data) if data else lines.end():
                # Even for 0 seconds: other connections get their turn between two lines.
                await listening_sleep(connection, stream, lines, answer.seconds)
                await stream.send_all(answer.line)
                counters.sent += len(answer.line)


async def listening_sleep(
    connection: Connection, stream: Stream, lines: SleepProtocol, seconds: float
) -> None:
    """Sleep, and go on reading, within bounds: only who reads learns that the peer has gone."""
    with runtime.move_on_after(seconds):
        while lines.buffered <= MAX_UNANSWERED:
            data = await stream.recv(CHUNK)
            if not data:
                lines.end()
                break
            connection.server.counters.received += len(data)
            lines.feed(data)
        await runtime.sleep(inf)


async def over_tls(certificate: Certificate, handler: Handler, connection: Connection) -> None:
    """Make the handshake, then serve as if there were no TLS."""
    server, began = connection.server, time.monotonic()
    # What a client sends is its own affair: it may end without saying so by a close_notify.
    connection.stream = stream = TlsStream(
        connection.stream,
        certificate.context,
        server_side=True,
        handshake_timeout=inf,
        allow_truncation=True,
    )
    try:
        with runtime.timeout(server.settings.handshake_timeout):
            await stream.handshake()
    except BaseException as error:
        if isinstance(error, HandshakeError):
            logs.often(logging.INFO, "handshake failed", error=str(error))
        with connection:
            raise
    else:
        server.counters.handshake_seconds.observe(time.monotonic() - began)
        await handler(connection)


HANDLERS: dict[str, Handler] = {"echo": echo, "sleep": sleep}


async def _exit_on_next(caught: runtime.Signals) -> None:
    os._exit(128 + await anext(caught))


def _describe_tasks() -> str:
    out = io.StringIO()
    runtime.dump_tasks(out)
    return out.getvalue()


async def _serve(instance: Instance) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once."""
    server = Server(instance)
    instance.describe_tasks = _describe_tasks
    with (
        runtime.signals(signal.SIGTERM, signal.SIGINT) as caught,
        runtime.detect_blocking(),
    ):
        opened = [runtime.Listener(each.sock) for each in instance.listeners]
        instance.serving()  # before there are groups: it may raise, and who comes now can wait
        async with runtime.TaskGroup() as timekeeping:
            timekeeping.spawn(server.keep_time())
            async with runtime.TaskGroup() as accepting:
                for each, listener in zip(instance.listeners, opened, strict=True):
                    handler, burst = HANDLERS[each.service], ACCEPT_BURST
                    if each.secure:
                        assert instance.certificate is not None
                        handler = functools.partial(over_tls, instance.certificate, handler)
                        burst = ACCEPTED_PER_TURN
                    accepting.spawn(server.accept(listener, handler, burst))
                await anext(caught)  # no deadline: it is the operator's to end
                accepting.cancel_scope.cancel()
                for listener in opened:  # at once: under load it is a while until they have ended
                    listener.close()
            instance.draining()
            timekeeping.spawn(_exit_on_next(caught))
            await server.drain()
            timekeeping.cancel_scope.cancel()
    logs.stopped(instance.snapshot())


def run(instance: Instance) -> None:
    """Serve by tasks on this project's runtime."""
    runtime.run(_serve(instance))
