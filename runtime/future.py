"""Futures: leaves written as in Rust, by a method that is polled.

Most code never needs one: `await` on what the runtime offers is enough.  This is for those who want
to see the bottom, or to wait for something that the runtime does not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, final

from .task import current_task
from .waker import Waker

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@final
class Pending:
    """The type of `PENDING`."""

    def __repr__(self) -> str:
        return "PENDING"


#: What `Future.poll` returns when it must be polled again later.
PENDING: Final = Pending()


@dataclass(frozen=True, slots=True)
class Ready(Generic[T_co]):
    """What `Future.poll` returns when it is done."""

    value: T_co


class Future(ABC, Generic[T]):
    """A leaf written as in Rust: something that can be polled.

    `poll` returns `Ready(value)`, or arranges for `waker.wake()` to be called later and returns
    `PENDING`.  It must not block.  A future that forgets the waker waits for ever.

    >>> class Answer(Future[int]):
    ...     def poll(self, waker):
    ...         return Ready(42)
    """

    @abstractmethod
    def poll(self, waker: Waker) -> Ready[T] | Pending:
        """Make progress without blocking."""

    def __await__(self) -> Generator[None, None, T]:
        while True:
            task = current_task()
            executor = task.executor
            # A waker for each poll, so that one which the future drops is gone, and known to be.
            waker = Waker(task)
            key = id(waker)
            state = self.poll(waker)
            del waker
            if isinstance(state, Ready):
                return state.value
            if state is not PENDING:
                raise TypeError(
                    f"{type(self).__name__}.poll returned {state!r}; return PENDING or Ready(value)"
                )
            lost = key not in executor.wakers and not task.queued
            if lost:
                executor.suspects[task] = type(self).__qualname__
            try:
                yield
            finally:
                if lost:  # not quite, for somebody woke it
                    executor.suspects.pop(task, None)
                del task  # it may fail by what is raised here, and then this frame is a cycle
