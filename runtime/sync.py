"""What tasks wait for from one another: an event, and a bounded number of permits.

No locks are needed inside: tasks of one executor run one at a time and change hands only where
they wait.  So these are for tasks alone; a thread or a signal handler wakes a task by a `Waker`.
Everything here is first come, first served, and a waiter that is cancelled leaves the queue and
passes on what it was about to get.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Any

from .leaf import leaf
from .task import Task, current_task


class Event:
    """Something that has happened or not; once it has, nobody waits for it any more."""

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: dict[Task[Any], None] = {}

    @property
    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def set(self) -> None:
        """It has happened: wake everybody."""
        self._set = True
        for task in self._waiters:
            task.wake()

    @leaf
    def wait(self) -> Generator[None, None, None]:
        """Wait until it has happened."""
        task = current_task()
        self._waiters[task] = None
        try:
            while not self._set:
                yield
        finally:
            del self._waiters[task]


class Semaphore:
    """A number of permits.  `acquire` waits for one, first come, first served.

    Invariant: a permit is free, or held, or on its way to exactly one waiter; the three add up.
    """

    __slots__ = ("_free", "_granted", "_waiters")

    def __init__(self, permits: int) -> None:
        if permits < 0:
            raise ValueError(f"a semaphore cannot have {permits} permits")
        self._free = permits
        self._waiters: deque[Task[Any]] = deque()
        # Waiters that a permit was given to and that have not run since.
        self._granted: set[Task[Any]] = set()

    @property
    def free(self) -> int:
        """How many permits nobody holds."""
        return self._free

    def release(self) -> None:
        """Give a permit back, to the one that has waited longest if there is one."""
        if self._waiters:
            task = self._waiters.popleft()
            self._granted.add(task)
            task.wake()
        else:
            self._free += 1

    @leaf
    def acquire(self) -> Generator[None, None, None]:
        """Take a permit, waiting for one if need be."""
        if self._free:
            self._free -= 1
            return
        task = current_task()
        self._waiters.append(task)
        try:
            while task not in self._granted:
                yield
        except BaseException:
            if task in self._granted:
                self._granted.discard(task)
                self.release()
            else:
                self._waiters.remove(task)
            raise
        self._granted.discard(task)

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
