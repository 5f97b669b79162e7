"""The engine ``uvloop-protocol``: callbacks on uvloop, the fastest that asyncio offers.

No task and no stream per connection, only an object with slots that uvloop calls from C.
A transport calls ``pause_writing`` above 64 KiB of output (both loops' default) and
``resume_writing`` below 16 KiB; reading stops in between, so a peer that does not read fills
its own socket and not our memory. At end of stream both services leave the rest to
``close()``, which sends what is buffered first.
"""

import asyncio
import functools
from typing import cast

import uvloop

from server.config import Settings
from server.engines import asyncio_accept
from server.engines.asyncio_accept import Acceptor
from server.instance import Instance
from server.protocol import SleepProtocol

MAX_UNANSWERED = 65536
"""Bytes of lines that wait behind a sleep before reading stops."""


class Echo(asyncio.Protocol):
    """Every byte back."""

    __slots__ = ("_acceptor", "_transport")

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._acceptor.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._acceptor.closed(self._transport, error)


class Sleep(asyncio.Protocol):
    """Lines answered in order by timers.

    Reading goes on during a sleep, within bounds: only who reads learns of a reset, and a
    connection must not stay open for an hour after its peer has gone.
    """

    __slots__ = (
        "_acceptor",
        "_ended",
        "_lines",
        "_loop",
        "_paused",
        "_timer",
        "_transport",
        "_writable",
    )

    def __init__(self, settings: Settings, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._loop = asyncio.get_running_loop()
        self._lines = SleepProtocol(settings.max_line, settings.max_sleep)
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._paused = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._acceptor.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._lines.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        self._ended = True
        self._lines.end()
        self._advance()
        return True  # answers may be outstanding; after the last one _advance closes

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._acceptor.closed(self._transport, error)

    def _advance(self) -> None:
        """Begin the next answer, unless one is under way or the peer does not read."""
        if self._timer is None and self._writable:
            answer = next(self._lines, None)
            if answer is not None:
                # Even for 0 seconds: other connections get their turn between two lines.
                self._timer = self._loop.call_later(answer.seconds, self._send, answer.line)
            elif self._lines.closed:
                self._transport.close()
                return
        self._regulate_reading()

    def _send(self, line: bytes) -> None:
        self._timer = None
        self._transport.write(line)
        self._advance()

    def _regulate_reading(self) -> None:
        """Stop reading while many lines wait; a long line alone must be read to its end."""
        if self._ended:
            return
        waiting = self._timer is not None or not self._writable
        pause = waiting and self._lines.buffered > MAX_UNANSWERED
        if pause != self._paused:
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def run(instance: Instance) -> None:
    """Serve by protocols on uvloop."""
    services: dict[str, asyncio_accept.ProtocolFactory] = {
        "echo": Echo,
        "sleep": functools.partial(Sleep, instance.settings),
    }
    uvloop.run(asyncio_accept.serve(instance, services, native_accept=True))
