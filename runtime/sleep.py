"""Waiting for time to pass, or for the others to have their turn."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Generator
from math import inf, isnan
from typing import Any, Self, cast

from .leaf import leaf
from .task import Task, current_executor, current_task
from .timers import Timer


def now() -> float:
    """Seconds of the runtime's clock: monotonic, with no meaning but in differences."""
    return current_executor().clock.now()


class _Sleep(Timer):
    """A sleep that nobody awaits yet.

    A million of them should be nearly free.  A generator that waits weighs 208 bytes, besides its
    timer; this is its own timer, and weighs 56.
    """

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        self.__class__ = _Sleeping  # type: ignore[assignment]
        return _Sleeping.begin(cast(_Sleeping, self))

    def __del__(self) -> None:
        warnings.warn("a sleep was never awaited", RuntimeWarning, source=self, stacklevel=2)


class _Sleeping(Timer):
    """A sleep that has begun: what `await` asks of a leaf, written out by hand.

    A coroutine steps it by `__next__`; `throw` is how it is cancelled, `close` how it is forgotten.
    """

    __slots__ = ()
    label = "sleep"

    def begin(self) -> Generator[None, None, None]:
        """Set the timer."""
        task = current_task()
        self.target = task
        task.executor.timers.add(self)
        return cast("Generator[None, None, None]", self)

    def __await__(self) -> Generator[None, None, None]:
        if self.target is not None:
            raise RuntimeError("another task awaits this very sleep; call sleep() for each")
        return self.begin()

    def __next__(self) -> None:
        if self.target is None:
            raise StopIteration

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> None:
        self.close()
        try:
            raise error if value is None else value
        finally:
            del error, value  # a frame that its own exception refers to is a cycle

    def close(self) -> None:
        """Take the timer back."""
        if self.target is not None:
            cast("Task[Any]", self.target).executor.timers.cancel(self)


def sleep_until(deadline: float) -> Awaitable[None]:
    """Wait until `now()` is at least `deadline`; never less.

    A deadline that has passed still gives the other tasks one turn.  Raises ValueError for NaN.
    """
    if isnan(deadline):
        raise ValueError("a deadline cannot be NaN")
    current_executor()
    return cast("Awaitable[None]", _Sleep(deadline))


def sleep(seconds: float) -> Awaitable[None]:
    """Wait for `seconds` from now; never less.  Infinity waits until cancelled, 0 is one turn.

    Raises ValueError for NaN and for a negative number.
    """
    if not seconds >= 0:
        raise ValueError(f"cannot sleep for {seconds} seconds; give 0 or more")
    return cast("Awaitable[None]", _Sleep(current_executor().clock.now() + seconds))


class Interval:
    """What `interval` returns: an endless asynchronous iterator of deadlines."""

    __slots__ = ("_began", "_count", "period")

    def __init__(self, period: float) -> None:
        if not 0 < period < inf:
            raise ValueError(f"an interval of {period} seconds has no ticks; give more than 0")
        #: Seconds from one tick to the next.
        self.period = period
        self._began = now()
        self._count = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> float:
        due = self._began + self._count * self.period
        await sleep_until(due)
        passed = (now() - self._began) // self.period
        self._count = max(self._count, int(passed)) + 1
        return due


def interval(period: float) -> Interval:
    """Ticks every `period` seconds, the first at once: `async for due in interval(0.5)`.

    The schedule does not drift: ticks are due at multiples of the period from the call, however
    long the loop's body takes.  Those that pass while it runs are left out, not made up for in a
    burst (tokio calls that `MissedTickBehavior::Skip`).  Each yields the time at which it was due.
    Raises ValueError for a period that is not above 0.

    >>> from runtime.testing import VirtualClock
    >>> async def main():
    ...     async for due in interval(0.5):
    ...         if due >= 1:
    ...             return now()
    >>> run(main(), clock=VirtualClock())
    1.0
    """
    return Interval(period)


@leaf
def yield_now() -> Generator[None, None, None]:
    """Let every other task that is ready run, and I/O be looked at, before this one goes on."""
    task = current_task()
    task.wake()
    task.executor.poll_at = 0
    yield
