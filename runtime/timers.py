"""Timers: deadlines, and whom each of them wakes.

Most timers never fire.  A server sets a timeout for every wait and takes nearly all of them back,
so taking back must be cheap and must give the memory back.  Removing from the middle of a heap is
neither.  So the heap holds bare deadlines, and a dictionary says who waits for each: to cancel is
to delete from the dictionary, and a deadline that nobody waits for any more is passed over when its
time comes.  Once most of the heap is such leftovers, both are rebuilt.  That is O(1) amortised, and
a million timers of which 99 % are cancelled shrink to the 1 % that matter.

Bare floats also compare in C, and cost half of what an entry per timer would: a million sleeping
tasks are a million floats.  (asyncio and Trio keep an object per timer and prune it likewise.)
"""

from __future__ import annotations

import heapq
from math import inf, isnan
from typing import Protocol, TypeAlias

#: With fewer leftovers than this a rebuild is not worth its cost.
_FEW = 64


class Wakeable(Protocol):
    """What a timer wakes: a task, or a scope whose deadline it is."""

    def wake(self) -> None: ...


#: Those who wait for one deadline: nearly always one, else several in the order they came.
_Waiting: TypeAlias = Wakeable | dict[Wakeable, None]


class Timers:
    """Deadlines in seconds of the executor's clock."""

    __slots__ = ("_heap", "_waiting")

    def __init__(self) -> None:
        self._heap: list[float] = []
        self._waiting: dict[float, _Waiting] = {}

    def __bool__(self) -> bool:
        """Whether any timer is set, were it for a deadline that never comes."""
        return bool(self._waiting)

    def __len__(self) -> int:
        """How many timers are still to fire."""
        return sum(len(who) if isinstance(who, dict) else 1 for who in self._waiting.values())

    def add(self, deadline: float, target: Wakeable) -> None:
        """Wake `target` at the first turn of the loop at or after `deadline`, never before.

        A target waits once for a deadline, however often it is added.  Raises ValueError for NaN,
        which has no place in an order.
        """
        who = self._waiting.get(deadline)
        if who is None:
            if isnan(deadline):
                raise ValueError("a deadline cannot be NaN")
            self._waiting[deadline] = target
            heapq.heappush(self._heap, deadline)
        elif isinstance(who, dict):
            who[target] = None
        elif who is not target:
            self._waiting[deadline] = {who: None, target: None}

    def cancel(self, deadline: float, target: Wakeable) -> None:
        """Take a timer back.  One that fired or was cancelled already is left alone."""
        who = self._waiting.get(deadline)
        if isinstance(who, dict):
            who.pop(target, None)
            if who:
                return
        elif who is not target:
            return
        del self._waiting[deadline]
        self._tidy()

    def next_deadline(self) -> float:
        """When the loop must wake at the latest; infinity if no timer is set."""
        heap = self._heap
        while heap and heap[0] not in self._waiting:
            heapq.heappop(heap)
        return heap[0] if heap else inf

    def expire(self, now: float) -> None:
        """Wake everybody whose deadline is `now` or earlier, in order.

        Whoever is woken may cancel others, and that counts, even for the same deadline.
        """
        while self.next_deadline() <= now and self._heap:
            deadline = self._heap[0]
            who = self._waiting[deadline]
            if not isinstance(who, dict):
                del self._waiting[deadline]
                who.wake()
                continue
            for target in tuple(who):
                if target in who:
                    del who[target]
                    target.wake()
            if not who:
                self._waiting.pop(deadline, None)
        self._tidy()

    def _tidy(self) -> None:
        """Rebuild what is mostly leftovers."""
        if len(self._heap) > 2 * len(self._waiting) + _FEW:
            self._waiting = dict(self._waiting)  # a dictionary never shrinks by itself
            self._heap = list(self._waiting)
            heapq.heapify(self._heap)
