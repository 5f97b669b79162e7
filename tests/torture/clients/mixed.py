"""All kinds of clients at a time, for as long as it takes: the load of the soak test.

Most stay and echo now and then, some over TLS, some sleep; beside them others come and go in every
way, and a few send without reading until they are reset. Every answer is compared.
"""

import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable

import runtime
from runtime import Stream
from tests.torture.client import CONNECTING, main, reset_when_closed, say, source, told
from tests.torture.clients.churn import Churn
from tests.torture.payload import payload, wrong


class Standing:
    """The clients that stay, and what they have counted."""

    def __init__(self, pause: float) -> None:
        self.open = 0
        self.wrong = 0
        self.lost = 0
        self.answers = 0
        self._pause = pause
        self._permits = runtime.Semaphore(CONNECTING)

    async def connect(self, number: int, port: int, tls: ssl.SSLContext | None) -> Stream:
        async with self._permits:
            stream = await runtime.connect(
                "127.0.0.1", port, local_address=source(number), tls=tls, timeout=60
            )
        self.open += 1
        return stream

    async def echo(self, number: int, stream: Stream) -> None:
        at = 0
        while True:
            size = random.randint(1, 2048)
            await runtime.sleep(random.random() * self._pause)
            await stream.send_all(payload(number, at, size))
            end = at + size
            while at < end:
                data = await stream.recv(4096)
                if not data:
                    return
                self.wrong += wrong(number, at, data)
                at += len(data)
            self.answers += 1

    async def sleep(self, number: int, stream: Stream) -> None:
        while True:
            # Shorter than the test waits at the end: the server owes the answer to who has left.
            line = f"{random.random() * min(self._pause, 5):.6f}\n".encode()
            await stream.send_all(line)
            received = b""
            while len(received) < len(line):
                data = await stream.recv(4096)
                if not data:
                    return
                received += data
            self.wrong += received != line
            self.answers += 1

    async def stay(
        self,
        number: int,
        port: int,
        tls: ssl.SSLContext | None,
        behave: Callable[[int, Stream], Awaitable[None]],
    ) -> None:
        """Be one of them until cancelled; to come to an end before is a loss."""
        async with await self.connect(number, port, tls) as stream:
            with contextlib.suppress(runtime.BrokenError):
                await behave(number, stream)
            self.lost += 1


async def send_without_reading(port: int, pause: float) -> None:
    """Again and again: send until nothing goes, wait, reset."""
    while True:
        async with await runtime.connect("127.0.0.1", port) as stream:
            with runtime.move_on_after(pause):
                await stream.send_all(bytes(8 << 20))
            reset_when_closed(stream)


async def mix(
    echo: int, sleep: int, echo_tls: int, ca_file: str, count: int, pause: float, per_second: int
) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    standing = Standing(pause)
    comers = Churn(echo, None, 11)
    comers_tls = Churn(echo_tls, context, 12)
    async with runtime.TaskGroup() as group:
        for number in range(count):
            match number % 20:
                case 0:
                    group.spawn(standing.stay(number, echo_tls, context, standing.echo))
                case 1 | 2:
                    group.spawn(standing.stay(number, sleep, None, standing.sleep))
                case _:
                    group.spawn(standing.stay(number, echo, None, standing.echo))
        while standing.open < count:
            await runtime.sleep(0.05)
        for each in (comers, comers_tls):
            group.spawn(each.run(10**9, per_second))
        for _ in range(5):
            group.spawn(send_without_reading(echo, pause))
        say(standing=standing.open)
        await told()
        group.cancel_scope.cancel()
    books = (comers.books, comers_tls.books)
    say(
        answers=standing.answers,
        came=sum(each.opened for each in books),
        wrong=standing.wrong + sum(each.wrong for each in books),
        lost=standing.lost + sum(each.lost for each in books),
    )


if __name__ == "__main__":
    main(mix)
