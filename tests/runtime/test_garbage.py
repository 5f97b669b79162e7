"""Nothing that a task leaves behind needs the cyclic collector.

A server may then switch the collector off, or run it rarely, without growing; and a descriptor
whose last reference goes away is closed at that moment, not some time later.
"""

import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from pathlib import Path

import pytest

import runtime
from runtime import (
    CancelScope,
    Event,
    Semaphore,
    Stream,
    TaskCancelled,
    TaskGroup,
    current_task,
    join_all,
    move_on_after,
    race,
    run_in_thread,
    sleep,
    spawn,
    timeout,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import forever, stream_pair, turns


async def fail() -> None:
    await yield_now()
    raise ValueError("broke")


async def finished() -> None:
    await spawn(sleep(0))


async def failed() -> None:
    try:
        await spawn(fail())
    except ValueError:
        return


async def cancelled() -> None:
    handle = spawn(forever())
    await yield_now()
    handle.cancel()
    try:
        await handle
    except TaskCancelled:
        return


async def cancelled_with_shielded_cleanup() -> None:
    async def worker() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await yield_now()

    handle = spawn(worker())
    await yield_now()
    handle.cancel()
    try:
        await handle
    except TaskCancelled:
        return


async def timed_out() -> None:
    try:
        with timeout(1):
            await sleep(2)
    except TimeoutError:
        return


async def moved_on() -> None:
    with move_on_after(1), move_on_after(2):
        await sleep(3)


async def group_of_successes() -> None:
    async with TaskGroup() as group:
        for _ in range(3):
            group.spawn(sleep(1))


async def group_with_a_failure() -> None:
    try:
        async with TaskGroup() as group:
            group.spawn(forever())
            group.spawn(fail())
    except ExceptionGroup:
        return


async def group_whose_body_fails() -> None:
    try:
        async with TaskGroup() as group:
            group.spawn(forever())
            raise KeyError("body")
    except ExceptionGroup:
        return


async def group_cancelled_from_outside() -> None:
    with move_on_after(1):
        async with TaskGroup() as group:
            group.spawn(forever())


async def joined() -> None:
    await join_all(sleep(n) for n in range(3))


async def joined_with_a_failure() -> None:
    try:
        await join_all(forever(), fail())
    except ValueError:
        return


async def echoed() -> None:
    left, right = stream_pair("unix")
    async with left, right:
        await left.send_all(b"x")
        await right.recv(10)


async def closed_while_waited_on() -> None:
    left, right = stream_pair("unix")

    async def read() -> None:
        try:
            await left.recv(10)
        except runtime.ClosedError:
            return

    reader = spawn(read())
    await turns(2)
    left.close()
    right.close()
    await reader


async def broken_while_waited_on() -> None:
    left, right = stream_pair("unix")
    async with left:
        right.close()
        try:
            await left.send_all(b"x")
        except runtime.BrokenError:
            return


async def served() -> None:
    async def handler(stream: Stream) -> None:
        await stream.send_all(await stream.recv(100))

    async with runtime.listen("127.0.0.1", 0) as listener:
        server = spawn(runtime.serve(listener, handler))
        stream = await runtime.connect(*listener.address)
        async with stream:
            await stream.send_all(b"x")
            await stream.recv(100)
        listener.close()
        await server


async def refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    try:
        await runtime.connect("127.0.0.1", port)
    except ConnectionRefusedError:
        return


async def call_in_a_thread() -> None:
    await run_in_thread(int, "1")


async def failed_call_in_a_thread() -> None:
    try:
        await run_in_thread(int, "one")
    except ValueError:
        return


async def call_that_is_left_behind() -> None:
    with move_on_after(0):
        await run_in_thread(time.sleep, 0.001)


async def connected_by_name() -> None:
    async with runtime.listen("127.0.0.1", 0) as listener:
        (await runtime.connect("localhost", listener.address[1], timeout=inf)).close()


async def refused_by_every_address() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    try:
        await runtime.connect("localhost", port, timeout=inf)
    except ConnectionRefusedError:
        return


async def datagrams_exchanged_and_refused() -> None:
    async with (
        await runtime.udp_endpoint(("127.0.0.1", 0)) as one,
        await runtime.udp_endpoint(remote_address=one.address) as other,
    ):
        await other.send(b"x")
        await one.recv_from()
        try:
            await one.send_to(bytes(70_000), other.address)
        except OSError:
            one.close()
        await other.send(b"x")
        try:
            await other.recv()
        except ConnectionRefusedError:
            return


async def synchronised() -> None:
    event, semaphore = Event(), Semaphore(1)

    async def worker() -> None:
        async with semaphore:
            await event.wait()

    tasks = [spawn(worker()) for _ in range(3)]
    await turns(2)
    tasks[1].cancel()
    event.set()
    await join_all(tasks[0], tasks[2])


async def locked() -> None:
    condition = runtime.Condition()

    async def worker() -> None:
        async with condition:
            await condition.wait()

    async def greedy() -> None:
        async with condition.lock:
            await condition.lock.acquire()

    tasks = [spawn(worker()) for _ in range(3)]
    await turns(4)
    tasks[1].cancel()
    async with condition:
        condition.notify_all()
    await join_all(tasks[0], tasks[2])
    await failed_with(RuntimeError, greedy())
    await failed_with(RuntimeError, condition.wait())


async def sent_and_received() -> None:
    ends: tuple[runtime.Sender[int], runtime.Receiver[int]] = runtime.channel(0)
    sender, receiver = ends

    async def produce() -> None:
        with sender:
            await sender.send(1)

    async def consume() -> None:
        while True:
            await receiver.receive()

    tasks = [spawn(consume()) for _ in range(3)]
    await turns(3)
    tasks[0].cancel()
    await spawn(produce())
    for task in tasks:
        try:
            await task
        except (TaskCancelled, runtime.EndOfChannel):
            continue


async def failed_with(error: type[Exception], awaitable: Awaitable[object]) -> None:
    """A task of its own fails, and no frame here refers to it."""
    try:
        await spawn(awaitable)
    except error:
        return
    raise AssertionError("did not fail")


async def closed_channel() -> None:
    ends: tuple[runtime.Sender[int], runtime.Receiver[int]] = runtime.channel(0)
    sender, receiver = ends

    async def close(end: runtime.Sender[int] | runtime.Receiver[int]) -> None:
        await turns(3)
        end.close()

    twin = receiver.clone()
    spawn(close(twin))
    await failed_with(runtime.ClosedError, twin.receive())
    spawn(close(receiver))
    await failed_with(runtime.BrokenChannel, sender.send(1))
    await failed_with(runtime.BrokenChannel, sender.send(1))
    spawn(close(sender))
    await turns(5)
    await failed_with(runtime.ClosedError, sender.send(1))
    await failed_with(runtime.ClosedError, receiver.receive())


async def end_of_channel() -> None:
    ends: tuple[runtime.Sender[int], runtime.Receiver[int]] = runtime.channel(0)

    async def close() -> None:
        await turns(3)
        ends[0].close()

    waiting = spawn(ends[1].receive())
    await turns(1)
    waiting.cancel()
    spawn(close())
    await failed_with(runtime.EndOfChannel, ends[1].receive())
    await failed_with(runtime.EndOfChannel, ends[1].receive())


async def oneshots() -> None:
    ends: tuple[runtime.OneshotSender[int], runtime.OneshotReceiver[int]] = runtime.oneshot()
    receiver = spawn(ends[1])
    await turns(2)
    ends[0].send(1)
    await receiver
    await failed_with(RuntimeError, ends[1])

    ends = runtime.oneshot()

    async def close() -> None:
        await turns(3)
        ends[0].close()

    spawn(close())
    await failed_with(runtime.EndOfChannel, ends[1])


async def cleanup_that_fails() -> None:
    async def worker() -> None:
        current_task().cancel()
        try:
            await forever()
        finally:
            raise ValueError("in cleanup")

    await failed_with(ValueError, worker())


class Never(runtime.Future[None]):
    waker: runtime.Waker | None = None

    def poll(self, waker: runtime.Waker) -> runtime.Pending:
        self.waker = waker
        return runtime.PENDING


async def failed_by_a_timeout() -> None:
    ends: tuple[runtime.Sender[int], runtime.Receiver[int]] = runtime.channel(0)
    sender, receiver = ends
    condition, (left, right) = runtime.Condition(), stream_pair("unix")
    answer = runtime.oneshot()  # type: ignore[var-annotated]

    async def wait_for_condition() -> None:
        async with condition:
            await condition.wait()

    async def worker(wait: Callable[[], Awaitable[object]]) -> None:
        with timeout(1) as scope:
            assert not scope.cancel_called
            await wait()

    for wait in [
        forever,
        Event().wait,
        Semaphore(0).acquire,
        wait_for_condition,
        lambda: sleep(10),
        lambda: spawn(sleep(2)),
        lambda: receiver.receive(),
        lambda: join_all(forever(), Event().wait()),
        lambda: race(forever(), Event().wait()),
        lambda: answer[1],
        Never,
    ]:
        await failed_with(TimeoutError, worker(wait))
    receiver.close()
    receiver = runtime.Receiver(sender._shared)
    await failed_with(TimeoutError, worker(lambda: sender.send(1)))
    async with left, right:
        await failed_with(TimeoutError, worker(lambda: left.recv(1)))


async def failed_in_a_scope() -> None:
    async def worker() -> None:
        with CancelScope() as scope:
            scope.deadline = 3
            await fail()

    await failed_with(ValueError, worker())


async def failed_by_a_group() -> None:
    async def worker(in_the_body: bool) -> None:
        async with TaskGroup() as group:
            group.spawn(forever())
            await (fail() if in_the_body else group.spawn(fail()))

    await failed_with(ExceptionGroup, worker(True))
    await failed_with(ExceptionGroup, worker(False))


async def failed_by_several() -> None:
    await failed_with(ValueError, join_all(fail(), forever()))
    await failed_with(ValueError, race(fail(), forever()))


async def failed_by_a_thread() -> None:
    await failed_with(ValueError, run_in_thread(int, "one"))


async def failed_to_connect() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    await failed_with(ConnectionRefusedError, runtime.connect("127.0.0.1", port))
    await failed_with(ConnectionRefusedError, runtime.connect("localhost", port))
    await failed_with(ConnectionRefusedError, runtime.connect("localhost", port, timeout=inf))


async def failed_on_a_stream() -> None:
    left, right = stream_pair("unix")

    async def close() -> None:
        await turns(3)
        left.close()

    right.close()
    await failed_with(runtime.BrokenError, left.send_all(b"x"))
    left.close()
    left, right = stream_pair("unix")
    spawn(close())
    await failed_with(runtime.ClosedError, left.recv(10))
    right.close()


async def failed_on_a_listener() -> None:
    listener = runtime.listen("127.0.0.1", 0)

    async def close() -> None:
        await turns(3)
        listener.close()

    spawn(close())
    await failed_with(runtime.ClosedError, listener.accept())


async def failed_on_a_condition() -> None:
    condition = runtime.Condition()

    async def worker() -> None:
        async with condition:
            await condition.wait_for(lambda: 1 / 0)

    await failed_with(ZeroDivisionError, worker())


class Rubbish:
    def __await__(self):  # type: ignore[no-untyped-def]
        yield "rubbish"


async def rubbish_awaited() -> None:
    async def worker() -> None:
        await Rubbish()

    await failed_with(TypeError, worker())


async def raced() -> None:
    await race(sleep(1), forever())
    with move_on_after(1):
        await race(forever(), forever())


async def moved_deadline() -> None:
    with move_on_after(1) as scope:
        scope.deadline += 1
        scope.deadline -= 0.5
        await forever()


SCENARIOS: list[Callable[[], Awaitable[None]]] = [
    finished,
    failed,
    cancelled,
    cancelled_with_shielded_cleanup,
    timed_out,
    moved_on,
    group_of_successes,
    group_with_a_failure,
    group_whose_body_fails,
    group_cancelled_from_outside,
    joined,
    joined_with_a_failure,
    echoed,
    closed_while_waited_on,
    broken_while_waited_on,
    served,
    refused,
    call_in_a_thread,
    failed_call_in_a_thread,
    call_that_is_left_behind,
    connected_by_name,
    refused_by_every_address,
    datagrams_exchanged_and_refused,
    synchronised,
    locked,
    sent_and_received,
    closed_channel,
    end_of_channel,
    oneshots,
    cleanup_that_fails,
    failed_by_a_timeout,
    failed_in_a_scope,
    failed_by_a_group,
    failed_by_several,
    failed_by_a_thread,
    failed_to_connect,
    failed_on_a_stream,
    failed_on_a_listener,
    failed_on_a_condition,
    rubbish_awaited,
    raced,
    moved_deadline,
]


@pytest.fixture
def no_collector(anything_left: None) -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def describe(garbage: list[object]) -> list[str]:
    return [f"{type(thing).__name__}: {repr(thing)[:100]}" for thing in garbage]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_is_left_for_the_collector(
    no_collector: None, scenario: Callable[[], Awaitable[None]]
) -> None:
    left: list[str] = []

    async def main() -> None:
        for attempt in range(2):
            await scenario()
            await turns(4)
            if attempt == 0:
                gc.collect()  # what the first call of anything leaves in caches is not ours
            else:
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                gc.set_debug(0)
                left.extend(describe(gc.garbage))
                gc.garbage.clear()

    runtime.run(main(), clock=VirtualClock(patience=0.01))
    assert left == []


def test_a_dropped_connection_is_closed_at_once(no_collector: None, tmp_path: Path) -> None:
    """A task that ends without closing its stream gives the descriptor back by itself."""

    async def main() -> bytes:
        left, right = stream_pair("unix")

        async def careless(stream: Stream) -> None:
            async with stream:
                await stream.recv(10)
                raise ValueError("forgot everything")

        handle = spawn(careless(left))
        del left
        await right.send_all(b"x")
        with pytest.raises(ValueError, match="forgot"):
            await handle
        async with right:
            return await right.recv(10)

    assert runtime.run(main()) == b""
