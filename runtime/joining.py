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


def _flatten(given: tuple[Awaitable[T] | Iterable[Awaitable[T]], ...]) -> list[Awaitable[T]]:
    if len(given) == 1 and not isawaitable(given[0]):
        flat = list(given[0])
    else:
        flat = list(cast(tuple[Awaitable[T], ...], given))
    for each in flat:
        if not isawaitable(each):
            for other in flat:
                discard(other)
            raise TypeError(f"join_all was given {each!r}, which cannot be awaited")
    return flat
