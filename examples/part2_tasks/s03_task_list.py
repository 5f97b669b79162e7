"""A main loop over a list of tasks: poll each, drop those that are ready, sleep, again.

The loop of Part One ran one future, and `JoinAll` made one of many.  Here the list moves from the
future into the loop, and that is what a task is: a future that the loop itself polls.  Whoever asks
why the runtime needs no `JoinAll` at its bottom finds the answer in this comparison.

Every task is polled for every wake-up, as in `JoinAll`: that stays so until the end of Part Three.
The runtime has a waker for each task instead, and polls who was woken.

Next: a list that grows while it is worked through.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from runtime import PENDING

from ..options import parser
from ..part1_futures.s10_busy_main import Nobody
from ..part1_futures.s11_wake_times import sleep_until_first
from .s02_async_def import Async, Future, foo


def run_all(tasks: Iterable[Future[Any]]) -> None:
    """Run all to their ends."""
    left = list(tasks)
    while left := [task for task in left if task.poll(Nobody()) is PENDING]:
        sleep_until_first()


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    run_all(Async(foo(n, options.seconds)) for n in range(1, options.count + 1))
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
