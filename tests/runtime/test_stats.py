"""statistics: what a loop has done, and what it has before it."""

import pytest

import runtime
from runtime import current_waker, sleep, spawn, statistics, yield_now
from runtime.testing import VirtualClock

from .harness import Runner


def test_tasks_turns_and_timers_are_counted(run: Runner) -> None:
    async def main() -> tuple[runtime.Statistics, runtime.Statistics]:
        first = statistics()
        handles = [spawn(sleep(n)) for n in (1, 2)]
        spawned = statistics()
        assert (spawned.alive, spawned.ready, spawned.timers) == (3, 2, 0)
        await yield_now()
        waker = current_waker()
        assert (statistics().timers, statistics().ready, statistics().wakers) == (2, 0, 1)
        del waker
        for handle in handles:
            await handle
        return first, statistics()

    first, last = run(main, clock=VirtualClock())
    assert (first.spawned, first.finished, first.alive) == (1, 0, 1)
    assert (last.spawned, last.finished, last.alive) == (3, 2, 1)
    assert last.turns > first.turns
    # Each sleeper twice, and this task for the yield and for each of the two.
    assert last.resumed - first.resumed == 7
    assert (last.timers, last.wakers, last.late_timers) == (0, 0, 0)


def test_a_loop_that_was_held_up_has_late_timers(run: Runner) -> None:
    class Jumps(VirtualClock):
        extra = 0.0

        def now(self) -> float:
            return super().now() + self.extra

    clock = Jumps()

    async def main() -> runtime.Statistics:
        handle = spawn(sleep(1))
        await yield_now()
        clock.extra = 5.0  # as if this task had computed for five seconds
        await handle
        return statistics()

    last = run(main, clock=clock)
    assert last.late_timers == 1
    assert last.latest == 5.0


def test_outside_of_a_run_there_are_none() -> None:
    with pytest.raises(RuntimeError, match="no runtime here"):
        statistics()
