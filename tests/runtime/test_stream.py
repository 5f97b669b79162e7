"""Streams: every byte, once, in order, and every way in which that can end."""

import errno
import random
import socket
import threading
from typing import Any, cast

import pytest

import runtime
from runtime import (
    BrokenError,
    BusyError,
    CancelScope,
    ClosedError,
    Stream,
    TaskGroup,
    join_all,
    move_on_after,
    now,
    sleep,
    spawn,
    timeout,
)
from runtime.executor import BUDGET
from runtime.stream import Buffer
from runtime.testing import VirtualClock

from .harness import PATIENCE, Runner, raw_pair, receive, reset, stream_pair, turns

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
            with pytest.raises(BrokenError) as caught:
                await left.send_all(b"more")
            assert caught.value.errno == errno.EPIPE
            return question, answer, await left.recv(1)

    assert run(main) == (b"question", b"answers", b"")


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


def exhaust_budget() -> None:
    runtime.task.current_executor().budget = -1


def test_a_reader_that_gave_way_does_not_push_out_the_one_that_came_meanwhile(
    run: Runner,
) -> None:
    async def main() -> list[str]:
        left, right = stream_pair("unix")
        async with left, right:

            async def read() -> str:
                try:
                    with timeout(5):
                        got = (await left.recv(1)).decode()
                except BusyError:
                    return "busy"
                except TimeoutError:
                    return "hangs"
                return got

            assert await _drain(left, right)
            exhaust_budget()
            first, second = spawn(read()), spawn(read())
            await turns(4)
            await right.send_all(b"xy")
            return sorted(await join_all(first, second))

    assert run(main, clock=VirtualClock()) == ["busy", "x"]


async def _drain(left: Stream, right: Stream) -> bool:
    """After this the stream knows that it is dry."""
    await right.send_all(b"!")
    return await left.recv(100) == b"!"


def test_a_writer_that_gave_way_does_not_write_into_the_middle_of_another(run: Runner) -> None:
    async def main() -> tuple[str, bytes]:
        left, right = stream_pair("unix")
        async with left, right:
            exhaust_budget()

            async def write_small() -> str:
                try:
                    await left.send_all(b"small")
                except BusyError:
                    return "busy"
                return "written"

            small = spawn(write_small())
            big = spawn(left.send_all(b"B" * (4 << 20)))
            await turns(4)
            got = bytearray()
            while not (big.done and small.done):
                got += await right.recv(1 << 20)
            left.send_eof()
            while data := await right.recv(1 << 20):
                got += data
            return await small, bytes(got)

    answer, got = run(main)
    big = b"B" * (4 << 20)
    assert (answer, got == big) == ("busy", True) or got in (b"small" + big, big + b"small")


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


def test_receiving_into_memory(run: Runner) -> None:
    async def main() -> tuple[list[int], bytes]:
        left, right = stream_pair()
        async with left, right:
            buffer = bytearray(8)
            await right.send_all(b"0123456789ab")
            counts = [await left.recv_into(buffer), await left.recv_into(memoryview(buffer)[2:5])]
            reader = spawn(cast(Any, left.recv_into(memoryview(buffer)[5:])))
            await turns(2)
            right.send_eof()
            counts += [await left.recv_into(bytearray(100))] if reader.done else []
            counts.append(await reader)
            with pytest.raises(ValueError, match="no bytes"):
                await left.recv_into(bytearray())
            return counts, bytes(buffer)

    counts, data = run(main)
    assert counts[0] == 8
    assert sum(counts) == 12
    assert data[:2] == b"01"
    assert data[2:5] == b"89a"


def test_receiving_into_wide_items_counts_bytes(run: Runner) -> None:
    async def main() -> tuple[int, bytes]:
        left, right = stream_pair()
        async with left, right:
            memory = bytearray(16)
            await right.send_all(b"abcdefghij")
            return await left.recv_into(memoryview(memory).cast("I")), bytes(memory[:10])

    assert run(main) == (10, b"abcdefghij")


