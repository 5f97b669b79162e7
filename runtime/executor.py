"""The executor: the ready queue, and the loop that ties reactor, timers and tasks together.

One turn of the loop: poll the reactor (without waiting if a task is ready, else until the next
timer), fire the timers that are due, then run **exactly the tasks that were ready when the turn
began**.  A task that keeps waking itself is thus served once a turn, between two polls, and cannot
keep I/O from the others.

The fact that shaped the loop: at ten thousand connections its body runs once for each event.  So it
is one flat function, and being cancelled costs those that are not one look at an attribute.
"""

from __future__ import annotations

import logging
import selectors
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from types import CodeType
from typing import Any, TypeVar, cast

from .cancel import Cancelled, Scope
from .clock import Clock
from .reactor import Reactor
from .stack import await_stack
from .task import JoinHandle, Task, as_coroutine, discard, running
from .timers import Timers
from .wakeup import WakeupPipe

T = TypeVar("T")

#: The executors that run now, by the identifier of their thread.
executors: dict[int, Executor] = {}

log = logging.getLogger("runtime")

#: How many I/O operations in a row succeed at once before the task that did the last one gives
#: way.  tokio's coop budget, counted for the loop as a whole.
BUDGET = 128


class Deadlock(RuntimeError):
    """Every task waits, and nothing is left that could wake one: the run would never end.

    No timer is set, no descriptor is waited for, no signal is caught, and nobody holds a waker.
    The usual reason is a future that returned `PENDING` and forgot its waker.
    """


