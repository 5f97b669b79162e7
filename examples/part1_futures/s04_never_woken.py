"""A sleep that forgets its waker: everybody starts, and nobody is ever polled again.

This one looks at the clock, and does two of `poll`'s three jobs: it does not block, and it says
truthfully whether it is done.  But it leaves word with nobody.  The first poll prints the starts;
there is no second one, so it does not help that time passes.

Most runtimes hang here, without a word, which is the worst that a program can do.  Ours counts the
wakers that are held: no task is ready, no timer is set, nobody has a waker, so the run can never go
on.  It says so in a warning that names the future whose `poll` it called (`JoinAll`, which passed
the waker on to ten that all dropped it), and ends with `Deadlock`.

Next: the quickest way to mend it, and the worst.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Future, Waker
from .s02_foo import Foo
from .s03_own_join_all import JoinAll


class NeverWoken(Future[None]):
    """Ready once its time has come, if only somebody asked."""

    def __init__(self, seconds: float) -> None:
        self.wake_time = time.monotonic() + seconds

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        if time.monotonic() >= self.wake_time:
            return Ready(None)
        return PENDING


async def join(count: int, seconds: float) -> None:
    await JoinAll(Foo(n, seconds, NeverWoken) for n in range(1, count + 1))


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    try:
        runtime.run(join(options.count, options.seconds))
    except runtime.Deadlock as deadlock:
        print(f"Deadlock: {deadlock}")


if __name__ == "__main__":
    main()
