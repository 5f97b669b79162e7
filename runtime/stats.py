"""Statistics: what a loop has done and what it has before it, in numbers that cost it nothing.

They are counted once a turn, or where something rare happens, and never for each I/O operation.
"""

from __future__ import annotations

from dataclasses import dataclass

from .task import current_executor


@dataclass(frozen=True, slots=True)
class Statistics:
    """One look at a runtime.  The first group only grows; the second is how things stand now."""

    #: Turns of the loop: poll, timers, tasks.
    turns: int
    #: Tasks that were spawned, and that have ended.
    spawned: int
    finished: int
    #: How often a task was resumed, which is how many wake-ups counted.
    resumed: int
    #: Timers that fired more than 10 ms after their deadline, and the worst delay in seconds.
    late_timers: int
    latest: float

    #: Tasks that are not done, and those of them that wait for nothing but their turn.
    alive: int
    ready: int
    #: Timers that are set.
    timers: int
    #: Wakers that somebody holds.
    wakers: int


def statistics() -> Statistics:
    """The statistics of the runtime that this is called in.  RuntimeError outside of `run`."""
    executor = current_executor()
    return Statistics(
        turns=executor.turns,
        spawned=executor.spawned,
        finished=executor.finished,
        resumed=executor.resumed,
        late_timers=executor.timers.late,
        latest=executor.timers.latest,
        alive=executor.spawned - executor.finished,
        ready=executor.ready,
        timers=len(executor.timers),
        wakers=len(executor.wakers),
    )
