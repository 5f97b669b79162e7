"""Wakers: the right to have a task run again, in the hands of somebody outside.

Inside the loop a task is woken by `Task.wake`, which moves it to the ready queue on the spot.
Anybody else (another thread, a signal handler that runs between any two lines) may not touch that
queue, and the loop may be asleep.  So a waker leaves word, and ends the poll.

Wakers are counted, which pays twice: a run in which every task waits and nobody holds a waker can
never end, and can be told so (`Deadlock`); and a future that dropped its waker can be pointed out.
"""

from __future__ import annotations

from typing import Any, final

from .task import Task, current_task


@final
class Waker:
    """Lets a task run again.  Safe from any thread and from signal handlers.

    Wake-ups that come before the task runs are one wake-up, and waking a task that is done does
    nothing.
    """

    __slots__ = ("_called", "_task")

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        #: Whether a wake-up is on its way: a thread that wakes all the time fills no queue.
        self._called = False
        task.executor.wakers[id(self)] = task

    def __del__(self) -> None:
        executor = self._task.executor
        del executor.wakers[id(self)]
        if not executor.wakers:
            executor.look_again()  # it may sleep because of this one

    def wake(self) -> None:
        """Have the task resumed in a turn of its loop."""
        if not self._called:
            self._called = True
            self._task.executor.call_soon(self._arrive)

    def _arrive(self) -> None:
        self._called = False  # first: a wake-up that comes now is a new one
        self._task.wake()


def current_waker() -> Waker:
    """A waker for the task that is running."""
    return Waker(current_task())
