"""One task at a time, and waiting for the others to change something meanwhile.

Between two waits a task is alone anyway, so a lock is only for what must not be disturbed *across*
a wait: a request and its answer on a shared connection, say.

The fact that shaped this file: a lock belongs to a task.  Release it twice, or take it twice, and
an owner that is known turns a hang, or two tasks inside, into an error on the line that is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from .scopes import CancelScope
from .task import Task, current_task
from .waiters import Waiters

T = TypeVar("T")


class Lock:
    """What one task holds at a time, handed over first come, first served.

    Invariant: the owner is the one task that holds it, or that it is on its way to; nobody waits
    while there is no owner.

    >>> async def main():
    ...     lock = Lock()
    ...     async with lock:
    ...         return lock.locked
    >>> run(main())
    True
    """

    __slots__ = ("_owner", "_waiters")

    def __init__(self) -> None:
        self._owner: Task[Any] | None = None
        self._waiters = Waiters()

    def __repr__(self) -> str:
        held = "free" if self._owner is None else f"held by task {self._owner.name!r}"
        return f"<Lock {held}, {len(self._waiters)} waiting>"

    @property
    def locked(self) -> bool:
        """Whether a task holds it."""
        return self._owner is not None

    @property
    def owner(self) -> Task[Any] | None:
        """The task that holds it."""
        return self._owner

    async def acquire(self) -> None:
        """Take the lock, waiting for it if need be.

        Raises Cancelled, and RuntimeError where it would wait for ever: the task holds it already,
        or the task that holds it has ended.
        """
        if self._owner is None:
            self._owner = current_task()
        else:
            self._refuse_a_wait_for_ever()
            await self._waiters.wait(self._hand_over)

    def _refuse_a_wait_for_ever(self) -> None:
        owner = self._owner
        if owner is None or not (owner.done or owner is current_task()):
            return
        name, done = owner.name, owner.done
        del owner  # an exception that refers to a frame that refers to the task is a cycle
        if done:
            raise RuntimeError(
                f"task {name!r} ended without releasing this lock, which would be waited for for "
                "ever: hold locks by `async with lock`"
            )
        raise RuntimeError(f"task {name!r} holds this lock already and would wait for ever")

    def release(self) -> None:
        """Let go of the lock: the one that has waited longest has it now.

        Raises RuntimeError if the calling task does not hold it.
        """
        self.check_held()
        self._hand_over()

    def check_held(self) -> None:
        """RuntimeError unless the calling task holds the lock."""
        owner = self._owner
        if owner is None or owner.executor.current is not owner:
            raise RuntimeError(
                "this task does not hold the lock; "
                + ("nobody does" if owner is None else f"task {owner.name!r} does")
            )

    def _hand_over(self) -> None:
        self._owner = self._waiters.serve().task if self._waiters else None

    __aenter__ = acquire  # one frame fewer than a coroutine around it

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Condition:
    """Waiting, inside a lock, for others to change what the lock protects.

    Invariant: whoever comes out of `wait`, in whatever way, holds the lock; and a notification
    reaches a waiter that goes on, if there is one: it is never lost with one that is cancelled.

    >>> async def main():
    ...     condition, basket = Condition(), []
    ...     async def eat():
    ...         async with condition:
    ...             await condition.wait_for(lambda: basket)
    ...             return basket.pop()
    ...     eater = spawn(eat())
    ...     async with condition:
    ...         basket.append("apple")
    ...         condition.notify()
    ...     return await eater
    >>> run(main())
    'apple'
    """

    __slots__ = ("_waiters", "lock")

    def __init__(self, lock: Lock | None = None) -> None:
        #: The lock; several conditions may share one.
        self.lock = Lock() if lock is None else lock
        self._waiters = Waiters()

    def __repr__(self) -> str:
        return f"<Condition {len(self._waiters)} waiting, {self.lock!r}>"

    async def wait(self) -> None:
        """Release the lock, wait for a notification, and take the lock again.

        What was waited for need not hold any more when the lock is there, so look again, or use
        `wait_for`.  Taking the lock again is shielded: it is held even when Cancelled is raised.
        Raises RuntimeError if the calling task does not hold the lock.
        """
        self.lock.release()
        try:
            await self._waiters.wait(self._pass_on)
        finally:
            with CancelScope(shield=True):
                await self.lock.acquire()

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Wait until `predicate()` is true; what it returned.  Raises as `wait` does."""
        while not (value := predicate()):
            await self.wait()
        return value

    def notify(self, count: int = 1) -> None:
        """Let `count` waiters go on, those first that have waited longest; fewer if fewer wait.

        They run once the lock is free.  Raises RuntimeError if the calling task does not hold it.
        """
        self.lock.check_held()
        for _ in range(min(count, len(self._waiters))):
            self._waiters.serve()

    def notify_all(self) -> None:
        """Let every waiter go on, one after the other.  Raises as `notify` does."""
        self.notify(len(self._waiters))

    def _pass_on(self) -> None:
        if self._waiters:
            self._waiters.serve()

    def __aenter__(self) -> Awaitable[None]:
        return self.lock.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lock.release()
