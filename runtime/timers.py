"""Timers: a heap of deadlines, each of which wakes somebody.

Most timers never fire.  A server sets a timeout for every wait and takes nearly all of them back,
so taking back must be cheap and must give the memory back.  Removing from the middle of a heap is
neither; a cancelled entry therefore only drops its target, stays where it is, and the heap is
rebuilt once more than half of it is such shells.  That is O(1) amortised, and a million timers of
which 99 % are cancelled shrink to the 1 % that matter.  (asyncio and Trio prune the same way.)

An entry is a list, `[deadline, sequence, target]`, because `heapq` then compares in C.  The
sequence keeps entries of one deadline in the order they were set, and no target is ever compared.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf, isnan
from typing import Any, Protocol, TypeAlias

#: `[deadline, sequence, target]`; the target is None once the timer has fired or was cancelled.
Timer: TypeAlias = list[Any]

TARGET = 2
#: Below this many shells a rebuild is not worth its cost.
_FEW = 64


class Wakeable(Protocol):
    """What a timer wakes: a task, or a scope whose deadline it is."""

    def wake(self) -> None: ...


class Timers:
    """Deadlines in seconds of the executor's clock."""

    __slots__ = ("_heap", "_sequence", "_shells")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._sequence = count()
        self._shells = 0

    def __len__(self) -> int:
        """How many timers are still to fire."""
        return len(self._heap) - self._shells

    def add(self, deadline: float, target: Wakeable) -> Timer:
        """Wake `target` at the first turn of the loop at or after `deadline`, never before.

        Raises ValueError for NaN, which has no place in an order.
        """
        if isnan(deadline):
            raise ValueError("a deadline cannot be NaN")
        timer: Timer = [deadline, next(self._sequence), target]
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Take a timer back.  One that fired or was cancelled already is left alone."""
        if timer[TARGET] is None:
            return
        timer[TARGET] = None
        self._shells += 1
        if self._shells > _FEW and self._shells * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer[TARGET] is not None]
            heapq.heapify(self._heap)
            self._shells = 0

    def next_deadline(self) -> float:
        """When the loop must wake at the latest; infinity if no timer is set."""
        heap = self._heap
        while heap and heap[0][TARGET] is None:
            heapq.heappop(heap)
            self._shells -= 1
        deadline: float = heap[0][0] if heap else inf
        return deadline

    def expire(self, now: float) -> None:
        """Wake the target of every timer whose deadline is `now` or earlier, in order."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)
            target = timer[TARGET]
            if target is None:
                self._shells -= 1
            else:
                timer[TARGET] = None
                target.wake()
                heap = self._heap  # waking may cancel timers, and that may rebuild the heap
