"""Coroutines that were made together and are awaited one after the other: a mistake, mostly.

    calls = [fetch(url) for url in urls]
    for call in calls:
        await call

This takes as long as all of them together, because a coroutine does nothing until it is awaited.
It blocks nothing and raises nothing, and the runtime has no part in it: to await a coroutine is to
call a function, which no loop hears of.  But it leaves a picture.  When the task waits, it stands
in one coroutine of a collection; **some of that collection have ended, and some have not begun**.

That can be seen, and seldom means anything else.  Whoever made them of different functions has a
sequence in mind, and where several of them are under way there are workers who share them; neither
is told.  What cannot be seen is the intention: calls of one function may be meant to run in turn.
So this is for debugging, and says so once for each line.  A collection that is used up while it is
worked through (`await calls.pop()`) leaves no picture and is missed.

The look is the loop's own, between two tasks; a thread only reminds it to.  An idle loop is thus
woken once a period, and neither a clock nor the search for deadlocks sees a timer of ours.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Coroutine, Iterator
from inspect import CORO_CLOSED, CORO_CREATED, CORO_SUSPENDED, getcoroutinestate
from itertools import chain, islice
from types import CodeType, CoroutineType
from typing import Any, Final, NamedTuple

from .closing import Closing
from .stack import await_stack
from .task import Task, current_executor

log = logging.getLogger("runtime")

#: Tasks that are looked at each time, main first; each takes the loop some 15 microseconds.
MOST_TASKS: Final = 300

#: Of a collection that is gone through; one that has more, of whatever, is taken for data.
MOST_MEMBERS: Final = 10_000

_COLLECTIONS: Final = (list, tuple, set, dict)
_EMPTY: Final[tuple[Any, ...]] = ([], (), set(), {}.values(), {}.items())
#: What a `for` loop holds on to: an iterator of a collection, or of another iterator.
_ITERATORS: Final = (*(type(iter(each)) for each in _EMPTY), enumerate)


class Queue(NamedTuple):
    """How many coroutines of one function stand in line, and what has become of the rest."""

    function: str
    ended: int
    not_begun: int


def queue_behind(waiting: Coroutine[Any, Any, Any]) -> Queue | None:
    """The collection whose coroutines `waiting` awaits one after the other, if it does."""
    awaited = getattr(waiting, "cr_await", None)
    if not isinstance(awaited, CoroutineType):
        return None
    for collection in _collections(waiting):
        members = [
            each
            for each in gc.get_referents(collection)
            if isinstance(each, CoroutineType) and each.cr_code is awaited.cr_code
        ]
        if not any(each is awaited for each in members):
            continue
        states = [getcoroutinestate(each) for each in members]
        ended, not_begun = states.count(CORO_CLOSED), states.count(CORO_CREATED)
        if ended and not_begun and states.count(CORO_SUSPENDED) == 1:
            return Queue(awaited.__qualname__, ended, not_begun)
    return None


def _collections(waiting: Coroutine[Any, Any, Any]) -> Iterator[Any]:
    """What a suspended coroutine holds in its variables, and what its `for` loops go through."""
    held = gc.get_referents(waiting)
    while held:
        each = held.pop()
        if type(each) in _COLLECTIONS:
            if len(each) <= MOST_MEMBERS:
                yield each
        elif type(each) in _ITERATORS:
            held += gc.get_referents(each)


class OneByOne(Closing):
    """Has the loop of this thread look for such queues, until closed or the run ends."""

    def __init__(self, period: float) -> None:
        if not period > 0:
            raise ValueError(
                f"a period of {period} seconds would do nothing else; give more than 0"
            )
        self._executor = current_executor()
        self._period = min(period, threading.TIMEOUT_MAX)
        self._told: set[tuple[CodeType, int]] = set()
        self._asked = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._remind, name="one by one", daemon=True)
        self._executor.at_exit[self.close] = None
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join()
        self._executor.at_exit.pop(self.close, None)

    def _remind(self) -> None:
        while not self._closed.wait(self._period):
            if not self._asked:  # or a loop that is blocked for an hour would have much to look at
                self._asked = True
                self._executor.call_soon(self._look)

    def _look(self) -> None:
        self._asked = False
        tasks = chain([self._executor.main], self._executor.tasks())
        for task in islice(tasks, MOST_TASKS):
            if task is not None:
                self._look_at(task)

    def _look_at(self, task: Task[Any]) -> None:
        coro: Any = task.coro
        while isinstance(coro, CoroutineType):
            frame = coro.cr_frame
            if frame is not None and (queue := queue_behind(coro)) is not None:
                line = (coro.cr_code, frame.f_lineno)
                if line not in self._told:
                    self._told.add(line)
                    _report(task, coro, queue)
            coro = coro.cr_await


def _report(task: Task[Any], coro: CoroutineType[Any, Any, Any], queue: Queue) -> None:
    log.warning(
        "task %r awaits calls of %r one after the other: %d ended, 1 under way, %d not begun. "
        "A coroutine does nothing until it is awaited; to run all at the same time, give them to "
        "join_all, or spawn each.\n    at %s",
        task.name,
        queue.function,
        queue.ended,
        queue.not_begun,
        await_stack(coro)[0],
    )


def detect_one_by_one(period: float = 0.5) -> OneByOne:
    """Log a warning about coroutines that were made together and are awaited one after the other.

    Looks every `period` seconds, and tells once for each line.  It cannot know whether that is
    meant; make each coroutine where it is awaited to say so.  Ends with the run, with `close()`, or
    with a `with` block.  Raises ValueError for a period that is not above 0.
    """
    return OneByOne(period)
