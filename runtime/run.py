"""`run`: put a runtime together, run a coroutine on it, and take it apart again.

Whatever happens in between, three things hold at the end: every task has ended, after its cleanup;
every descriptor of the runtime's own is closed; and the main task's result, or what it raised, is
what `run` returns or raises.
"""

from __future__ import annotations

import selectors
import signal
import threading
from collections.abc import Awaitable
from functools import partial
from typing import TypeVar

from .clock import Clock, MonotonicClock
from .executor import Executor, executors, spawn_site
from .interrupt import CtrlC
from .one_by_one import detect_one_by_one
from .reactor import default_selector
from .task import discard, running
from .watchdog import detect_blocking

T = TypeVar("T")


def run(
    main: Awaitable[T],
    *,
    clock: Clock | None = None,
    selector: selectors.BaseSelector | None = None,
    debug: bool = False,
) -> T:
    """Run `main` on a new executor in this thread and return its result.

    Async generators are not finalised for you: leave one early only inside
    `contextlib.aclosing(...)`, and let no `timeout` or group span a `yield`.

    When `main` ends, every other task is cancelled and waited for.  Ctrl-C cancels `main`, and
    `run` raises KeyboardInterrupt after that; a second one raises on the spot.

    Raises what `main` raises; RuntimeError if a runtime runs in this thread already, Deadlock if
    every task waits and nothing could wake one.  With `debug`, calls that block the loop are
    reported (`detect_blocking`), and coroutines that are awaited one after the other
    (`detect_one_by_one`).

    >>> async def answer():
    ...     return 42
    >>> run(answer())
    42
    """
    if running.executor is not None:
        discard(main)
        raise RuntimeError("this thread runs a runtime already: await the coroutine, or spawn it")
    try:
        executor = Executor(clock or MonotonicClock(), selector or default_selector())
    except BaseException:
        discard(main)
        raise
    running.executor = executors[threading.get_ident()] = executor
    try:
        task = executor.spawn(main, name="main", site=spawn_site(1))
        executor.main = task
        ctrl_c = CtrlC(executor, task)
        _let_signals_wake(executor)
        if debug:
            detect_blocking()
            detect_one_by_one()
        executor.run_while(lambda: not task.done)
    finally:
        try:
            executor.shut_down()
        finally:
            running.executor = None
            del executors[threading.get_ident()]
    if ctrl_c.ended_the_run:
        raise KeyboardInterrupt
    return task.outcome()


def _let_signals_wake(executor: Executor) -> None:
    """A signal ends a poll, so that the wake-up of its handler is seen; only in the main thread."""
    if threading.current_thread() is threading.main_thread():
        before = signal.set_wakeup_fd(executor.wakeup_descriptor, warn_on_full_buffer=False)
        executor.at_exit[partial(_wake_again, before)] = None


def _wake_again(descriptor: int) -> None:
    """Have signals write where they wrote before the run, unless that was closed meanwhile."""
    try:
        signal.set_wakeup_fd(descriptor)
    except (OSError, ValueError):
        signal.set_wakeup_fd(-1)
