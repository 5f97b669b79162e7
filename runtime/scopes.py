"""Structure: blocks of code that bound the tasks and the waits inside them.

A `CancelScope` is a block that can be cancelled, by hand or by a deadline.  `timeout` and
`move_on_after` are such blocks; a `TaskGroup` is one that tasks can be started in and that is not
left before they have ended; `join_all` is a task group with a list for a result.

The fact that shaped this file: a `Cancelled` that travels up belongs to the *outermost* cancelled
scope.  Each block that it passes asks "am I cancelled, and nobody outside of me?", and the one that
can say yes takes it in.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Sequence
from inspect import isawaitable
from math import inf, isnan
from types import CodeType, TracebackType
from typing import Any, Literal, Self, TypeVar, cast

from .cancel import Cancelled, Scope, refresh_task
from .executor import spawn_site
from .task import Task, current_executor, current_task, discard, park

T = TypeVar("T")

log = logging.getLogger("runtime")


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

    __slots__ = ("cancelled_caught", "deadline")

    def __init__(self, *, deadline: float = inf, shield: bool = False) -> None:
        if isnan(deadline):
            raise ValueError("a deadline cannot be NaN")
        super().__init__(shield=shield)
        self.deadline = deadline
        #: Whether the block ended early because it was cancelled.
        self.cancelled_caught = False

    def wake(self) -> None:
        """The deadline has come (a timer wakes its target)."""
        self.cancel()

    def __enter__(self) -> Self:
        executor = current_executor()
        task = current_task()
        if self.owner is not None:
            raise RuntimeError("this scope was entered already; make one for each block")
        self.owner = task
        if task.scope is not None:
            task.scope.adopt(self)
        task.scope = self
        if self.deadline != inf:
            executor.timers.add(self.deadline, self)
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
        if not isinstance(error, Cancelled) or not self.cancel_called:
            return False
        # A shield hides the scopes outside, so what comes from inside it cannot be theirs.
        self.cancelled_caught = self.shield or not task.cancelled
        return self.cancelled_caught

    def leave(self) -> Task[Any]:
        """Step out: from here on only what is outside counts."""
        task = current_task()
        if task.scope is not self:
            raise RuntimeError("scopes are left in the reverse of the order they were entered")
        if self.deadline != inf:
            task.executor.timers.cancel(self.deadline, self)
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


class TaskGroup:
    """A block that tasks are started in, and that is not left before all of them have ended.

    The first one that fails cancels the rest and the block; then an ExceptionGroup of all the
    failures is raised.  A child that was cancelled by its handle is no failure.
    """

    __slots__ = ("_body", "_errors", "_open", "cancel_scope")

    def __init__(self) -> None:
        #: The scope around the block and all its tasks.
        self.cancel_scope = CancelScope()
        self._errors: list[BaseException] = []
        self._body: Task[Any] | None = None
        self._open = False

    def spawn(self, coro: Awaitable[T], *, name: str | None = None) -> Task[T]:
        """Start a task inside the block.  RuntimeError once the block is over."""
        return self._spawn(coro, name, spawn_site(1))

    def _spawn(self, coro: Awaitable[T], name: str | None, site: tuple[CodeType, int]) -> Task[T]:
        if not self._open:
            discard(coro)
            raise RuntimeError("this task group is not open: spawn inside its `async with` block")
        task = current_executor().spawn(coro, name=name, scope=self.cancel_scope, site=site)
        task.group = self
        return task

    def child_done(self, task: Task[Any]) -> None:
        """A child ended (the task says so)."""
        if task.error is not None and not isinstance(task.error, Cancelled):
            self._errors.append(task.error)
            self.cancel_scope.cancel()
        if not self.cancel_scope.members and self._body is not None:
            self._body.wake()

    async def __aenter__(self) -> Self:
        self.cancel_scope.__enter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is not None:
            self.cancel_scope.cancel()
            if not isinstance(error, Cancelled):
                self._errors.append(error)
        cancelled = await self._children_ended() or isinstance(error, Cancelled)
        self._open = False
        task = self.cancel_scope.leave()
        if self._errors:
            errors, self._errors = self._errors, []
            try:
                raise BaseExceptionGroup("tasks in the group failed", errors)
            finally:
                del errors, error  # a frame that its own exception refers to is a cycle
        if cancelled and not task.cancelled:
            self.cancel_scope.cancelled_caught = True
            return True
        if cancelled and error is None:
            raise Cancelled
        return False

    async def _children_ended(self) -> bool:
        """Wait for every child, come what may; whether that wait was cancelled."""
        self._body = current_task()
        try:
            while self.cancel_scope.members:
                await park()
        except Cancelled:
            # The children are inside the same scope, so they have heard of it; nothing may
            # outlive the block, so they are waited for all the same.
            with CancelScope(shield=True):
                while self.cancel_scope.members:
                    await park()
            return True
        finally:
            self._body = None
        return False


async def join_all(*awaitables: Awaitable[T] | Iterable[Awaitable[T]]) -> list[T]:
    """Run all of them at the same time; their results, in the order they were given.

    Takes coroutines (or other awaitables), or one iterable of them.  Nothing runs before this is
    awaited.  When one fails, the rest are cancelled and waited for, and its exception is raised as
    it is; an exception that another one raises while it is being cancelled is logged.

    >>> async def double(n):
    ...     return 2 * n
    >>> run(join_all(double(n) for n in range(3)))
    [0, 2, 4]
    """
    site = spawn_site(1)
    failures: Sequence[BaseException] = ()
    tasks: list[Task[T]] = []
    try:
        async with TaskGroup() as group:
            tasks += [group._spawn(each, None, site) for each in _flatten(awaitables)]
    except BaseExceptionGroup as several:
        failures = several.exceptions
    if not failures:
        return [task.outcome() for task in tasks]
    try:
        for other in failures[1:]:
            log.error("join_all raises the first failure; this one came after it", exc_info=other)
        raise failures[0]
    finally:
        del failures, tasks  # a frame that its own exception refers to is a cycle


def _flatten(given: tuple[Awaitable[T] | Iterable[Awaitable[T]], ...]) -> list[Awaitable[T]]:
    if len(given) == 1 and not isawaitable(given[0]):
        flat = list(given[0])
    else:
        flat = list(cast(tuple[Awaitable[T], ...], given))
    for each in flat:
        if not isawaitable(each):
            for other in flat:
                discard(other)
            raise TypeError(f"join_all was given {each!r}, which cannot be awaited")
    return flat
