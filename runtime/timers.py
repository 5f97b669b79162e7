"""Timers: deadlines, and whom each of them wakes.

Two facts about timers shaped this file.

*They are mostly set in order.*  Whoever waits for the same length of time, one after another, sets
deadlines that only go up.  So a deadline not before the last one is appended to a plain queue, the
run, and leaves it at the front: no comparison, no sifting.  The others go on a heap.

*They mostly never fire.*  A server sets a timeout for every wait and takes nearly all of them back,
so taking back must be cheap and must give the memory back.  To cancel is to forget whom to wake;
the empty entry is passed over when its time comes, and once most of them are empty they are swept
out.  That is O(1) amortised, and a million timers of which 99 % are cancelled shrink to the 1 %
that matter.

An entry is a float that also knows its target, so it compares in C and is one object.  (asyncio and
Trio keep an object per timer and prune likewise; libev's manual advises a queue for timers that all
have the same length.)
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from math import inf, isnan
from typing import Protocol

#: With fewer empty entries than this a sweep is not worth its cost.
_FEW = 64


#: Seconds from which on a timer counts as late.
LATE = 0.01


class Wakeable(Protocol):
    """What a timer wakes: a task, or a scope whose deadline it is."""

    def wake(self) -> None: ...


class Timer(float):
    """A deadline in seconds of the executor's clock; `target` is whom it wakes, None afterwards."""

    __slots__ = ("number", "target")

    target: Wakeable | None
    #: Its place among equal ones; set for those on the heap, which does not keep it.
    number: int


def timer(deadline: float, target: Wakeable) -> Timer:
    """A timer to be added."""
    made = Timer(deadline)
    made.target = target
    return made


class Timers:
    """All the timers of an executor, first come first served among equal deadlines."""

    __slots__ = ("_empty", "_heap", "_never", "_numbers", "_run", "late", "latest")

    def __init__(self) -> None:
        self._run: deque[Timer] = deque()
        self._heap: list[Timer] = []
        self._numbers = count()
        #: How many entries of the two are cancelled.
        self._empty = 0
        #: How many timers are set for infinity, which need no entry.
        self._never = 0
        #: How many timers fired late, and by how many seconds the worst of them.
        self.late = 0
        self.latest = 0.0

    def __len__(self) -> int:
        """How many timers are still to fire."""
        return len(self._run) + len(self._heap) + self._never - self._empty

    def add(self, timer: Timer) -> None:
        """Wake its target at the first turn of the loop at or after the deadline, never before.

        One for infinity never fires.  Raises ValueError for NaN, which has no place in an order.
        """
        run = self._run
        if timer == inf:
            self._never += 1
        elif not run or timer >= run[-1]:
            if isnan(timer):
                raise ValueError("a deadline cannot be NaN")
            run.append(timer)
        else:
            if isnan(timer):
                raise ValueError("a deadline cannot be NaN")
            timer.number = next(self._numbers)
            heapq.heappush(self._heap, timer)

    def cancel(self, timer: Timer) -> None:
        """Take a timer back.  One that fired or was cancelled already is left alone."""
        if timer.target is None:
            return
        timer.target = None
        if timer == inf:
            self._never -= 1
            return
        if not self._heap and self._run[-1] is timer:  # set and taken back: as if it had not been
            self._run.pop()
            return
        self._empty += 1
        if self._empty > _FEW and 2 * self._empty > len(self._run) + len(self._heap):
            self._sweep()

    def next_deadline(self) -> float:
        """When the loop must wake at the latest; infinity if no timer is set."""
        run, heap = self._run, self._heap
        while run and run[0].target is None:
            run.popleft()
            self._empty -= 1
        while heap and heap[0].target is None:
            heapq.heappop(heap)
            self._empty -= 1
        if heap and not run:
            # The next one may be equal to one on the heap, and must not be the run's then.
            self._sweep()
        return min(run[0] if run else inf, heap[0] if heap else inf)

    def expire(self, now: float) -> None:
        """Wake everybody whose deadline is `now` or earlier, in order.

        Whoever is woken may cancel others, and that counts, even for the same deadline.
        """
        run, heap = self._run, self._heap
        while True:
            # Of two equal ones, that of the run was set first: the other one went to the heap
            # because of a later one at the run's end, and that is there still.
            if run and not (heap and heap[0] < run[0]):
                if run[0] > now:
                    break
                timer = run.popleft()
            elif heap and heap[0] <= now:
                timer = heapq.heappop(heap)
                if heap and heap[0] == timer:
                    self._line_up(timer)
                    continue
            else:
                break
            target, timer.target = timer.target, None
            if target is None:
                self._empty -= 1
                continue
            if now - timer > LATE:
                self.late += 1
                self.latest = max(self.latest, now - timer)
            target.wake()

    def _line_up(self, first: Timer) -> None:
        """Put equal timers from the heap at the head of the run, in the order they were set."""
        equal = [first]
        while self._heap and self._heap[0] == first:
            equal.append(heapq.heappop(self._heap))
        equal.sort(key=lambda timer: timer.number, reverse=True)
        self._run.extendleft(equal)

    def aim_at(self, target: object) -> bool:
        """Whether any timer wakes `target`.  Looks at all of them."""
        return any(timer.target is target for timer in self._run) or any(
            timer.target is target for timer in self._heap
        )

    def _sweep(self) -> None:
        """Drop the empty entries, and make one run of what is left."""
        heaped = sorted(
            (timer for timer in self._heap if timer.target is not None),
            key=lambda timer: (timer, timer.number),
        )
        timers = [timer for timer in self._run if timer.target is not None]
        timers = sorted(timers + heaped)  # two runs, which takes one pass; equal ones stay in order
        self._run.clear()
        self._heap.clear()
        self._run.extend(timers)
        self._empty = 0
