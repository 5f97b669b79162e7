"""Queues of tasks that wait: first come, first served, with a way out for those who are cancelled.

A waiter is served by taking it *out of the queue*; what it waited for is decided at that moment,
not when it runs.  So nobody who comes in between can be faster, and a wake-up alone, which may be
spurious, means nothing.

The fact that shaped this file: between being served and running, a task can be cancelled.  What it
was served then must go to somebody else, or a permit is lost and everybody behind it waits for
ever.  (asyncio lost notifications that way for years, cpython#112202.)  That is why `wait` asks
whoever waits how to pass on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Any

from .leaf import leaf
from .task import Task, current_task


class Waiter:
    """One wait of one task, and what the task brought with it."""

    __slots__ = ("task", "value")

    def __init__(self, task: Task[Any], value: Any = None) -> None:
        self.task = task
        self.value = value


class Waiters(OrderedDict[Waiter, None]):
    """Those who wait, the one that came first in front.

    Invariant: a waiter stands here until it is served or gives up, whichever comes first.

    An OrderedDict is a linked list that can be searched: ten thousand waits that time out leave it
    in any order, at the same small cost each.  An empty one weighs 136 bytes, a deque 768.
    """

    __slots__ = ()

    @leaf
    def wait(self, pass_on: Callable[[], object]) -> Generator[None, None, None]:
        """Wait at the end of the queue until served.

        Raises Cancelled; if that comes after it was served, `pass_on()` has been called.
        """
        waiter = Waiter(current_task())
        self[waiter] = None
        try:
            while waiter in self:
                yield
        except BaseException:
            if not self.left(waiter):
                pass_on()
            raise
        finally:
            del waiter  # a task that fails by this may refer to the frame, which is a cycle

    def left(self, waiter: Waiter) -> bool:
        """Give up; whether that was in time.  If not, it was served before."""
        if waiter not in self:
            return False
        del self[waiter]
        return True

    def serve(self) -> Waiter:
        """Take out the one that has waited longest, and have it run."""
        waiter, _ = self.popitem(last=False)
        waiter.task.wake()
        return waiter

    def look_again(self) -> None:
        """Wake everybody where they stand.  From any thread, since destructors run in any."""
        for waiter in tuple(self):
            waiter.task.executor.call_soon(waiter.task.wake)