@pytest.mark.parametrize("size", [0, 4, 4096, 4 << 20])
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "view", "wide view", "slice of a view"])
def test_every_kind_of_buffer_is_sent_whole(run: Runner, kind: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    buffers: dict[str, bytes | bytearray | memoryview] = {
        "bytes": data,
        "bytearray": bytearray(data),
        "view": memoryview(data),
        "wide view": memoryview(data).cast("I"),
        "slice of a view": memoryview(b"xx" + data + b"yy")[2:-2],
    }

    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right, TaskGroup() as group:

            async def send() -> None:
                await left.send_all(buffers[kind])
                left.send_eof()

            group.spawn(send())
            return await receive(right, size + 1)
        raise AssertionError("not reached")

    assert run(main) == data


def test_as_many_bytes_sent_as_there_are_items_is_not_all_of_them(run: Runner) -> None:
    """The kernel takes 8 bytes of a view of 8 items: its length is no measure of what is left."""
    data = bytes(range(32))

    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right:
            send = left.socket.send

            def send_a_little(buffer: Buffer) -> int:
                spawn(make_room())
                return send(memoryview(buffer).cast("B")[:8])

            async def make_room() -> None:
                left.writable = True
                if left.writer is not None:
                    left.writer.wake()

            left._send = send_a_little
            await left.send_all(memoryview(data).cast("I"))
            left.send_eof()
            return await receive(right, 100)

    assert run(main) == data


def test_a_bytearray_can_be_resized_after_it_was_sent(run: Runner) -> None:
    async def main() -> int:
        left, right = stream_pair("unix")
        async with left, right:
            buffer = bytearray(1 << 20)
            sender = spawn(left.send_all(buffer))
            await receive(right, 1 << 20)
            await sender
            buffer += b"more"  # BufferError, if a view of it were left
            return len(buffer)

    assert run(main) == (1 << 20) + 4


@pytest.mark.parametrize("thing", ["text", 5, None])
def test_what_is_not_bytes_is_refused(run: Runner, thing: object) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            with pytest.raises(TypeError):
                await left.send_all(cast(bytes, thing))

    run(main)


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


def test_a_receive_cancelled_after_it_gave_way_loses_no_byte(run: Runner) -> None:
    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right:
            await right.send_all(b"data")
            exhaust_budget()
            with CancelScope() as scope:
                scope.cancel()
                await left.recv(100)
            assert scope.cancelled_caught
            return await left.recv(100)

    assert run(main) == b"data"


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


def test_a_flood_does_not_starve_timers_and_tasks(run: Runner) -> None:
    """Both ends are always ready, so neither task ever has to wait."""

    async def main() -> tuple[float, int]:
        left, right = stream_pair("unix")
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await sleep(0.001)
                ticks += 1

        async def write() -> None:
            while True:
                await left.send_all(b"x" * 64)

        async def read() -> None:
            while True:
                await right.recv(64)

        async with left, right:
            began = now()
            async with TaskGroup() as group:
                for work in (tick(), write(), read()):
                    group.spawn(work)
                await sleep(0.05)
                group.cancel_scope.cancel()
            return now() - began, ticks

    lasted, ticks = run(main)
    assert lasted < 2
    assert ticks >= 10


@pytest.mark.parametrize("operation", ["recv", "recv_into", "send_all"])
def test_an_operation_that_never_waits_gives_way_in_time(run: Runner, operation: str) -> None:
    """The other task runs at least once in each budget's worth of operations."""

    async def main() -> list[int]:
        left, right = stream_pair("unix")
        count = 0
        runs: list[int] = []

        async def other() -> None:
            nonlocal count
            while True:
                runs.append(count)
                count = 0
                await runtime.yield_now()

        async with left, right:
            spawn(other())
            for _ in range(BUDGET * 4):
                if operation == "send_all":
                    right.socket.recv(1000) if count else None
                    await left.send_all(b"x")
                else:
                    right.socket.send(b"x" * 2)
                    if operation == "recv":
                        await left.recv(1)
                    else:
                        await left.recv_into(bytearray(1))
                count += 1
        return runs

    runs = run(main)
    assert BUDGET // 2 <= max(runs) <= BUDGET + 2
    assert len(runs) <= 8  # and not after each operation


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


def test_a_spurious_wake_up_reads_nothing(run: Runner) -> None:
    async def main() -> list[bytes]:
        left, right = stream_pair("unix")
        async with left, right:
            assert await _drain(left, right)
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
