"""Coroutines that are awaited in turn are pointed out where that can be seen, and nothing else."""

import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from functools import partial
from types import CoroutineType
from typing import Any

import pytest

import runtime
from runtime.one_by_one import MOST_MEMBERS, Queue, queue_behind
from runtime.testing import VirtualClock
from tests.runtime.harness import PATIENCE

Call = Coroutine[Any, Any, bool]


async def call(pause: Callable[[], Awaitable[None]] = runtime.park) -> bool:
    await pause()
    return True


def calls(count: int = 4) -> list[Call]:
    return [call() for _ in range(count)]


async def over_a_list() -> None:
    waiting = calls()
    for each in waiting:
        await each


async def over_a_list_that_has_no_name() -> None:
    for each in calls():
        await each


async def over_a_tuple() -> None:
    for each in tuple(calls()):
        await each


async def over_a_set() -> None:
    for each in set(calls()):
        await each


async def over_values() -> None:
    for each in dict(enumerate(calls())).values():
        await each


async def over_items() -> None:
    for n, each in dict(enumerate(calls())).items():
        assert n < 4
        await each


async def over_enumerate() -> None:
    for _, each in enumerate(calls()):
        await each


async def by_index() -> None:
    waiting = calls()
    for n in range(len(waiting)):
        await waiting[n]


async def by_hand() -> None:
    waiting = calls()
    await waiting[0]
    await waiting[1]
    await waiting[2]
    await waiting[3]


async def results() -> None:
    assert [await each for each in calls()] == [True] * 4


IN_TURN = [
    over_a_list,
    over_a_list_that_has_no_name,
    over_a_tuple,
    over_a_set,
    over_values,
    over_items,
    over_enumerate,
    by_index,
    by_hand,
    results,
]


async def made_where_they_are_awaited() -> None:
    for _ in range(4):
        await call()


async def made_one_ahead() -> None:
    following = call()
    for _ in range(3):
        current, following = following, call()
        await current
    await following


async def of_different_functions() -> None:
    async def other() -> None:
        await runtime.park()

    for each in [other(), call(), other()]:
        await each


async def used_up() -> None:
    waiting = calls()
    while waiting:
        await waiting.pop()


async def one_and_no_more() -> None:
    for each in calls(1):
        await each


def seen_in(coro: object) -> Queue | None:
    """In a coroutine or one that it awaits, which a comprehension is in Python 3.11."""
    while isinstance(coro, CoroutineType):
        if (queue := queue_behind(coro)) is not None:
            return queue
        coro = coro.cr_await
    return None


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("mistake", IN_TURN)
def test_a_loop_over_what_was_made_before_is_seen_once_one_of_it_has_ended(
    mistake: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    coro = mistake()
    seen = []
    for _ in range(4):
        coro.send(None)
        seen.append(seen_in(coro))
    coro.close()
    name = call.__qualname__
    assert seen == [None, Queue(name, 1, 2), Queue(name, 2, 1), None]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    "correct",
    [
        made_where_they_are_awaited,
        made_one_ahead,
        of_different_functions,
        used_up,
        one_and_no_more,
    ],
)
def test_what_is_in_order_is_not_told(correct: Callable[[], Coroutine[Any, Any, None]]) -> None:
    coro = correct()
    steps = 0
    try:
        while True:
            coro.send(None)
            steps += 1
            assert queue_behind(coro) is None
    except StopIteration:
        pass
    assert steps


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_workers_who_share_what_was_made_before_are_not_told() -> None:
    async def worker(shared: Iterator[Call]) -> None:
        for each in shared:
            await each

    shared = iter(calls(5))
    workers = [worker(shared), worker(shared)]
    for each in workers:
        each.send(None)
    for each in workers:
        each.send(None)
        assert queue_behind(each) is None
    for each in workers:
        each.close()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_who_merely_holds_the_collection_is_not_told() -> None:
    waiting = calls()

    async def in_turn() -> None:
        for each in waiting:
            await each

    async def onlooker() -> int:
        seen = waiting
        await call()
        return len(seen)

    culprit, other = in_turn(), onlooker()
    culprit.send(None)
    culprit.send(None)
    other.send(None)
    assert queue_behind(culprit) is not None
    assert queue_behind(other) is None
    culprit.close()
    other.close()


def test_a_task_that_waits_for_nothing_of_its_own_is_not_told() -> None:
    async def main() -> None:
        await runtime.sleep(1)

    coro = main()
    assert queue_behind(coro) is None  # not begun
    coro.close()


