"""Ctrl-C: a request first, an order the second time.

Python's own answer to SIGINT is to raise KeyboardInterrupt wherever the interpreter stands, which
is between any two lines of a task or of the loop.  Cleanup may be torn apart by it.  So the first
Ctrl-C cancels the main task, like any cancellation: everything below it is unwound in order, and
then `run` raises KeyboardInterrupt.  Whoever has not the patience, or has a task that blocks the
loop, presses again and gets Python's own answer, on the spot; from then on no shield protects
a cleanup that waits.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from .cancel import Cancelled
from .executor import Executor
from .task import Task


class CtrlC:
    """Catches SIGINT from now until the run ends, unless the program has a handler of its own."""

    def __init__(self, executor: Executor, main: Task[Any]) -> None:
        self._executor = executor
        self._main = main
        self._came = False
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._caught)
            executor.at_exit[self._restore] = None

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        if self._came or self._main.done:
            self._executor.impatient = True
            raise KeyboardInterrupt
        self._came = True
        self._executor.call_soon(self._main.cancel)

    def _restore(self) -> None:
        if signal.getsignal(signal.SIGINT) == self._caught:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def ended_the_run(self) -> bool:
        """Whether the main task ended because of it."""
        return self._came and isinstance(self._main.error, Cancelled)
