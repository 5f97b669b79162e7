"""Listeners for tests, in memory and with faults; and waiting until all others wait."""

import errno

import pytest

from runtime import (
    BusyError,
    ByteStream,
    ClosedError,
    Event,
    Stream,
    TaskGroup,
    Waker,
    current_waker,
    join_all,
    move_on_after,
    now,
    park,
    serve,
    spawn,
    timeout,
    yield_now,
)
from runtime.testing import (
    FaultyListener,
    Link,
    MemoryListener,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from .harness import Runner, dial, stream_pair


async def echo(stream: ByteStream) -> None:
    while data := await stream.recv(100):
        await stream.send_all(data)


@pytest.mark.runtime(virtual_clock=True)
async def test_serve_serves_a_listener_in_memory() -> None:
    async with MemoryListener(Link(delay=1), Link(delay=10)) as listener, TaskGroup() as group:
        group.spawn(serve(listener, echo))
        for n in range(3):
            async with await listener.connect() as client:
                await client.send_all(b"hello")
                assert await client.recv(100) == b"hello"
                assert client.peer_address == listener.address
            assert now() == 11 * (n + 1)
        listener.close()


@pytest.mark.runtime
async def test_connections_in_memory_come_in_order_and_from_addresses_of_their_own() -> None:
    async with MemoryListener() as listener:
        assert listener.accept_nowait() is None
        clients = [await listener.connect() for _ in range(3)]
        for n, client in enumerate(clients, 1):
            async with client, await listener.accept() as server:
                assert server.peer_address == ("memory", n)


@pytest.mark.runtime
async def test_a_backlog_in_memory_is_bounded() -> None:
    async with MemoryListener(backlog=1) as listener, await listener.connect():
        with pytest.raises(ConnectionRefusedError, match="1 connections wait"):
            await listener.connect()
        (await listener.accept()).close()
        (await listener.connect()).close()


@pytest.mark.runtime
async def test_closing_a_listener_in_memory_resets_who_was_not_accepted() -> None:
    listener = MemoryListener()
    async with await listener.connect() as client:
        await client.send_all(b"anybody there?")
        listener.close()
        listener.close()
        with pytest.raises(OSError, match="reset"):
            await client.recv(1)
    with pytest.raises(ConnectionRefusedError, match="closed"):
        await listener.connect()
    with pytest.raises(ClosedError):
        listener.accept_nowait()


@pytest.mark.runtime
async def test_one_task_at_a_time_accepts_in_memory_and_is_let_go() -> None:
    listener = MemoryListener()

    async def accepts() -> str:
        with pytest.raises(ClosedError):
            await listener.accept()
        return "let go"

    accepting = spawn(accepts())
    await wait_all_tasks_blocked()
    with pytest.raises(BusyError):
        await listener.accept()
    listener.close()
    assert await accepting == "let go"


@pytest.mark.runtime
async def test_an_accept_in_memory_that_is_cancelled_leaves_the_connection() -> None:
    async with MemoryListener() as listener:
        accepting = spawn(listener.accept())
        await wait_all_tasks_blocked()
        async with await listener.connect() as client:
            accepting.cancel()
            await wait_all_tasks_blocked()
            async with await listener.accept() as server:
                await server.send_all(b"here")
                assert await client.recv(100) == b"here"


def test_a_fault_reaches_an_accept_that_waits(run: Runner) -> None:
    async def main() -> None:
        async with FaultyListener() as listener:

            async def accepts() -> int | None:
                with pytest.raises(OSError, match="Too many open files") as caught:
                    await listener.accept()
                return caught.value.errno

            accepting = spawn(accepts())
            await wait_all_tasks_blocked()
            listener.fail(errno.ECONNABORTED, errno.EMFILE)
            with timeout(5):
                assert await accepting == errno.EMFILE

    run(main)


def test_after_the_faults_a_listener_serves(run: Runner) -> None:
    async def main() -> bytes:
        async with FaultyListener(errno.ECONNABORTED) as listener:
            server = spawn(serve(listener, echo))
            with dial(listener) as client:
                async with Stream(client) as stream:
                    await stream.send_all(b"hello")
                    got = await stream.recv(100)
            listener.close()
            await server
            return got

    assert run(main) == b"hello"


def test_all_blocked_means_that_news_from_the_kernel_has_been_heard(run: Runner) -> None:
    """A chain of tasks, each of which waits for the socket before it."""

    async def main() -> int:
        pairs = [stream_pair("unix") for _ in range(20)]
        hops = 0

        async def hop(n: int) -> None:
            nonlocal hops
            await pairs[n][1].recv(1)
            hops += 1
            if n + 1 < len(pairs):
                await pairs[n + 1][0].send_all(b"x")

        async with TaskGroup() as group:
            for n in range(len(pairs)):
                group.spawn(hop(n))
            await wait_all_tasks_blocked()
            assert hops == 0
            await pairs[0][0].send_all(b"x")
            await wait_all_tasks_blocked()
        for left, right in pairs:
            left.close()
            right.close()
        return hops

    assert run(main) == 20


@pytest.mark.runtime
async def test_all_blocked_waits_for_a_task_that_gives_way_again_and_again() -> None:
    steps = 0

    async def busy() -> None:
        nonlocal steps
        for _ in range(50):
            steps += 1
            await yield_now()
        await Event().wait()

    task = spawn(busy())
    await wait_all_tasks_blocked()
    assert steps == 50
    task.cancel()


@pytest.mark.runtime
async def test_a_task_that_waited_for_the_others_before_is_waited_for_like_any() -> None:
    steps = 0

    async def waits_and_goes_on() -> None:
        nonlocal steps
        await wait_all_tasks_blocked()
        for _ in range(50):
            steps += 1
            await yield_now()

    task = spawn(waits_and_goes_on())
    await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert steps == 50
    await task


@pytest.mark.runtime
async def test_a_task_that_a_waker_has_called_counts_as_one_that_runs() -> None:
    wakers: list[Waker] = []
    woken = False

    async def sleeper() -> None:
        nonlocal woken
        wakers.append(current_waker())
        await park()
        woken = True

    async def caller() -> None:
        await yield_now()
        wakers.pop().wake()

    tasks = [spawn(sleeper()), spawn(caller())]
    await wait_all_tasks_blocked()
    assert woken
    await join_all(tasks)


@pytest.mark.runtime
async def test_those_who_wait_for_all_to_block_do_not_wait_for_one_another() -> None:
    async with TaskGroup() as group:
        for _ in range(3):
            group.spawn(wait_all_tasks_blocked())


@pytest.mark.runtime(virtual_clock=True)
async def test_waiting_for_all_to_block_can_be_given_up() -> None:
    async def never_blocks() -> None:
        while True:
            await yield_now()

    task = spawn(never_blocks())
    with move_on_after(0) as scope:
        await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    task.cancel()
    left, right = memory_stream_pair()
    reader = spawn(left.recv(1))
    await wait_all_tasks_blocked()  # the one that gave up is not waited for
    assert not reader.done
    reader.cancel()
    right.close()
    left.close()
