"""Where a coroutine stands: the chain of awaits from the outside to the leaf.

A suspended coroutine has no place on the thread's stack, so a traceback does not show it.  But each
one knows whom it awaits, and following that gives the lines a reader wants to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import dirname, sep
from types import CoroutineType, FrameType, GeneratorType
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code, or a leaf that has none."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})" if self.file else self.function


def await_stack(coro: Any) -> list[Place]:
    """The awaits of a suspended coroutine, outermost first; empty if it is over."""
    places = []
    while coro is not None:
        frame: FrameType | None
        if isinstance(coro, CoroutineType):
            frame, inner = coro.cr_frame, coro.cr_await
        elif isinstance(coro, GeneratorType):
            frame, inner = coro.gi_frame, coro.gi_yieldfrom
        else:  # an iterator written by hand, or of another library
            places.append(Place(getattr(coro, "label", type(coro).__qualname__), "", 0))
            break
        if frame is not None:
            places.append(Place(_name(coro, frame), frame.f_code.co_filename, frame.f_lineno))
        coro = inner
    return places


_HERE = dirname(__file__) + sep


def waiting_place(coro: Any) -> str:
    """What a suspended coroutine waits in, by the name that its user knows, and the line that does.

    Of the awaits below the user's last line, the first one: `Lock.acquire`, and not the queue in
    the lock.
    """
    places = await_stack(coro)
    outside = [
        n for n, place in enumerate(places) if place.file and not place.file.startswith(_HERE)
    ]
    if not outside:
        return str(places[0])
    line, below = places[outside[-1]], places[outside[-1] + 1 :]
    return f"{below[0]}, awaited by {line}" if below else str(line)


def _name(coro: Any, frame: FrameType) -> str:
    """What a reader calls it; of an awaitable object, which kind it is."""
    if coro.__name__ == "__await__" and "self" in frame.f_locals:
        return f"{type(frame.f_locals['self']).__qualname__}.__await__"
    return str(coro.__qualname__)


def thread_stack(frame: FrameType | None, coro: Any) -> list[Place]:
    """The frames from `coro`'s own to `frame`, outermost first: where a *running* coroutine is."""
    places = []
    own = getattr(coro, "cr_frame", None)
    while frame is not None:
        code = frame.f_code
        places.append(Place(code.co_qualname, code.co_filename, frame.f_lineno))
        if frame is own:
            break
        frame = frame.f_back
    return places[::-1]
