"""A stream that is always ready gives way, and giving way lets nobody in between its operations."""

import socket

import pytest

import runtime
from runtime import (
    BusyError,
    CancelScope,
    TaskGroup,
    join_all,
    sleep,
    spawn,
    timeout,
)
from runtime.executor import BUDGET
from runtime.testing import VirtualClock

from .harness import Runner, make_dry, stream_pair, turns


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

            assert await make_dry(left, right)
            exhaust_budget()
            first, second = spawn(read()), spawn(read())
            await turns(4)
            await right.send_all(b"xy")
            return sorted(await join_all(first, second))

    assert run(main, clock=VirtualClock()) == ["busy", "x"]


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


class PassingTime(VirtualClock):
    """Time of which a millisecond passes whenever the loop looks, though it is never idle."""

    def now(self) -> float:
        self._now += 0.001
        return self._now


def test_a_flood_does_not_starve_timers_and_tasks(run: Runner) -> None:
    """Both ends are always ready, so neither task ever has to wait."""

    async def main() -> int:
        left, right = stream_pair("unix")
        operations = most = 0

        async def write() -> None:
            nonlocal operations
            while True:
                await left.send_all(b"x" * 64)
                operations += 1

        async def read() -> None:
            nonlocal operations
            while True:
                await right.recv(64)
                operations += 1

        async with left, right, TaskGroup() as group:
            group.spawn(write())
            group.spawn(read())
            for _ in range(50):
                before = operations
                await sleep(0.001)
                most = max(most, operations - before)
            group.cancel_scope.cancel()
        return most

    assert BUDGET < run(main, clock=PassingTime()) <= 3 * BUDGET


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


async def operations_until_another_runs(stream: runtime.Stream) -> int:
    """How many reads a task does, with something to read at each, before another has its turn."""
    done = 0

    async def read() -> None:
        nonlocal done
        while True:
            await stream.recv(100)
            done += 1

    reader = spawn(read())
    await turns(1)
    reader.cancel()
    return done


def test_a_reader_of_large_pieces_gives_way_after_fewer_of_them(run: Runner) -> None:
    """Copying 64 KiB takes as long as a dozen small echoes, and a flood has always more."""

    async def main() -> int:
        left, right = stream_pair("unix")
        right.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        chunk = bytes(65536)
        done = 0

        async def read() -> None:
            nonlocal done
            while True:
                right.socket.send(chunk)
                assert len(await left.recv(65536)) == 65536
                done += 1

        async with left, right:
            reader = spawn(read())
            await turns(1)
            reader.cancel()
            return done

    assert 0 < run(main) <= BUDGET // 16


def test_a_reader_of_short_pieces_behind_which_more_stands_gives_way_in_time(run: Runner) -> None:
    """Descriptors that are passed along cut the reads short, so none of them is a full one."""

    async def main() -> int:
        left, right = stream_pair("unix")
        async with left, right:
            for _ in range(150):
                socket.send_fds(right.socket, [b"x"], [0])
            return await operations_until_another_runs(left)

    assert 0 < run(main) <= BUDGET + 1


def test_a_task_that_reads_the_end_again_and_again_gives_way_in_time(run: Runner) -> None:
    async def main() -> int:
        left, right = stream_pair("unix")
        async with left:
            right.close()
            with CancelScope(deadline=runtime.now() + 5) as scope:
                for _ in range(20 * BUDGET):
                    if await left.recv(100) == b"":
                        scope.cancel()  # by itself, and heard where it gives way
            assert scope.cancelled_caught
            return await operations_until_another_runs(left)

    assert 0 < run(main) <= BUDGET + 1


def test_a_task_that_shovels_through_a_channel_gives_way_in_time(run: Runner) -> None:
    async def main() -> int:
        sender: runtime.Sender[int]
        sender, receiver = runtime.channel(10)
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await runtime.yield_now()

        neighbour = runtime.spawn(other())
        with sender, receiver:
            for n in range(10_000):
                await sender.send(n)
                assert await receiver.receive() == n
        neighbour.cancel()
        with pytest.raises(runtime.TaskCancelled):
            await neighbour
        return others

    assert run(main) > 100


def test_what_gave_way_in_a_channel_and_is_cancelled_there_has_done_nothing(run: Runner) -> None:
    async def main() -> list[int]:
        sender: runtime.Sender[int]
        sender, receiver = runtime.channel(1000)
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await sender.send(sent)
                sent += 1

        sending = runtime.spawn(send())
        await runtime.yield_now()
        sending.cancel()
        with pytest.raises(runtime.TaskCancelled):
            await sending
        sender.close()
        assert 0 < sent < 1000
        received = [n async for n in receiver]
        assert len(received) == sent
        return received

    received = run(main)
    assert received == list(range(len(received)))
