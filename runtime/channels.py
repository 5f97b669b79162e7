"""Bounded channels: values on their way from the tasks that send to the tasks that receive.

A channel has two kinds of ends and is over by itself: when the last sender is closed the receivers
get what is left and then the end; when the last receiver is closed, sending fails.  (After trio's
memory channels and tokio's mpsc.)

It is bounded, always: a sender that is faster than the receivers must wait, or the difference piles
up in memory until there is none.  That wait is the backpressure, so there is no size without it.
Size 0 is a rendezvous: a value changes hands only when both are there.

The fact that shaped this file: between being served and running, a receiver can be cancelled.  So a
value is not handed to a receiver but *promised*: it stays in the buffer until the receiver takes it
out in person.  A promise that is broken is passed on, and no value ever has to be put back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Generic, Self, TypeVar

from .cancel import Cancelled
from .closing import Closing
from .errors import BrokenChannel, ClosedError, EndOfChannel, WouldBlock
from .executor import BUDGET
from .leaf import leaf
from .sleep import yield_now
from .task import current_task
from .waiters import Waiter, Waiters

T = TypeVar("T")


def channel(maxsize: int) -> tuple[Sender[T], Receiver[T]]:
    """A channel that holds `maxsize` values, 0 or more.  Raises ValueError for anything else.

    For tasks of one runtime alone.

    >>> async def produce(sender):
    ...     with sender:  # or the receiver would wait for more, for ever
    ...         for n in range(3):
    ...             await sender.send(n)
    >>> async def main():
    ...     sender, receiver = channel(1)
    ...     spawn(produce(sender))
    ...     return [n async for n in receiver]
    >>> run(main())
    [0, 1, 2]
    """
    if not isinstance(maxsize, int) or maxsize < 0:
        raise ValueError(
            f"a channel cannot hold {maxsize!r} values: give a whole number, 0 or more "
            "(without a bound, a slow receiver would cost all the memory)"
        )
    shared: _Shared[T] = _Shared(maxsize)
    return Sender(shared), Receiver(shared)


class _Shared(Generic[T]):
    """What the ends of a channel have in common.

    Invariant: a sender waits only if there is no room and no receiver waits, a receiver only if
    every value in the buffer is promised and no sender waits.  What is in the buffer and not
    promised is at most `maxsize`, and one more for each receiver that broke its promise.
    """

    __slots__ = (
        "buffer",
        "credit",
        "maxsize",
        "open_receivers",
        "open_senders",
        "promised",
        "receivers",
        "senders",
    )

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.buffer: deque[T] = deque()
        #: How many receivers were served and have not run since; each will take one value.
        self.promised = 0
        self.senders = Waiters()
        self.receivers = Waiters()
        self.open_senders = 0
        self.open_receivers = 0
        #: How many more operations may be done at once before one gives way to the other tasks.
        self.credit = BUDGET

    async def give_way(self) -> None:
        """Let the others run: a task that always finds room, or a value, would keep them out."""
        self.credit = BUDGET
        await yield_now()

    @property
    def over(self) -> bool:
        """Nothing is left, and nothing will come.

        While a value is promised it may still be passed on, so a receiver that waits goes on.
        """
        return not (self.open_senders or self.buffer)

    def offer(self, value: T) -> bool:
        """Take in a value if there is room, or a receiver for it; whether there was."""
        if self.receivers:
            self.promise()
        elif len(self.buffer) - self.promised >= self.maxsize:
            return False
        self.buffer.append(value)
        return True

    def promise(self) -> None:
        """The receiver that has waited longest will take a value."""
        self.promised += 1
        self.receivers.serve()

    def break_promise(self) -> None:
        """A receiver will not take its value after all: the next one will, now or later."""
        self.promised -= 1
        if self.receivers:
            self.promise()

    def take(self) -> T:
        """The first value, from the buffer or from the first sender; there must be one."""
        if not self.buffer:
            return self.senders.serve().value  # type: ignore[no-any-return]
        value = self.buffer.popleft()
        if self.senders and len(self.buffer) - self.promised < self.maxsize:
            self.buffer.append(self.senders.serve().value)
        return value


class Sender(Closing, Generic[T]):
    """The end that values go into.  Close it when done, or use it as `with sender:`.

    Several tasks may send through one sender, or each through a `clone`; the channel ends with the
    last of them.  A sender that is dropped is closed.
    """

    __slots__ = ("_open", "_shared", "_waiting")

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared
        self._open = True
        # How many tasks wait here: closing one of ten thousand clones need not wake the others.
        self._waiting = 0
        shared.open_senders += 1

    def __repr__(self) -> str:
        return f"<Sender {_describe(self._shared, self._open)}>"

    async def send(self, value: T) -> None:
        """Put `value` into the channel, waiting for room if need be, first come, first served.

        Raises BrokenChannel if every receiver is closed, ClosedError if this sender is (while it
        waits, too), and Cancelled.  Each of them means that the value was not sent.  So when it was
        taken in the very turn of a cancellation, `send` returns, and the next wait raises.
        """
        shared = self._shared
        shared.credit -= 1
        if shared.credit < 0:
            await shared.give_way()
        if not (self._open and shared.open_receivers):
            self._refuse()
        if not shared.offer(value) and not (await self._wait(value)):
            self._refuse()

    @leaf
    def _wait(self, value: T) -> Generator[None, None, bool]:
        """Wait until the value is taken; False if an end was closed before that."""
        shared, task = self._shared, current_task()
        while task.cancelled:
            # Cancelled is raised here, and no receiver has seen the value.  In the queue, a lively
            # receiver could take one each turn, and the sender would never be stopped.
            yield
        waiter = Waiter(task, value)
        shared.senders[waiter] = None
        self._waiting += 1
        try:
            while waiter in shared.senders:
                if not (self._open and shared.open_receivers):
                    return not shared.senders.left(waiter)
                yield
        except BaseException as error:
            if shared.senders.left(waiter) or not isinstance(error, Cancelled):
                raise
        finally:
            self._waiting -= 1
            del waiter, task  # as in `Waiters.wait`
        return True

    def send_nowait(self, value: T) -> None:
        """Put `value` into the channel at once.

        Raises WouldBlock if there is no room, else as `send` does.
        """
        if not (self._open and self._shared.open_receivers):
            self._refuse()
        if not self._shared.offer(value):
            raise WouldBlock("the channel is full: await send(), or drop the value")

    def _refuse(self) -> None:
        if not self._open:
            raise ClosedError("this sender was closed on this side")
        raise BrokenChannel("every receiver of this channel is closed")

    def clone(self) -> Sender[T]:
        """Another sender of the same channel, to be closed by itself.  Raises ClosedError."""
        if not self._open:
            self._refuse()
        return Sender(self._shared)

    def close(self) -> None:
        """Nothing more is sent here.  What was sent is still received; a second call does nothing.

        A task that waits in `send` gets ClosedError.
        """
        if self._open:
            self._open = False
            shared = self._shared
            shared.open_senders -= 1
            if self._waiting:
                shared.senders.look_again()
            if not shared.open_senders:
                shared.receivers.look_again()

    __del__ = close


class Receiver(Closing, Generic[T]):
    """The end that values come out of.  Close it when done, or use it as `with receiver:`.

    Each value goes to one receiver, the one that has waited longest.  Several tasks may use one
    receiver, or each a `clone`.  `async for` yields values until the end of the channel.  A
    receiver that is dropped is closed.
    """

    __slots__ = ("_open", "_shared", "_waiting")

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared
        self._open = True
        # How many tasks wait here: closing one of ten thousand clones need not wake the others.
        self._waiting = 0
        shared.open_receivers += 1

    def __repr__(self) -> str:
        return f"<Receiver {_describe(self._shared, self._open)}>"

    async def receive(self) -> T:
        """The next value, waiting for it if need be, first come, first served.

        Raises EndOfChannel if nothing is left and every sender is closed, ClosedError if this
        receiver is (while it waits, too), and Cancelled.  Each of them means that no value was
        taken out.
        """
        shared = self._shared
        shared.credit -= 1
        if shared.credit < 0:
            await shared.give_way()
        if not self._open:
            self._refuse()
        if len(shared.buffer) > shared.promised or shared.senders:
            return shared.take()
        if not (await self._wait()):
            self._refuse()
        value = shared.take()
        if shared.over:  # those who waited in case this value was passed on wait in vain
            shared.receivers.look_again()
        return value

    @leaf
    def _wait(self) -> Generator[None, None, bool]:
        """Wait for a value that may be taken; False if none will come here."""
        shared = self._shared
        waiter = Waiter(current_task())
        shared.receivers[waiter] = None
        self._waiting += 1
        try:
            while waiter in shared.receivers:
                if not self._open or shared.over:
                    shared.receivers.left(waiter)
                    return False
                yield
        except BaseException:
            if not shared.receivers.left(waiter):
                shared.break_promise()
            raise
        finally:
            self._waiting -= 1
            del waiter  # as in `Waiters.wait`
        if not self._open:
            shared.break_promise()
            return False
        shared.promised -= 1
        return True

    def receive_nowait(self) -> T:
        """The next value, at once.

        Raises WouldBlock if there is none yet, else as `receive` does.
        """
        shared = self._shared
        if not self._open or shared.over:
            self._refuse()
        if len(shared.buffer) > shared.promised or shared.senders:
            return shared.take()
        raise WouldBlock("the channel is empty: await receive(), or try again later")

    def _refuse(self) -> None:
        if not self._open:
            raise ClosedError("this receiver was closed on this side")
        raise EndOfChannel("every sender of this channel is closed, and nothing is left in it")

    def clone(self) -> Receiver[T]:
        """Another receiver of the same channel, to be closed by itself.  Raises ClosedError."""
        if not self._open:
            self._refuse()
        return Receiver(self._shared)

    def close(self) -> None:
        """Nothing more is received here; a second call does nothing.

        With the last receiver, values that are still in the buffer are dropped: whoever must not
        lose them takes them out first, with `receive_nowait`.  A task that waits in `receive` gets
        ClosedError.
        """
        if self._open:
            self._open = False
            shared = self._shared
            shared.open_receivers -= 1
            if self._waiting:
                shared.receivers.look_again()
            if not shared.open_receivers:
                shared.buffer.clear()
                shared.senders.look_again()

    __del__ = close

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfChannel:
            raise StopAsyncIteration from None


def _describe(shared: _Shared[T], is_open: bool) -> str:
    state = "open" if is_open else "closed"
    return f"{state}, {len(shared.buffer)} of {shared.maxsize} values in the channel"
