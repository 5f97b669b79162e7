"""Signals as something to wait for.

A signal handler may run between any two lines, so it can do next to nothing safely.  Ours notes
the number and wakes a task, by the same road that other threads take; the interpreter's own
handler, in C, has by then written to the loop's pipe, so a poll that was asleep is over.
"""

from __future__ import annotations

import signal
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Self

from .errors import BusyError
from .task import current_executor, park
from .waker import Waker, current_waker


class Signals:
    """The signals that `signals()` waits for, in the order they arrive."""

    def __init__(self, signums: tuple[int, ...]) -> None:
        self._arrived: deque[signal.Signals] = deque()
        self._waiting: Waker | None = None
        self._executor = current_executor()
        self._before: dict[int, Any] = {}
        self._open = True
        self._executor.at_exit.add(self.close)
        try:
            for signum in signums:
                self._before[signum] = signal.signal(signum, self._note)
        except BaseException:
            self.close()
            raise

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._arrived.append(signal.Signals(signum))
        if self._waiting is not None:
            self._waiting.wake()

    def close(self) -> None:
        """Put the handlers back that were there before."""
        if self._open:
            self._open = False
            for signum, handler in self._before.items():
                signal.signal(signum, handler)
            self._executor.at_exit.discard(self.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> signal.Signals:
        if self._waiting is not None:
            raise BusyError("another task waits for these signals; one at a time")
        self._waiting = current_waker()
        try:
            while not self._arrived:
                await park()
        finally:
            self._waiting = None
        return self._arrived.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def signals(*signums: int) -> Signals:
    """Catch signals from now on: `with signals(SIGTERM) as caught`, then `async for`.

    From the main thread only (ValueError elsewhere).  Leaving the block, or the end of the run,
    restores the handlers that were there before.
    """
    return Signals(signums)
