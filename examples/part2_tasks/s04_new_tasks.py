"""Tasks that spawn tasks: new ones wait in a queue until the loop takes them up.

`spawn` is called in the middle of a poll, while the loop goes through its list of tasks.  To append
to that list would change it under the loop's hands (in Rust it does not compile; with a lock around
the list, the loop that holds it while it polls would wait for itself).  So there are two places:
the tasks that the loop has, and those that it has not seen yet.

A new task is polled in the same turn, before the loop sleeps, or its first wake time would come
too late; and since it may spawn in turn, until no new one is left.  A task that spawns a task that
spawns a task without end would keep the loop from ever sleeping.  The runtime has one queue of the
tasks that are ready, new ones among them, and each turn takes only those that stood there when the
turn began.

Next: which of these tasks is the program?
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from runtime import PENDING

from ..options import parser
from ..part1_futures.s01_sleep import Waker
from ..part1_futures.s10_busy_main import Nobody
from ..part1_futures.s11_wake_times import sleep_until_first
from .s02_async_def import Async, foo

Task = Async[Any]

#: Spawned, and never polled so far.
new_tasks: deque[Task] = deque()


def spawn(coro: Coroutine[Any, Any, Any]) -> None:
    """Have it run in the background."""
    new_tasks.append(Async(coro))


def poll_all(tasks: list[Task], waker: Waker) -> list[Task]:
    """Poll each, and those that are spawned meanwhile; the ones that are not done."""
    left = [task for task in tasks if task.poll(waker) is PENDING]
    while new_tasks:
        task = new_tasks.popleft()
        if task.poll(waker) is PENDING:
            left.append(task)
    return left


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it, and all that it spawns, to the last."""
    spawn(main)
    tasks: list[Task] = []
    while tasks := poll_all(tasks, Nobody()):
        sleep_until_first()


async def spawn_some(count: int, seconds: float) -> None:
    for n in range(1, count + 1):
        spawn(foo(n, seconds))
    print(f"spawned {count}")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    run(spawn_some(options.count, options.seconds))
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
