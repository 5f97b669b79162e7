"""Recursion: a future that holds a smaller one of its own kind, and what that costs.

In Rust a future holds the ones it awaits inside of itself, so one of its own kind would make it
infinitely large, and has to be put in a box.  In Python everything is in a box already, and an
`async def` may simply await itself.

What does not vanish: to resume the innermost, each poll goes down the whole chain from the top, in
Python's `send` as in the class below.  So a chain can be as deep as calls can (a thousand, unless
Python is told otherwise), and each wake-up makes as many calls.

Next: we leave the runtime, and write the loop that polls.
"""

from __future__ import annotations

from collections.abc import Sequence

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Future, Sleep, Waker


async def factorial(n: int) -> int:
    """n! with a rest at the bottom."""
    if n == 0:
        await runtime.sleep(0.01)
        return 1
    return n * await factorial(n - 1)


class One(Future[int]):
    """1, after the rest at the bottom."""

    def __init__(self) -> None:
        self.rest = Sleep(0.01)

    def poll(self, waker: Waker) -> Ready[int] | Pending:
        return PENDING if self.rest.poll(waker) is PENDING else Ready(1)


class Factorial(Future[int]):
    """The same by hand."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.smaller: Future[int] | None = None
        self.polls = 0

    def poll(self, waker: Waker) -> Ready[int] | Pending:
        self.polls += 1
        if self.smaller is None:
            self.smaller = One() if self.n == 1 else Factorial(self.n - 1)
        state = self.smaller.poll(waker)
        return Ready(self.n * state.value) if isinstance(state, Ready) else PENDING


async def both_ways(n: int) -> None:
    by_hand = Factorial(n)
    print(
        f"{n}! = {await factorial(n)} = {await by_hand}, the outermost polled {by_hand.polls} times"
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10).parse_args(argv)
    try:
        runtime.run(both_ways(options.count))
    except RecursionError as error:
        print(f"{options.count} deep: {error}")


if __name__ == "__main__":
    main()
