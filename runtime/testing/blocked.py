"""Until nothing moves: the end of "give the others a moment to get there".

A test wants to act when the task under test waits: for bytes, for a lock, for time.  Sleeping
until it surely does is slow and never sure.  But the loop knows: a turn begins with a poll of the
descriptors and ends with the ready tasks, so a task that comes around and finds nobody else on the
ready queue has seen every other one wait.  (Trio's idea and name; what it takes here is the length
of a queue.)
"""

from __future__ import annotations

from typing import Any, Final

from ..sleep import yield_now
from ..task import Task, current_executor, current_task

#: Those who wait here: to one another they count as blocked.
_waiting: Final[set[Task[Any]]] = set()


async def wait_all_tasks_blocked() -> None:
    """Wait until every other task waits for something that is not there yet.

    What the kernel has for them by then counts as there; what a thread, another process or the
    clock will bring does not.  A task that never waits but for its turn keeps this from returning.
    """
    me, executor = current_task(), current_executor()
    _waiting.add(me)
    try:
        quiet = 0
        while quiet < 2:  # what a waker has called for in one turn is ready in the next
            await yield_now()
            waiting = sum(task.queued for task in _waiting if task.executor is executor)
            quiet = quiet + 1 if executor.ready == waiting else 0
    finally:
        _waiting.discard(me)
