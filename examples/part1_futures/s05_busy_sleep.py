"""A sleep that wakes itself at once: it works, and burns a whole core to do nothing.

One line mends the hang: whoever returns `PENDING` calls `wake()` before that.  The task goes to the
back of the ready queue, is polled, wakes itself, is polled ...  Others have their turn in between,
so the program is right.  It just asks what time it is as often as it can.

Next: somebody else to do the waking, later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Waker
from .s02_foo import Foo
from .s03_own_join_all import JoinAll
from .s04_never_woken import NeverWoken


class BusySleep(NeverWoken):
    """Asks to be asked again at once."""

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        state = super().poll(waker)
        if state is PENDING:
            waker.wake()
        return state


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    joined = JoinAll(Foo(n, options.seconds, BusySleep) for n in range(1, options.count + 1))
    began, cpu_before = time.monotonic(), time.process_time()
    runtime.run(joined)
    cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
    print(f"{joined.polls:,} polls in {wall:.2f} s, {cpu:.2f} s of them on the CPU")


if __name__ == "__main__":
    main()
