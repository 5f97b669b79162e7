"""The executor: the ready queue, and the loop that ties reactor, timers and tasks together.

One turn of the loop: poll the reactor (if no task is ready, until the next timer; otherwise without
waiting, and only every so often), fire the timers that are due, then run **exactly the tasks that
were ready when the turn began**.  A task that keeps waking itself is thus served once a turn, and
cannot keep I/O or the others from their turn.

The fact that shaped the loop: at ten thousand connections its body runs once for each event.  So it
is one flat function, and being cancelled costs those that are not one look at an attribute.
"""

from __future__ import annotations

import logging
import selectors
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from contextvars import Context, copy_context
from types import CodeType, CoroutineType
from typing import Any, TypeVar, cast

from .cancel import Cancelled, Scope
from .clock import Clock
from .reactor import Reactor
from .stuck import deadlock, report_lost_wakers, report_stubborn
from .task import JoinHandle, Task, as_coroutine, discard, report_failure, running
from .timers import Timers, timer
from .wakeup import WakeupPipe

T = TypeVar("T")

#: The executors that run now, by the identifier of their thread.
executors: dict[int, Executor] = {}

log = logging.getLogger("runtime")

#: How many I/O operations in a row succeed at once before the task that did the last one gives
#: way.  tokio's coop budget, counted for the loop as a whole.
BUDGET = 128


#: While tasks are ready, I/O is looked at after so many of them were resumed, or so many seconds.
#: A poll costs as much as three resumes, and tasks that hand something to and fro need none.
#: (After tokio's event_interval.)
POLL_EVERY, POLL_AFTER = 61, 0.001

