"""A channel for one value: the answer to a question, sent once and received once.

Sending never waits, because there is always room.  Either end may give up, and the other one is
told: a receiver whose sender was dropped gets an error instead of waiting for ever, a sender whose
receiver was dropped learns that nobody wants the answer.  (After tokio's oneshot.)

The fact that shaped this file: the value stays with the channel until the receiver takes it.  A
wait that is cancelled has therefore lost nothing; await the receiver again and it is there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar, cast

from .closing import Closing
from .errors import BrokenChannel, BusyError, ClosedError, EndOfChannel
from .task import Task, current_task

T = TypeVar("T")


def oneshot() -> tuple[OneshotSender[T], OneshotReceiver[T]]:
    """A channel for one value.  For tasks of one runtime alone.

    >>> async def main():
    ...     sender, receiver = oneshot()
    ...     async def answer():
    ...         sender.send(42)
    ...     spawn(answer())
    ...     return await receiver
    >>> run(main())
    42
    """
    shared: _Shared[T] = _Shared()
    return OneshotSender(shared), OneshotReceiver(shared)


class _Shared(Generic[T]):
    """What the two ends have in common.

    Invariant: there is a `value` from the `send` to the moment that it is received or dropped, and
    never again.
    """

    __slots__ = ("received", "receiver_open", "sender_open", "sent", "value", "waiter")

    def __init__(self) -> None:
        self.value: T | None = None
        self.sent = False
        self.received = False
        self.waiter: Task[Any] | None = None
        self.sender_open = True
        self.receiver_open = True

    def look_again(self) -> None:
        """Wake the receiver where it waits.  From any thread, since destructors run in any."""
        waiter = self.waiter
        if waiter is not None:
            waiter.executor.call_soon(waiter.wake)


class OneshotSender(Closing, Generic[T]):
    """The end that the value goes into.  One that is dropped is closed."""

    __slots__ = ("_shared",)

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared

    def send(self, value: T) -> None:
        """Give the receiver its value, at once.

        Raises BrokenChannel if the receiver is closed, ClosedError if this sender is, RuntimeError
        if it has sent its value already.
        """
        shared = self._shared
        if shared.sent:
            raise RuntimeError("a oneshot takes one value, and it was sent; use a channel for more")
        if not shared.sender_open:
            raise ClosedError("this sender was closed on this side")
        if not shared.receiver_open:
            raise BrokenChannel("the receiver of this oneshot is closed")
        shared.sent, shared.value = True, value
        if shared.waiter is not None:
            shared.waiter.wake()

    def close(self) -> None:
        """Give up: without a value, the receiver gets EndOfChannel; after it, nothing changes."""
        if self._shared.sender_open:
            self._shared.sender_open = False
            self._shared.look_again()

    __del__ = close


class OneshotReceiver(Closing, Generic[T]):
    """The end that the value comes out of: `await receiver`.  One that is dropped is closed."""

    __slots__ = ("_shared",)

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared

    def __await__(self) -> Generator[None, None, T]:
        """The value, waiting for it if need be.

        Raises EndOfChannel if the sender was closed without one, ClosedError if this receiver is
        closed (while it waits, too), BusyError if another task waits for it, RuntimeError if the
        value was received already, and Cancelled.
        """
        shared = self._shared
        if shared.waiter is not None:
            raise BusyError("another task waits for this oneshot; one at a time")
        if not self._settled():
            shared.waiter = current_task()
            try:
                while not self._settled():
                    yield
            finally:
                shared.waiter = None
        return self._take()

    def _settled(self) -> bool:
        """Whether waiting would change nothing."""
        shared = self._shared
        return shared.sent or not (shared.sender_open and shared.receiver_open)

    def _take(self) -> T:
        shared = self._shared
        if shared.received:
            raise RuntimeError("the value of this oneshot was received already; there is only one")
        if not shared.receiver_open:
            raise ClosedError("this receiver was closed on this side")
        if not shared.sent:
            raise EndOfChannel("the sender of this oneshot was closed without sending a value")
        value, shared.value, shared.received = shared.value, None, True
        return cast(T, value)

    def close(self) -> None:
        """Nobody wants the value any more: `send` is told, one that was sent is dropped."""
        if self._shared.receiver_open:
            self._shared.receiver_open = False
            self._shared.value = None
            self._shared.look_again()

    __del__ = close
