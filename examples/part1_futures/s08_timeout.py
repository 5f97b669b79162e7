"""A timeout by hand: two futures, polled together; whoever is late is polled no more.

Its value is the inner future's, or None if time was up first.  There is no method that cancels:
a future only ever does something when it is polled, so it is enough to stop.  Foo 1 never comes to
its end here, though it would have had the time.

In Rust what is no longer polled is dropped, and its destructors clean up.  A coroutine in Python is
closed (`coro.close()`): its `finally` clauses run, but may not await.  The runtime's `timeout`
raises `Cancelled` inside instead, and goes on polling until the cleanup, which may wait, is over.

Next: futures that contain futures of their own kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Future, Sleep, Waker
from .s02_foo import Foo

T = TypeVar("T")


class Timeout(Future[T | None]):
    """The value of `inner`, or None if it is not ready within so many seconds."""

    def __init__(self, seconds: float, inner: Future[T]) -> None:
        self.limit = Sleep(seconds)
        self.inner = inner

    def poll(self, waker: Waker) -> Ready[T] | Ready[None] | Pending:
        state = self.inner.poll(waker)
        if isinstance(state, Ready):  # asked first: who is ready in time wins a tie
            return state
        return PENDING if self.limit.poll(waker) is PENDING else Ready(None)


async def two(seconds: float) -> None:
    print(await Timeout(seconds / 2, Foo(1, seconds)))
    print(await Timeout(seconds * 2, Foo(2, seconds)))


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, seconds=1.0).parse_args(argv)
    runtime.run(two(options.seconds))


if __name__ == "__main__":
    main()
