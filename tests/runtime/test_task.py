"""Tasks: in which order they run, how often, and what becomes of their results."""

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Generator
from types import coroutine
from typing import Any, cast

import pytest

import runtime
from runtime import (
    JoinHandle,
    Task,
    TaskCancelled,
    TaskGroup,
    current_task,
    park,
    sleep,
    spawn,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, fail_after, forever, turns


async def give(value: Any) -> Any:
    return value


async def fail(message: str) -> None:
    raise ValueError(message)


def test_tasks_start_in_the_order_they_were_spawned(run: Runner) -> None:
    order: list[int] = []

    async def note(n: int) -> None:
        order.append(n)

    async def main() -> None:
        for n in range(100):
            spawn(note(n))
        assert order == []  # spawning does not run anything by itself
        await yield_now()
        assert order == list(range(100))

    run(main)


def test_a_handle_gives_the_result_again_and_again(run: Runner) -> None:
    async def main() -> list[Any]:
        handle = spawn(give("x"))
        return [await handle, await handle, handle.done]

    assert run(main) == ["x", "x", True]


def test_every_joiner_gets_the_result(run: Runner) -> None:
    async def join(handle: Task[Any]) -> Any:
        return await handle

    async def slow() -> str:
        await sleep(1)
        return "late"

    async def main() -> list[Any]:
        handle = spawn(slow())
        joiners = [spawn(join(handle)) for _ in range(5)]
        return [await joiner for joiner in joiners]

    assert run(main, clock=VirtualClock()) == ["late"] * 5


def test_every_joiner_gets_the_exception(run: Runner) -> None:
    async def join(handle: Task[Any]) -> str:
        with pytest.raises(ValueError, match="broke") as caught:
            await handle
        return str(caught.value)

    async def main() -> list[str]:
        handle = spawn(fail("broke"))
        joiners = [join(handle) for _ in range(3)]
        return await runtime.join_all(joiners)

    assert run(main) == ["broke"] * 3
    # The joiners were spawned after the task that failed, so nobody awaited it yet.
    assert "nobody awaits it (ValueError)" in run.expected_error()


def test_an_exception_that_is_awaited_is_not_logged(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="broke"):
            await spawn(fail("broke"))

    run(main)


def test_a_joiner_that_is_cancelled_leaves_the_others_and_the_task_alone(run: Runner) -> None:
    async def join(handle: Task[Any]) -> Any:
        return await handle

    async def slow() -> str:
        await sleep(1)
        return "late"

    async def main() -> tuple[Any, bool]:
        handle = spawn(slow())
        first, second = spawn(join(handle)), spawn(join(handle))
        await turns(2)
        first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        assert not handle.done
        return await second, first.done

    assert run(main, clock=VirtualClock()) == ("late", True)


def test_a_joiner_cancelled_in_the_turn_the_task_ends_does_not_take_the_result_away(
    run: Runner,
) -> None:
    async def main() -> str:
        handle = spawn(give("x"))
        joiner = spawn(cast("Awaitable[str]", handle))
        await yield_now()  # both ran: the task is done and the joiner is on the ready queue
        joiner.cancel()
        await turns(2)
        assert joiner.done
        return cast(str, await handle)

    assert run(main) == "x"


def test_a_task_that_awaits_itself_is_told(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="'main' awaits itself"):
            await current_task()

    run(main)


def test_many_wakes_are_one_poll(run: Runner) -> None:
    polls = 0

    async def count() -> None:
        nonlocal polls
        while True:
            polls += 1
            await park()

    async def main() -> None:
        task = spawn(count())
        await yield_now()
        assert polls == 1
        for expected in range(2, 6):
            for _ in range(50):
                task.wake()
            await turns(3)
            assert polls == expected
        await turns(5)
        assert polls == 5  # and none without a wake

    run(main)


def test_a_wake_from_within_itself_is_one_more_poll(run: Runner) -> None:
    polls = 0

    async def count() -> None:
        nonlocal polls
        for _ in range(10):
            polls += 1
            current_task().wake()
            current_task().wake()
            await park()

    async def main() -> None:
        spawn(count())
        for expected in range(1, 11):
            await yield_now()
            assert polls == expected

    run(main)


def test_waking_a_task_that_is_done_resumes_nothing_and_does_not_spin(run: Runner) -> None:
    async def main() -> None:
        handle = spawn(give(1))
        await handle
        for _ in range(3):
            handle.wake()
            await turns(2)
        await sleep(0.02)

    run(main)
    assert run.polls < 30


def test_a_task_that_cancels_itself_and_returns_leaves_the_loop_idle(run: Runner) -> None:
    async def give_up() -> None:
        current_task().cancel()

    async def main() -> None:
        spawn(give_up())
        await sleep(0.03)

    run(main)
    assert run.polls < 20


def test_a_cancelled_task_that_ends_after_shielded_cleanup_leaves_the_loop_idle(
    run: Runner,
) -> None:
    async def worker() -> None:
        try:
            await forever()
        finally:
            with runtime.CancelScope(shield=True):
                await yield_now()

    async def main() -> bool:
        handle = spawn(worker())
        await yield_now()
        handle.cancel()
        await sleep(0.03)
        return handle.done

    assert run(main)
    assert run.polls < 20


@pytest.mark.parametrize(
    "thing", [5, None, give, [], "text"], ids=["5", "None", "function", "list", "text"]
)
def test_what_cannot_be_awaited_cannot_be_spawned(run: Runner, thing: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="cannot be awaited"):
            spawn(thing)
        async with runtime.TaskGroup() as group:
            with pytest.raises(TypeError, match="cannot be awaited"):
                group.spawn(thing)

    run(main)


def test_run_of_what_cannot_be_awaited_leaves_no_descriptor(run: Runner) -> None:
    with pytest.raises(TypeError, match="cannot be awaited"):
        run(cast("Awaitable[None]", 5))


def test_generator_based_coroutines_are_awaited_and_spawned(run: Runner) -> None:
    @coroutine
    def old() -> Generator[None, None, str]:
        task = current_task()
        for _ in range(3):
            task.wake()
            yield
        return "old"

    async def main() -> list[str]:
        return [await old(), await spawn(old())]

    assert run(main) == ["old", "old"]


def test_objects_with_an_await_method_are_spawned(run: Runner) -> None:
    class Custom:
        def __await__(self) -> Generator[None, None, str]:
            yield from turns(1).__await__()
            return "custom"

    async def main() -> tuple[str, str]:
        handle = spawn(Custom())
        return await handle, handle.name

    value, name = run(main)
    assert value == "custom"
    assert name.endswith("Custom")


def test_an_asyncio_future_is_an_error_that_names_the_task(run: Runner) -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    async def confused() -> None:
        await future

    async def main() -> None:
        with pytest.raises(TypeError, match=r"task 'mixed' awaited .*Future.*another async"):
            await spawn(confused(), name="mixed")

    try:
        run(main)
    finally:
        loop.close()


class Foreign:
    """Yields what no leaf of this runtime yields."""

    def __await__(self) -> Generator[str, None, None]:
        yield "foreign"


def test_a_task_may_handle_its_foreign_await_and_return(run: Runner) -> None:
    async def careful() -> str:
        try:
            await Foreign()
        except TypeError:
            return "handled"
        return "not told"

    async def main() -> str:
        return await spawn(careful())

    assert run(main) == "handled"


def test_a_foreign_await_runs_the_finally_blocks(run: Runner) -> None:
    cleaned: list[str] = []

    async def confused() -> None:
        try:
            await Foreign()
        finally:
            cleaned.append("yes")

    async def main() -> None:
        with pytest.raises(TypeError, match="another async library"):
            await spawn(confused())

    run(main)
    assert cleaned == ["yes"]


def test_a_failure_nobody_awaits_is_logged_once_with_name_and_line(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> int:
        spawn(fail("lost"), name="worker-7")
        line = main.__code__.co_firstlineno + 1
        await sleep(0.001)
        await sleep(0.001)
        return line

    with caplog.at_level(logging.ERROR, "runtime"):
        line = run(main)
    assert len(caplog.records) == 1
    message = run.expected_error()
    assert re.search(rf"'worker-7', spawned at .*test_task\.py:{line}, failed", message)
    assert "ValueError: lost" in caplog.text
    assert 'runtime/executor.py"' not in caplog.text  # the loop's own frames are no news


def test_a_failure_is_logged_when_its_only_joiner_was_cancelled(run: Runner) -> None:
    async def late() -> None:
        await sleep(1)
        raise ValueError("late")

    async def main() -> None:
        handle = spawn(late())
        with runtime.move_on_after(0.5):
            await handle
        await sleep(1)
        assert handle.done

    run(main, clock=VirtualClock())
    assert "nobody awaits it (ValueError)" in run.expected_error()


def test_a_cancelled_task_is_not_logged(run: Runner) -> None:
    async def main() -> bool:
        handle = spawn(forever())
        await yield_now()
        handle.cancel()
        await turns(2)
        return handle.done

    assert run(main)


def test_names_default_to_the_function_and_can_be_given(run: Runner) -> None:
    async def main() -> tuple[str, str, str]:
        one, two = spawn(give(1)), spawn(give(2), name="two")
        text = repr(two)
        await one
        await two
        return one.name, two.name, text

    one, two, text = run(main)
    assert (one, two) == ("give", "two")
    assert "'two'" in text
    assert "test_task.py" in text


def test_the_spawn_site_is_the_line_of_the_call(run: Runner) -> None:
    async def main() -> list[str]:
        async with runtime.TaskGroup() as group:
            handles = [
                spawn(give(1)),
                group.spawn(give(2)),
            ]
        await handles[0]
        return [handle.spawned_at.rpartition(":")[2] for handle in handles]

    first = main.__code__.co_firstlineno
    assert run(main) == [str(first + 3), str(first + 4)]


def test_current_task_is_none_of_your_business_outside(run: Runner) -> None:
    with pytest.raises(RuntimeError, match=r"inside runtime\.run"):
        current_task()
    coro = give(1)
    with pytest.raises(RuntimeError, match=r"inside runtime\.run"):
        spawn(coro)  # and the coroutine does not warn that it was never awaited


def test_a_base_exception_that_is_not_special_stays_in_its_task(run: Runner) -> None:
    class Odd(BaseException):
        pass

    async def odd() -> None:
        raise Odd

    async def main() -> str:
        with pytest.raises(Odd):
            await spawn(odd())
        return "alive"

    assert run(main) == "alive"


@pytest.mark.parametrize("joiners", [1, 2])
def test_a_failure_whose_only_joiners_are_cancelled_in_the_same_turn_is_logged(
    run: Runner, joiners: int
) -> None:
    async def join(task: JoinHandle[None]) -> None:
        await task

    async def main() -> None:
        failing = spawn(fail_after(1, ValueError("heard")), name="failing")
        waiting = [spawn(join(failing)) for _ in range(joiners)]
        await yield_now()
        await sleep(1)  # set after the failing one's, so it has failed, and they have not run since
        assert failing.done
        for task in waiting:
            task.cancel()
        await turns(2)

    run(main, clock=VirtualClock())
    assert "task 'failing'" in run.expected_error()


def test_a_failure_that_one_joiner_hears_of_is_not_logged_for_the_other(run: Runner) -> None:
    async def join(task: JoinHandle[None]) -> str:
        try:
            await task
        except ValueError as error:
            return str(error)
        return "no failure"

    async def main() -> str:
        failing = spawn(fail_after(1, ValueError("heard")))
        cancelled, hears, cancelled_too = (spawn(join(failing)) for _ in range(3))
        await yield_now()
        await sleep(1)
        assert failing.done
        cancelled.cancel()
        cancelled_too.cancel()
        return await hears

    assert run(main, clock=VirtualClock()) == "heard"


def test_a_failure_that_a_group_hears_of_is_not_logged_for_a_joiner(run: Runner) -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            failing = group.spawn(fail_after(1, ValueError()))
            await failing

    with pytest.raises(ExceptionGroup):
        run(main, clock=VirtualClock())


def test_a_failure_that_is_awaited_again_and_again_keeps_a_short_traceback(run: Runner) -> None:
    async def fails() -> None:
        raise ValueError("once")

    async def main() -> list[int]:
        task = spawn(fails())
        depths = []
        for _ in range(3):
            try:
                await task
            except ValueError as error:
                depths.append(len(traceback.extract_tb(error.__traceback__)))
        return depths

    first, second, third = run(main)
    assert first == second == third
