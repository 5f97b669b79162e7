"""interval: ticks on a schedule that does not drift, and does not catch up in a burst."""

from math import inf, nan

import pytest

from runtime import interval, move_on_after, now, sleep
from runtime.testing import VirtualClock

from .harness import Runner


def test_ticks_come_at_once_and_then_at_each_period(run: Runner) -> None:
    async def main() -> list[float]:
        await sleep(3)
        ticks = []
        with move_on_after(1.8):
            async for due in interval(0.5):
                assert due == now()
                ticks.append(due)
        return ticks

    assert run(main, clock=VirtualClock()) == [3.0, 3.5, 4.0, 4.5]


def test_a_slow_body_does_not_make_the_schedule_drift(run: Runner) -> None:
    async def main() -> list[float]:
        ticks = []
        async for due in interval(1):
            ticks.append(due)
            if due >= 3:
                return ticks
            await sleep(0.7)
        raise AssertionError

    assert run(main, clock=VirtualClock()) == [0, 1, 2, 3]


def test_ticks_that_were_missed_are_left_out(run: Runner) -> None:
    async def main() -> list[float]:
        ticks = []
        async for due in interval(1):
            ticks.append(due)
            if due >= 6:
                return ticks
            await sleep(3.5 if due == 1 else 0)
        raise AssertionError

    # The body of tick 1 lasts until 4.5; 2, 3 and 4 are over by then.
    assert run(main, clock=VirtualClock()) == [0, 1, 2, 5, 6]


@pytest.mark.parametrize("period", [0, -1, nan, inf])
def test_a_period_that_makes_no_sense_is_refused(run: Runner, period: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="has no ticks"):
            interval(period)

    run(main)
