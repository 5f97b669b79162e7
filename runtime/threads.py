"""Calls that block, in a thread of their own.

There are calls that no selector knows how to wait for: looking up a name, reading a file.  Each
runs in a thread, and the task that asked for it waits like for anything else: it parks, and the
thread wakes it when it is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar, cast

from .task import park
from .waker import current_waker

T = TypeVar("T")


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call `function(*args)` in a new thread and wait for what it returns or raises.

    A call cannot be interrupted from outside: if the task is cancelled, the call goes on by itself
    and its result is dropped.  It does not keep the program from ending.
    """
    call = _Call(function, args)
    waker, context = current_waker(), copy_context()

    def work() -> None:
        context.run(call.run)
        waker.wake()

    threading.Thread(target=work, name=f"run_in_thread {function!r}", daemon=True).start()
    while not call.done:
        await park()
    return cast(T, call.result())


class _Call:
    """A call and, once it is over, what became of it."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args
        self._value: Any = None
        self._error: BaseException | None = None
        self.done = False

    def run(self) -> None:
        try:
            self._value = self._function(*self._args)
        except BaseException as error:
            self._error = error
        self.done = True

    def result(self) -> Any:
        if self._error is None:
            return self._value
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # a frame that its own exception refers to is a cycle
