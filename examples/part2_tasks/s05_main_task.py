"""The main task: when it ends the program ends, whatever the others are doing.

A server has tasks that never end, so a loop that waits for all of them would be one that never
ends, too.  As with threads that nobody joins, one task is the program.  The others are cut off
where they stand: all of them start here, and nobody comes to an end.

This loop is the one that Part Three waits for sockets with, so what it hands to its tasks and how
it waits are parameters: the next steps need a better waker than one that does nothing, and then
more to wait for than time.

Cut off means closed: the `finally` clauses of each coroutine run, but cannot await.  The runtime
cancels instead: it raises `Cancelled` where each task waits, and polls on until their cleanup is
over.

Next: how the main task can wait for the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from runtime import Ready

from ..options import parser
from ..part1_futures.s01_sleep import Waker
from ..part1_futures.s10_busy_main import Nobody
from ..part1_futures.s11_wake_times import sleep_until_first, wake_times
from .s02_async_def import Async, Sleep, foo
from .s04_new_tasks import Task, new_tasks, poll_all, spawn

T = TypeVar("T")


def run(
    main: Coroutine[Any, Any, T],
    waker: Waker | None = None,
    wait: Callable[[], None] = sleep_until_first,
) -> T:
    """Run `main` to its end, and the others as long as that takes."""
    waker = waker or Nobody()
    main_task = Async(main)
    tasks: list[Task] = []
    try:
        while True:
            state = main_task.poll(waker)
            if isinstance(state, Ready):
                return state.value
            tasks = poll_all(tasks, waker)
            wait()
    finally:
        for task in (main_task, *tasks, *new_tasks):
            task.coro.close()
        new_tasks.clear()
        wake_times.clear()


async def leave_early(count: int, seconds: float) -> None:
    for n in range(1, count + 1):
        spawn(foo(n, seconds))
    await Sleep(seconds / 2)
    print("main ends")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    run(leave_early(options.count, options.seconds))
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
