"""A thread for each sleep, which wakes it when the time has come: no spinning, many threads.

The third job of `poll` at last: it hands the waker to somebody who will call it.  Two things are
easily got wrong.  A future may be polled any number of times before it is ready (`JoinAll` does
so), and must not start a thread each time.  And it may be polled by somebody else than before, so
the waker that counts is the latest: the thread looks it up when it is time, not when it starts.

But this is a thread for each sleeper, which is what all this was meant to do without.  It dies as
the threads did: try `--count 100000`, in a shell whose memory is bounded (`ulimit -v 1000000`).

Next: one thread for all.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Sequence

import runtime
from runtime import PENDING, Pending, Ready

from ..options import parser
from .s01_sleep import Waker
from .s02_foo import Foo
from .s03_own_join_all import JoinAll
from .s04_never_woken import NeverWoken


class PatientSleep(NeverWoken):
    """Keeps the waker of its last poll, and arranges once for somebody to call `wake_up`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.waker: Waker | None = None

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        state = super().poll(waker)
        if state is PENDING:
            is_first, self.waker = self.waker is None, waker
            if is_first:
                self.arrange()
        return state

    @abstractmethod
    def arrange(self) -> None:
        """See to it that `wake_up` is called when the time has come."""

    def wake_up(self) -> None:
        assert self.waker is not None  # it was polled before anything was arranged
        self.waker.wake()


class ThreadSleep(PatientSleep):
    """Has a thread of its own, which sleeps in its stead."""

    def arrange(self) -> None:
        threading.Thread(target=self.sleep_for_it, daemon=True).start()

    def sleep_for_it(self) -> None:
        while (left := self.wake_time - time.monotonic()) > 0:
            time.sleep(left)
        self.wake_up()


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    threads_before = threading.active_count()
    began = time.monotonic()
    try:
        runtime.run(
            JoinAll(Foo(n, options.seconds, ThreadSleep) for n in range(1, options.count + 1))
        )
    except RuntimeError as error:
        threads = threading.active_count() - threads_before
        sys.exit(f"{threads:,} threads, and not one more: {error}")
    print(f"{options.count:,} threads, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
