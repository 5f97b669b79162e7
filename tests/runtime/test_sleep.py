"""Sleeping: never less than asked, in order, and giving way to the others."""

import time
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import current_task, move_on_after, now, sleep, sleep_until, spawn, yield_now
from runtime.testing import VirtualClock

from .harness import Runner, turns


def test_a_real_sleep_is_never_short(run: Runner) -> None:
    async def main() -> list[float]:
        short = []
        for seconds in (0.0, 1e-9, 0.0001, 0.0009, 0.001, 0.0011, 0.0049, 0.01):
            began = time.monotonic()
            await sleep(seconds)
            short.append(time.monotonic() - began - seconds)
        return short

    assert min(run(main)) >= 0


def test_a_real_sleep_does_not_spin_through_the_last_millisecond(run: Runner) -> None:
    async def main() -> None:
        for _ in range(10):
            await sleep(0.0015)

    run(main)
    assert run.polls <= 35


def test_an_hour_takes_no_time_on_a_virtual_clock(run: Runner) -> None:
    async def main() -> tuple[float, float]:
        began = time.monotonic()
        await sleep(3600)
        return now(), time.monotonic() - began

    virtual, real = run(main, clock=VirtualClock())
    assert virtual == 3600
    assert real < 1


@given(st.lists(st.floats(0, 1e6), max_size=30))
@settings(deadline=None, max_examples=60)
def test_sleepers_wake_in_the_order_of_their_deadlines(delays: list[float]) -> None:
    woken: list[tuple[float, int]] = []

    async def sleeper(n: int, seconds: float) -> None:
        await sleep(seconds)
        assert now() == seconds
        woken.append((seconds, n))

    async def main() -> None:
        await runtime.join_all([sleeper(n, seconds) for n, seconds in enumerate(delays)])

    runtime.run(main(), clock=VirtualClock())
    assert woken == sorted((seconds, n) for n, seconds in enumerate(delays))


def test_sleep_until_a_time_in_the_past_gives_one_turn(run: Runner) -> None:
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async def main() -> None:
        await sleep(10)
        spawn(other())
        await sleep_until(3)
        order.append("main")
        spawn(other())
        await sleep(0)
        order.append("main")
        assert now() == 10

    run(main, clock=VirtualClock())
    assert order == ["other", "main"] * 2


def test_spurious_wake_ups_do_not_shorten_a_sleep(run: Runner) -> None:
    async def sleeper() -> float:
        await sleep(5)
        return now()

    async def main() -> float:
        task = spawn(sleeper())
        for _ in range(4):
            await sleep(1)
            task.wake()
            await turns(2)
        return await task

    assert run(main, clock=VirtualClock()) == 5


def test_a_cancelled_sleep_takes_its_timer_back(run: Runner) -> None:
    async def main() -> int:
        timers = runtime.task.current_executor().timers
        task = spawn(sleep(1000))
        await yield_now()
        assert len(timers) == 1
        task.cancel()
        await turns(2)
        assert task.done
        return len(timers)

    assert run(main, clock=VirtualClock()) == 0


def test_sleeping_for_ever_ends_with_cancellation_only(run: Runner) -> None:
    async def main() -> float:
        with move_on_after(1e9):
            await sleep(inf)
        return now()

    assert run(main, clock=VirtualClock()) == 1e9


@pytest.mark.parametrize("seconds", [-1, -1e-9, -inf, nan])
def test_a_length_that_makes_no_sense_is_refused(run: Runner, seconds: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"cannot"):
            await sleep(seconds)
        await yield_now()  # and the task is as it was

    run(main)


def test_a_deadline_that_is_not_a_number_is_refused(run: Runner) -> None:
    async def main() -> int:
        with pytest.raises(ValueError, match="NaN"):
            await sleep_until(nan)
        return len(runtime.task.current_executor().timers)

    assert run(main) == 0


def test_yield_now_lets_each_ready_task_run_once(run: Runner) -> None:
    order: list[int] = []

    async def note(n: int) -> None:
        for _ in range(3):
            order.append(n)
            await yield_now()

    async def main() -> None:
        await runtime.join_all(note(n) for n in range(4))

    run(main)
    assert order == [0, 1, 2, 3] * 3


def test_yield_now_in_a_cancelled_task_raises(run: Runner) -> None:
    async def main() -> list[str]:
        seen = []
        with runtime.CancelScope() as scope:
            scope.cancel()
            seen.append("before")
            await yield_now()
            seen.append("after")
        assert not current_task().cancelled
        return seen

    assert run(main) == ["before"]


def test_a_deadline_beyond_what_a_poll_can_count_is_just_far_away(run: Runner) -> None:
    async def main() -> str:
        sleeper = spawn(sleep(1e18))
        await sleep(0.001)
        assert not sleeper.done
        return "alive"

    assert run(main) == "alive"
    assert run.polls < 20


def test_a_poll_with_only_a_far_timer_can_block(run: Runner) -> None:
    """1e18 seconds are more milliseconds than an int holds: the poll is bounded instead."""
    clock = runtime.MonotonicClock()
    for deadline in (1e18, now_plus_a_year := clock.now() + 3e7):
        patience = clock.patience(deadline)
        assert patience is not None
        assert 0 < patience <= 86_400
    assert clock.patience(inf) is None
    assert clock.patience(0.0) == 0.0
    assert now_plus_a_year > 0


def test_one_sleep_for_two_tasks_is_refused_and_not_slept_through(run: Runner) -> None:
    async def main() -> str:
        nap = runtime.sleep(1)

        async def awaits() -> None:
            await nap

        first = runtime.spawn(awaits())
        await runtime.yield_now()
        with pytest.raises(RuntimeError, match="another task awaits this very sleep"):
            await nap
        await first
        return "the first one slept on"

    assert run(main, clock=VirtualClock()) == "the first one slept on"
