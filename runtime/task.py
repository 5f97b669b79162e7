"""Tasks: what runs, and what is known about it.

A task is a coroutine that the executor drives.  In Python the whole of `poll` is there already:
`coro.send(None)` runs a coroutine until it must wait, a bare `yield` at the very bottom is
*Pending*, and `StopIteration.value` is *Ready*.  What a runtime adds is the promise that somebody
calls `send` again: to wait, leave word with whoever will know (the reactor, the timers, another
task), then `park()`.

Two rules make that sound.  A wake-up puts the task on the ready queue *once*, however often it is
woken.  And a wake-up is a hint: spurious ones are legal, so every leaf waits in a loop,
`while not ready: register; yield`.

The fact that shaped the class: there are a million of them.  An attribute is eight megabytes.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Awaitable, Generator, Sequence
from contextvars import Context
from inspect import CORO_CREATED, getcoroutinestate, isawaitable
from types import CodeType, CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast
from weakref import ref

from .cancel import Cancelled, Scope
from .leaf import leaf

if TYPE_CHECKING:
    from .executor import Executor

T = TypeVar("T")

log = logging.getLogger("runtime")


class TaskCancelled(Exception):
    """The task whose handle was awaited ended because it was cancelled.

    Not `Cancelled`: that one always means that *you* are being cancelled.
    """


class _Spent:
    """Stands in for the coroutine of a task that is done: a late wake-up resumes nothing."""

    def send(self, value: None) -> None:
        return None

    def throw(self, error: BaseException) -> None:
        return None


_SPENT: Final = _Spent()


class Running(threading.local):
    """Which executor runs in this thread."""

    executor: Executor | None = None


running: Final = Running()


def current_executor() -> Executor:
    """The executor of the calling task.  RuntimeError outside of `run`."""
    executor = running.executor
    if executor is None:
        raise RuntimeError("no runtime here: call this inside runtime.run(main())")
    return executor


class Task(Generic[T]):
    """A coroutine on its way, and the handle on it: `JoinHandle` is this class seen from outside.

    Await it for the coroutine's result; what the coroutine raised is raised there too.  It runs
    whether or not anybody awaits it.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_joiners",
        "_ready",
        "_site",
        "_value",
        "cancelled",
        "context",
        "coro",
        "executor",
        "home",
        "name",
        "queued",
        "scope",
        "since",
        "spawner",
    )

    # Set by `finish`; nobody asks before.
    _value: Any
    _error: BaseException | None

    def __init__(
        self,
        executor: Executor,
        ready: deque[Task[Any]],
        coro: CoroutineType[Any, Any, T],
        name: str | None,
        context: Context | None,
        scope: Scope | None,
        site: tuple[CodeType, int],
    ) -> None:
        """Make a task that is about to be put on the ready queue."""
        self.name: str = name or coro.__qualname__
        self.executor = executor
        # None stands for an empty context: nearly every task's.
        self.context = context
        self.coro: CoroutineType[Any, Any, T] | _Spent = coro
        # The innermost scope now, and the one that the task was born in.
        self.scope = scope
        self.home = scope
        # The only thing about cancellation that the executor looks at; see `cancel.py`.
        self.cancelled = False
        self._ready = ready
        #: Whether it stands on the ready queue.
        self.queued = True
        #: When it was last resumed, or else spawned: seconds of the clock.
        self.since = executor.time
        #: Who spawned it, if that task is still there.
        self.spawner: ref[Task[Any]] | None = (
            None if executor.current is None else ref(executor.current)
        )
        self._joiners: list[Task[Any]] | None = None
        self._site = site

    def __repr__(self) -> str:
        state = "done" if self.done else "cancelled" if self.cancelled else "waiting"
        return f"<Task {self.name!r} {state}, spawned at {self.spawned_at}>"

    @property
    def done(self) -> bool:
        """Whether the coroutine has returned or raised."""
        return self.coro is _SPENT

    @property
    def over(self) -> bool:
        """Whether the coroutine has come to its end, known to the executor yet or not."""
        return not isinstance(self.coro, CoroutineType) or self.coro.cr_frame is None

    @property
    def spawned_at(self) -> str:
        """`file:line` of the call that spawned the task."""
        code, instruction = self._site
        lines = [
            line
            for start, end, line in code.co_lines()
            if line is not None and start <= instruction < end
        ]
        return f"{code.co_filename}:{lines[0] if lines else code.co_firstlineno}"

    def wake(self) -> None:
        """Put the task on the ready queue, unless it stands there already.

        For the thread of the loop alone; `Waker.wake` is for all.
        """
        if not self.queued:
            self._ready.append(self)  # first: rather twice than never, if Ctrl-C comes in between
            self.queued = True

    def cancel(self) -> None:
        """Raise `Cancelled` where the task waits, and at every later wait, until it ends.

        A task that has not started yet still runs up to its first wait, so it can take charge of
        what it was given.  Cancelling a task that is done does nothing.
        """
        if self.done or self._cancel_called():
            return
        scope = Scope(self.home)
        scope.owner = self
        if self.home is not None:
            self.home.adopt(scope)
        # The new scope goes around everything that the task has entered by itself.
        outermost = None if self.scope is self.home else self.scope
        while outermost is not None and outermost.parent is not self.home:
            outermost = outermost.parent
        if outermost is None:
            self.scope = scope
        else:
            if self.home is not None:
                self.home.disown(outermost)
            scope.adopt(outermost)
        self.home = scope
        scope.cancel()

    def _cancel_called(self) -> bool:
        home = self.home
        return home is not None and home.owner is self and home.cancel_called

    def throw(self, error: BaseException) -> Any:
        """Resume the coroutine with `error` raised where it waits."""
        coro, context = self.coro, self.context
        if isinstance(coro, CoroutineType) and getcoroutinestate(coro) == CORO_CREATED:
            # Not started: a throw would end it before its first line, and whatever
            # it was handed (a stream, say) would have no owner.
            return coro.send(None) if context is None else context.run(coro.send, None)
        try:
            # Without a context of its own it is in the right one already.
            return coro.throw(error) if context is None else context.run(coro.throw, error)
        finally:
            del self, error  # or the frame is a cycle, as in `Executor._resume`

    def finish(self, value: Any, error: BaseException | None) -> None:
        """Record the result and wake whoever awaits it."""
        self.coro = _SPENT
        self.cancelled = False
        # In place of a value: where it was raised.  Each time that the exception is raised anew for
        # somebody who awaits it, it gets the frames of that on top of these, and no others.
        self._value = value if error is None else error.__traceback__
        self._error = error
        self.scope = None
        scope = self.home
        while scope is not None and scope.owner is self:  # those that cancel() put inside
            if scope.parent is not None:
                scope.parent.disown(scope)
            scope = scope.parent
        if self._joiners is not None:
            for joiner in self._joiners:
                joiner.wake()
            if error is None or scope is not None:
                self._joiners = None  # else they stay until one of them has heard of the failure
        if scope is not None:
            scope.dismiss(self, error)
        self.home = None  # last: if Ctrl-C comes in between, all this is done again

    @property
    def awaited(self) -> bool:
        """Whether somebody will see the result: a task that awaits it now, or a group."""
        return bool(self._joiners) or self.birthplace is not None

    @property
    def joiners(self) -> Sequence[Task[Any]]:
        """The tasks that await this one."""
        return self._joiners or ()

    @property
    def birthplace(self) -> Scope | None:
        """The scope that it was spawned into, a group's; None for a task on its own."""
        scope = self.home
        while scope is not None and scope.owner is self:
            scope = scope.parent
        return scope

    def outcome(self) -> T:
        """The result of a task that is done; raises what the task raised."""
        value, error, name = self._value, self._error, self.name
        del self
        if error is None:
            return cast(T, value)
        try:
            _raise(error, value, name)
        finally:
            # The frames of an exception refer to what stands in them; a task or the exception
            # itself among that would be a cycle, which only the collector frees.
            del error, value

    @property
    def error(self) -> BaseException | None:
        """What the task raised, if it is done and did."""
        return self._error if self.done else None

    def __await__(self) -> Generator[None, None, T]:
        me = current_task()
        if me is self:
            raise RuntimeError(f"task {self.name!r} awaits itself and would wait for ever")
        if me.executor is not self.executor:
            raise RuntimeError(f"task {self.name!r} belongs to the runtime of another thread")
        if not self.done:
            if self._joiners is None:
                self._joiners = []
            self._joiners.append(me)
            try:
                while not self.done:
                    yield
            except BaseException:
                self._let_go(me)
                del self, me  # what is raised may end up in a task's error, with this frame
                raise
        self._joiners = None
        value, error, name = self._value, self._error, self.name
        del self, me
        if error is None:
            return cast(T, value)
        try:
            _raise(error, value, name)
        finally:
            del error, value

    def _let_go(self, joiner: Task[Any]) -> None:
        """`joiner` waits no more; a failure that it alone was told of, this turn, is logged."""
        if self._joiners is not None:
            self._joiners.remove(joiner)
            error = self.error
            if error is not None and not self._joiners and not isinstance(error, _TOLD_ELSEWHERE):
                report_failure(self, error)


