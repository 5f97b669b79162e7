"""trio as a guest on this runtime's loop, and our streams as trio sees streams.

trio's conformance suite for streams is older and pickier than any of ours, but it awaits what only
trio understands. So trio runs as a guest: its scheduler takes its turns inside one task of ours,
woken by our wakers, while the reading and writing is done by other tasks of ours, on our reactor.
A trio task that calls a stream waits until the task that does it has ended; if it is cancelled,
that task is cancelled, and what became of the operation is what the trio task gets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NoReturn, TypeVar, cast

import outcome
import trio
from trio.lowlevel import (
    Abort,
    checkpoint,
    checkpoint_if_cancelled,
    reschedule,
    start_guest_run,
    wait_task_rescheduled,
)

from runtime import (
    BrokenError,
    BusyError,
    ByteStream,
    Cancelled,
    CancelScope,
    ClosedError,
    Stream,
    TaskGroup,
    current_task,
    current_waker,
    park,
)
from runtime.leaf import leaf
from runtime.readiness import wait_writable
from runtime.task import Task, current_executor
from runtime.testing import MemoryStream

T = TypeVar("T")

READ_SIZE = 65536


class Host:
    """What a guest run asks of the loop that it is a guest of; the task that makes it lends it."""

    def __init__(self, group: TaskGroup) -> None:
        self.group = group
        self.waker = current_waker()
        self.calls: deque[Callable[[], object]] = deque()
        self.outcome: outcome.Outcome[Any] | None = None

    def run_soon(self, call: Callable[[], object]) -> None:
        """From any thread."""
        self.calls.append(call)
        self.waker.wake()

    def done(self, result: outcome.Outcome[Any]) -> None:
        self.outcome = result

    async def run(self) -> Any:
        while self.outcome is None:
            while self.calls:
                self.calls.popleft()()
            if self.outcome is None:
                await park()
        return self.outcome.unwrap()

    async def ask(self, operation: Callable[[], Awaitable[T]]) -> T:
        """From a trio task: have a task of ours do something, and wait for it."""
        await checkpoint_if_cancelled()
        caller = trio.lowlevel.current_task()
        cancelled: list[Callable[[], NoReturn]] = []

        async def carry_out() -> None:
            result: outcome.Outcome[T] = outcome.Error(RuntimeError("the run came to its end"))
            try:
                result = outcome.Value(await operation())
            except Exception as error:
                result = outcome.Error(error)
            except BaseException:
                if cancelled:
                    result = cast("outcome.Outcome[T]", outcome.capture(cancelled[0]))
                raise
            finally:
                reschedule(caller, result)

        def abort(raise_cancel: Callable[[], NoReturn]) -> Abort:
            cancelled.append(raise_cancel)
            task.cancel()
            return Abort.FAILED  # until our task has really let go of the stream

        task: Task[None] = self.group.spawn(carry_out(), name=f"for {caller.name}")
        return cast(T, await wait_task_rescheduled(abort))


async def run_on_trio(main: Callable[[Host], Awaitable[T]]) -> T:
    """Run `main(host)` on trio, as a guest of the loop of the calling task."""
    async with TaskGroup() as group:
        host = Host(group)
        scope = trio.CancelScope()

        async def guest() -> T:
            with scope:
                return await main(host)
            raise RuntimeError("the host's task was cancelled")

        start_guest_run(
            guest,
            run_sync_soon_threadsafe=host.run_soon,
            done_callback=host.done,
            host_uses_signal_set_wakeup_fd=True,
        )
        try:
            result = await host.run()
        except Cancelled:
            scope.cancel()  # trio must come to its end, or no other run of it can begin
            with CancelScope(shield=True):
                await host.run()
            raise
    return cast(T, result)


class TrioStream(trio.abc.HalfCloseableStream):
    """A stream of ours, seen from trio."""

    def __init__(self, host: Host, stream: ByteStream) -> None:
        self._host = host
        self.stream = stream

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._host.ask(operation)
        except ClosedError as error:
            raise trio.ClosedResourceError from error
        except BusyError as error:
            raise trio.BusyResourceError from error
        except BrokenError as error:
            raise trio.BrokenResourceError from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        limit = READ_SIZE if max_bytes is None else max_bytes
        return await self._ask(lambda: self.stream.recv(limit))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._ask(lambda: self.stream.send_all(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Not an operation of ours: send nothing, if there is room."""
        await self._ask(lambda: until_writable(self.stream))

    async def send_eof(self) -> None:
        async def send_eof() -> None:
            self.stream.send_eof()

        await self._ask(send_eof)

    async def aclose(self) -> None:
        self.stream.close()
        await checkpoint()


async def until_writable(stream: ByteStream) -> None:
    """Wait as `send_all` does for room, and send nothing."""
    await stream.send_all(b"")  # raises what is wrong with the stream
    if isinstance(stream, Stream):
        if not stream.writable:
            await _socket_writable(stream)
    else:
        assert isinstance(stream, MemoryStream)
        await _memory_writable(stream)
    await stream.send_all(b"")


@leaf
def _socket_writable(stream: Stream) -> Generator[None, None, None]:
    yield from wait_writable(stream, current_executor())


@leaf
def _memory_writable(stream: MemoryStream) -> Generator[None, None, None]:
    pipe = stream._outgoing
    pipe.writer = current_task()
    try:
        while not pipe.portion(1) and not pipe.finished and pipe.refusal is None:
            yield
    finally:
        pipe.writer = None
