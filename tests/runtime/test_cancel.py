"""Cancelling a task by its handle: a state that every wait reports, until the task ends."""

import time

import pytest

from runtime import (
    Cancelled,
    CancelScope,
    Event,
    Task,
    TaskCancelled,
    TaskGroup,
    current_task,
    move_on_after,
    now,
    sleep,
    spawn,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns


def test_cancel_raises_where_the_task_waits(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        try:
            await sleep(1000)
        except Cancelled:
            seen.append(f"cancelled at {now()}")
            raise

    async def main() -> None:
        task = spawn(worker())
        await sleep(1)
        task.cancel()
        with pytest.raises(TaskCancelled, match=r"'.*worker' was cancelled"):
            await task
        assert now() == 1

    run(main, clock=VirtualClock())
    assert seen == ["cancelled at 1.0"]


def test_a_task_cancelled_before_it_starts_runs_to_its_first_wait(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        seen.append("started")
        try:
            await sleep(1000)
            seen.append("slept")
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        task = spawn(worker())
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main)
    assert seen == ["started", "cleaned up"]


def test_a_task_cancelled_before_it_starts_may_end_without_waiting(run: Runner) -> None:
    async def worker() -> str:
        return "done"

    async def main() -> str:
        task = spawn(worker())
        task.cancel()
        return await task

    assert run(main) == "done"


def test_cancelling_twice_raises_once_for_each_wait(run: Runner) -> None:
    caught = 0

    async def worker() -> None:
        nonlocal caught
        try:
            await forever()
        except Cancelled:
            caught += 1
            raise

    async def main() -> None:
        task = spawn(worker())
        await yield_now()
        task.cancel()
        task.cancel()
        await yield_now()
        task.cancel()
        await yield_now()
        assert task.done

    run(main)
    assert caught == 1


def test_cancelling_a_task_that_is_done_changes_nothing(run: Runner) -> None:
    async def worker() -> int:
        return 7

    async def main() -> list[int]:
        task = spawn(worker())
        first = await task
        task.cancel()
        await turns(2)
        return [first, await task]

    assert run(main) == [7, 7]
    assert run.polls < 15


def test_a_task_that_cancels_itself_is_cancelled_at_its_next_wait(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        current_task().cancel()
        seen.append("not yet")
        await yield_now()
        seen.append("too late")

    async def main() -> None:
        with pytest.raises(TaskCancelled):
            await spawn(worker())

    run(main)
    assert seen == ["not yet"]


def test_the_main_task_cancelled_is_an_exception_of_run(run: Runner) -> None:
    async def main() -> None:
        current_task().cancel()
        await sleep(1)

    with pytest.raises(TaskCancelled, match="'main' was cancelled"):
        run(main)


def test_a_swallowed_cancellation_comes_back_at_the_next_wait(run: Runner) -> None:
    caught: list[float] = []

    async def stubborn() -> str:
        for _ in range(5):
            try:
                await sleep(100)
            except Cancelled:
                caught.append(now())
        return "gave in"

    async def main() -> str:
        task = spawn(stubborn())
        await sleep(1)
        task.cancel()
        return await task

    assert run(main, clock=VirtualClock()) == "gave in"
    assert caught == [1.0] * 5


def test_cancelled_passes_an_except_exception(run: Runner) -> None:
    async def careless() -> str:
        try:
            await forever()
        except Exception:  # as in: log it and go on
            return "swallowed"
        return "went on"

    async def main() -> None:
        task = spawn(careless())
        await yield_now()
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main)


def test_cleanup_that_waits_without_a_shield_cannot_hang(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        try:
            await forever()
        finally:
            try:
                await forever()
            finally:
                seen.append("out")

    async def main() -> None:
        task = spawn(worker())
        await yield_now()
        task.cancel()
        await turns(3)
        assert task.done

    run(main)
    assert seen == ["out"]


def test_shielded_cleanup_is_finished_even_if_cancelled_again(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        try:
            await sleep(1000)
        finally:
            with CancelScope(shield=True):
                await sleep(5)
                seen.append(f"clean at {now()}")
            try:
                await yield_now()
            except Cancelled:
                seen.append("still cancelled")
                raise

    async def main() -> None:
        task = spawn(worker())
        await sleep(1)
        task.cancel()
        await sleep(1)
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main, clock=VirtualClock())
    assert seen == ["clean at 6.0", "still cancelled"]


def test_a_failure_during_cleanup_is_the_result(run: Runner) -> None:
    async def worker() -> None:
        try:
            await forever()
        finally:
            raise ValueError("cleanup broke")

    async def main() -> None:
        task = spawn(worker())
        await yield_now()
        task.cancel()
        with pytest.raises(ValueError, match="cleanup broke"):
            await task

    run(main)


def test_cancelling_a_joiner_does_not_cancel_what_it_awaits(run: Runner) -> None:
    async def slow() -> str:
        await sleep(10)
        return "done"

    async def joiner(task: Task[str]) -> str:
        return await task

    async def main() -> str:
        task = spawn(slow())
        waiting = spawn(joiner(task))
        await sleep(1)
        waiting.cancel()
        await sleep(1)
        assert waiting.done
        assert not task.done
        return await task

    assert run(main, clock=VirtualClock()) == "done"


def test_a_task_whose_child_task_was_cancelled_is_not_cancelled_itself(run: Runner) -> None:
    async def main() -> str:
        task = spawn(forever())
        await yield_now()
        task.cancel()
        with pytest.raises(TaskCancelled) as caught:
            await task
        assert isinstance(caught.value.__cause__, Cancelled)
        await yield_now()  # would raise, if this task had been hit, too
        return "alive"

    assert run(main) == "alive"


def test_cancel_goes_around_the_scopes_that_the_task_has_entered(run: Runner) -> None:
    """`move_on_after` inside the task must not take in what was meant for the whole task."""
    seen: list[str] = []

    async def worker() -> None:
        with CancelScope():
            with move_on_after(1000) as scope:
                await sleep(500)
            seen.append(f"inner took it: {scope.cancelled_caught}")
        seen.append("went on")

    async def main() -> None:
        task = spawn(worker())
        await sleep(1)
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main, clock=VirtualClock())
    assert seen == []


def test_a_cancelled_child_of_a_group_leaves_its_siblings_and_the_group_alone(
    run: Runner,
) -> None:
    async def worker() -> str:
        with move_on_after(100):
            await sleep(10)
        return "done"

    async def main() -> str:
        async with TaskGroup() as group:
            one, two = group.spawn(worker()), group.spawn(worker())
            await sleep(1)
            one.cancel()
            await sleep(1)
            assert one.done
            assert not two.done
        with pytest.raises(TaskCancelled):
            await one
        return await two

    assert run(main, clock=VirtualClock()) == "done"


def test_a_group_still_cancels_a_child_that_was_cancelled_and_is_shielded(run: Runner) -> None:
    ends: list[float] = []

    async def worker() -> None:
        try:
            with CancelScope(shield=True):
                await sleep(10)
            await sleep(10)
        finally:
            ends.append(now())

    async def main() -> None:
        async with TaskGroup() as group:
            task = group.spawn(worker())
            await sleep(1)
            task.cancel()
            group.cancel_scope.cancel()
        assert task.done

    run(main, clock=VirtualClock())
    assert ends == [10.0]


def test_cancelling_inside_the_turn_of_the_wake_up_wins(run: Runner) -> None:
    """The event was set and the waiter cancelled before it ran: it is cancelled, not told."""
    seen: list[str] = []

    async def waiter(event: Event) -> None:
        await event.wait()
        seen.append("told")

    async def main() -> None:
        event = Event()
        task = spawn(waiter(event))
        await yield_now()
        event.set()
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main)
    assert seen == []


def test_a_task_that_returns_although_it_is_cancelled_has_a_result(run: Runner) -> None:
    async def worker() -> str:
        try:
            await forever()
        except Cancelled:
            return "partial"
        return "never"

    async def main() -> str:
        task = spawn(worker())
        await yield_now()
        task.cancel()
        return await task

    assert run(main) == "partial"


def test_a_thousand_nested_groups_are_cancelled_at_once(run: Runner) -> None:
    """The tree of scopes is deeper than Python's stack."""
    depth = 0

    async def nest(n: int) -> None:
        nonlocal depth
        depth += 1
        async with TaskGroup() as group:
            if n:
                group.spawn(nest(n - 1))
            await sleep(1000)

    async def main() -> bool:
        with move_on_after(10) as scope:
            await nest(1500)
        return scope.cancelled_caught

    began = time.monotonic()
    assert run(main, clock=VirtualClock())
    assert depth == 1501
    assert time.monotonic() - began < 5  # cubic in the depth, it would take much longer


def test_cancelling_many_times_costs_no_more_than_once(run: Runner) -> None:
    """A supervisor that asks again and again must not pile up scopes in a task that cleans up."""

    async def worker() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(1)

    async def main() -> int:
        task = spawn(worker())
        await yield_now()
        for _ in range(1000):
            task.cancel()
        depth = 0
        scope = task.scope
        while scope is not None:
            depth, scope = depth + 1, scope.parent
        with pytest.raises(TaskCancelled):
            await task
        return depth

    assert run(main, clock=VirtualClock()) < 10


def test_the_awaited_error_of_a_cancelled_task_is_not_cancelled(run: Runner) -> None:
    async def main() -> None:
        task = spawn(forever())
        await yield_now()
        task.cancel()
        with pytest.raises(TaskCancelled) as caught:
            await task
        assert isinstance(caught.value, Exception)

    run(main)
