"""`join_all`: results in the order they were given, and one failure for all."""

from collections.abc import Awaitable
from typing import cast

import pytest

from runtime import (
    Cancelled,
    CancelScope,
    current_task,
    join_all,
    move_on_after,
    now,
    sleep,
    spawn,
)
from runtime.testing import VirtualClock

from .harness import Runner, double, fail_after, forever, turns


def test_join_all_keeps_the_order_in_which_they_were_given(run: Runner) -> None:
    async def main() -> tuple[list[int], float]:
        return await join_all(double(n, 10 - n) for n in range(10)), now()

    assert run(main, clock=VirtualClock()) == ([2 * n for n in range(10)], 10.0)


def test_join_all_takes_awaitables_or_one_iterable_of_them(run: Runner) -> None:
    async def main() -> list[list[int]]:
        handle = spawn(double(4))
        return [
            await join_all(double(1), double(2)),
            await join_all([double(1), double(2)]),
            await join_all(iter([double(3)])),
            await join_all(double(3)),
            await join_all(handle, double(5)),
            await join_all(handle),
            await join_all(),
            await join_all([]),
        ]

    assert run(main) == [[2, 4], [2, 4], [6], [6], [8, 10], [8], [], []]


def test_join_all_runs_nothing_before_it_is_awaited(run: Runner) -> None:
    started: list[int] = []

    async def note(n: int) -> None:
        started.append(n)

    async def main() -> None:
        joined = join_all(note(n) for n in range(3))
        await turns(3)
        assert started == []
        await joined
        assert started == [0, 1, 2]

    run(main)


def test_join_all_raises_the_first_failure_as_it_is_and_cancels_the_rest(run: Runner) -> None:
    ends: list[float] = []
    error = ValueError("broke")

    async def work() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(1)
            ends.append(now())

    async def main() -> float:
        with pytest.raises(ValueError, match="broke") as caught:
            await join_all(work(), fail_after(2, error), work())
        assert caught.value is error
        return now()

    assert run(main, clock=VirtualClock()) == 3.0
    assert ends == [3.0, 3.0]  # they were waited for


def test_join_all_logs_the_failures_it_does_not_raise(run: Runner) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await forever()
        finally:
            raise KeyError("cleanup")

    async def main() -> None:
        with pytest.raises(ValueError, match="first"):
            await join_all(fail_when_cancelled(), fail_after(1, ValueError("first")))

    run(main, clock=VirtualClock())
    assert "KeyError" in run.expected_error()


def test_join_all_cancelled_from_outside_cancels_all_of_them(run: Runner) -> None:
    cancelled = 0

    async def work() -> None:
        nonlocal cancelled
        try:
            await forever()
        except Cancelled:
            cancelled += 1
            raise

    async def main() -> bool:
        with move_on_after(1) as scope:
            await join_all(work() for _ in range(5))
        return scope.cancelled_caught

    assert run(main, clock=VirtualClock())
    assert cancelled == 5


def test_join_all_of_a_handle_does_not_cancel_its_task(run: Runner) -> None:
    async def main() -> int:
        handle = spawn(double(21, 10))
        with move_on_after(1):
            await join_all(handle)
        return await handle

    assert run(main, clock=VirtualClock()) == 42


def test_join_all_of_something_that_cannot_be_awaited_closes_the_others(run: Runner) -> None:
    async def main() -> None:
        bad = cast("Awaitable[int]", 5)
        with pytest.raises(TypeError, match="cannot be awaited"):
            await join_all(double(1), bad, double(2))  # and none warns that nobody awaited it

    run(main)


def test_join_all_names_the_line_that_called_it(run: Runner) -> None:
    sites: list[str] = []

    async def note() -> None:
        sites.append(current_task().spawned_at)

    async def main() -> None:
        await join_all(note(), note())

    run(main)
    line = main.__code__.co_firstlineno + 1
    assert [site.rpartition("/")[2] for site in sites] == [f"test_join_all.py:{line}"] * 2
