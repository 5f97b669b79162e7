"""A million timers of which nearly all are taken back, as a server's timeouts are."""

import tracemalloc
from random import Random

import pytest

import runtime
from runtime.timers import Timer, timer
from tests.torture.client import percentile
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(20)

KEPT = 100
"""One in so many is left to fire."""


class Alarm:
    """Somebody who is woken, and writes down how late."""

    def __init__(self, deadline: float, late: list[float]) -> None:
        self._deadline = deadline
        self._late = late

    def wake(self) -> None:
        self._late.append(runtime.now() - self._deadline)


def set_all(count: int, first: float, width: float, late: list[float]) -> list[Timer]:
    """Set so many timers, in no order."""
    random, timers = Random(count), runtime.current_task().executor.timers
    alarms = []
    for _ in range(count):
        deadline = first + random.random() * width
        alarms.append(timer(deadline, Alarm(deadline, late)))
        timers.add(alarms[-1])
    return alarms


def take_back(alarms: list[Timer]) -> list[Timer]:
    """Cancel all but one in ``KEPT``; returns those."""
    timers = runtime.current_task().executor.timers
    for number, alarm in enumerate(alarms):
        if number % KEPT:
            timers.cancel(alarm)
    return alarms[::KEPT]


def test_memory_comes_back_as_timers_are_taken_back(scale: Scale, figure: Figures) -> None:
    async def main() -> None:
        before = tracemalloc.get_traced_memory()[0]
        alarms = set_all(scale(20_000, 1_000_000), runtime.now() + 3600, 10, [])
        full = tracemalloc.get_traced_memory()[0] - before
        alarms = take_back(alarms)
        left = tracemalloc.get_traced_memory()[0] - before
        figure("memory after 99 % of the timers were taken back", left / full * 100)
        for alarm in alarms:
            runtime.current_task().executor.timers.cancel(alarm)
        del alarms, alarm
        left = tracemalloc.get_traced_memory()[0] - before
        figure("memory after all were", left / full * 100)

    tracemalloc.start()
    try:
        runtime.run(main())
    finally:
        tracemalloc.stop()


def test_those_that_are_left_fire_in_time(scale: Scale, figure: Figures) -> None:
    count, setting, width = scale((20_000, 1.0, 0.2), (1_000_000, 30.0, 5.0))

    async def main() -> None:
        late: list[float] = []
        # By the first deadline all have been set and taken back, so that the loop is idle.
        first = runtime.now() + setting
        kept = len(take_back(set_all(count, first, width, late)))
        assert runtime.now() < first
        await runtime.sleep_until(first + width)
        await runtime.sleep(0.05)
        figure("timers lost or doubled", abs(len(late) - kept))
        figure("timers that fired early", sum(seconds < 0 for seconds in late))
        figure("lateness of the others, p99", percentile(late, 0.99) * 1000)

    runtime.run(main())