#: What ends a task and is either no failure, or ends the run.
_TOLD_ELSEWHERE = (Cancelled, KeyboardInterrupt, SystemExit)


def report_failure(task: Task[Any], error: BaseException) -> None:
    """Log what a task raised, because nobody is there to have it raised."""
    log.error(
        "task %r, spawned at %s, failed and nobody awaits it",
        task.name,
        task.spawned_at,
        exc_info=error,
    )


def _raise(error: BaseException, traceback: TracebackType | None, name: str) -> NoReturn:
    try:
        if isinstance(error, Cancelled):
            raise TaskCancelled(f"task {name!r} was cancelled") from error
        raise error.with_traceback(traceback)
    finally:
        del error, traceback


#: What `spawn` returns.
JoinHandle = Task


def current_task() -> Task[Any]:
    """The task that is running."""
    task = current_executor().current
    if task is None:
        raise RuntimeError("no task is running here")
    return task


def as_coroutine(awaitable: Awaitable[T]) -> CoroutineType[Any, Any, T]:
    """What a task can drive: a coroutine as it is, another awaitable inside of one."""
    if type(awaitable) is CoroutineType:
        return awaitable
    if not isawaitable(awaitable):
        raise TypeError(f"{awaitable!r} cannot be awaited; call the async function: spawn(main())")

    async def wait() -> T:
        return await awaitable

    wait.__qualname__ = type(awaitable).__qualname__
    return cast("CoroutineType[Any, Any, T]", wait())


def discard(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine that will not run, so that it does not warn that nobody awaited it."""
    if isinstance(awaitable, CoroutineType):
        awaitable.close()


@leaf
def park() -> Generator[None, None, None]:
    """Give up the thread until somebody wakes this task.

    The caller has left a waker somewhere, and calls this in a loop that looks again at what it
    waits for, because a wake-up may be spurious.  Raises `Cancelled`.
    """
    yield
