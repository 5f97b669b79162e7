"""Tasks that can never go on: what a loop can know of them, and how it says so.

A program that hangs without a word is the worst that a runtime can do.  Whoever can wake a task is
known here: a timer, a descriptor, another task that it awaits, or the holder of a `Waker`.  So when
nothing is ready and none of those is left, the run could only wait for ever, and ends with
a `Deadlock` that names every task and the line it waits in.

One task can also be lost while the others go on.  That cannot be known in general (an `Event` that
nobody will set looks like one that somebody will), but it can for the classic case: a future that
returned `PENDING` and forgot the waker it was given.

All this is looked at when the loop has nothing else to do, so it may take its time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .cancel import Scope
from .stack import waiting_place
from .task import Task

if TYPE_CHECKING:
    from .executor import Executor

log = logging.getLogger("runtime")

#: How many tasks a `Deadlock` names.
_NAMED = 10


class Deadlock(RuntimeError):
    """Every task waits, and nothing is left that could wake one: the run would never end.

    No timer is set, no descriptor is waited for, and nobody holds a waker.
    The usual reason is a future that returned `PENDING` and forgot its waker.
    """


def deadlock(executor: Executor) -> Deadlock:
    """Say which tasks wait for ever, and where."""
    stuck = [f"task {task.name!r} in {waits_in(task)}" for task in executor.tasks()]
    more = f", and {len(stuck) - _NAMED} more" if len(stuck) > _NAMED else ""
    return Deadlock(
        f"{', '.join(stuck[:_NAMED])}{more}: {'they wait' if stuck[1:] else 'it waits'} for ever. "
        "Nothing is left that could wake a task (threads and signal handlers do it by a Waker)."
    )


def report_lost_wakers(executor: Executor) -> None:
    """Name the tasks that a future has forgotten, unless something else can wake them."""
    suspects, executor.suspects = executor.suspects, {}
    for task, future in suspects.items():
        if task.queued or task.done or _can_be_woken(executor, task):
            continue
        log.warning(
            "task %r waits for ever in %s: %s.poll returned PENDING and nobody keeps the waker "
            "it was given",
            task.name,
            waits_in(task),
            future,
        )


def _can_be_woken(executor: Executor, task: Task[Any]) -> bool:
    """Whether anything that the loop knows of would wake a task."""
    return (
        task in executor.wakers.values()
        or executor.timers.aim_at(task)
        or any(executor.timers.aim_at(scope) for scope in _scopes_around(task))
        or executor.reactor.aims_at(task)
        or any(task in other.joiners for other in executor.tasks())
    )


def _scopes_around(task: Task[Any]) -> Iterator[Scope]:
    """The blocks that a task is in; a deadline of any of them wakes it."""
    scope = task.scope
    while scope is not None:
        yield scope
        scope = scope.parent


def report_stubborn(task: Task[Any], times: int) -> None:
    """Name a task that is cancelled and goes on waiting."""
    log.warning(
        "task %r, spawned at %s, is cancelled and has gone on waiting %d times, now in %s; "
        "whoever catches Cancelled must let it go on",
        task.name,
        task.spawned_at,
        times,
        waits_in(task),
    )


def waits_in(task: Task[Any]) -> str:
    """What a task waits in, and the line of its user's that awaits it."""
    return waiting_place(task.coro)
