"""Keeps a server busy until it ends, and sees to it that no answer is missing or cut short.

A third of the connections asks once more and once more whatever happens, which no server can wait
for. Another third stops asking when the test says so, just after the signal, and a third waits
for sleeps that began before it. The last two thirds are owed every byte, and then a regular end.
"""

import contextlib
import ssl
from collections import Counter

import runtime
from tests.torture.client import CONNECTING, main, say, source, told

LINES = (b"0.2\n", b"0.4\n", b"0.3\n")

SIZES = (1_000_000, 64, 4096, 64, 100_000, 64, 4096, 64)


class Load:
    """What the connections have in common."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.missing: list[float] = []
        """When that was asked which got no answer at all."""
        self.answers = 0
        self.stopping = False

    async def insist(self, stream: runtime.Stream, number: int) -> None:
        """Ask without end. What is asked late may stay unanswered, but not half answered."""
        request = payload(number, 4096)
        while await self.ask(stream, request):
            pass

    async def leave_off(self, stream: runtime.Stream, number: int) -> None:
        """Ask until told, and wait for the server's end."""
        request = payload(number, SIZES[number // 3 % len(SIZES)])
        while not self.stopping:
            asked = runtime.now()
            if not await self.ask(stream, request):
                self.missing.append(asked)
                return
        await self.ends_here(stream)

    async def wait_for_sleeps(self, stream: runtime.Stream, _: int) -> None:
        """Ask once, before the signal."""
        asked = runtime.now()
        await stream.send_all(b"".join(LINES))
        for line in LINES:
            if await receive(stream, len(line)) != line:
                self.missing.append(asked)
                return
            self.answers += 1
        await self.ends_here(stream)

    async def ask(self, stream: runtime.Stream, request: bytes) -> bool:
        async with runtime.TaskGroup() as group:
            group.spawn(send(stream, request))
            reply = await receive(stream, len(request))
            group.cancel_scope.cancel()
        if reply == request:
            self.answers += 1
        elif reply:
            self.found["cut short"] += 1
        return reply == request

    async def ends_here(self, stream: runtime.Stream) -> None:
        try:
            self.found["foreign"] += bool(await stream.recv(1))
        except runtime.BrokenError:
            self.found["reset"] += 1


async def send(stream: runtime.Stream, data: bytes) -> None:
    with contextlib.suppress(runtime.BrokenError):
        await stream.send_all(data)


async def receive(stream: runtime.Stream, size: int) -> bytes:
    """So many bytes, or what came of them before the end."""
    received = bytearray()
    with contextlib.suppress(runtime.BrokenError):
        while len(received) < size and (data := await stream.recv(size - len(received))):
            received += data
    return bytes(received)


def payload(number: int, size: int) -> bytes:
    """Bytes that no other connection sends."""
    return (b"%08d" % number * (size // 8 + 1))[:size]


async def under_way(echo: int, sleep: int, count: int, ca: str | None) -> None:
    context = ssl.create_default_context(cafile=ca) if ca else None
    permits = runtime.Semaphore(CONNECTING)
    load = Load()
    kinds = ((echo, load.insist), (echo, load.leave_off), (sleep, load.wait_for_sleeps))

    async def one(number: int) -> None:
        port, behave = kinds[number % 3]
        async with permits:
            stream = await runtime.connect(
                "127.0.0.1", port, local_address=source(number), tls=context
            )
        opened.append(stream)
        if len(opened) == count:
            everybody.set()
        await everybody.wait()
        async with stream:
            await behave(stream, number)

    async def stop() -> None:
        await everybody.wait()
        await runtime.sleep(0.3)
        say(opened=len(opened))
        await told()
        load.stopping = True

    opened: list[runtime.Stream] = []
    everybody = runtime.Event()
    async with runtime.TaskGroup() as group:
        group.spawn(stop())
        for number in range(count):
            group.spawn(one(number))
    say(answers=load.answers, missing=load.missing, found=load.found)
    await told()


if __name__ == "__main__":
    main(under_way)
