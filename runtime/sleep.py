"""Waiting for time to pass, or for the others to have their turn."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import coroutine

from .task import current_executor
from .timers import TARGET


def now() -> float:
    """Seconds of the runtime's clock: monotonic, with no meaning but in differences."""
    return current_executor().clock.now()


@coroutine
def sleep_until(deadline: float) -> Generator[None, None, None]:
    """Wait until `now()` is at least `deadline`; never less.

    A deadline that has passed still gives the other tasks one turn.  Raises ValueError for NaN.
    """
    executor = current_executor()
    assert executor.current is not None
    timer = executor.timers.add(deadline, executor.current)
    try:
        while timer[TARGET] is not None:
            yield
    finally:
        executor.timers.cancel(timer)


def sleep(seconds: float) -> Awaitable[None]:
    """Wait for `seconds`; never less.  Infinity waits until cancelled, 0 is one turn.

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
