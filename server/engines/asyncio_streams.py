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
from typing import cast

from server.config import Settings
from server.engines import asyncio_accept
from server.engines.asyncio_accept import Acceptor
from server.instance import Instance
from server.protocol import SleepProtocol

CHUNK = 65536
"""Most bytes taken at a time, and the reader's limit; transports stop writers at as many."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every byte back until the peer's end of stream."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def sleep(
    settings: Settings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer lines in order, each after the time it names."""
    lines = SleepProtocol(settings.max_line, settings.max_sleep)
    try:
        while not lines.closed:
            data = await reader.read(CHUNK)
            for answer in lines.feed(data) if data else lines.end():
                # Even for 0 seconds: other connections get their turn between two lines.
                await asyncio.sleep(answer.seconds)
                writer.write(answer.line)
                await writer.drain()
    finally:
        writer.close()


class Connection(asyncio.StreamReaderProtocol):
    """The streams of one connection and the task that serves them, which ends with it."""

    def __init__(self, handler: Handler, acceptor: Acceptor) -> None:
        self._handler = handler
        self._acceptor = acceptor
        self._loop = loop = asyncio.get_running_loop()
        super().__init__(asyncio.StreamReader(CHUNK, loop), self._serve, loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected = cast(asyncio.Transport, transport)
        self._acceptor.opened(self._connected)
        super().connection_made(transport)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving = self._loop.create_task(self._handler(reader, writer))
        self._serving.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "handler failed", "exception": error})

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._serving.cancel()
        self._acceptor.closed(self._connected, error)


async def _serve(instance: Instance, *, native_accept: bool) -> None:
    services = {
        "echo": functools.partial(Connection, echo),
        "sleep": functools.partial(Connection, functools.partial(sleep, instance.settings)),
    }
    await asyncio_accept.serve(instance, services, native_accept=native_accept)


def run(instance: Instance) -> None:
    """Serve by streams on asyncio's own event loop."""
    asyncio.run(_serve(instance, native_accept=False))


def run_uvloop(instance: Instance) -> None:
    """Serve by streams on uvloop."""
    import uvloop

    uvloop.run(_serve(instance, native_accept=True))
