"""Waiting for time to pass, or for the others to have their turn."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from math import isnan
from types import coroutine
from typing import Any

from .task import Task, current_executor, current_task


def now() -> float:
    """Seconds of the runtime's clock: monotonic, with no meaning but in differences."""
    return current_executor().clock.now()


class _Sleep(Generator[None, None, None]):
    """Waiting until a deadline, written out by hand.

    A generator would be shorter, and would weigh 208 bytes in place of 64: a difference of 144 MB
    for a million sleepers.  What it shows besides is what `await` asks of a leaf: `__next__` to
    go on, `throw` to be cancelled.
    """

    __slots__ = ("_deadline", "_task")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._task: Task[Any] | None = None

    def __await__(self) -> Generator[None, None, None]:
        return self

    def __next__(self) -> None:
        task = self._task
        if task is None:
            self._task = task = current_task()
            task.executor.timers.add(self._deadline, task)
        elif task.executor.clock.now() >= self._deadline:
            raise StopIteration
        elif task is not current_task():
            raise RuntimeError("another task awaits this very sleep; call sleep() for each")

    def send(self, value: None) -> None:
        return self.__next__()

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> None:
        """Cancelled, or closed: take the timer back."""
        if self._task is not None:
            self._task.executor.timers.cancel(self._deadline, self._task)
        try:
            raise error if value is None else value
        finally:
            del error, value  # a frame that its own exception refers to is a cycle


def sleep_until(deadline: float) -> Awaitable[None]:
    """Wait until `now()` is at least `deadline`; never less.

    A deadline that has passed still gives the other tasks one turn.  Raises ValueError for NaN.
    """
    if isnan(deadline):
        raise ValueError("a deadline cannot be NaN")
    return _Sleep(deadline)


def sleep(seconds: float) -> Awaitable[None]:
    """Wait for `seconds` from now; never less.  Infinity waits until cancelled, 0 is one turn.

    Raises ValueError for NaN and for a negative number.
    """
    if seconds < 0:
        raise ValueError(f"cannot sleep for {seconds} seconds; give 0 or more")
    return sleep_until(now() + seconds)


@coroutine
def yield_now() -> Generator[None, None, None]:
    """Let every other task that is ready run, and I/O be looked at, before this one goes on."""
    task = current_executor().current
    assert task is not None
    task.wake()
    yield
