"""Calls that block, in threads of the run's own.

There are calls that no selector knows how to wait for: reading a file, waiting for a process.  Each
runs in a thread, and the task that asked for it waits like for anything else: it parks, and the
thread wakes it when it is done.

The fact that shaped this file: a call that blocks cannot be interrupted, so there may be one that
never ends.  Hence the threads are daemons, and the end of a run joins those that rest and leaves
the others be: they keep no program from ending (as in cpython#111358), and a call that ends late
finds that nobody waits.  And since such calls can use a pool up, what must not wait for them has a
pool of its own (`dns.py`).

A thread hears of its next call by a lock of its own, and the one that came to rest last is taken
first: the others are then idle for long enough to end.  One lock guards the rest of the pool's
state; in particular a thread rests, or has its next call, *before* its last one counts as done.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVar, cast

from .executor import Executor
from .task import current_executor, current_task, park
from .waker import Waker, current_waker

T = TypeVar("T")

log = logging.getLogger("runtime")

#: The most threads that `run_in_thread` has at a time; further calls wait for their turn.
THREADS = 64

#: Seconds after which a thread that has had nothing to do ends.
IDLE = 10.0

#: The pools of the runs that go on now, by executor and name.
_pools: dict[tuple[Executor, str], Pool] = {}


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call `function(*args)` in another thread and wait for what it returns or raises.

    Up to `THREADS` calls run at a time; further ones begin in the order they came.  The call sees
    the context variables of the caller.  Threads are used again, so what a call leaves in a
    `threading.local` is there for the next one.  RuntimeError if the system has no thread to give.

    A call cannot be interrupted from outside.  If the task is cancelled, a call that has not begun
    never will; one that has goes on by itself, its result is dropped and its exception logged.  It
    does not keep the program from ending.

    There are no subprocesses in this runtime, on purpose: waiting for one is a call that blocks.

    >>> import subprocess, sys
    >>> async def main():
    ...     command = [sys.executable, "-c", "print(6 * 7)"]
    ...     return (await run_in_thread(subprocess.check_output, command)).strip()
    >>> run(main())
    b'42'
    """
    return cast(T, await pool("thread", THREADS).call(function, args))


def pool(name: str, limit: int) -> Pool:
    """This run's pool of that name; made, for up to `limit` threads, when first asked for."""
    executor = current_executor()
    found = _pools.get((executor, name))
    if found is None:
        found = _pools[executor, name] = Pool(executor, name, limit)
    return found


class Pool:
    """Threads that are started when they are needed, up to a limit, and used again."""

    def __init__(self, executor: Executor, name: str, limit: int) -> None:
        self._executor = executor
        self._name = name
        self._limit = limit
        self._lock = threading.Lock()
        #: Calls that have not begun because every thread is busy.
        self._waiting: OrderedDict[_Call, None] = OrderedDict()
        self._idle: list[_Worker] = []
        self._alive = self._numbered = 0
        self._closed = False
        executor.at_exit[self.close] = None

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call `function(*args)` in one of the threads; `run_in_thread` says the rest."""
        if current_task().cancelled:
            await park()  # raises: what has not begun never will
        call = _Call(function, args, copy_context(), current_waker())
        self._submit(call)
        try:
            while not call.done:
                await park()
        except BaseException:
            self._abandon(call)
            raise
        return call.result()

    def _submit(self, call: _Call) -> None:
        with self._lock:
            if self._hand_over(call, self._limit):
                return
            self._alive += 1
            self._numbered += 1
        worker = _Worker(self, f"runtime-{self._name}-{self._numbered}", call)
        try:
            worker.start()
        except (RuntimeError, MemoryError):  # no more threads; those that are there must do
            with self._lock:
                self._alive -= 1
                if not self._hand_over(call, 1):
                    raise

    def _hand_over(self, call: _Call, limit: int) -> bool:
        """Give a call to a thread that rests, or have it wait if there are `limit` threads."""
        if self._idle:
            self._idle.pop().hand(call)
        elif self._alive >= limit:
            self._waiting[call] = None
        else:
            return False
        return True

    def _abandon(self, call: _Call) -> None:
        """Nobody waits for this call any more."""
        with self._lock:
            self._waiting.pop(call, None)
            call.waker = None
            done = call.done
        if done:
            call.report()

    def finish(self, worker: _Worker, call: _Call) -> bool:
        """A thread is done with a call: tell who waits for it.  Whether the thread is to rest."""
        rests = False
        with self._lock:
            call.done = True
            waker = call.waker
            if self._waiting:
                worker.next, _ = self._waiting.popitem(last=False)
            elif self._closed:
                self._alive -= 1
            else:
                self._idle.append(worker)
                rests = True
        if waker is None:
            call.report()
        else:
            waker.wake()
        return rests

    def retire(self, worker: _Worker) -> bool:
        """A thread has rested for long and wants to end; not if a call is on its way to it."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            self._alive -= 1
            return True

    def close(self) -> None:
        """End the threads that rest, and wait for that; those that are busy end by themselves."""
        self._executor.at_exit.pop(self.close, None)
        _pools.pop((self._executor, self._name), None)
        with self._lock:
            self._closed = True
            self._waiting.clear()
            resting, self._idle = self._idle, []
            self._alive -= len(resting)
        for worker in resting:
            worker.hand(None)
        for worker in resting:
            worker.join()


class _Worker(threading.Thread):
    """A thread of a pool."""

    def __init__(self, pool: Pool, name: str, call: _Call) -> None:
        super().__init__(name=name, daemon=True)
        self._pool = pool
        #: The call to begin with when the last one is done; None to end.
        self.next: _Call | None = call
        self._handed = threading.Lock()
        self._handed.acquire()

    def hand(self, call: _Call | None) -> None:
        """End a rest, with a call or for good."""
        self.next = call
        self._handed.release()

    def run(self) -> None:
        while (call := self.next) is not None:
            self.next = None
            call.run()
            rests = self._pool.finish(self, call)
            del call  # a thread that rests holds on to nothing of its last call
            if rests and not self._handed.acquire(timeout=IDLE) and not self._pool.retire(self):
                self._handed.acquire()


class _Call:
    """A call and, once it is over, what became of it."""

    __slots__ = ("_args", "_context", "_error", "_function", "_value", "done", "waker")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
        waker: Waker,
    ) -> None:
        self._function, self._args, self._context = function, args, context
        #: Who waits; None once nobody does.
        self.waker: Waker | None = waker
        self._value: Any = None
        self._error: BaseException | None = None
        self.done = False

    def run(self) -> None:
        """Make the call, unless it was taken back."""
        if self.waker is None:
            return
        try:
            self._value = self._context.run(self._function, *self._args)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        if self._error is None:
            return self._value
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # a frame that its own exception refers to is a cycle

    def report(self) -> None:
        """Log the exception that nobody waits for, if there is one."""
        error, self._error = self._error, None
        if error is not None:
            log.error(
                "%r failed in a thread, and the task that waited for it was cancelled",
                self._function,
                exc_info=error,
            )
