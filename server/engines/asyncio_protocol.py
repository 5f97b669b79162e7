"""The engine ``uvloop-protocol``: callbacks on uvloop, the fastest that asyncio offers.

No task and no stream per connection, only an object with slots that uvloop calls from C.
A transport calls ``pause_writing`` above 64 KiB of output (both loops' default) and
``resume_writing`` below 16 KiB; reading stops in between, so a peer that does not read fills
its own socket and not our memory. At end of stream both services leave the rest to
``close()``, which sends what is buffered first.
"""

import asyncio

import uvloop

from server.engines import asyncio_serve
from server.engines.asyncio_accept import Acceptor
from server.engines.asyncio_connection import Connection
from server.instance import Instance
from server.protocol import SleepProtocol

MAX_UNANSWERED = 65536
"""Bytes of lines that wait behind a sleep before reading stops."""


class Echo(Connection):
    """Every byte back."""

    __slots__ = ()

    transport: asyncio.Transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        counters, size = self.acceptor.counters, len(data)
        counters.received += size
        counters.sent += size

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def end_of_input(self) -> None:
        self.transport.close()

    def owes(self) -> bool:
        return False

    def describe(self) -> str:
        reading = self.transport.is_reading()
        return "echo, reading" if reading else "echo, waiting for the peer to read"


class Sleep(Connection):
    """Lines answered in order by timers.

    Reading goes on during a sleep, within bounds: only who reads learns of a reset, and a
    connection must not stay open for an hour after its peer has gone.
    """

    __slots__ = ("_ended", "_loop", "_paused", "_timer", "_writable", "lines")

    lines: SleepProtocol
    transport: asyncio.Transport

    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__(acceptor)
        self._loop = asyncio.get_running_loop()
        self.lines = acceptor.instance.new_lines()
        self._timer: asyncio.TimerHandle | None = None
        self._writable = True
        self._paused = False
        self._ended = False

    def data_received(self, data: bytes) -> None:
        self.acceptor.counters.received += len(data)
        self.lines.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        if self.secure:
            self._stop()  # what it still has to say would be dropped
            return False
        self.end_of_input()
        return True  # answers may be outstanding; after the last one _advance closes

    def end_of_input(self) -> None:
        self._ended = True
        self.lines.end()
        self._advance()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop()
        super().connection_lost(error)

    def owes(self) -> bool:
        return self.lines.busy or self.lines.buffered > 0

    def describe(self) -> str:
        if not self.lines.busy:
            return "sleep, reading"
        return (
            "sleep, waiting for its time" if self._timer else "sleep, waiting for the peer to read"
        )

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _advance(self) -> None:
        """Go on, where a bug would otherwise leave the connection to itself."""
        try:
            self._begin_next()
        except Exception as bug:
            self.acceptor.failed(self, bug)

    def _begin_next(self) -> None:
        """Begin the next answer, unless one is under way or the peer does not read."""
        if self._timer is None and self._writable:
            answer = next(self.lines, None)
            if answer is not None:
                # Even for 0 seconds: other connections get their turn between two lines.
                self._timer = self._loop.call_later(answer.seconds, self._send, answer.line)
            elif self.lines.closed:
                self.transport.close()
                return
        self._regulate_reading()

    def _send(self, line: bytes) -> None:
        self._timer = None
        self.transport.write(line)
        self.acceptor.counters.sent += len(line)
        self._advance()

    def _regulate_reading(self) -> None:
        """Stop reading while many lines wait; a long line alone must be read to its end."""
        if self._ended:
            return
        waiting = self._timer is not None or not self._writable
        pause = waiting and self.lines.buffered > MAX_UNANSWERED
        if pause != self._paused:
            self._paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


def run(instance: Instance) -> None:
    """Serve by protocols on uvloop."""
    services = {"echo": Echo, "sleep": Sleep}
    uvloop.run(asyncio_serve.serve(instance, services, native_accept=True))