class Naps:
    """Calls that go on until a warning was logged, or for ever."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        self.ended = 0

    def told(self) -> bool:
        return bool(self.caplog.messages)

    async def nap(self) -> None:
        deadline = time.monotonic() + PATIENCE
        await runtime.sleep(0.001)
        while self.ended == 1 and not self.told() and time.monotonic() < deadline:
            await runtime.sleep(0.001)
        self.ended += 1

    async def in_turn(self) -> None:
        for each in [self.nap() for _ in range(4)]:
            await each

    async def in_turn_elsewhere(self) -> None:
        for each in [self.nap() for _ in range(4)]:
            await each


def test_it_is_told_while_it_happens_with_the_line_that_awaits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    naps = Naps(caplog)

    async def outer() -> None:
        await naps.in_turn()

    async def main() -> None:
        with runtime.detect_one_by_one(0.002):
            await runtime.spawn(outer(), name="culprit")

    runtime.run(main())
    (message,) = caplog.messages  # once for the line, though two more were awaited there
    assert message.startswith("task 'culprit' awaits calls of 'Naps.nap' one after the other: ")
    assert ": 1 ended, 1 under way, 2 not begun. " in message
    place = message.splitlines()[1]
    assert place.startswith(f"    at Naps.in_turn ({__file__}:")
    line = int(place.rpartition(":")[2].rstrip(")"))
    with open(__file__, encoding="utf-8") as source:
        assert source.readlines()[line - 1] == "            await each\n"


def test_the_line_is_told_once_however_often_it_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    naps = Naps(caplog)

    async def main() -> None:
        with runtime.detect_one_by_one(0.002) as detector:
            await naps.in_turn()
            naps.ended = 0
            again = runtime.spawn(naps.in_turn())
            while naps.ended < 3:
                detector._look()
                await runtime.yield_now()
            await again

    runtime.run(main())
    assert len(caplog.messages) == 1


def test_it_goes_on_looking(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with runtime.detect_one_by_one(0.002):
            await Naps(caplog).in_turn()
            first = list(caplog.messages)
            caplog.clear()
            await Naps(caplog).in_turn_elsewhere()
            assert len(first) == len(caplog.messages) == 1
            assert "Naps.in_turn_elsewhere (" in caplog.text

    runtime.run(main())


def test_debug_mode_has_it_on_and_the_end_of_the_run_ends_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = partial(runtime.detect_one_by_one, 0.002)
    monkeypatch.setattr(sys.modules["runtime.run"], "detect_one_by_one", often)
    before = threading.active_count()
    runtime.run(Naps(caplog).in_turn(), debug=True)
    assert threading.active_count() == before
    assert len(caplog.messages) == 1


def test_no_clock_and_no_search_for_deadlocks_takes_it_for_a_timer() -> None:
    async def main() -> float:
        with runtime.detect_one_by_one(0.001):
            await runtime.sleep(3600)
            return runtime.now()

    async def hangs() -> None:
        runtime.detect_one_by_one(0.001)
        await runtime.Event().wait()

    assert runtime.run(main(), clock=VirtualClock()) == 3600
    with pytest.raises(runtime.Deadlock):
        runtime.run(hangs())


def test_a_loop_that_is_blocked_is_reminded_once() -> None:
    async def main() -> int:
        with runtime.detect_one_by_one(0.001) as detector:
            waiting = detector._executor._from_outside
            deadline = time.monotonic() + PATIENCE
            while not waiting and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.02)
            return len(waiting)

    assert runtime.run(main()) == 1


@pytest.mark.parametrize("period", [0, -1, float("nan")])
def test_a_period_must_be_above_nought(period: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="give more than 0"):
            runtime.detect_one_by_one(period)

    runtime.run(main())


@pytest.mark.parametrize("period", [1e10, float("inf")])
def test_a_period_beyond_what_a_thread_can_wait_is_never(period: float) -> None:
    async def main() -> None:
        with runtime.detect_one_by_one(period) as detector:
            detector._thread.join(0.05)
            assert detector._thread.is_alive()

    runtime.run(main())


def test_a_large_collection_is_not_gone_through() -> None:
    # For ten million of anything it would take the loop most of a second, at each look.
    async def in_turn(waiting: list[Any]) -> None:
        for each in waiting:
            await each

    def queue(others: int) -> Queue | None:
        waiting: list[Any] = [call(nothing), call(Once), call(Once), *[None] * others]
        coro = in_turn(waiting)
        coro.send(None)
        found = queue_behind(coro)
        for each in (coro, *waiting[:3]):
            each.close()
        return found

    assert queue(0) is not None
    assert queue(MOST_MEMBERS) is None


async def nothing() -> None:
    pass


class Once:
    """Waits once."""

    def __await__(self) -> Generator[None, None, None]:
        yield
