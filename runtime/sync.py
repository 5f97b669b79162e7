"""What tasks wait for from one another: an event, and a bounded number of permits.

No locks are needed inside: tasks of one executor run one at a time and change hands only where
they wait.  So these are for tasks alone; a thread or a signal handler wakes a task by a `Waker`.
Everything here is first come, first served, and a waiter that is cancelled leaves the queue and
passes on what it was about to get (`waiters.py`).

What need not wait does not: it gives nobody a turn, and raises no `Cancelled`.
"""

from __future__ import annotations

from types import TracebackType

from .waiters import Waiters


class Event:
    """Something that has happened or not; once it has, nobody waits for it any more.

    Invariant: nobody waits once it is set.
    """

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters = Waiters()

    def __repr__(self) -> str:
        return f"<Event {'set' if self._set else f'not set, {len(self._waiters)} waiting'}>"

    @property
    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def set(self) -> None:
        """It has happened: wake everybody."""
        self._set = True
        while self._waiters:
            self._waiters.serve()

    async def wait(self) -> None:
        """Wait until it has happened.  Raises Cancelled."""
        if not self._set:
            await self._waiters.wait(_nothing)


def _nothing() -> None:
    """An event is no less set because one waiter does not hear of it."""


class Semaphore:
    """A number of permits.  `acquire` waits for one, first come, first served.

    Invariant: a permit is free, or held, or on its way to exactly one waiter; the three add up.
    None is free while anybody waits, so nobody who comes later can be faster.

    >>> async def fetch(permits, page):
    ...     async with permits:  # at most two at a time
    ...         await sleep(0.01)
    ...         return page
    >>> async def main():
    ...     permits = Semaphore(2)
    ...     return await join_all(fetch(permits, page) for page in range(5))
    >>> run(main())
    [0, 1, 2, 3, 4]
    """

    __slots__ = ("_free", "_waiters")

    def __init__(self, permits: int) -> None:
        if permits < 0:
            raise ValueError(f"a semaphore cannot have {permits} permits")
        self._free = permits
        self._waiters = Waiters()

    def __repr__(self) -> str:
        return f"<Semaphore {self._free} free, {len(self._waiters)} waiting>"

    @property
    def free(self) -> int:
        """How many permits nobody holds."""
        return self._free

    def release(self) -> None:
        """Give a permit back, to the one that has waited longest if there is one."""
        if self._waiters:
            self._waiters.serve()
        else:
            self._free += 1

    async def acquire(self) -> None:
        """Take a permit, waiting for one if need be.  Raises Cancelled."""
        if self._free:
            self._free -= 1
        else:
            await self._waiters.wait(self.release)

    __aenter__ = acquire  # one frame fewer than a coroutine around it

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
