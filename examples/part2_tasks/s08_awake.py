"""A waker with a flag: whoever was woken during a turn is polled again before the loop sleeps.

One flag for the whole loop is enough, because each turn polls everybody anyway.  It is cleared
before a turn polls, not after: a wake-up during that turn may come too late for it, and must count
for the next.  A turn too many costs a little; a wake-up that is lost costs the program.

A thread that called this waker while the loop sleeps would set the flag, and the loop would sleep
on.  For those the runtime has a pipe that ends its sleep (`runtime/wakeup.py`).

Among tasks, the runtime's flag is `Task.queued`, one for each task, together with the queue of
those that are ready: `Task.wake` puts the task there unless it stands there already.  So a turn
costs what there is to do, however many tasks there are; here it costs a poll of each of them.  Part
Three ends with what that means for thousands.

The tasks are complete.  Part Three: tasks that wait for sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from ..options import parser
from ..part1_futures.s11_wake_times import sleep_until_first
from . import s05_main_task
from .s07_sleep_forever import join

T = TypeVar("T")


class Awake:
    """A waker that can be asked whether it was called."""

    def __init__(self) -> None:
        self._called = False

    def wake(self) -> None:
        self._called = True

    def clear(self) -> bool:
        """Whether it was called since this was last asked."""
        called, self._called = self._called, False
        return called


def run(main: Coroutine[Any, Any, T], wait: Callable[[], None] = sleep_until_first) -> T:
    """Run `main`, and wait only if nobody was woken meanwhile."""
    awake = Awake()

    def wait_unless_awake() -> None:
        if not awake.clear():
            wait()
            awake.clear()  # whoever it woke is polled next, like everybody

    return s05_main_task.run(main, awake, wait_unless_awake)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    run(join(options.count, options.seconds))
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
