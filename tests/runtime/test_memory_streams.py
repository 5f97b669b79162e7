"""Streams in memory: a connection like any other, whose faults come when they are told to."""

import errno
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runtime
from runtime import (
    BrokenError,
    BusyError,
    ByteStream,
    ClosedError,
    TaskGroup,
    join_all,
    move_on_after,
    now,
    sleep,
    spawn,
    timeout,
)
from runtime.task import current_executor
from runtime.testing import (
    Link,
    RandomSizes,
    VirtualClock,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

on_virtual_time = pytest.mark.runtime(virtual_clock=True)

sizes = st.lists(st.integers(1, 300), max_size=20)
links = st.builds(
    Link,
    capacity=st.integers(1, 500),
    delay=st.sampled_from([0.0, 0.25, 10.0]),
    reads=sizes,
    writes=sizes,
)


async def outcome(operation: Awaitable[object]) -> str:
    """What it returns, or the kind of error that it raises."""
    try:
        return repr(await operation)
    except Exception as error:
        return type(error).__name__


async def read_all(stream: ByteStream) -> bytes:
    data = b""
    while chunk := await stream.recv(4096):
        data += chunk
    return data


@given(
    messages=st.lists(st.binary(max_size=700), max_size=6),
    limits=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    link=links,
)
def test_every_byte_arrives_once_and_in_order_and_then_the_end(
    messages: list[bytes], limits: list[int], link: Link
) -> None:
    async def main() -> None:
        left, right = memory_stream_pair(link)
        async with left, right, TaskGroup() as group:

            async def send() -> None:
                for message in messages:
                    await left.send_all(message)
                left.send_eof()

            group.spawn(send())
            got, turn = b"", 0
            while chunk := await right.recv(limits[turn % len(limits)]):
                assert len(chunk) <= limits[turn % len(limits)]
                got, turn = got + chunk, turn + 1
            assert got == b"".join(messages)
            assert await right.recv(1) == b""  # an end stays an end

    runtime.run(main(), clock=VirtualClock())


@pytest.mark.runtime
async def test_a_sender_waits_while_the_link_is_full() -> None:
    left, right = memory_stream_pair(Link(capacity=10))
    async with left, right:
        sender = spawn(left.send_all(b"0123456789abcde"))
        await wait_all_tasks_blocked()
        assert not sender.done
        assert await right.recv(2) == b"01"
        await wait_all_tasks_blocked()
        assert not sender.done  # room for two more, which leaves three
        assert await right.recv(100) == b"23456789ab"
        await sender
        assert await right.recv(100) == b"cde"


@pytest.mark.runtime
async def test_bytes_under_way_take_up_room(virtual_clock: VirtualClock) -> None:
    left, right = memory_stream_pair(Link(capacity=4, delay=5))
    async with left, right:
        sender = spawn(left.send_all(b"abcdefgh"))
        assert await read_all_of(right, 8) == b"abcdefgh"
        assert now() == 10
        await sender


async def read_all_of(stream: ByteStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.recv(100)
    return data


@on_virtual_time
async def test_each_byte_and_the_end_arrive_after_the_delay() -> None:
    left, right = memory_stream_pair(Link(delay=3))
    seen = []

    async def read() -> None:
        while True:
            data = await right.recv(100)
            seen.append((now(), data))
            if not data:
                return

    async with left, right:
        reader = spawn(read())
        await left.send_all(b"a")
        await sleep(1)
        await left.send_all(b"b")
        await sleep(1)
        left.send_eof()
        await reader
    assert seen == [(3, b"a"), (4, b"b"), (5, b"")]


@on_virtual_time
async def test_the_two_directions_have_links_of_their_own() -> None:
    left, right = memory_stream_pair(Link(delay=3), Link(delay=10))
    async with left, right:
        await left.send_all(b"ping")
        assert await right.recv(100) == b"ping"
        assert now() == 3
        await right.send_all(b"pong")
        assert await left.recv(100) == b"pong"
        assert now() == 13


@on_virtual_time
async def test_a_reader_that_gives_up_takes_its_timer_back_and_loses_nothing() -> None:
    left, right = memory_stream_pair(Link(delay=3))
    async with left, right:
        await left.send_all(b"late")
        with move_on_after(1) as scope:
            await right.recv(100)
        assert scope.cancelled_caught
        assert not current_executor().timers
        assert await right.recv(100) == b"late"
        assert now() == 3


@pytest.mark.runtime
async def test_reads_are_cut_to_the_sizes_given_and_then_no_more() -> None:
    left, right = memory_stream_pair(Link(reads=[1, 3, 2]))
    async with left, right:
        await left.send_all(b"abcdefghij")
        got = [await right.recv(100), await right.recv(2), await right.recv(100)]
        assert [*got, await right.recv(100)] == [b"a", b"bc", b"de", b"fghij"]


@pytest.mark.runtime
async def test_writes_are_handed_over_piece_by_piece_while_others_run() -> None:
    left, right = memory_stream_pair(Link(writes=[1, 3, 2]))
    got = []

    async def read() -> None:
        while data := await right.recv(100):
            got.append(data)

    async with left, right:
        reader = spawn(read())
        await left.send_all(b"abcdefghij")
        left.send_eof()
        await reader
    assert got == [b"a", b"bcd", b"ef", b"ghij"]


@pytest.mark.runtime
async def test_pieces_need_no_reader_and_a_full_link_uses_up_no_size() -> None:
    left, right = memory_stream_pair(Link(capacity=4, writes=[1, 1, 2, 1, 2]))
    async with left, right:
        await left.send_all(b"abcd")
        sender = spawn(left.send_all(b"efg"))
        await wait_all_tasks_blocked()
        assert await right.recv(100) == b"abcd"
        assert await right.recv(100) == b"e"
        await sender
        assert await right.recv(100) == b"fg"


def test_random_sizes_are_the_same_for_the_same_seed() -> None:
    def first(sizes: RandomSizes) -> list[int]:
        return [size for size, _ in zip(sizes, range(50), strict=False)]

    one = RandomSizes(7, 20)
    assert first(one) == first(one) == first(RandomSizes(7, 20)) != first(RandomSizes(8, 20))
    assert set(first(one)) <= set(range(1, 21))
    assert repr(one) == "RandomSizes(7, 20)"


@pytest.mark.runtime
@pytest.mark.parametrize("delay", [0, 4])
async def test_a_reset_at_a_byte_comes_behind_the_bytes_before_it(
    virtual_clock: VirtualClock, delay: float
) -> None:
    left, right = memory_stream_pair(Link(delay=delay, reset_after=5), Link(capacity=1))
    async with left, right:
        waiting = spawn(outcome(right.send_all(b"never read")))
        await wait_all_tasks_blocked()
        await left.send_all(b"abc")
        await left.send_all(b"de")
        with pytest.raises(BrokenError) as caught:
            await left.send_all(b"f")
        assert caught.value.errno == errno.ECONNRESET
        assert await waiting == "BrokenError"  # the other direction, the other end
        assert await left.recv(100) == b"n"
        for broken in (left.recv(100), left.send_all(b""), right.send_all(b"x")):
            with pytest.raises(BrokenError):
                await broken
        with pytest.raises(BrokenError):
            left.send_eof()
        assert left.peer_address is right.peer_address is None
        assert await right.recv(100) == b"abcde"
        with pytest.raises(BrokenError) as caught:
            await right.recv(100)
        assert caught.value.errno == errno.ECONNRESET
        assert now() == delay


@pytest.mark.runtime
async def test_a_reset_in_the_middle_of_a_write_lets_its_first_part_through() -> None:
    left, right = memory_stream_pair(Link(reset_after=5))
    async with left, right:
        with pytest.raises(BrokenError):
            await left.send_all(b"abcdefgh")
        assert await right.recv(100) == b"abcde"
        with pytest.raises(BrokenError):
            await right.recv(100)


@pytest.mark.runtime
async def test_a_stream_that_ends_at_the_fatal_byte_is_not_reset() -> None:
    left, right = memory_stream_pair(Link(reset_after=5))
    async with left, right:
        await left.send_all(b"abcde")
        left.send_eof()
        assert await read_all(right) == b"abcde"


@on_virtual_time
async def test_a_reset_on_demand_loses_what_is_under_way_and_nothing_that_arrived() -> None:
    left, right = memory_stream_pair(Link(delay=2))
    async with right:
        await left.send_all(b"arrived")
        await sleep(2)
        await left.send_all(b"lost")
        left.reset()
        left.reset()
        assert await right.recv(100) == b"arrived"
        await sleep(5)
        with pytest.raises(BrokenError, match="reset by peer"):
            await right.recv(100)
        with pytest.raises(BrokenError, match="reset by peer"):
            await right.send_all(b"x")
        with pytest.raises(ClosedError):
            await left.recv(1)


@pytest.mark.runtime
async def test_a_reset_ends_what_the_peer_waits_in() -> None:
    left, right = memory_stream_pair(Link(capacity=5))
    async with right:
        tasks = [spawn(outcome(op)) for op in (right.recv(1), right.send_all(b"too long"))]
        await wait_all_tasks_blocked()
        left.reset()
        assert await join_all(tasks) == ["BrokenError", "BrokenError"]


@pytest.mark.runtime
async def test_closing_lets_what_was_sent_arrive() -> None:
    left, right = memory_stream_pair()
    async with right:
        await left.send_all(b"last words")
        left.close()
        left.close()
        assert await read_all(right) == b"last words"
        with pytest.raises(BrokenError) as caught:
            await right.send_all(b"x")
        assert caught.value.errno == errno.EPIPE
        right.send_eof()


@pytest.mark.runtime
async def test_closing_with_bytes_unread_resets_as_the_kernel_does() -> None:
    left, right = memory_stream_pair()
    async with right:
        await right.send_all(b"nobody reads this")
        await left.send_all(b"last words")
        left.close()
        assert await right.recv(100) == b"last words"
        with pytest.raises(BrokenError, match="reset by peer"):
            await right.recv(100)


@pytest.mark.runtime
async def test_an_end_that_was_sent_stays_one_whatever_is_left_unread() -> None:
    left, right = memory_stream_pair()
    async with right:
        await right.send_all(b"nobody reads this")
        left.send_eof()
        left.close()
        assert [await right.recv(1), await right.recv(1)] == [b"", b""]


@pytest.mark.runtime
async def test_closing_lets_go_of_everybody_who_waits() -> None:
    left, right = memory_stream_pair(Link(capacity=1), Link(capacity=1))
    async with right:
        tasks = [spawn(outcome(op)) for op in (left.recv(1), left.send_all(b"xx"))]
        await wait_all_tasks_blocked()
        left.close()
        assert await join_all(tasks) == ["ClosedError", "ClosedError"]
        assert await read_all(right) == b"x"


@pytest.mark.runtime
async def test_a_sender_whose_peer_closes_is_told() -> None:
    left, right = memory_stream_pair(Link(capacity=1))
    async with left:
        sender = spawn(left.send_all(b"xx"))
        await wait_all_tasks_blocked()
        right.close()
        with pytest.raises(BrokenError):
            await sender


@pytest.mark.runtime
async def test_nothing_can_be_done_with_a_closed_stream() -> None:
    left, right = memory_stream_pair()
    left.close()
    async with right:
        for operation in (left.recv(1), left.recv_into(bytearray(1)), left.send_all(b"")):
            with pytest.raises(ClosedError):
                await operation
        with pytest.raises(ClosedError):
            left.send_eof()
        assert left.peer_address is None
        assert repr(left) == "<MemoryStream to ('memory', 2), closed>"
        assert right.peer_address == ("memory", 1)


@pytest.mark.runtime
async def test_after_a_half_close_only_the_other_direction_goes_on() -> None:
    left, right = memory_stream_pair()
    async with left, right:
        await left.send_all(b"question")
        left.send_eof()
        left.send_eof()
        with pytest.raises(ClosedError):
            await left.send_all(b"")
        assert await read_all(right) == b"question"
        await right.send_all(b"answer")
        right.close()
        assert await read_all(left) == b"answer"
        with pytest.raises(ClosedError):
            await left.send_all(b"x")


@pytest.mark.runtime
async def test_one_reader_and_one_writer_at_a_time() -> None:
    left, right = memory_stream_pair(Link(capacity=3))
    async with left, right:
        reader, writer = spawn(left.recv(10)), spawn(left.send_all(b"12345"))
        await wait_all_tasks_blocked()
        for operation in (left.recv(1), left.recv_into(bytearray(1)), left.send_all(b"")):
            with pytest.raises(BusyError):
                await operation
        with pytest.raises(BusyError):
            left.send_eof()
        await right.send_all(b"hi")
        assert await reader == b"hi"
        assert await read_all_of(right, 5) == b"12345"
        await writer


@pytest.mark.runtime
async def test_bytes_are_received_into_memory_of_the_callers() -> None:
    left, right = memory_stream_pair()
    async with left, right:
        buffer = bytearray(b".....")
        await left.send_all(memoryview(b"abcabc")[::1])
        assert await right.recv_into(buffer) == 5
        assert await right.recv_into(memoryview(buffer)[3:]) == 1
        assert buffer == b"abccb"[:3] + b"c" + buffer[4:]
        left.close()
        assert await right.recv_into(buffer) == 0


@pytest.mark.runtime
@pytest.mark.parametrize("delay", [0.0, 1.0])
async def test_what_was_sent_is_what_stood_there_then(
    virtual_clock: VirtualClock, delay: float
) -> None:
    left, right = memory_stream_pair(Link(delay=delay))
    async with left, right:
        data = bytearray(b"before")
        await left.send_all(data)
        data[:] = b"behind"
        assert await right.recv(100) == b"before"


@pytest.mark.runtime
async def test_wrong_arguments_are_refused_before_waiting() -> None:
    left, right = memory_stream_pair()
    async with left, right:
        with timeout(1):
            for limit in (0, -1):
                with pytest.raises(ValueError, match="receive no bytes"):
                    await left.recv(limit)
            with pytest.raises(ValueError, match="receive no bytes"):
                await left.recv_into(bytearray())
            with pytest.raises(TypeError):
                await left.recv(cast(int, 1.5))
            for thing in ("text", 5, None):
                with pytest.raises(TypeError):
                    await left.send_all(cast(bytes, thing))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Link(capacity=0),
        lambda: Link(delay=-1),
        lambda: Link(delay=float("nan")),
        lambda: Link(delay=float("inf")),
        lambda: Link(reset_after=-1),
        lambda: RandomSizes(1, 0),
    ],
)
def test_links_that_cannot_be_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"capacity|delay|reset|sizes"):
        make()


@pytest.mark.runtime
async def test_a_size_of_zero_is_refused_and_not_waited_for() -> None:
    left, right = memory_stream_pair(Link(writes=[0]))
    async with left, right:
        with pytest.raises(ValueError, match="a size of 0 bytes"):
            await left.send_all(b"x")


@pytest.mark.runtime
async def test_a_busy_pair_gives_way_to_the_others() -> None:
    """Neither side ever has to wait here."""
    left, right = memory_stream_pair()
    rounds = others = 0

    async def other() -> None:
        nonlocal others
        while rounds < 1000:
            others += 1
            await runtime.yield_now()

    async with left, right:
        task = spawn(other())
        while rounds < 1000:
            rounds += 1
            await left.send_all(b"x")
            await right.recv(1)
        await task
    assert others > 10


def test_two_ends_that_wait_for_each_other_are_a_deadlock_and_no_hang() -> None:
    async def main() -> None:
        left, right = memory_stream_pair()
        await join_all(left.recv(1), right.recv(1))

    with pytest.raises(runtime.Deadlock, match=r"in MemoryStream\.recv"):
        runtime.run(main())
