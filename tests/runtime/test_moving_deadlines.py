"""A scope's deadline can be moved: an idle time-out is one float stored per request."""

from math import inf, nan

import pytest

from runtime import CancelScope, move_on_after, now, sleep, statistics
from runtime.testing import VirtualClock

from .harness import Runner


def test_a_deadline_that_moves_out_is_kept_and_costs_one_timer(run: Runner) -> None:
    async def main() -> tuple[float, bool, set[int]]:
        timers = set()
        with move_on_after(10) as scope:
            for _ in range(100):
                scope.deadline = now() + 10
                await sleep(1)
                timers.add(statistics().timers)
            await sleep(inf)
        return now(), scope.cancelled_caught, timers

    # The last request was at 99; the only timer is the scope's own.
    assert run(main, clock=VirtualClock()) == (109, True, {1})


def test_a_deadline_that_moves_in_is_kept(run: Runner) -> None:
    async def main() -> float:
        with move_on_after(10) as scope:
            await sleep(1)
            scope.deadline = 3
            await sleep(inf)
        return now()

    assert run(main, clock=VirtualClock()) == 3


@pytest.mark.parametrize("before", [inf, 10.0])
def test_a_deadline_set_before_the_block_counts(run: Runner, before: float) -> None:
    async def main() -> float:
        scope = CancelScope(deadline=before)
        scope.deadline = 5
        with scope:
            await sleep(inf)
        return now()

    assert run(main, clock=VirtualClock()) == 5


def test_a_deadline_that_is_taken_away_never_comes(run: Runner) -> None:
    async def main() -> tuple[bool, int]:
        with move_on_after(10) as scope:
            scope.deadline = inf
            await sleep(100)
            timers = statistics().timers
        return scope.cancelled_caught, timers

    assert run(main, clock=VirtualClock()) == (False, 0)


def test_a_deadline_in_the_past_cancels_at_the_next_wait(run: Runner) -> None:
    async def main() -> float:
        await sleep(5)
        with CancelScope() as scope:
            scope.deadline = 1
            await sleep(inf)
        return now()

    assert run(main, clock=VirtualClock()) == 5


def test_moving_it_after_the_block_sets_no_timer(run: Runner) -> None:
    async def main() -> int:
        with CancelScope() as scope:
            pass
        scope.deadline = 5
        return statistics().timers

    assert run(main, clock=VirtualClock()) == 0


def test_a_deadline_that_is_not_a_number_is_refused(run: Runner) -> None:
    async def main() -> float:
        with move_on_after(1) as scope:
            with pytest.raises(ValueError, match="NaN"):
                scope.deadline = nan
            await sleep(inf)
        return now()

    assert run(main, clock=VirtualClock()) == 1
