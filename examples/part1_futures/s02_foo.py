"""`async def foo(n)` taken apart: a machine of two states, which `poll` moves along.

`Foo` is what stands behind

    async def foo(n):
        print(f"start {n}")
        await sleep(1)
        print(f"end {n}")
        return n

An `await` is a place where `poll` may have to return and find its way back.  So a function with one
of them has two states: before it, and in it.  What must survive from one poll to the next (`n`, and
the future that is awaited) moves from local variables to attributes.  Rust's compiler writes such a
class for each `async fn`; Python needs none, since it can put the whole frame of a function aside.

Ten of them run here as ten tasks of the runtime.  Next: ten of them as one future.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Future, Sleep, Waker

#: Seconds -> a future that is ready after so long; the next steps try several kinds.
MakeSleep: TypeAlias = Callable[[float], Future[None]]


class Foo(Future[int]):
    """Says that it starts, sleeps, and says that it ends."""

    def __init__(self, n: int, seconds: float, sleep: MakeSleep = Sleep) -> None:
        self.n = n
        self.seconds = seconds
        self.sleep = sleep
        self.awaited: Future[None] | None = None  # None is the first state, "not started"

    def poll(self, waker: Waker) -> Ready[int] | Pending:
        if self.awaited is None:
            print(f"start {self.n}")
            self.awaited = self.sleep(self.seconds)
        if self.awaited.poll(waker) is PENDING:
            return PENDING
        print(f"end {self.n}")
        return Ready(self.n)


async def ten(count: int, seconds: float) -> None:
    began = runtime.now()
    await runtime.join_all(Foo(n, seconds) for n in range(1, count + 1))
    print(f"{runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    runtime.run(ten(options.count, options.seconds))


if __name__ == "__main__":
    main()
