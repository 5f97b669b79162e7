"""Who blocks the loop: a thread that looks, and tells while it happens.

A call that blocks inside a task (`time.sleep`, a long calculation) stops every other task, and by
the time it is over there is nothing to be seen.  So a thread looks at the loop from outside.  The
loop keeps two notes anyway, how many turns it has made and which task runs; a task runs once a
turn, so **the same turn with the same task, look after look, is one and the same step**, and the
stack of the loop's thread shows the line that is guilty.

It does not cry wolf.  A loop that waits in its poll runs no task, so idleness cannot look like
blocking.  And looks are counted, not seconds: if the whole process was stopped, or the machine was
busy elsewhere, the watchdog has slept as long as the loop.  The cost is one look of a few
microseconds twice per threshold, and nothing at all on the path of an I/O operation.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
from math import inf
from typing import Any

from .closing import Closing
from .stack import thread_stack
from .task import Task, current_executor

log = logging.getLogger("runtime")

#: Looks in a row at the same step before it is told; the first only notes it.
LOOKS = 3


class Watchdog(Closing):
    """Watches the loop of the thread it was made in, until it is closed or the run ends."""

    def __init__(self, threshold: float, last_resort: float = inf) -> None:
        if not threshold > 0:
            raise ValueError(f"a threshold of {threshold} seconds would report everything")
        if not last_resort > threshold:
            raise ValueError(
                f"a last resort after {last_resort} seconds would come before the report; "
                f"give more than the threshold of {threshold}"
            )
        self._last_resort = last_resort
        self._executor = current_executor()
        self._loop_thread = threading.get_ident()
        self._interval = threshold / (LOOKS - 1)
        self._closed = threading.Event()
        # To start a thread is to wait for it, and that is no fault of the task's.
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._executor.at_exit[self.close] = None
        self._thread.start()
        self._started.set()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join()
        if self._last_resort != inf:
            faulthandler.cancel_dump_traceback_later()
        self._executor.at_exit.pop(self.close, None)

    def _watch(self) -> None:
        executor = self._executor
        before: tuple[int, Task[Any] | None] = (-1, None)
        looks = 0
        self._started.wait()
        while not self._closed.wait(self._interval):
            self._put_off_last_resort()
            step = (executor.turns, executor.current)
            if step[1] is None or step != before:
                before, looks = step, 1
                continue
            looks += 1
            if looks == LOOKS:  # once an episode, however long it lasts
                self._report(step[1])

    def _put_off_last_resort(self) -> None:
        """Python's fault handler dumps all stacks, unless it is put off again in time.

        It waits in C, so it works when a call keeps the interpreter to itself and no thread can
        run Python, this one included.
        """
        if self._last_resort != inf:
            faulthandler.dump_traceback_later(self._last_resort)

    def _report(self, task: Task[Any]) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(f"\n    at {place}" for place in thread_stack(frame, task.coro))
        log.warning(
            "task %r has blocked the loop for %.0f ms and still does; no other task can run. "
            "Await instead, or hand the call to run_in_thread.%s",
            task.name,
            self._interval * (LOOKS - 1) * 1000,
            stack,
        )


def detect_blocking(threshold: float = 0.1, *, last_resort: float = inf) -> Watchdog:
    """Log a warning, with the stack, about any task that keeps the loop for `threshold` seconds.

    Told while it blocks, once an episode, between one and one and a half thresholds after it began.
    Ends with the run, with `close()`, or with a `with` block.

    A call into C that never lets go of the interpreter stops the watchdog as well.  With
    `last_resort`, in seconds, the interpreter's fault handler then writes the stacks of all threads
    to standard error (`faulthandler.dump_traceback_later`, of which a process has only one).

    Raises ValueError for a threshold that is not above 0, or a last resort that is not above it.
    """
    return Watchdog(threshold, last_resort)
