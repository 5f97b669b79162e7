"""What ends a stream other than its end: resets, closing it here, and using it wrongly."""

import errno
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from runtime import (
    BrokenError,
    BusyError,
    ClosedError,
    Stream,
    join_all,
    spawn,
    timeout,
)
from runtime.testing import VirtualClock

from .harness import Runner, make_dry, raw_pair, receive, reset, stream_pair, turns


def test_a_reset_is_a_broken_error_with_its_errno(run: Runner) -> None:
    async def main() -> None:
        one, other = raw_pair()
        async with Stream(one) as stream:
            reader = spawn(cast(Any, stream.recv(10)))
            await turns(2)
            reset(other)
            with pytest.raises(BrokenError, match="reset by peer") as caught, timeout(5):
                await reader
            assert caught.value.errno == errno.ECONNRESET
            assert isinstance(caught.value, OSError)
            with pytest.raises(BrokenError) as caught:
                await stream.send_all(b"x")
            assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)
            with pytest.raises(BrokenError) as caught:
                stream.send_eof()
            assert caught.value.errno == errno.ENOTCONN
            assert stream.peer_address is None

    run(main)


def test_a_reset_ends_a_waiting_writer(run: Runner) -> None:
    async def main() -> None:
        one, other = raw_pair()
        async with Stream(one) as stream:
            writer = spawn(stream.send_all(bytes(16 << 20)))
            await turns(3)
            assert not writer.done
            reset(other)
            with pytest.raises(BrokenError), timeout(5):
                await writer

    run(main)


def test_a_reset_after_bytes_gives_the_bytes_or_the_fault_and_no_hang(run: Runner) -> None:
    async def main() -> str:
        one, other = raw_pair()
        async with Stream(one) as stream:
            other.sendall(b"bytes")
            await turns(2)
            reset(other)
            with timeout(5):
                try:
                    while await stream.recv(100):
                        pass
                except BrokenError:
                    return "broken"
            return "end"

    assert run(main) == "broken"


def test_closing_lets_go_of_a_waiting_reader_and_writer(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair("unix")
        reader = spawn(cast(Any, left.recv(10)))
        writer = spawn(left.send_all(bytes(4 << 20)))
        await turns(3)

        async def closer() -> None:
            left.close()
            left.close()

        spawn(closer())
        for task in reader, writer:
            with pytest.raises(ClosedError, match="closed on this side"), timeout(5):
                await task
        right.close()

    run(main)
    # Both failed in the same turn, while one of them was awaited.
    assert "ClosedError" in run.expected_error()


def test_closing_lets_go_of_a_reader_into_a_buffer(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with right:
            reader = spawn(cast(Any, left.recv_into(bytearray(10))))
            await turns(2)
            left.close()
            with pytest.raises(ClosedError), timeout(5):
                await reader

    run(main)


def test_nothing_can_be_done_with_a_closed_stream(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair()
        left.close()
        for operation in (left.recv(1), left.recv_into(bytearray(1)), left.send_all(b"x")):
            with pytest.raises(ClosedError):
                await operation
        with pytest.raises(ClosedError):
            await left.send_all(b"")
        with pytest.raises(ClosedError):
            left.send_eof()
        assert left.peer_address is None
        assert "fd=-1" in repr(left)
        right.close()

    run(main)


def test_one_reader_and_one_writer_at_a_time(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair("unix")
        async with left, right:
            reader = spawn(cast(Any, left.recv(10)))
            writer = spawn(left.send_all(bytes(4 << 20)))
            await turns(3)
            with pytest.raises(BusyError, match="one reader"):
                await left.recv(1)
            with pytest.raises(BusyError, match="one reader"):
                await left.recv_into(bytearray(1))
            with pytest.raises(BusyError, match="one writer"):
                await left.send_all(b"x")
            with pytest.raises(BusyError, match="one writer"):
                left.send_eof()
            await right.send_all(b"hello")
            assert await reader == b"hello"  # those who were there first are undisturbed
            assert len(await receive(right, 4 << 20)) == 4 << 20
            await writer

    run(main)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_is_refused_at_once(run: Runner, limit: int) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            with pytest.raises(ValueError, match=r"cannot receive|negative"), timeout(1):
                await left.recv(limit)
            await right.send_all(b"x")
            with pytest.raises(ValueError, match=r"cannot receive|negative"), timeout(1):
                await left.recv(limit)
            assert await left.recv(10) == b"x"
            # Now the stream knows that it is dry.
            with pytest.raises(ValueError, match=r"cannot receive|negative"), timeout(1):
                await left.recv(limit)

    run(main, clock=VirtualClock())


def test_a_limit_that_is_no_integer_is_refused_before_waiting(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            await make_dry(left, right)
            with pytest.raises(TypeError), timeout(1):
                await left.recv(cast(int, 1.5))

    run(main, clock=VirtualClock())


@pytest.mark.parametrize("thing", ["text", 5, None])
def test_what_is_not_bytes_is_refused(run: Runner, thing: object) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            with pytest.raises(TypeError):
                await left.send_all(cast(bytes, thing))

    run(main)


async def send_eof(stream: Stream) -> None:
    stream.send_eof()


@pytest.mark.parametrize(
    "operation",
    [
        lambda stream: stream.recv(1),
        lambda stream: stream.recv_into(bytearray(1)),
        lambda stream: stream.send_all(b"x"),
        send_eof,
    ],
    ids=["recv", "recv_into", "send_all", "send_eof"],
)
def test_what_is_closed_is_closed_even_before_those_who_waited_have_heard(
    run: Runner, operation: Callable[[Stream], Awaitable[object]]
) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with right:

            async def is_let_go(waiting: Awaitable[object]) -> None:
                with pytest.raises(ClosedError):
                    await waiting

            waiters = [
                spawn(is_let_go(left.recv(10))),
                spawn(is_let_go(left.send_all(bytes(16 << 20)))),
            ]
            await turns(3)
            left.close()
            with pytest.raises(ClosedError):
                await operation(left)
            await join_all(*waiters)

    run(main)
