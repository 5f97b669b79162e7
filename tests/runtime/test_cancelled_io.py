"""A read or a write that is cancelled, or woken for nothing, loses no byte and blocks nobody."""

from typing import Any, cast

import pytest

import runtime
from runtime import (
    move_on_after,
    now,
    spawn,
    timeout,
)
from runtime.testing import VirtualClock

from .harness import Runner, make_dry, stream_pair, turns

FAMILIES = pytest.mark.parametrize("family", ["tcp", "unix"])


def test_a_cancelled_receive_loses_no_byte(run: Runner) -> None:
    data = bytes(range(256)) * 4

    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right:
            got = bytearray()
            for n in range(len(data)):
                reader = spawn(cast(Any, left.recv(1)))
                if n % 3:
                    await turns(n % 3)
                spawn(right.send_all(data[n : n + 1]))
                if n % 2:
                    await turns(1)
                reader.cancel()
                try:
                    got += await reader
                except runtime.TaskCancelled:
                    with timeout(5):
                        got += await left.recv(1)
            return bytes(got)

    assert run(main) == data


def test_after_a_cancelled_wait_the_stream_is_free_for_others(run: Runner) -> None:
    async def main() -> tuple[bytes, int]:
        left, right = stream_pair("unix")
        async with left, right:
            with move_on_after(1):
                await left.recv(10)
            with move_on_after(1):
                await left.send_all(bytes(4 << 20))
            await right.send_all(b"hello")
            got = await left.recv(10)
            sender = spawn(left.send_all(b"end"))
            count = 0
            while not sender.done:
                count += len(await right.recv(1 << 20))
            return got, count

    got, count = run(main, clock=VirtualClock())
    assert got == b"hello"
    assert count > 3


@FAMILIES
def test_a_peer_that_never_reads_makes_the_sender_wait(run: Runner, family: str) -> None:
    async def main() -> tuple[bool, float]:
        left, right = stream_pair(family)
        async with left, right:
            with move_on_after(60) as scope:
                await left.send_all(bytes(32 << 20))
            return scope.cancelled_caught, now()

    assert run(main, clock=VirtualClock()) == (True, 60.0)
    assert run.polls < 60


def test_a_spurious_wake_up_reads_nothing(run: Runner) -> None:
    async def main() -> list[bytes]:
        left, right = stream_pair("unix")
        async with left, right:
            assert await make_dry(left, right)
            readers = [spawn(cast(Any, left.recv(10)))]
            buffer = bytearray(4)
            for _ in range(3):
                await turns(1)
                readers[0].wake()
            await turns(2)
            assert not readers[0].done
            await right.send_all(b"real")
            got = [await readers[0]]
            readers.append(spawn(cast(Any, left.recv_into(buffer))))
            for _ in range(3):
                await turns(1)
                readers[1].wake()
            await turns(2)
            assert not readers[1].done
            await right.send_all(b"into")
            assert await readers[1] == 4
            return [*got, bytes(buffer)]

    assert run(main) == [b"real", b"into"]
