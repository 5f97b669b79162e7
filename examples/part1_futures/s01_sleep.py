"""A future is something to poll: a sleep, polled twice and not a million times.

`poll` has three jobs: to say whether it is done (`Ready` with a value, or `PENDING`), not to block
meanwhile, and, if it is not done, to see to it that somebody calls `waker.wake()` once it is worth
asking again.  Nobody polls in a busy loop, then: this sleep is asked when it begins and when its
time has come.

It borrows the runtime's timer, and polls that as Python polls anything that can be awaited: take
one step; `StopIteration` means ready.  The runtime leaves the wake-up with its timers in that
step, so the waker stays unused here, and only here: step 04 shows what a sleep of our own must do.

Next: a future that is made of another one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser

T = TypeVar("T")


class Waker(Protocol):
    """Whom a future tells that it is worth polling again.  The runtime's is one; ours will be."""

    def wake(self) -> None: ...


class Future(runtime.Future[T]):
    """The runtime's base class, content with any waker: later steps poll without the runtime."""

    @abstractmethod
    def poll(self, waker: Waker) -> Ready[T] | Pending: ...


class Sleep(Future[None]):
    """The runtime's sleep as a future, which counts how often it is asked."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps: Iterator[None] | None = None
        self.polls = 0

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        self.polls += 1
        if self.steps is None:  # only now: a future that nobody polls does nothing
            self.steps = runtime.sleep(self.seconds).__await__()
        try:
            next(self.steps)
        except StopIteration:
            return Ready(None)
        return PENDING


async def nap(seconds: float) -> None:
    began = runtime.now()
    sleep = Sleep(seconds)
    await sleep
    print(f"polled {sleep.polls} times in {runtime.now() - began:.2f} s")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, seconds=1.0).parse_args(argv)
    runtime.run(nap(options.seconds))


if __name__ == "__main__":
    main()
