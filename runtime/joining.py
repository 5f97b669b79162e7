"""Several awaitables as one: all of them (`join_all`), or the first of them (`race`).

Both are a task group with a result, so nothing that they started outlives them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Sequence
from inspect import isawaitable
from typing import TypeVar, cast

from .executor import spawn_site
from .groups import TaskGroup
from .task import Task, discard

T = TypeVar("T")

log = logging.getLogger("runtime")


async def join_all(*awaitables: Awaitable[T] | Iterable[Awaitable[T]]) -> list[T]:
    """Run all of them at the same time; their results, in the order they were given.

    Takes coroutines (or other awaitables), or one iterable of them.  Nothing runs before this is
    awaited.  When one fails, the rest are cancelled and waited for, and its exception is raised as
    it is; an exception that another one raises while it is being cancelled is logged.

    >>> async def double(n):
    ...     return 2 * n
    >>> run(join_all(double(n) for n in range(3)))
    [0, 2, 4]
    """
    site = spawn_site(1)
    failures: Sequence[BaseException] = ()
    tasks: list[Task[T]] = []
    try:
        async with TaskGroup() as group:
            tasks += [group.spawn_from(each, None, site) for each in _flatten(awaitables)]
    except BaseExceptionGroup as several:
        failures = several.exceptions
    if not failures:
        return [task.outcome() for task in tasks]
    try:
        for other in failures[1:]:
            log.error("join_all raises the first failure; this one came after it", exc_info=other)
        raise failures[0]
    finally:
        del failures, tasks  # a frame that its own exception refers to is a cycle


async def race(*awaitables: Awaitable[T] | Iterable[Awaitable[T]]) -> T:
    """Run all of them at the same time; the result of the first to end.  The rest are cancelled.

    Takes what `join_all` takes, and at least one.  If the first to end does so by raising, that is
    raised.  Nothing outlives the call: the others are waited for, whatever they still return is
    dropped, and what they still raise is logged.

    >>> async def answer(seconds):
    ...     await sleep(seconds)
    ...     return seconds
    >>> run(race(answer(0.01), answer(3600)))
    0.01
    """
    site = spawn_site(1)
    contestants = _flatten(awaitables)
    if not contestants:
        raise ValueError("a race of nobody would never end; give it at least one awaitable")
    results: list[T] = []
    failures: Sequence[BaseException] = ()
    try:
        async with TaskGroup() as group:

            async def contend(each: Awaitable[T]) -> None:
                result = await each
                if not group.cancel_scope.cancel_called:
                    results.append(result)
                    group.cancel_scope.cancel()

            for each in contestants:
                group.spawn_from(contend(each), getattr(each, "__qualname__", None), site)
    except BaseExceptionGroup as several:
        failures = several.exceptions
    try:
        for other in failures if results else failures[1:]:
            log.error("race gives the first outcome; this one came after it", exc_info=other)
        if results:
            return results[0]
        raise failures[0]
    finally:
        del failures  # a frame that its own exception refers to is a cycle


def _flatten(given: tuple[Awaitable[T] | Iterable[Awaitable[T]], ...]) -> list[Awaitable[T]]:
    if len(given) == 1 and not isawaitable(given[0]):
        flat = list(given[0])
    else:
        flat = list(cast(tuple[Awaitable[T], ...], given))
    for each in flat:
        if not isawaitable(each):
            for other in flat:
                discard(other)
            raise TypeError(f"{each!r} cannot be awaited, so it can be neither joined nor raced")
    return flat
