"""Streams: every byte, once, in order, and the end after the last of them."""

import random
import socket
import threading
from typing import Any, cast

import pytest

from runtime import (
    ClosedError,
    Stream,
    TaskGroup,
    spawn,
    timeout,
)

from .harness import PATIENCE, Runner, raw_pair, receive, stream_pair, turns

FAMILIES = pytest.mark.parametrize("family", ["tcp", "unix"])


async def echo(stream: Stream, limit: int) -> None:
    while data := await stream.recv(limit):
        await stream.send_all(data)
    stream.send_eof()


@FAMILIES
@pytest.mark.parametrize(
    ("size", "chunk", "limit"),
    [
        (1, 1, 1),
        (1, 1, 65536),
        (300, 1, 7),
        (5000, 4999, 1),
        (65536, 65536, 65536),
        (100_000, 777, 4096),
        (1 << 20, 1 << 20, 16384),
        (4 << 20, 300_000, 262_144),
    ],
)
def test_an_echo_returns_every_byte_in_any_chunking(
    run: Runner, family: str, size: int, chunk: int, limit: int
) -> None:
    data = random.Random(size).randbytes(size)

    async def main() -> bytes:
        left, right = stream_pair(family)
        async with left, right, TaskGroup() as group:
            group.spawn(echo(right, limit))

            async def send() -> None:
                for start in range(0, size, chunk):
                    await left.send_all(data[start : start + chunk])
                left.send_eof()

            group.spawn(send())
            got = await receive(left, size)
            assert await left.recv(1) == b""
        return got

    assert run(main) == data


@FAMILIES
@pytest.mark.parametrize("limit", [5, 6, 100])
def test_an_end_that_comes_with_the_last_bytes_is_not_lost(
    run: Runner, family: str, limit: int
) -> None:
    """One edge for both; limits that the last read fills exactly, misses by one, and overshoots."""

    async def main() -> list[bytes]:
        one, other = raw_pair(family)
        async with Stream(one) as stream:
            await turns(2)
            other.sendall(b"123451234512345")
            other.close()
            got = []
            with timeout(5):
                while data := await stream.recv(limit):
                    got.append(data)
                got.append(await stream.recv(limit))  # an end stays an end
            return got

    *data, end = run(main)
    assert b"".join(data) == b"123451234512345"
    assert end == b""


@FAMILIES
def test_an_end_that_comes_while_the_reader_waits_is_not_lost(run: Runner, family: str) -> None:
    async def main() -> tuple[bytes, bytes, bytes]:
        one, other = raw_pair(family)
        async with Stream(one) as stream:
            reader = spawn(cast(Any, stream.recv(100)))
            await turns(3)
            other.sendall(b"data")
            other.close()
            with timeout(5):
                return await reader, await stream.recv(100), await stream.recv(100)
        raise AssertionError("not reached")

    assert run(main) == (b"data", b"", b"")


def test_bytes_that_come_after_a_short_read_are_seen(run: Runner) -> None:
    """A short read tells the stream that it is dry; the next bytes are a new edge."""

    async def main() -> list[bytes]:
        left, right = stream_pair()
        async with left, right:
            got = []
            for n in range(200):
                await right.send_all(b"%d" % n)
                with timeout(5):
                    got.append(await left.recv(100))
            return got

    assert run(main) == [b"%d" % n for n in range(200)]


def test_bytes_between_the_poll_and_the_read_are_seen(run: Runner) -> None:
    async def main() -> bytes:
        one, other = raw_pair("unix")
        async with Stream(one) as stream:
            other.sendall(b"first")
            await turns(2)  # polled
            other.sendall(b"second")  # not polled
            with timeout(5):
                got = await stream.recv(5) + await stream.recv(100)
                other.sendall(b"third")
                got += await stream.recv(100)
            other.close()
            return got

    assert run(main) == b"firstsecondthird"


def test_bytes_behind_urgent_data_are_seen(run: Runner) -> None:
    """A read stops at TCP's urgent mark, so it is short although there is more behind it."""

    async def main() -> bytes:
        one, other = raw_pair()
        async with Stream(one) as stream:
            other.send(b"abc")
            other.send(b"!", socket.MSG_OOB)
            other.send(b"def")
            await turns(3)
            try:
                with timeout(2):
                    got = await receive(stream, 6)
            finally:
                other.close()
            return got

    assert run(main) == b"abcdef"


def test_bytes_behind_a_passed_descriptor_are_seen(run: Runner) -> None:
    """A read of a Unix stream stops where descriptors were sent along, whoever wants them."""

    async def main() -> bytes:
        one, other = raw_pair("unix")
        async with Stream(one) as stream:
            socket.send_fds(other, [b"abc"], [other.fileno()])
            other.send(b"def")
            await turns(3)
            try:
                with timeout(2):
                    got = await receive(stream, 6)
            finally:
                other.close()
            return got

    assert run(main) == b"abcdef"


@FAMILIES
def test_after_a_half_close_the_other_direction_goes_on(run: Runner, family: str) -> None:
    async def main() -> tuple[bytes, bytes, bytes]:
        left, right = stream_pair(family)
        async with left, right:
            await left.send_all(b"question")
            left.send_eof()
            left.send_eof()
            question = await receive(right, 100)
            await right.send_all(b"answer")
            await right.send_all(b"s")
            right.send_eof()
            answer = await receive(left, 100)
            for more in (b"more", b""):
                with pytest.raises(ClosedError):
                    await left.send_all(more)
            left.send_eof()
            return question, answer, await left.recv(1)

    assert run(main) == (b"question", b"answers", b"")


async def _drain(left: Stream, right: Stream) -> bool:
    """After this the stream knows that it is dry."""
    await right.send_all(b"!")
    return await left.recv(100) == b"!"


def test_the_addresses_are_those_of_the_kernel(run: Runner) -> None:
    async def main() -> bool:
        one, other = raw_pair()
        with other:
            async with Stream(one) as stream:
                assert stream.socket is one
                assert f"fd={one.fileno()}" in repr(stream)
                return bool(stream.peer_address == other.getsockname())

    assert run(main)


def test_a_stream_makes_its_socket_non_blocking(run: Runner) -> None:
    async def main() -> bool:
        one, other = raw_pair()
        with other:
            async with Stream(one):
                return one.getblocking()

    assert run(main) is False


def test_an_echo_with_a_thread_at_the_other_end(run: Runner) -> None:
    """The kernel's timing instead of ours: bytes come at any moment between poll and read."""
    rounds = 500
    one, other = raw_pair()
    wrong: list[int] = []

    def client() -> None:
        with other:
            for n in range(rounds):
                message = b"%d" % n * (1 + n % 40)
                other.sendall(message)
                got = b""
                while len(got) < len(message):
                    chunk = other.recv(len(message) - len(got))
                    if not chunk:
                        break
                    got += chunk
                if got != message:
                    wrong.append(n)

    async def main() -> str:
        async with Stream(one) as stream:
            with timeout(PATIENCE):
                await echo(stream, 64)
        return "ended"

    thread = threading.Thread(target=client)
    thread.start()
    try:
        assert run(main) == "ended"
    finally:
        thread.join(PATIENCE)
    assert wrong == []
