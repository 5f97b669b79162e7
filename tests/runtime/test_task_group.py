"""Task groups: nothing outlives the block, and no failure is lost."""

from collections.abc import Awaitable
from typing import Any

import pytest

import runtime
from runtime import (
    CancelScope,
    Event,
    TaskCancelled,
    TaskGroup,
    current_task,
    move_on_after,
    now,
    sleep,
    spawn,
    timeout,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, double, fail_after, forever, turns


def test_the_block_is_not_left_before_its_tasks_have_ended(run: Runner) -> None:
    ends: list[float] = []

    async def work(seconds: float) -> None:
        await sleep(seconds)
        ends.append(now())

    async def main() -> float:
        async with TaskGroup() as group:
            for seconds in (3, 1, 2):
                group.spawn(work(seconds))
            assert ends == []
        return now()

    assert run(main, clock=VirtualClock()) == 3.0
    assert ends == [1.0, 2.0, 3.0]


def test_an_empty_group_is_left_at_once(run: Runner) -> None:
    async def main() -> bool:
        with CancelScope() as scope:
            scope.cancel()
            async with TaskGroup():
                pass  # does not wait, so it is not cancelled either
        return scope.cancelled_caught

    assert not run(main)


def test_one_failure_cancels_the_rest_and_the_body(run: Runner) -> None:
    ends: list[str] = []

    async def work(name: str) -> None:
        try:
            await forever()
        finally:
            ends.append(f"{name} at {now()}")

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(work("one"))
            group.spawn(fail_after(2, ValueError("broke")))
            group.spawn(work("two"))
            await work("body")

    with pytest.raises(ExceptionGroup) as caught:
        run(main, clock=VirtualClock())
    assert [repr(error) for error in caught.value.exceptions] == ["ValueError('broke')"]
    assert sorted(ends) == ["body at 2.0", "one at 2.0", "two at 2.0"]


def test_a_failure_of_the_body_cancels_the_tasks(run: Runner) -> None:
    ends: list[float] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            ends.append(now())

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(work())
            await sleep(1)
            raise KeyError("body")

    with pytest.raises(ExceptionGroup) as caught:
        run(main, clock=VirtualClock())
    assert [repr(error) for error in caught.value.exceptions] == ["KeyError('body')"]
    assert ends == [1.0]


def test_all_the_failures_are_in_the_group(run: Runner) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await forever()
        finally:
            raise KeyError("cleanup")

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(fail_when_cancelled())
            group.spawn(fail_after(1, ValueError("first")))
            try:
                await forever()
            finally:
                raise OSError("body")

    with pytest.raises(ExceptionGroup, match="tasks in the group failed") as caught:
        run(main, clock=VirtualClock())
    assert sorted(str(error) for error in caught.value.exceptions) == [
        "'cleanup'",
        "body",
        "first",
    ]


def test_a_base_exception_makes_a_base_exception_group(run: Runner) -> None:
    class Odd(BaseException):
        pass

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with TaskGroup() as group:
                group.spawn(fail_after(0, Odd()))
        assert not isinstance(caught.value, ExceptionGroup)

    run(main)


def test_a_failure_in_a_group_is_raised_and_not_logged(run: Runner) -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(fail_after(0, ValueError()))

    with pytest.raises(ExceptionGroup):
        run(main)
    assert run.errors == []


def test_a_task_of_the_group_can_be_awaited_in_its_block(run: Runner) -> None:
    async def main() -> int:
        async with TaskGroup() as group:
            return await group.spawn(double(21, 1))
        raise AssertionError("not reached")

    assert run(main, clock=VirtualClock()) == 42


def test_tasks_spawned_while_the_group_drains_belong_to_it(run: Runner) -> None:
    ends: list[int] = []

    async def generation(group: TaskGroup, n: int) -> None:
        await sleep(1)
        ends.append(n)
        if n < 3:
            group.spawn(generation(group, n + 1))

    async def main() -> float:
        async with TaskGroup() as group:
            group.spawn(generation(group, 0))
        return now()

    assert run(main, clock=VirtualClock()) == 4
    assert ends == [0, 1, 2, 3]


def test_a_task_spawned_into_a_cancelled_group_runs_to_its_first_wait(run: Runner) -> None:
    seen: list[str] = []

    async def late() -> None:
        seen.append("began")
        await yield_now()
        seen.append("went on")

    async def main() -> None:
        async with TaskGroup() as group:
            group.cancel_scope.cancel()
            group.spawn(late())

    run(main)
    assert seen == ["began"]


def test_a_group_that_is_over_takes_no_tasks(run: Runner) -> None:
    async def main() -> None:
        group = TaskGroup()
        with pytest.raises(RuntimeError, match="not open"):
            group.spawn(double(1))
        async with group:
            pass
        with pytest.raises(RuntimeError, match="not open"):
            group.spawn(double(1))

    run(main)


def test_cancelling_the_group_ends_the_block_quietly(run: Runner) -> None:
    async def main() -> tuple[float, bool, bool]:
        async with TaskGroup() as group:
            task = group.spawn(forever())
            await sleep(2)
            group.cancel_scope.cancel()
            await forever()
        return now(), task.done, group.cancel_scope.cancelled_caught

    assert run(main, clock=VirtualClock()) == (2.0, True, True)


def test_cancelling_the_group_while_it_drains_ends_it_quietly(run: Runner) -> None:
    async def stop(group: TaskGroup) -> None:
        await sleep(3)
        group.cancel_scope.cancel()

    async def main() -> float:
        async with TaskGroup() as group:
            group.spawn(forever())
            group.spawn(stop(group))
        await yield_now()
        return now()

    assert run(main, clock=VirtualClock()) == 3.0


@pytest.mark.parametrize("body_waits", [True, False])
def test_a_group_cancelled_from_outside_waits_for_shielded_cleanup(
    run: Runner, body_waits: bool
) -> None:
    ends: list[float] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(5)
            ends.append(now())

    async def main() -> tuple[float, bool]:
        with move_on_after(1) as scope:
            async with TaskGroup() as group:
                group.spawn(work())
                if body_waits:
                    await forever()
            raise AssertionError("the block ended as if nothing had happened")
        return now(), scope.cancelled_caught

    assert run(main, clock=VirtualClock()) == (6.0, True)
    assert ends == [6.0]


def test_a_timeout_around_a_group_is_a_timeout(run: Runner) -> None:
    async def main() -> None:
        with timeout(3):
            async with TaskGroup() as group:
                group.spawn(forever())

    with pytest.raises(TimeoutError):
        run(main, clock=VirtualClock())


def test_a_timeout_in_a_child_is_its_failure(run: Runner) -> None:
    async def work() -> None:
        with timeout(1):
            await forever()

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(work())
            group.spawn(forever())

    with pytest.raises(ExceptionGroup) as caught:
        run(main, clock=VirtualClock())
    assert isinstance(caught.value.exceptions[0], TimeoutError)


def test_a_failure_in_an_inner_group_reaches_the_outer_one(run: Runner) -> None:
    ends: list[str] = []

    async def inner() -> None:
        async with TaskGroup() as group:
            group.spawn(fail_after(1, ValueError("deep")))
            try:
                await forever()
            finally:
                ends.append("inner")

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(inner())
            try:
                await forever()
            finally:
                ends.append("outer")

    with pytest.raises(ExceptionGroup) as caught:
        run(main, clock=VirtualClock())
    (nested,) = caught.value.exceptions
    assert isinstance(nested, ExceptionGroup)
    assert [str(error) for error in nested.exceptions] == ["deep"]
    assert ends == ["inner", "outer"]


def test_a_task_cancelled_while_its_group_drains_waits_for_the_children(run: Runner) -> None:
    ends: list[float] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(2)
            ends.append(now())

    async def owner() -> None:
        async with TaskGroup() as group:
            group.spawn(child())

    async def main() -> float:
        task = spawn(owner())
        await sleep(1)
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task
        return now()

    assert run(main, clock=VirtualClock()) == 3.0
    assert ends == [3.0]
    assert run.polls < 30


def test_spurious_wake_ups_do_not_end_the_drain(run: Runner) -> None:
    async def owner() -> float:
        async with TaskGroup() as group:
            group.spawn(sleep(5))
        return now()

    async def main() -> float:
        task = spawn(owner())
        for _ in range(3):
            await sleep(1)
            task.wake()
        return await task

    assert run(main, clock=VirtualClock()) == 5.0


def test_the_scope_is_put_back_after_a_failure(run: Runner) -> None:
    async def main() -> object:
        with pytest.raises(ExceptionGroup):
            async with TaskGroup() as group:
                group.spawn(fail_after(0, ValueError()))
        await turns(3)  # not cancelled any more
        return current_task().scope

    assert run(main) is None


def test_a_failure_in_a_group_does_not_reach_its_neighbour(run: Runner) -> None:
    async def group_of(*coros: Awaitable[Any]) -> str:
        async with TaskGroup() as group:
            for coro in coros:
                group.spawn(coro)
        return "fine"

    async def main() -> str:
        broken = spawn(group_of(fail_after(1, ValueError())))
        sound = spawn(group_of(sleep(2)))
        with pytest.raises(ExceptionGroup):
            await broken
        return await sound

    assert run(main, clock=VirtualClock()) == "fine"


def test_a_child_may_cancel_its_own_group(run: Runner) -> None:
    async def stop(group: TaskGroup, event: Event) -> None:
        await event.wait()
        group.cancel_scope.cancel()

    async def main() -> str:
        event = Event()
        async with TaskGroup() as group:
            group.spawn(stop(group, event))
            group.spawn(forever())
            event.set()
        await yield_now()
        return "over"

    assert run(main) == "over"
    assert run.polls < 20


def test_awaiting_a_failed_child_in_the_body_reports_it_in_the_group(run: Runner) -> None:
    async def main() -> None:
        async with runtime.TaskGroup() as group:
            child = group.spawn(fail_after(1, ValueError("once")))
            await child

    with pytest.raises(ExceptionGroup) as caught:
        run(main, clock=VirtualClock())
    assert {str(error) for error in caught.value.exceptions} == {"once"}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_is_raised_as_it_is(run: Runner, kind: type[BaseException]) -> None:
    async def fails_too() -> None:
        try:
            await forever()
        finally:
            raise ValueError("in the cleanup")

    async def main() -> None:
        async with TaskGroup() as group:
            group.spawn(fails_too())
            await yield_now()
            raise kind(3)

    with pytest.raises(kind) as caught:
        run(main)
    assert caught.value.args == (3,)
    assert "the program is ending (ValueError)" in run.expected_error()
