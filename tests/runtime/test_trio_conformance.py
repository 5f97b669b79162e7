"""trio's conformance suite for streams, over ours.

To add a kind of stream, add a `Kind`: how to make a connected pair and, if it can be had, a pair
whose first stream has no room for another byte.
"""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio.testing

import runtime
from runtime import ByteStream, Stream
from runtime.testing import Link, RandomSizes, memory_stream_pair

from .harness import PATIENCE, Runner, stream_pair, turns
from .tls_harness import tls_pair
from .trio_guest import Host, TrioStream, run_on_trio

Pair = tuple[ByteStream, ByteStream]


@dataclass
class Kind:
    name: str
    make: Callable[[], Awaitable[Pair]]
    clogged: Callable[[], Awaitable[Pair]] | None = None
    half_closeable: bool = True
    on_sockets: bool = True


async def tcp() -> tuple[Stream, Stream]:
    return stream_pair("tcp")


async def unix() -> tuple[Stream, Stream]:
    return stream_pair("unix")


async def memory() -> Pair:
    return memory_stream_pair()


async def memory_in_pieces() -> Pair:
    return memory_stream_pair(Link(3000, reads=RandomSizes(1), writes=RandomSizes(2)))


async def clogged_memory() -> Pair:
    left, right = memory_stream_pair(Link(capacity=100))
    await left.send_all(bytes(100))
    await right.send_all(bytes(100))
    return left, right


async def clogged_unix() -> Pair:
    """(TCP will not do: it makes room for a few bytes more when it finds the time.)"""
    pair = await unix()
    await turns(2)  # let the selector say that there is room, while there is
    for stream in pair:
        while stream.writable:
            try:
                stream.socket.send(bytes(4096))
            except BlockingIOError:
                stream.writable = False
    return pair


async def tls() -> Pair:
    return await tls_pair(family="unix")


KINDS = [
    Kind("tcp", tcp),
    Kind("tls", tls),
    Kind("unix", unix, clogged_unix),
    Kind("memory", memory, clogged_memory, on_sockets=False),
    Kind("memory_in_pieces", memory_in_pieces, on_sockets=False),
]


@pytest.fixture(autouse=True)
def trios_thread() -> None:
    """trio keeps a thread for ten seconds after use: have it there before threads are counted."""
    idle = threading.Event()
    trio.lowlevel.start_thread_soon(lambda: None, lambda outcome: idle.set())
    assert idle.wait(PATIENCE)


async def check(kind: Kind, host: Host) -> None:
    def seen_from_trio(
        make: Callable[[], Awaitable[Pair]],
    ) -> Callable[[], Awaitable[tuple[TrioStream, TrioStream]]]:
        async def make_pair() -> tuple[TrioStream, TrioStream]:
            left, right = await host.ask(make)
            return TrioStream(host, left), TrioStream(host, right)

        return make_pair

    make = seen_from_trio(kind.make)
    clogged = None if kind.clogged is None else seen_from_trio(kind.clogged)
    if kind.half_closeable:
        await trio.testing.check_half_closeable_stream(make, clogged)
    else:
        await trio.testing.check_two_way_stream(make, clogged)


ON_SOCKETS = [kind for kind in KINDS if kind.on_sockets]
IN_MEMORY = [kind for kind in KINDS if not kind.on_sockets]


@pytest.mark.parametrize("kind", ON_SOCKETS, ids=lambda kind: kind.name)
def test_a_stream_on_a_socket_does_what_trio_asks_of_streams(run: Runner, kind: Kind) -> None:
    run(run_on_trio(lambda host: check(kind, host)))


@pytest.mark.parametrize("kind", IN_MEMORY, ids=lambda kind: kind.name)
def test_a_stream_in_memory_does_what_trio_asks_of_streams(kind: Kind) -> None:
    runtime.run(run_on_trio(lambda host: check(kind, host)))
