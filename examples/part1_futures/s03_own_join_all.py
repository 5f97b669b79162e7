"""`JoinAll` by hand: one future that polls many, and is ready when all of them are.

So that is how `join_all` awaits many futures "at the same time": it polls one after the other, and
none of them blocks.  There is no thread, and not even a task for each.

All share the one waker that `JoinAll` is given.  When it is woken it cannot know for whose sake, so
it polls everybody who is left: with n children, n polls for one wake-up.  Ten do not mind.  The
runtime's `join_all` makes a task of each instead, and so does everything that must scale; it also
keeps the results, which are dropped here.

Next: sleeps of our own, and what goes wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Future, Waker
from .s02_foo import Foo


class JoinAll(Future[None]):
    """Ready when all of them are."""

    def __init__(self, futures: Iterable[Future[Any]]) -> None:
        self.left = list(futures)
        self.polls = 0  # of the futures, all together

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        self.polls += len(self.left)
        self.left = [future for future in self.left if future.poll(waker) is PENDING]
        return PENDING if self.left else Ready(None)


async def join(count: int, seconds: float) -> None:
    began = runtime.now()
    joined = JoinAll(Foo(n, seconds) for n in range(1, count + 1))
    print("joined, and nothing has started")
    await joined
    print(f"{joined.polls} polls of {count} futures in {runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(join(options.count, options.seconds))


if __name__ == "__main__":
    main()
