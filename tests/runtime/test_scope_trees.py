"""Random programs of nested scopes, shields, cleanups and groups against a recursive oracle.

Time is virtual and counts in whole seconds, so deadlines collide with wake-ups all the time. The
oracle knows one rule: a wait that ends at T is cancelled if a scope that reaches it has a deadline
at T or before; the `Cancelled` then belongs to the outermost such scope, as far as shields let it
see.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import Cancelled, CancelScope, TaskGroup, now, sleep
from runtime.testing import VirtualClock


@dataclass(frozen=True)
class Sleep:
    seconds: int


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Within:
    seconds: float
    shield: bool
    body: Node


@dataclass(frozen=True)
class Finally:
    body: Node
    cleanup: Node


@dataclass(frozen=True)
class Together:
    parts: tuple[Node, ...]


Node: TypeAlias = Sleep | Sequence | Within | Finally | Together
#: What happened at a node (its path in the tree), and when.
Log: TypeAlias = dict[tuple[int, ...], tuple[str, float]]


async def perform(node: Node, log: Log, path: tuple[int, ...] = ()) -> None:
    """The program itself."""
    match node:
        case Sleep(seconds):
            try:
                await sleep(seconds)
            except Cancelled:
                log[path] = ("cancelled", now())
                raise
            log[path] = ("slept", now())
        case Sequence(parts):
            for n, part in enumerate(parts):
                await perform(part, log, (*path, n))
        case Within(seconds, shield, body):
            scope = CancelScope(deadline=now() + seconds, shield=shield)
            with scope:
                await perform(body, log, (*path, 0))
            log[path] = ("caught" if scope.cancelled_caught else "done", now())
        case Finally(body, cleanup):
            try:
                await perform(body, log, (*path, 0))
            finally:
                await perform(cleanup, log, (*path, 1))
                log[path] = ("cleaned", now())
        case Together(parts):
            async with TaskGroup() as group:
                for n, part in enumerate(parts):
                    group.spawn(perform(part, log, (*path, n)))
            log[path] = ("joined", now())


class Interrupted(Exception):
    """The oracle's Cancelled."""

    def __init__(self, time: float) -> None:
        self.time = time


#: Deadline and shield of each scope around a node, the innermost last.
Around: TypeAlias = tuple[tuple[float, bool], ...]


def reach(around: Around) -> float:
    """The first moment at which a wait inside is cancelled."""
    first = inf
    for deadline, shield in reversed(around):
        first = min(first, deadline)
        if shield:
            break
    return first


def predict(node: Node, time: float, around: Around, log: Log, path: tuple[int, ...] = ()) -> float:
    """When the node is done; raises Interrupted if it is cancelled."""
    match node:
        case Sleep(seconds):
            if reach(around) <= time + seconds:
                time = max(time, reach(around))
                log[path] = ("cancelled", time)
                raise Interrupted(time)
            log[path] = ("slept", time + seconds)
            return time + seconds
        case Sequence(parts):
            for n, part in enumerate(parts):
                time = predict(part, time, around, log, (*path, n))
            return time
        case Within(seconds, shield, body):
            deadline = time + seconds
            how = "done"
            try:
                time = predict(body, time, (*around, (deadline, shield)), log, (*path, 0))
            except Interrupted as interrupted:
                time = interrupted.time
                if deadline > time or (not shield and reach(around) <= time):
                    raise
                how = "caught"
            log[path] = (how, time)
            return time
        case Finally(body, cleanup):
            stopped = None
            try:
                time = predict(body, time, around, log, (*path, 0))
            except Interrupted as interrupted:
                stopped, time = interrupted, interrupted.time
            time = predict(cleanup, time, around, log, (*path, 1))
            log[path] = ("cleaned", time)
            if stopped is not None:
                raise Interrupted(time)
            return time
        case Together(parts):
            ends = [time]
            for n, part in enumerate(parts):
                try:
                    ends.append(predict(part, time, around, log, (*path, n)))
                except Interrupted as interrupted:
                    ends.append(interrupted.time)
            time = max(ends)
            if parts and reach(around) <= time:
                raise Interrupted(time)
            log[path] = ("joined", time)
            return time


def larger(node: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(node, max_size=4).map(tuple)
    seconds = st.one_of(st.integers(0, 8).map(float), st.just(inf))
    return st.one_of(
        st.builds(Sequence, several),
        st.builds(Within, seconds, st.booleans(), node),
        st.builds(Within, seconds, st.booleans(), node),
        st.builds(Finally, node, node),
        st.builds(Together, several),
    )


PROGRAMS: st.SearchStrategy[Node] = st.recursive(
    st.builds(Sleep, st.integers(0, 5)), larger, max_leaves=20
)


@given(PROGRAMS)
@settings(deadline=None, max_examples=400)
def test_a_random_program_does_what_the_oracle_says(program: Node) -> None:
    expected: Log = {}
    end = predict(program, 0.0, (), expected)
    happened: Log = {}

    async def main() -> float:
        await perform(program, happened)
        return now()

    assert runtime.run(main(), clock=VirtualClock()) == end
    assert happened == expected


@given(PROGRAMS, st.integers(0, 10))
@settings(deadline=None, max_examples=200)
def test_a_random_program_cancelled_by_its_handle_does_what_the_oracle_says(
    program: Node, seconds: int
) -> None:
    """Cancelling a handle is a deadline around the whole task."""
    expected: Log = {}
    try:
        end = predict(program, 0.0, ((float(seconds), False),), expected)
    except Interrupted as interrupted:
        end = interrupted.time
    happened: Log = {}

    async def main() -> float:
        began = runtime.Event()

        async def cancel() -> None:
            await sleep(seconds)
            task.cancel()

        async def work() -> None:
            began.set()
            await perform(program, happened)

        # The canceller's timer is set first: it strikes before those of the program.
        canceller = runtime.spawn(cancel())
        task = runtime.spawn(work())
        with suppress(runtime.TaskCancelled):
            await task
        ended = now()
        await canceller
        return ended

    assert runtime.run(main(), clock=VirtualClock()) == end
    assert happened == expected
