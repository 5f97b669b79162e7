"""The engine ``runtime``: this project's own, a task per connection.

The echo is three lines and reads as if it blocked. Each ``await`` gives the thread to whoever has
something to do; backpressure is that nobody reads while an answer is still being sent, so
a connection holds one chunk at most.

A connection's task is spawned on its own, not in a task group: what goes wrong in it ends that
connection and is logged by the runtime, and no other hears of it. ``Server.live`` is what keeps
count of them, for the maximum and for the drain.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from math import inf

import runtime
from runtime import BrokenError, Stream
from server import logs
from server.accepting import AcceptErrors
from server.config import Settings
from server.drain import Drain
from server.listeners import Listener
from server.metrics import Counters
from server.protocol import SleepProtocol

CHUNK = 65536
"""Most bytes taken at a time."""

MAX_UNANSWERED = 65536
"""Bytes of lines that wait behind a sleep before reading stops."""

ACCEPT_BURST = 64
"""Accepted in a row: a connect storm does not starve the connected."""


class Server:
    """The open connections, and whether there is room for another."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.live: dict[Stream, runtime.JoinHandle[None]] = {}
        self._changed = runtime.Event()

    def closed(self, stream: Stream) -> None:
        """A connection's task is over."""
        stream.close()
        self.live.pop(stream, None)
        self._changed.set()

    async def below(self, maximum: int) -> None:
        """Wait until fewer than ``maximum`` connections are open."""
        while len(self.live) >= maximum:
            if self._changed.is_set:
                self._changed = runtime.Event()
            await self._changed.wait()

    async def accept(self, listener: runtime.Listener, handler: Handler) -> None:
        """Give every connection a task, while there is room, until cancelled."""
        errors = AcceptErrors(self.counters)
        burst = 0
        while True:
            await self.below(self.settings.max_connections)
            try:
                stream = listener.accept_nowait()
                if stream is None:
                    await listener.wait()
                    continue
            except OSError as error:
                await runtime.sleep(errors.pause_after(error))
                continue
            self.counters.connections += 1
            self.live[stream] = runtime.spawn(handler(self, stream))
            burst = (burst + 1) % ACCEPT_BURST
            if not burst:
                await runtime.yield_now()

    async def drain(self) -> None:
        """Answer what was received, cancel what is open at the deadline."""
        logs.event(logging.INFO, "draining", connections=len(self.live))
        drain = Drain(self.settings.drain_timeout)
        while self.live and (seconds := drain.step(each.socket.fileno() for each in self.live)):
            with runtime.move_on_after(seconds):
                await self.below(1)
        if self.live:
            self.counters.aborted = len(self.live)
            logs.event(logging.WARNING, "drain timeout", aborted=len(self.live))
            for task in tuple(self.live.values()):
                task.cancel()
            await self.below(1)


Handler = Callable[[Server, Stream], Coroutine[None, None, None]]


async def echo(server: Server, stream: Stream) -> None:
    """Send every byte back until the peer's end of stream."""
    try:
        while data := await stream.recv(CHUNK):
            await stream.send_all(data)
        server.counters.finished += 1
    except BrokenError:
        server.counters.broken += 1
    finally:
        server.closed(stream)


async def sleep(server: Server, stream: Stream) -> None:
    """Answer lines in order, each after the time it names."""
    settings = server.settings
    lines = SleepProtocol(settings.max_line, settings.max_sleep)
    try:
        while not lines.closed:
            data = await stream.recv(CHUNK)
            for answer in lines.feed(data) if data else lines.end():
                # Even for 0 seconds: other connections get their turn between two lines.
                await listening_sleep(stream, lines, answer.seconds)
                await stream.send_all(answer.line)
        server.counters.finished += 1
    except BrokenError:
        server.counters.broken += 1
    finally:
        server.closed(stream)


async def listening_sleep(stream: Stream, lines: SleepProtocol, seconds: float) -> None:
    """Sleep, and go on reading, within bounds: only who reads learns that the peer has gone."""
    with runtime.move_on_after(seconds):
        while lines.buffered <= MAX_UNANSWERED:
            data = await stream.recv(CHUNK)
            if not data:
                lines.end()
                break
            lines.feed(data)
        await runtime.sleep(inf)


async def _exit_on_next(caught: runtime.Signals) -> None:
    os._exit(128 + await anext(caught))


async def _serve(
    settings: Settings, listeners: Sequence[Listener], ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once."""
    handlers = {"echo": echo, "sleep": sleep}
    server = Server(settings)
    with (
        runtime.signals(signal.SIGTERM, signal.SIGINT) as caught,
        runtime.detect_blocking(),
    ):
        opened = [runtime.Listener(each.sock) for each in listeners]
        ready()
        async with runtime.TaskGroup() as accepting:
            for each, listener in zip(listeners, opened, strict=True):
                accepting.spawn(server.accept(listener, handlers[each.service]))
            await anext(caught)  # no deadline: it is the operator's to end
            accepting.cancel_scope.cancel()
        for listener in opened:
            listener.close()
        async with runtime.TaskGroup() as draining:
            draining.spawn(_exit_on_next(caught))
            await server.drain()
            draining.cancel_scope.cancel()
    logs.stopped(server.counters)


def run(settings: Settings, listeners: Sequence[Listener], ready: Callable[[], None]) -> None:
    """Serve by tasks on this project's runtime."""
    runtime.run(_serve(settings, listeners, ready))