#: How often a cancelled task may wait again before it is asked at leisure, and how long that is,
#: in seconds.
STUBBORN, ASK_EVERY = 1000, 0.01


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
        #: The task whose result is that of the run.
        self.main: Task[Any] | None = None
        #: The wakers that somebody holds, by `id`, and whom each wakes.
        self.wakers: dict[int, Task[Any]] = {}
        #: The context of all tasks that never set a context variable: an empty one.
        self.blank = Context()
        #: When this turn of the loop began, by its clock.
        self.time = 0.0
        #: How many turns the loop has made, tasks it has spawned and finished, and how often it has
        #: resumed one.
        self.turns = self.spawned = self.finished = self.resumed = 0
        #: I/O is looked at, though tasks are ready, when tasks have been resumed so often; whoever
        #: gives way for its sake sets this to 0.
        self.poll_at = 0
        self._polled = 0.0
        #: I/O operations left until a task gives way without having to wait.
        self.budget = BUDGET
        self._ready: deque[Task[Any]] = deque()
        self._from_outside: deque[Callable[[], object]] = deque()
        # True while a poll may block: only then does a wake-up have to write to the pipe.
        self._asleep = False
        try:
            self._pipe = WakeupPipe(self.reactor)
        except BaseException:
            self.reactor.close()
            raise
        #: What to undo when the run ends, if it was not undone before: the last first.
        self.at_exit: dict[Callable[[], object], None] = {}
        self._interrupt: BaseException | None = None
        # Cancelled tasks that went on waiting, and how often.
        self._stubborn: dict[Task[Any], int] = {}
        #: Tasks in a future that returned `PENDING` and dropped its waker, and that future's class.
        self.suspects: dict[Task[Any], str] = {}
        self._shutting_down = False
        #: Whether cleanup that waits behind a shield is cancelled, too, when the run ends.
        self.impatient = False

    def spawn(
        self,
        coro: Awaitable[T],
        *,
        name: str | None = None,
        scope: Scope | None = None,
        site: tuple[CodeType, int],
    ) -> Task[T]:
        """Make a task of `coro` and put it on the ready queue."""
        if type(coro) is not CoroutineType:
            coro = as_coroutine(coro)
        task = Task(self, self._ready, coro, name, copy_context() or None, scope, site)
        if scope is None:
            self.roots.add(task)
        else:
            scope.admit(task)
        self._ready.append(task)
        self.spawned += 1
        if self._shutting_down:
            task.cancel()
        return task

    @property
    def ready(self) -> int:
        """How many tasks stand on the ready queue."""
        return len(self._ready)

    @property
    def wakeup_descriptor(self) -> int:
        """Where `signal.set_wakeup_fd` writes to end a poll."""
        return self._pipe.write_end

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have the loop call something at its next turn.  Any thread, and signal handlers."""
        self._from_outside.append(call)
        # Order matters: the loop sets the flag first and looks at the queue second.
        if self._asleep:
            self._pipe.notify()

    def look_again(self) -> None:
        """End a poll that may wait for somebody who is gone.  Any thread, as `call_soon`."""
        if self._asleep:
            self._pipe.notify()

    def run_while(self, alive: Callable[[], object]) -> None:
        """Turn the loop for as long as `alive()` is true."""
        while alive():
            if not self._ready or self._from_outside or self._poll_is_due():
                self._poll()
                self.poll_at = self.resumed + POLL_EVERY
                self.time = self._polled = self.clock.now()
            else:
                self.time = self.clock.now()
            self.timers.expire(self.time)
            self._run_ready()
            self.turns += 1
            if self._interrupt is not None:
                interrupt, self._interrupt = self._interrupt, None
                raise interrupt

    def _poll_is_due(self) -> bool:
        return self.resumed >= self.poll_at or self.time - self._polled >= POLL_AFTER

    def _poll(self) -> None:
        """Hear what happened outside; wait for it if no task is ready."""
        outside = self._from_outside
        self._asleep = True
        if self._ready or outside:
            self.reactor.poll(0)
        else:
            if self.suspects:
                report_lost_wakers(self)
            deadline = self.timers.next_deadline()
            if not (self.timers or self.wakers or self.reactor.waited_for(self._pipe)):
                self._asleep = False
                raise deadlock(self)
            if not self.reactor.poll(self.clock.patience(deadline)) and not outside:
                self.clock.idle(deadline)
        self._asleep = False
        self._pipe.drain()
        for _ in range(len(outside)):  # and not while there are any: threads can be faster than us
            outside.popleft()()

    def _run_ready(self) -> None:
        """Resume each task that is ready now, once."""
        left = len(self._ready)
        self.resumed += left
        while left:
            left = self.blank.run(self._resume, left)

    def _resume(self, count: int) -> int:
        """Resume the next `count` tasks, or fewer; returns how many are left.  The hot loop.

        It runs in the one empty context of all tasks that never set a context variable, and so need
        not be taken there one by one.  One that sets its first keeps that context as its own, and
        for the rest there has to be a new one.
        """
        now, blank = self.time, self.blank
        popleft = self._ready.popleft
        task: Task[Any] | None = None
        for left in range(count - 1, -1, -1):
            task = popleft()
            task.queued = False
            task.since = now
            self.current = task
            try:
                if task.cancelled:
                    yielded = task.throw(Cancelled())
                elif task.context is None:
                    yielded = task.coro.send(None)
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
                    self._cancel_again(task)
            if blank:
                task.context = blank
                self.blank = Context()
                task = self.current = None
                return left
        # From Python 3.12 on, the frames of an exception refer to this one long after it is over:
        # with the task that raised it in here, that would be a cycle.
        task = self.current = None
        return 0

    def _finish(self, task: Task[Any], value: Any, error: BaseException | None) -> None:
        if error is not None:
            self._failed(task, error)
        if task.scope is not task.home:
            self._take_over(task)
        self.roots.discard(task)
        if self._stubborn:
            self._stubborn.pop(task, None)
        self.finished += 1
        task.finish(value, error)

    def _take_over(self, task: Task[Any]) -> None:
        """A task ended inside of blocks, torn out by an interrupt: keep hold of their tasks."""
        scope = task.scope
        while scope is not None and scope is not task.home:
            scope.owner = None
            self.roots.update(cast("set[Task[Any]]", scope.members or ()))
            scope = scope.parent

    def _failed(self, task: Task[Any], error: BaseException) -> None:
        """A task ended by an exception: see to it that somebody hears of it."""
        # Drop the loop's own frames: they are no news to a reader, and an exception that refers
        # to a frame that refers to the task is a cycle, which only the collector frees.
        while (trace := error.__traceback__) and trace.tb_frame.f_code in _OWN_CODE:
            error.__traceback__ = trace.tb_next
        if isinstance(error, Cancelled):
            error.__traceback__ = None  # its frames are the leaves', and leaves refer to the task
        elif isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._interrupt = error
        elif not task.awaited and task is not self.main:
            report_failure(task, error)

    def _cancel_again(self, task: Task[Any]) -> None:
        """A task that is cancelled waits all the same; it will be told again.

        Cleanup may do that a few times.  A task that never takes it in would keep the loop busy for
        ever, so from some point on it is asked at leisure, and pointed out.
        """
        times = self._stubborn[task] = self._stubborn.get(task, 0) + 1
        if times < STUBBORN:
            task.wake()
            return
        self.timers.add(timer(self.time + ASK_EVERY, task))
        if times % STUBBORN == 0:
            report_stubborn(task, times)

    def _reject(self, task: Task[Any], yielded: object) -> None:
        """The task awaited something that only another library's loop understands: tell it so."""
        try:
            while yielded is not None:
                yielded = task.throw(
                    TypeError(
                        f"task {task.name!r} awaited {yielded!r}, which this runtime does not "
                        "know: is it from asyncio or another async library?"
                    )
                )
        except StopIteration as stop:
            self._finish(task, stop.value, None)
        except BaseException as error:
            self._finish(task, None, error)
        finally:
            del task  # or the frame is a cycle, as in `_resume`

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
        # Ctrl-C can have torn the loop away between any two lines, so what it knows of the queue,
        # of the tasks that were just over and of whom a context belongs to is worked out anew.
        if self.current is not None and self.blank:
            self.current.context = self.blank
        self.current = None
        self.blank = Context()
        self._ready.clear()
        try:
            for task in tuple(self.tasks()):
                if task.over:
                    self._finish(task, None, Cancelled())
                else:
                    task.queued = False
                    task.wake()
            for task in tuple(self.tasks()):
                if self.impatient and task.scope is not None:
                    task.scope.unshield()
            for task in tuple(self.roots):
                task.cancel()
            self.run_while(lambda: self.roots)
        finally:
            self._asleep = False
            with ExitStack() as stack:  # each is closed, whatever becomes of the others
                for close in (self.reactor.close, self._pipe.close, *self.at_exit):
                    stack.callback(close)


_OWN_CODE = frozenset(
    function.__code__ for function in (Executor._resume, Executor._reject, Task.throw)
)


#: The place where a task was last spawned.  A server's tasks all come from one: they share it.
_last_site: tuple[CodeType, int] = (sys._getframe().f_code, 0)


def spawn_site(depth: int) -> tuple[CodeType, int]:
    """The place in the code that called `depth` frames up; a line number costs more, later."""
    global _last_site
    frame, site = sys._getframe(depth + 1), _last_site
    if site[0] is not frame.f_code or site[1] != frame.f_lasti:
        site = _last_site = frame.f_code, frame.f_lasti
    return site


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
