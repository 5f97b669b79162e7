"""Clients that harm nobody: each sends a little now and then, and times the answer.

They measure each time they are told to, so that calm and attack can be compared in one run.
"""

import contextlib
import gc
import os
import random

import runtime
from runtime import Stream
from tests.torture.client import connect_all, main, percentile, say, told


class Bystanders:
    """All of them, and what they have found since they were told."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._latencies: list[float] = []
        self._lost = 0

    async def measure(self, streams: list[Stream], seconds: float, pacing: float) -> None:
        self._latencies = []
        self._lost = 0
        until = runtime.now() + seconds
        await runtime.join_all(self._watch(stream, until, pacing) for stream in streams)
        say(
            p50=percentile(self._latencies, 0.5),
            p99=percentile(self._latencies, 0.99),
            answered=len(self._latencies),
            lost=self._lost,
        )

    async def _watch(self, stream: Stream, until: float, pacing: float) -> None:
        due = runtime.now() + random.random() * pacing
        while due < until:
            await runtime.sleep_until(due)
            if not await self._ask(stream):
                self._lost += 1
                return
            # From when it was due: else a server that stalls would be asked less.
            self._latencies.append(runtime.now() - due)
            due += pacing

    async def _ask(self, stream: Stream) -> bool:
        """Whether the answer is the right one."""
        received = b""
        try:
            await stream.send_all(self._message)
            while len(received) < len(self._message):
                data = await stream.recv(4096)
                if not data:
                    return False
                received += data
        except runtime.BrokenError:
            return False
        return received == self._message


async def watch(port: int, count: int, message: str, seconds: float, pacing: float) -> None:
    be_punctual()
    streams = await connect_all(port, count)
    bystanders = Bystanders(message.encode())
    say(opened=len(streams))
    while True:
        await told()
        await bystanders.measure(streams, seconds, pacing)


def be_punctual() -> None:
    """Have no pauses of this process's own, as far as it may: they would be taken for the server's.

    Attackers run on the same cores, and a collection of garbage takes milliseconds.
    """
    gc.disable()
    with contextlib.suppress(PermissionError):
        os.nice(-10)


if __name__ == "__main__":
    main(watch)
