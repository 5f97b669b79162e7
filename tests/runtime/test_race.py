"""race: the first to end decides, and nothing that it started outlives it."""

import pytest

import runtime
from runtime import CancelScope, race, sleep, spawn, timeout
from runtime.testing import VirtualClock

from .harness import Runner, double, forever


async def fail(seconds: float) -> int:
    await sleep(seconds)
    raise ValueError("first")


def test_the_first_result_wins_and_the_others_are_cancelled(run: Runner) -> None:
    ended: list[str] = []

    async def loser() -> int:
        try:
            await forever()
        finally:
            ended.append("loser")
        return 0

    async def main() -> tuple[int, list[str]]:
        result = await race(loser(), double(3, 1.0), double(4, 2.0), loser())
        return result, list(ended)  # the losers have cleaned up by now

    assert run(main, clock=VirtualClock()) == (6, ["loser", "loser"])


def test_it_takes_an_iterable_as_join_all_does(run: Runner) -> None:
    async def main() -> int:
        return await race(double(n, n) for n in (3, 1, 2))

    assert run(main, clock=VirtualClock()) == 2


def test_the_first_outcome_may_be_a_failure(run: Runner) -> None:
    async def main() -> int:
        return await race(double(1, 2.0), fail(1.0), double(1, 3.0))

    with pytest.raises(ValueError, match="first"):
        run(main, clock=VirtualClock())


def test_a_failure_after_the_first_result_is_logged_and_not_raised(run: Runner) -> None:
    async def bad_loser() -> int:
        try:
            await forever()
        finally:
            raise ValueError("in the cleanup")
        return 0

    async def main() -> int:
        return await race(bad_loser(), double(2, 1.0))

    assert run(main, clock=VirtualClock()) == 4
    assert run.expected_error().endswith("came after it (ValueError)")


def test_a_second_failure_is_logged(run: Runner) -> None:
    async def bad_loser() -> int:
        try:
            await forever()
        finally:
            raise KeyError("in the cleanup")
        return 0

    async def main() -> int:
        return await race(bad_loser(), fail(1.0))

    with pytest.raises(ValueError, match="first"):
        run(main, clock=VirtualClock())
    assert run.expected_error().endswith("came after it (KeyError)")


def test_two_results_in_the_same_turn_give_the_one_that_was_given_first(run: Runner) -> None:
    async def main() -> int:
        return await race(double(1, 1.0), double(2, 1.0))

    assert run(main, clock=VirtualClock()) == 2


def test_a_race_of_nobody_is_refused(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="at least one"):
            await race([])

    run(main)


def test_what_cannot_be_awaited_is_refused_and_nothing_runs(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="5 cannot be awaited"):
            await race(double(1), 5)  # type: ignore[arg-type]

    run(main)


def test_cancelling_the_race_cancels_the_contestants(run: Runner) -> None:
    cancelled: list[int] = []

    async def contestant(n: int) -> int:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(1)
            cancelled.append(n)
        return n

    async def main() -> float:
        with pytest.raises(TimeoutError), timeout(5):
            await race(contestant(1), contestant(2))
        return runtime.now()

    assert run(main, clock=VirtualClock()) == 6
    assert sorted(cancelled) == [1, 2]


def test_a_handle_that_loses_runs_on(run: Runner) -> None:
    """To cancel the wait for a task is not to cancel the task."""

    async def main() -> int:
        slow = spawn(double(5, 10.0))
        assert await race(slow, double(1, 1.0)) == 2
        return await slow

    assert run(main, clock=VirtualClock()) == 10
