"""Leaves: where a chain of awaits ends, and a task gives up the thread.

Every `await` leads to another coroutine, until one of them yields to the executor instead.  An
`async def` cannot: a `yield` would make it an asynchronous generator.  The usual way out is
`types.coroutine`, a mark on a generator that lets it be awaited.  It has a fault: a generator that
nobody awaits is silent, so `stream.send_all(data)` without `await` would lose bytes and say so to
nobody.

So a leaf here is a generator function whose code is told to make coroutines.  Python runs the two
alike and keeps the difference in one bit of the code object; `types.coroutine` sets its neighbour.
What comes of it is a coroutine that yields by itself: one frame to resume, a RuntimeWarning when it
was never awaited, and all the tools that know coroutines know it.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from functools import update_wrapper
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def leaf(
    function: Callable[P, Generator[None, None, T]],
) -> Callable[P, Coroutine[None, None, T]]:
    """Make coroutines of a generator function; each bare `yield` in it parks the task."""
    assert isinstance(function, types.FunctionType)
    code = function.__code__
    assert code.co_flags & inspect.CO_GENERATOR
    if sys.implementation.name != "cpython":  # other interpreters keep that bit elsewhere
        return cast("Callable[P, Coroutine[None, None, T]]", types.coroutine(function))
    coroutine = types.FunctionType(
        code.replace(co_flags=code.co_flags & ~inspect.CO_GENERATOR | inspect.CO_COROUTINE),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    coroutine.__kwdefaults__ = function.__kwdefaults__
    return cast(
        "Callable[P, Coroutine[None, None, T]]", update_wrapper(coroutine, function, updated=())
    )