class Executor:
    """Runs tasks in one thread until the main one ends."""

    def __init__(self, clock: Clock, selector: selectors.BaseSelector) -> None:
        self.clock = clock
        self.timers = Timers()
        self.reactor = Reactor(selector)
        #: The task that is running; None between two of them.
        self.current: Task[Any] | None = None
        #: The tasks that are not done and in no group: nobody else need hold on to them.
        self.roots: set[Task[Any]] = set()
        #: The wakers that somebody holds, and the receivers of signals that are open (by `id`).
        self.wakers: set[int] = set()
        #: How many turns the loop has made.
        self.turns = 0
        #: I/O operations left until a task gives way without having to wait.
        self.budget = BUDGET
        self._ready: deque[Task[Any]] = deque()
        self._from_outside: deque[Task[Any]] = deque()
        # True while a poll may block: only then does a wake-up have to write to the pipe.
        self._asleep = False
        try:
            self._pipe = WakeupPipe(self.reactor)
        except BaseException:
            self.reactor.close()
            raise
        #: What to undo when the run ends, if it was not undone before.
        self.at_exit: set[Callable[[], object]] = set()
        self._interrupt: BaseException | None = None
        self._shutting_down = False

    def spawn(
        self,
        coro: Awaitable[T],
        *,
        name: str | None = None,
        scope: Scope | None = None,
        site: tuple[CodeType, int],
    ) -> Task[T]:
        """Make a task of `coro` and put it on the ready queue."""
        task = Task(self, self._ready, as_coroutine(coro), name, copy_context(), site)
        if scope is None:
            self.roots.add(task)
        else:
            scope.admit(task)
            task.home = scope
        task.wake()
        if self._shutting_down:
            task.cancel()
        return task

    @property
    def wakeup_descriptor(self) -> int:
        """Where `signal.set_wakeup_fd` writes to end a poll."""
        return self._pipe.write_end

    def wake_from_outside(self, task: Task[Any]) -> None:
        """Wake a task from another thread or a signal handler."""
        if task.called:
            return  # it is on its way: a thread that wakes all the time fills no queue
        task.called = True
        self._from_outside.append(task)
        # Order matters: the loop sets the flag first and looks at the queue second.
        if self._asleep:
            self._pipe.notify()

    def run_while(self, alive: Callable[[], object]) -> None:
        """Turn the loop for as long as `alive()` is true."""
        while alive():
            self._poll()
            self.timers.expire(self.clock.now())
            self._run_ready()
            self.turns += 1
            if self._interrupt is not None:
                interrupt, self._interrupt = self._interrupt, None
                raise interrupt

    def _poll(self) -> None:
        """Hear what happened outside; wait for it if no task is ready."""
        outside = self._from_outside
        self._asleep = True
        if self._ready or outside:
            self.reactor.poll(0)
        else:
            deadline = self.timers.next_deadline()
            if not (self.timers or self.wakers or self.reactor.waited_for(self._pipe)):
                raise self._deadlock()
            if not self.reactor.poll(self.clock.patience(deadline)) and not outside:
                self.clock.idle(deadline)
        self._asleep = False
        self._pipe.drain()
        for _ in range(len(outside)):  # and not while there are any: threads can be faster than us
            task = outside.popleft()
            task.called = False
            task.wake()

    def _deadlock(self) -> Deadlock:
        self._asleep = False
        stuck = [f"{task.name!r} waits in {await_stack(task.coro)[-1]}" for task in self.tasks()]
        more = f", and {len(stuck) - 10} more" if len(stuck) > 10 else ""
        return Deadlock(
            f"nothing is left that could wake a task: {', '.join(stuck[:10])}{more}. "
            "(Threads and signal handlers wake tasks by a Waker.)"
        )

    def _run_ready(self) -> None:
        """Resume each task that is ready now, once; the hot loop."""
        ready = self._ready
        popleft = ready.popleft
        for _ in range(len(ready)):
            task = popleft()
            task.queued = False
            self.current = task
            try:
                if task.cancelled:
                    yielded = task.throw(Cancelled())
                else:
                    yielded = task.context.run(task.coro.send, None)
            except StopIteration as stop:
                self._finish(task, stop.value, None)
            except BaseException as error:
                if not task.over:
                    raise  # Ctrl-C hit a line of the loop, and the task is as it was
                self._finish(task, None, error)
            else:
                if yielded is not None:
                    self._reject(task, yielded)
                if task.cancelled:
                    task.wake()
        self.current = None

    def _finish(self, task: Task[Any], value: Any, error: BaseException | None) -> None:
        self.roots.discard(task)
        if error is not None:
            # Drop the loop's own frames: they are no news to a reader, and an exception that refers
            # to a frame that refers to the task is a cycle, which only the collector frees.
            while (trace := error.__traceback__) and trace.tb_frame.f_code in _OWN_CODE:
                error.__traceback__ = trace.tb_next
        if isinstance(error, Cancelled):
            error.__traceback__ = None  # its frames are the leaves', and leaves refer to the task
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._interrupt = error
        elif error is not None and not isinstance(error, Cancelled) and not task.awaited:
            log.error(
                "task %r, spawned at %s, failed and nobody awaits it",
                task.name,
                task.spawned_at,
                exc_info=error,
            )
        task.finish(value, error)

    def _reject(self, task: Task[Any], yielded: object) -> None:
        """The task awaited something that only another library's loop understands: tell it so."""
        while yielded is not None:
            fault = TypeError(
                f"task {task.name!r} awaited {yielded!r}, which this runtime does not know: "
                "is it from asyncio or another async library?"
            )
            try:
                yielded = task.throw(fault)
            except StopIteration as stop:
                return self._finish(task, stop.value, None)
            except BaseException as error:
                return self._finish(task, None, error)
        return None

    def tasks(self) -> Iterator[Task[Any]]:
        """Every task that is not done."""
        for root in self.roots:
            scope = root.scope
            if scope is None:
                yield root
                continue
            while scope.parent is not None:
                scope = scope.parent
            # A task stands in the tree once for each scope that it has entered.
            yield from cast("Iterator[Task[Any]]", dict.fromkeys(scope.tasks()))

    def shut_down(self) -> None:
        """Cancel every task, let each clean up, and release what the loop holds."""
        self._shutting_down = True
        self.current = None
        # Ctrl-C can have torn the loop away between any two lines, so what it knows of the queue
        # and of the tasks that were just over is worked out anew.
        self._ready.clear()
        try:
            for task in tuple(self.tasks()):
                if task.over:
                    self._finish(task, None, Cancelled())
                else:
                    task.queued = False
                    task.wake()
            for task in tuple(self.roots):
                task.cancel()
            self.run_while(lambda: self.roots)
        finally:
            self._asleep = False
            for close in tuple(self.at_exit):
                close()
            self._pipe.close()
            self.reactor.close()


_OWN_CODE = frozenset(
    function.__code__ for function in (Executor._run_ready, Executor._reject, Task.throw)
)


def spawn_site(depth: int) -> tuple[CodeType, int]:
    """The place in the code that called `depth` frames up; a line number costs more, later."""
    frame = sys._getframe(depth + 1)
    return frame.f_code, frame.f_lasti


def spawn(coro: Awaitable[T], *, name: str | None = None) -> JoinHandle[T]:
    """Start a task in the background and return the handle to await or cancel it.

    It runs on its own: no scope of the spawner reaches it, it ends by itself or with the program.
    For tasks that must not outlive a block, use `TaskGroup`.  An exception that nobody awaits at
    the time is logged with the task's name and the place it was spawned.
    """
    executor = running.executor
    if executor is None:
        discard(coro)
        raise RuntimeError("no runtime here: call spawn inside runtime.run(main())")
    return executor.spawn(coro, name=name, site=spawn_site(1))
