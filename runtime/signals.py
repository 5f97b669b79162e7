"""Signals as something to wait for.

A signal handler may run between any two lines, so it can do next to nothing safely.  Ours notes
the number and wakes a task, by the same road that other threads take; the interpreter's own
handler, in C, has by then written to the loop's pipe, so a poll that was asleep is over.
"""

from __future__ import annotations

import signal
from collections import deque
from types import FrameType
from typing import Any, Self

from .closing import Closing
from .errors import BusyError, ClosedError
from .task import current_executor, park
from .waker import Waker, current_waker

#: Signals that nobody has asked for yet; with more, one that waits already is not added.
_FLOOD = 1024


class Signals(Closing):
    """The signals that `signals()` waits for, in the order they arrive."""

    def __init__(self, signums: tuple[int, ...]) -> None:
        if not signums:
            raise ValueError("no signal to wait for: name at least one")
        named = dict.fromkeys(signal.Signals(signum) for signum in signums)
        for signum in named:
            if isinstance(getattr(signal.getsignal(signum), "__self__", None), Signals):
                raise BusyError(f"{signum.name} is caught already; by one receiver at a time")
        self._arrived: deque[signal.Signals] = deque()
        self._waiting: Waker | None = None
        self._executor = current_executor()
        self._before: dict[int, Any] = {}
        self._open = True
        self._executor.at_exit[self.close] = None
        try:
            for signum in named:
                self._before[signum] = signal.signal(signum, self._note)
        except BaseException:
            self.close()
            raise

    def _note(self, signum: int, frame: FrameType | None) -> None:
        # As in the kernel, a signal that waits already is not told twice; here only in a flood.
        if len(self._arrived) < _FLOOD or signum not in self._arrived:
            self._arrived.append(signal.Signals(signum))
        if self._waiting is not None:
            self._waiting.wake()

    def close(self) -> None:
        """Put the handlers back that were there before.

        What has arrived can still be had; after that, and for a task that waits, ClosedError.
        """
        if self._open:
            self._open = False
            for signum, handler in self._before.items():
                # None is a handler that Python does not know, and cannot put back.
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
            self._executor.at_exit.pop(self.close, None)
            if self._waiting is not None:
                self._waiting.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> signal.Signals:
        if self._waiting is not None:
            raise BusyError("another task waits for these signals; one at a time")
        self._waiting = current_waker()
        try:
            while not self._arrived:
                if not self._open:
                    raise ClosedError("these signals are not caught any more")
                await park()
        finally:
            self._waiting = None
        return self._arrived.popleft()


def signals(*signums: int) -> Signals:
    """Catch signals from now on: `with signals(SIGTERM) as caught`, then `async for`.

    From the main thread only (ValueError elsewhere, and for a number that no signal of
    `signal.Signals` has).  Leaving the block, or the end of the run, restores the handlers
    that were there before.  BusyError for a signal that is caught already: of two receivers, one
    would hear nothing, and they would have to close in order.
    """
    return Signals(signums)
