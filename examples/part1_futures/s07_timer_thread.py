"""One thread for all sleeps: it keeps their wake times in order and sleeps until the first.

A sleep adds itself to a heap.  The thread sleeps until the first of them is due, wakes it, and goes
on with the next; a newcomer that is due before all others interrupts that, hence the condition
variable.  Ten thousand sleepers are one thread.

Runtimes have worked like this.  Ours does not, because it has a thread that knows when to wait and
for how long already: the loop itself.

Next, no thread but our own: we leave the runtime, and write the loop.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Sequence
from functools import partial
from itertools import count
from types import TracebackType
from typing import Self

import runtime

from ..options import parser
from .s02_foo import Foo
from .s03_own_join_all import JoinAll
from .s06_thread_per_waker import PatientSleep


class WakeTimes:
    """Sleeps, those that are due first in front."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, PatientSleep]] = []
        self._numbers = count()  # so that equal times are served in turn, and sleeps not compared

    def add(self, sleep: PatientSleep) -> None:
        heapq.heappush(self._heap, (sleep.wake_time, next(self._numbers), sleep))

    def until_first(self) -> float | None:
        """Seconds until the first is due, 0 if it is; None if there is none."""
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def wake_due(self) -> None:
        """Wake all that are due, and forget them."""
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, _, sleep = heapq.heappop(self._heap)
            sleep.wake_up()

    def clear(self) -> None:
        self._heap.clear()


class TimerThread:
    """A thread that wakes sleeps, for the length of a block."""

    def __init__(self) -> None:
        self._wake_times = WakeTimes()
        self._changed = threading.Condition()  # its lock guards both of the others
        self._closed = False
        self._thread = threading.Thread(target=self._work)

    def add(self, sleep: PatientSleep) -> None:
        with self._changed:
            self._wake_times.add(sleep)
            self._changed.notify()

    def _work(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(self._wake_times.until_first())
                self._wake_times.wake_due()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()


class TimerSleep(PatientSleep):
    """Leaves its waker with a timer thread."""

    def __init__(self, timers: TimerThread, seconds: float) -> None:
        super().__init__(seconds)
        self.timers = timers

    def arrange(self) -> None:
        self.timers.add(self)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    with TimerThread() as timers:
        sleep = partial(TimerSleep, timers)
        runtime.run(JoinAll(Foo(n, options.seconds, sleep) for n in range(1, options.count + 1)))
    print(f"{options.count:,} sleeps, 1 thread, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
