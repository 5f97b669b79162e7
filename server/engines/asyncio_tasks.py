"""What an asyncio engine is doing, as text: its tasks, its connections, its thread.

A suspended task has no place on any stack, and ``Task.get_stack`` gives one frame of it; but each
coroutine knows whom it awaits, and following that gives the lines. A task that runs, and is the
reason why nothing else does, stands on the stack of the loop's thread. None of this asks the loop,
so it works from another thread while the loop hangs.

Tasks that stand in the same lines are one entry, since ten thousand mostly wait for their clients.
"""

import asyncio
import sys
import traceback
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from types import CoroutineType, FrameType
from typing import Any, TypeVar

from server.engines.asyncio_connection import Connection

NAMED = 3
"""Tasks named in an entry; of the others it gives the number."""

Place = tuple[str, int, str]
"""A file, a line and a function."""

T = TypeVar("T")


def describe(loop: asyncio.AbstractEventLoop, thread: int, live: Mapping[int, Connection]) -> str:
    """Every task of the loop, every connection that has none, and where the thread stands."""
    tasks = asyncio.all_tasks(loop)
    lines = [_count(len(tasks), "task")]
    for stack, group in _grouped((_stack(task.get_coro()), task) for task in tasks):
        lines.append(f"{_count(len(group), 'task')}: {_names(group)}")
        lines += map(_line, stack)
    connections = tuple(live.values())
    lines.append(_count(len(connections), "connection"))
    opened = (each for each in connections if each.transport is not None)
    states = Counter(state for each in opened if (state := each.describe()))
    lines += (f"{count:,} {state}" for state, count in states.most_common())
    lines.append("the thread of the event loop:")
    frames = traceback.walk_stack(sys._current_frames().get(thread))
    lines += (_line(_place(frame, line)) for frame, line in reversed(tuple(frames)))
    return "".join(f"{line}\n" for line in lines)


def _stack(coro: Any) -> tuple[Place, ...]:
    """The awaits of a coroutine, outermost first. One that runs stops where it was resumed."""
    places = []
    while isinstance(coro, CoroutineType):
        if (frame := coro.cr_frame) is not None:
            places.append(_place(frame, frame.f_lineno))
        coro = coro.cr_await
    return tuple(places)


def _place(frame: FrameType, line: int) -> Place:
    return frame.f_code.co_filename, line, frame.f_code.co_qualname


def _grouped(items: Iterable[tuple[Hashable, T]]) -> list[tuple[Any, list[T]]]:
    """What shares a key, the most common first."""
    groups: dict[Hashable, list[T]] = {}
    for key, item in items:
        groups.setdefault(key, []).append(item)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _names(tasks: list[asyncio.Task[Any]]) -> str:
    others = len(tasks) - NAMED
    names = ", ".join(task.get_name() for task in tasks[:NAMED])
    return f"{names} and {others:,} more" if others > 0 else names


def _line(place: Place) -> str:
    file, line, function = place
    return f"    at {function} ({file}:{line})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"
