"""Tasks, wakers and futures: what runs, what runs it again, and how it says "not yet".

A task is a coroutine that the executor drives.  In Python the whole of `poll` is there already:
`coro.send(None)` runs a coroutine until it must wait, a bare `yield` at the very bottom is
*Pending*, and `StopIteration.value` is *Ready*.  What a runtime adds is the promise that somebody
calls `send` again, and that promise is a **waker**: to wait, leave word with whoever will know
(the reactor, the timers, another task), then `park()`.

Two rules make that sound.  A wake-up puts the task on the ready queue *once*, however often it is
woken.  And a wake-up is a hint: spurious ones are legal, so every leaf waits in a loop,
`while not ready: register; yield`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Generator
from contextvars import Context
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate, isawaitable
from types import CodeType, CoroutineType, coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast, final

from .cancel import Cancelled, Scope

if TYPE_CHECKING:
    from .executor import Executor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TaskCancelled(Exception):
    """The task whose handle was awaited ended because it was cancelled.

    Not `Cancelled`: that one always means that *you* are being cancelled.
    """


class Group(Protocol):
    """Who is told when a child ends: a task group."""

    def child_done(self, task: Task[Any]) -> None: ...


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
        "_error",
        "_joiners",
        "_ready",
        "_site",
        "_value",
        "called",
        "cancelled",
        "context",
        "coro",
        "executor",
        "group",
        "home",
        "name",
        "queued",
        "scope",
    )

    def __init__(
        self,
        executor: Executor,
        ready: deque[Task[Any]],
        coro: CoroutineType[Any, Any, T],
        name: str | None,
        context: Context,
        site: tuple[CodeType, int],
    ) -> None:
        self.name: str = name or coro.__qualname__
        self.executor = executor
        self.context = context
        self.coro: CoroutineType[Any, Any, T] | _Spent = coro
        # The innermost scope now, and the one that the task was born in.
        self.scope: Scope | None = None
        self.home: Scope | None = None
        self.group: Group | None = None
        # The only thing about cancellation that the executor looks at; see `cancel.py`.
        self.cancelled = False
        self._ready = ready
        #: Whether a wake-up from another thread is on its way to the loop.
        self.called = False
        #: Whether it stands on the ready queue.
        self.queued = False
        self._joiners: list[Task[Any]] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
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
            self.queued = True
            self._ready.append(self)

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
        coro = self.coro
        if isinstance(coro, CoroutineType) and getcoroutinestate(coro) == CORO_CREATED:
            # Not started: a throw would end it before its first line, and whatever
            # it was handed (a stream, say) would have no owner.
            return self.context.run(coro.send, None)
        return self.context.run(coro.throw, error)

    def finish(self, value: Any, error: BaseException | None) -> None:
        """Record the result and wake whoever awaits it."""
        self.coro = _SPENT
        self.cancelled = False
        self._value = value
        self._error = error
        scope = self.home
        while scope is not None:  # the scope of a group, and those that cancel() put inside it
            if scope.members is not None:
                scope.members.discard(self)
            if scope.owner is self and scope.parent is not None:
                scope.parent.disown(scope)
            scope = scope.parent if scope.owner is self else None
        self.scope = self.home = None
        joiners, self._joiners = self._joiners, None
        for joiner in joiners or ():
            joiner.wake()
        if self.group is not None:
            self.group.child_done(self)
            self.group = None

    @property
    def awaited(self) -> bool:
        """Whether somebody will see the result: a task that awaits it now, or a group."""
        return bool(self._joiners) or self.group is not None

    def outcome(self) -> T:
        """The result of a task that is done; raises what the task raised."""
        value, error, name = self._value, self._error, self.name
        del self
        try:
            return cast(T, _result(value, error, name))
        finally:
            # The frames of an exception refer to what stands in them; a task or the exception
            # itself among that would be a cycle, which only the collector frees.
            del error

    @property
    def error(self) -> BaseException | None:
        """What the task raised, if it is done and did."""
        return self._error

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
            finally:
                if self._joiners is not None:
                    self._joiners.remove(me)
        value, error, name = self._value, self._error, self.name
        del self, me
        try:
            return cast(T, _result(value, error, name))
        finally:
            del error


def _result(value: Any, error: BaseException | None, name: str) -> Any:
    if error is None:
        return value
    try:
        if isinstance(error, Cancelled):
            raise TaskCancelled(f"task {name!r} was cancelled") from error
        raise error
    finally:
        del error


#: What `spawn` returns.
JoinHandle = Task


@final
class Waker:
    """Lets a task run again.  Safe from any thread and from signal handlers.

    Wake-ups that come before the task runs are one wake-up, and waking a task that is done does
    nothing.
    """

    __slots__ = ("_task",)

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        # While anybody holds a waker, somebody outside may still use it; the executor asks this
        # before it says that a run can never end.
        task.executor.wakers.add(id(self))

    def __del__(self) -> None:
        self._task.executor.wakers.discard(id(self))

    def wake(self) -> None:
        """Have the task resumed in a turn of its loop."""
        self._task.executor.wake_from_outside(self._task)


def current_task() -> Task[Any]:
    """The task that is running."""
    task = current_executor().current
    if task is None:
        raise RuntimeError("no task is running here")
    return task


def current_waker() -> Waker:
    """A waker for the task that is running."""
    return Waker(current_task())


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


@coroutine
def park() -> Generator[None, None, None]:
    """Give up the thread until somebody wakes this task.

    The caller has left a waker somewhere, and calls this in a loop that looks again at what it
    waits for, because a wake-up may be spurious.  Raises `Cancelled`.
    """
    yield


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
        task = current_task()
        while True:
            # A waker for each poll, so that one which the future drops is gone, and known to be.
            state = self.poll(Waker(task))
            if isinstance(state, Ready):
                return state.value
            if state is not PENDING:
                raise TypeError(
                    f"{type(self).__name__}.poll returned {state!r}; return PENDING or Ready(value)"
                )
            yield
