"""Complaints about cancelling: what is lost, what hangs, what spins, and Ctrl-C."""

import logging
import os
import signal
import threading

import pytest

import runtime
from runtime import (
    Cancelled,
    CancelScope,
    Event,
    TaskCancelled,
    TaskGroup,
    now,
    sleep,
    spawn,
    statistics,
    timeout,
)
from runtime.executor import ASK_EVERY, STUBBORN
from runtime.testing import VirtualClock

from ..harness import PATIENCE, Runner, forever, turns


@pytest.mark.parametrize("race", ["result first", "cancelled first", "at the deadline"])
def test_cpython_86296_a_timeout_does_not_swallow_a_cancellation(run: Runner, race: str) -> None:
    """If a task is cancelled in the moment in which what it waits for by `wait_for` comes in, the
    result is returned and the cancellation is gone for good.

    Ours is a state and not an event: the task is cancelled at its next wait, whatever the first one
    made of it. In depth: `test_scopes.py`, `test_scope_trees.py`.
    """
    went_past: list[str] = []

    async def waits(event: Event) -> None:
        try:
            with timeout(5):
                await event.wait()
        except TimeoutError:
            pass
        await sleep(1)
        went_past.append("the next wait")

    async def main() -> None:
        event = Event()
        task = spawn(waits(event))
        await sleep(5 if race == "at the deadline" else 1)
        if race == "result first":
            event.set()
        task.cancel()
        event.set()
        with pytest.raises(TaskCancelled):
            await task

    run(main, clock=VirtualClock())
    assert went_past == []


def test_anyio_1111_a_cancelled_scope_that_a_done_task_left_open_does_not_spin(
    run: Runner,
) -> None:
    """When a task ends without leaving a scope and that is cancelled, the loop tries again to tell
    the task at every turn, at 100 % CPU, for ever.

    Ours walks the tree of scopes once, when the scope is cancelled. In depth: `test_cancel.py`.
    """

    async def main() -> int:
        scope = CancelScope()

        async def enters() -> None:
            scope.__enter__()

        await spawn(enters())
        scope.cancel()
        before = statistics().resumed
        await sleep(3600)
        return statistics().resumed - before

    assert run(main, clock=VirtualClock()) <= 2
    assert run.polls <= 5


def test_anyio_1257_a_task_that_refuses_cancellation_does_not_spin(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled task whose wait refuses to be cancelled is told again at every turn, at 100 %
    CPU, for as long as it refuses.

    Ours is told a thousand times, then a hundred times a second, and is named in the log. In depth:
    `test_stubborn.py`.
    """
    caplog.set_level(logging.WARNING, "runtime")
    seconds = 60

    async def refuses(until: float) -> None:
        while now() < until:
            try:
                await sleep(3600)
            except Cancelled:
                continue

    async def main() -> int:
        task = spawn(refuses(now() + seconds), name="mule")
        await turns(1)
        task.cancel()
        await task
        return statistics().resumed

    assert run(main, clock=VirtualClock()) <= STUBBORN + seconds / ASK_EVERY + 10
    assert caplog.messages[0].startswith("task 'mule', spawned at ")


@pytest.mark.parametrize("why", ["cancelled", "a child failed"])
def test_cpython_116048_a_group_that_is_shutting_down_drops_no_task(run: Runner, why: str) -> None:
    """A coroutine that is given to a task group in the wrong moment is neither run nor refused: it
    never begins, and what it was to clean up stays.

    Ours begins, is cancelled at its first wait, and is waited for; a group that is over refuses.
    In depth: `test_task_group.py`.
    """
    log: list[str] = []

    async def owns_something() -> None:
        try:
            log.append("began")
            await forever()
        finally:
            log.append("cleaned up")

    async def fails() -> None:
        raise ValueError

    async def main() -> None:
        group = TaskGroup()
        async with group:
            if why == "cancelled":
                group.cancel_scope.cancel()
            else:
                group.spawn(fails())
                with CancelScope(shield=True):
                    await turns(1)
            group.spawn(owns_something())
        raise AssertionError("unreached, unless the failure was lost")

    async def refused() -> None:
        group = TaskGroup()
        async with group:
            group.cancel_scope.cancel()
            group.spawn(owns_something())
        with pytest.raises(RuntimeError, match="not open"):
            group.spawn(owns_something())

    if why == "cancelled":
        run(refused)
    else:
        with pytest.raises(ExceptionGroup):
            run(main)
    assert log == ["began", "cleaned up"]


def test_cpython_155418_a_child_that_cancels_its_group_at_once_does_not_hang_it(
    run: Runner,
) -> None:
    """A task that cancels its own group before its first wait is not among those that are cancelled
    (if it was started eagerly), and the group waits for it for ever.

    Ours belongs to the group before it runs. In depth: `test_task_group.py`.
    """

    async def cancels(group: TaskGroup) -> None:
        group.cancel_scope.cancel()
        await forever()

    async def main() -> bool:
        async with TaskGroup() as group:
            group.spawn(cancels(group))
            await forever()
        return group.cancel_scope.cancelled_caught

    assert run(main) is True


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_cpython_86849_ctrl_c_does_not_tear_a_task_or_the_loop_apart(run: Runner) -> None:
    """KeyboardInterrupt is raised wherever the interpreter stands, in the middle of the loop as
    well, and leaves it in a state from which it cannot clean up.

    Ours lets the task run on to its next wait and cancels it there. In depth: `test_ctrl_c.py`,
    and between any two lines of the loop: `test_interrupts.py`.
    """
    log: list[str] = []

    async def main() -> None:
        try:
            ctrl_c()
            log.append("not torn apart")
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(0.001)
            log.append("cleanup waited")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert log == ["not torn apart", "cleanup waited"]


def test_trio_16_ctrl_c_is_for_the_whole_program(run: Runner) -> None:
    """A KeyboardInterrupt is meant for the process and not for the task that it happens to hit: all
    tasks should be cancelled, and the run should raise just that in the end.

    Ours wakes a loop that is asleep, unwinds groups and background tasks alike, and raises a plain
    KeyboardInterrupt. In depth: `test_ctrl_c.py`.
    """
    cleaned: list[str] = []

    async def works(name: str) -> None:
        try:
            await sleep(PATIENCE)
        finally:
            cleaned.append(name)

    async def main() -> None:
        spawn(works("background"))
        presses = threading.Timer(0.005, ctrl_c)
        try:
            async with TaskGroup() as group:
                group.spawn(works("child"))
                await runtime.yield_now()
                presses.start()
        finally:
            presses.join()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert sorted(cleaned) == ["background", "child"]
