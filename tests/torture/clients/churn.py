"""Connections that come and go, so many a second, each with a stream of its own.

Some end in order, some by a reset, some are closed or cancelled in the middle of an echo; beside
them a few stay and echo all the time, so that an event of one that has gone finds somebody there to
hit. All that any of them receives is compared.
"""

import random
import ssl
from dataclasses import dataclass

import runtime
from runtime import Stream
from tests.torture.client import main, reset_when_closed, say, source
from tests.torture.payload import payload, wrong

AT_ONCE = 300
"""Comers at a time, at most: when the server or this program is slow, they come more slowly."""

STAYING = 20

MOST = 50_000
"""The longest stream of those that come and go."""


@dataclass(slots=True)
class Books:
    """What was counted."""

    opened: int = 0
    """How many came."""
    received: int = 0
    wrong: int = 0
    """Bytes that were another's, or out of place."""
    lost: int = 0
    """Connections that ended before all that was sent had come back."""


class Churn:
    """The comers, those that stay, and their books."""

    def __init__(self, port: int, context: ssl.SSLContext | None, seed: int) -> None:
        self.books = Books()
        self._port = port
        self._context = context
        self._random = random.Random(seed)
        self._permits = runtime.Semaphore(AT_ONCE)
        self._numbers = 0

    async def run(self, seconds: float, per_second: int) -> None:
        until = runtime.now() + seconds
        async with runtime.TaskGroup() as group:
            for _ in range(STAYING):
                group.spawn(self._stay(until))
            pause = 1 / per_second
            due = runtime.now()
            while due < until:
                await runtime.sleep_until(due)
                await self._permits.acquire()
                group.spawn(self._come_and_go())
                due = max(due + pause, runtime.now() - 0.1)

    async def _connect(self) -> tuple[int, Stream]:
        self._numbers += 1
        number = self._numbers
        # The first of those ports are free again long before they come round.
        stream = await runtime.connect(
            "127.0.0.1", self._port, local_address=source(number), tls=self._context
        )
        self.books.opened += 1
        return number, stream

    async def _stay(self, until: float) -> None:
        number, stream = await self._connect()
        async with stream:
            at = 0
            while runtime.now() < until:
                size = self._random.randint(1, 4096)
                await stream.send_all(payload(number, at, size))
                at = await self._receive(number, stream, at, at + size)

    async def _come_and_go(self) -> None:
        try:
            number, stream = await self._connect()
            async with stream:
                size = self._random.randint(1, MOST)
                match self._random.randrange(4):
                    case 0:
                        await self._in_order(number, stream, size)
                    case 1:
                        await self._echo_in_part(number, stream, size)
                        reset_when_closed(stream)
                    case 2:
                        await self._echo_in_part(number, stream, size)
                    case _:
                        with runtime.move_on_after(self._random.random() / 500):
                            await self._in_order(number, stream, size)
        finally:
            self._permits.release()

    async def _in_order(self, number: int, stream: Stream, size: int) -> None:
        async with runtime.TaskGroup() as group:
            group.spawn(self._send(number, stream, size))
            await self._receive(number, stream, 0, size)

    async def _send(self, number: int, stream: Stream, size: int) -> None:
        at = 0
        while at < size:
            step = min(self._random.randint(1, 16384), size - at)
            await stream.send_all(payload(number, at, step))
            at += step

    async def _echo_in_part(self, number: int, stream: Stream, size: int) -> None:
        await stream.send_all(payload(number, 0, size))
        await self._receive(number, stream, 0, size // 2)

    async def _receive(self, number: int, stream: Stream, at: int, until: int) -> int:
        """Receive and compare up to a place; where it really ended."""
        books = self.books
        while at < until:
            try:
                data = await stream.recv(65536)
            except runtime.BrokenError:
                data = b""
            if not data:
                books.lost += 1
                break
            books.wrong += wrong(number, at, data)
            at += len(data)
            books.received += len(data)
        return at


async def churn(port: int, seconds: float, per_second: int, ca_file: str | None, seed: int) -> None:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    comers = Churn(port, context, seed)
    await comers.run(seconds, per_second)
    books = comers.books
    say(opened=books.opened, received=books.received, wrong=books.wrong, lost=books.lost)


if __name__ == "__main__":
    main(churn)
