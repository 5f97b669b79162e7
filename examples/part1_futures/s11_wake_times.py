"""A main loop that sleeps: sleeps leave their wake times, and the loop waits until the first.

This is the heap of the timer thread, without the thread.  A sleep that is not done adds itself; the
loop polls, looks how long it is until the first of them, and sleeps for so long.  It cannot miss
a newcomer meanwhile, since nobody but what it polls could add one: one thread, and no lock.

When a poll left no wake time behind, nothing would ever end the sleep.  That is a bug in some
future, and the loop asks about it ("sleep forever?") rather than hang.

`runtime/timers.py` is this heap, for a million entries that are mostly taken back before they are
due, and `Executor._poll` in `runtime/executor.py` is `sleep_until_first`.

So there is a future that does many things, and a loop that runs one future.  Part Two wants a loop
that runs many, which come and go: tasks.
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
from .s06_thread_per_waker import PatientSleep
from .s07_timer_thread import WakeTimes
from .s10_busy_main import Nobody

T = TypeVar("T")

#: Of the loop that runs.  (A runtime that can be started twice keeps them in an object, as ours.)
wake_times = WakeTimes()


class Sleep(PatientSleep):
    """Leaves its wake time with the loop."""

    def arrange(self) -> None:
        wake_times.add(self)


def sleep_until_first() -> None:
    """Wait until somebody is due, and wake whoever is."""
    seconds = wake_times.until_first()
    if seconds is None:
        raise RuntimeError("sleep forever?")
    time.sleep(seconds)
    wake_times.wake_due()


def run(future: Future[T]) -> T:
    """Poll until it is ready, and sleep in between."""
    while True:
        state = future.poll(Nobody())
        if isinstance(state, Ready):
            return state.value
        sleep_until_first()


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    joined = JoinAll(Foo(n, options.seconds, Sleep) for n in range(1, options.count + 1))
    began, cpu_before = time.monotonic(), time.process_time()
    run(joined)
    cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
    print(f"{joined.polls:,} polls in {wall:.2f} s, {cpu:.4f} s of them on the CPU")


if __name__ == "__main__":
    main()
