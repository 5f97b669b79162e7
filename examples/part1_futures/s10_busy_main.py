"""A main loop of our own, the smallest: poll until it is ready.

Nothing of the runtime runs from here on; of it there is left what a future is (`Ready`, `PENDING`
and `poll`).  `Foo` and `JoinAll` are those of before and notice nothing.

A loop that polls all the time needs no waker, so it hands out one that does nothing; and for such
a loop the sleep that forgot its waker was right all along.  It keeps a core busy, of course, like
the busy sleep.  That is one mistake in two places: somebody polls without having been woken.

Next: a loop that knows when to poll again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

from runtime import Ready

from ..options import parser
from .s01_sleep import Future
from .s02_foo import Foo
from .s03_own_join_all import JoinAll
from .s04_never_woken import NeverWoken

T = TypeVar("T")


class Nobody:
    """A waker for loops that poll anyway."""

    def wake(self) -> None:
        pass


def run(future: Future[T]) -> T:
    """Poll until it is ready."""
    while True:
        state = future.poll(Nobody())
        if isinstance(state, Ready):
            return state.value


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    joined = JoinAll(Foo(n, options.seconds, NeverWoken) for n in range(1, options.count + 1))
    began, cpu_before = time.monotonic(), time.process_time()
    run(joined)
    cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
    print(f"{joined.polls:,} polls in {wall:.2f} s, {cpu:.2f} s of them on the CPU")


if __name__ == "__main__":
    main()
