"""The engines ``asyncio`` and ``uvloop``: streams, on the stock event loop and on uvloop.

This is asyncio as most people write it: a coroutine per connection that reads from a
``StreamReader`` and writes to a ``StreamWriter``. Backpressure is in the awaits: ``drain()``
waits while the transport holds more than 64 KiB, nobody reads meanwhile, and with more than
128 KiB unread the reader stops the transport.

``asyncio.start_server`` is not used because it neither stops at a maximum nor ends a handler
whose connection is lost: an hour's sleep would outlive its peer's reset by an hour.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType

from server.engines import asyncio_serve
from server.engines.asyncio_accept import Acceptor
from server.engines.asyncio_connection import Connection
from server.instance import Instance

CHUNK = 65536
"""Most bytes taken at a time, and the reader's limit; transports stop writers at as many."""


class Streams(Connection, asyncio.StreamReaderProtocol):
    """The streams of one connection and the task that serves them, inside of ``with streams:``."""

    def __init__(self, handler: "Handler", acceptor: Acceptor) -> None:
        self._handler = handler
        self._loop = loop = asyncio.get_running_loop()
        Connection.__init__(self, acceptor)
        asyncio.StreamReaderProtocol.__init__(
            self, asyncio.StreamReader(CHUNK, loop), self._serve, loop
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Connection.connection_made(self, transport)
        asyncio.StreamReaderProtocol.connection_made(self, transport)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._serving = self._loop.create_task(self._handler(self, reader, writer))

    def eof_received(self) -> bool:
        stays_open = bool(super().eof_received())
        if not stays_open:
            # TLS: whatever it may still write is dropped. What it has not read shows that later.
            self._serving.cancel()
        return stays_open

    def connection_lost(self, error: Exception | None) -> None:
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self._serving.cancel()
        Connection.connection_lost(self, error)

    def end_of_input(self) -> None:
        # The reader may have stopped its transport, and would let it go on.
        self.data_received = _ignore  # type: ignore[method-assign]
        self._reader.feed_eof()

    def owes(self) -> bool:
        if self.lines and (self.lines.busy or self.lines.buffered):
            return True
        # An end was fed, so the reader is not at it if and only if it holds bytes.
        return not self._reader.at_eof()

    def describe(self) -> None:
        """Its task tells."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Close it. A peer that is gone is no error, a bug of ours is."""
        assert self.transport is not None
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.acceptor.failed(self, error)
        self.transport.close()
        return isinstance(error, Exception)


Handler = Callable[
    [Streams, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]
]


def _ignore(data: bytes) -> None:
    """What comes after the end."""


async def echo(
    streams: Streams, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send every byte back until the peer's end of stream."""
    with streams:
        counters = streams.acceptor.counters
        while data := await reader.read(CHUNK):
            counters.received += len(data)
            writer.write(data)
            counters.sent += len(data)
            await writer.drain()
            del data  # an idle connection holds none of it


async def sleep(
    streams: Streams, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer lines in order, each after the time it names."""
    with streams:
        counters = streams.acceptor.counters
        streams.lines = lines = streams.acceptor.instance.new_lines()
        while not lines.closed:
            data = await reader.read(CHUNK)
            counters.received += len(data)
            for answer in lines.feed(data) if data else lines.end():
                # Even for 0 seconds: other connections get their turn between two lines.
                await asyncio.sleep(answer.seconds)
                writer.write(answer.line)
                counters.sent += len(answer.line)
                await writer.drain()


SERVICES = {
    "echo": functools.partial(Streams, echo),
    "sleep": functools.partial(Streams, sleep),
}


def run(instance: Instance) -> None:
    """Serve by streams on asyncio's own event loop."""
    asyncio.run(asyncio_serve.serve(instance, SERVICES, native_accept=False))


def run_uvloop(instance: Instance) -> None:
    """Serve by streams on uvloop."""
    import uvloop

    uvloop.run(asyncio_serve.serve(instance, SERVICES, native_accept=True))
