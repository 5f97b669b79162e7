"""Blocks that bound the waits inside them: `CancelScope`, `timeout`, `move_on_after`.

A `CancelScope` is a block that can be cancelled, by hand or by a deadline; `timeout` and
`move_on_after` are such blocks with a deadline.

The fact that shaped this file: a `Cancelled` that travels up belongs to the *outermost* cancelled
scope.  Each block that it passes asks "am I cancelled, and nobody outside of me?", and the one that
can say yes takes it in.
"""

from __future__ import annotations

from math import inf, isnan
from types import TracebackType
from typing import Any, Literal, Self

from .cancel import Cancelled, Scope, refresh_task
from .task import Task, current_executor, current_task
from .timers import Timer, timer


class CancelScope(Scope):
    """A block whose waits all raise `Cancelled` once it is cancelled; the block takes that in.

    `deadline` is in seconds of `now()`.  With `shield=True`, cancellation from outside waits until
    the block is over: for cleanup that must be awaited, and that has a deadline of its own.

    >>> async def main():
    ...     with CancelScope() as scope:
    ...         scope.cancel()
    ...         await sleep(3600)
    ...     return scope.cancelled_caught
    """

    __slots__ = ("_deadline", "_entered", "_timer", "cancelled_caught")

    def __init__(self, *, deadline: float = inf, shield: bool = False) -> None:
        if isnan(deadline):
            raise ValueError("a deadline cannot be NaN")
        super().__init__(shield=shield)
        self._deadline = deadline
        self._entered = False
        self._timer: Timer | None = None
        #: Whether the block ended early because it was cancelled.
        self.cancelled_caught = False

    @property
    def deadline(self) -> float:
        """When it is cancelled, in seconds of `now()`.

        It can be moved while the block is under way.  Moving it out is nearly free, however often:
        the timer stays where it is, and is set anew when it comes too early.
        """
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        if isnan(deadline):
            raise ValueError("a deadline cannot be NaN")
        self._deadline = deadline
        if self.owner is not None and (self._timer is None or deadline < self._timer):
            self._set_timer()

    def _set_timer(self) -> None:
        """Have a timer for the deadline, if there is one, and no other."""
        timers = current_executor().timers
        if self._timer is not None:
            timers.cancel(self._timer)
            self._timer = None
        if self._deadline != inf:
            self._timer = timer(self._deadline, self)
            timers.add(self._timer)

    def wake(self) -> None:
        """A timer has come: the deadline's, or one from before it was moved."""
        self._timer = None
        if self._deadline <= current_executor().time:
            self.cancel()
        else:
            self._set_timer()

    def __enter__(self) -> Self:
        task = current_task()
        if self._entered:
            raise RuntimeError("this scope was entered already; make one for each block")
        self.owner = task
        self._entered = True
        if task.scope is not None:
            task.scope.adopt(self)
        task.scope = self
        if self._deadline != inf:
            self._set_timer()
        if self.shield or self.cancel_called:
            refresh_task(task)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        task = self.leave()
        if error is None or not self.cancel_called or not isinstance(error, Cancelled):
            return False
        # A shield hides the scopes outside, so what comes from inside it cannot be theirs.
        self.cancelled_caught = self.shield or not task.cancelled
        return self.cancelled_caught

    def leave(self) -> Task[Any]:
        """Step out: from here on only what is outside counts."""
        task = self.owner
        if not isinstance(task, Task) or task.scope is not self or task is not current_task():
            raise RuntimeError("scopes are left in the reverse of the order they were entered")
        # A task that fails refers to the frames it failed in, and those to the scopes in them.
        self.owner = None
        if self._timer is not None:
            task.executor.timers.cancel(self._timer)
            self._timer = None
        task.scope = self.parent
        if self.parent is not None:
            self.parent.disown(self)
        if self.shield or self.cancel_called:
            refresh_task(task)
        return task


class Timeout(CancelScope):
    """What `timeout` returns: a scope that raises when it was its deadline that ended it."""

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__(deadline=current_executor().clock.now() + seconds)
        self._seconds = seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if super().__exit__(kind, error, traceback):
            raise TimeoutError(f"not done within {self._seconds} seconds") from error
        return False


def timeout(seconds: float) -> Timeout:
    """A block that raises TimeoutError if it is still waiting after `seconds`.

    What the block was able to finish is not taken back: a result that comes in the same turn as
    the deadline counts, if the block does not wait again.
    """
    return Timeout(seconds)


def move_on_after(seconds: float) -> CancelScope:
    """A block that is simply left after `seconds`; `cancelled_caught` then says so."""
    return CancelScope(deadline=current_executor().clock.now() + seconds)
