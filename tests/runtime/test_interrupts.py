"""Ctrl-C and SystemExit: wherever they come, the run ends and what had begun is cleaned up."""

import sys
from collections.abc import Callable
from contextvars import Context, ContextVar
from types import CodeType, FrameType
from typing import Any

import pytest

import runtime
from runtime import (
    CancelScope,
    Task,
    TaskGroup,
    park,
    sleep,
    spawn,
    yield_now,
)
from runtime.cancel import Scope
from runtime.executor import Executor
from runtime.groups import _GroupScope
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["main", "another task", "a group's child"])
def test_an_interrupt_in_a_task_ends_the_run_and_cleans_up(
    run: Runner, interrupt: type[BaseException], where: str
) -> None:
    cleaned: list[str] = []

    async def worker() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await yield_now()
            cleaned.append("worker")

    async def stop() -> None:
        raise interrupt("stop")

    async def main() -> None:
        spawn(worker())
        try:
            await yield_now()
            if where == "main":
                await stop()
            elif where == "another task":
                spawn(stop())
                await forever()
            else:
                async with runtime.TaskGroup() as group:
                    group.spawn(stop())
        finally:
            cleaned.append("main")

    with pytest.raises(interrupt, match="stop"):
        run(main)
    assert sorted(cleaned) == ["main", "worker"]


@pytest.mark.parametrize("moment", [1, 2, 3, 5])
def test_an_interrupt_in_the_loop_itself_ends_the_run_and_cleans_up(
    run: Runner, moment: int
) -> None:
    """Ctrl-C comes between any two lines: here, where the loop looks at the clock."""
    cleaned: list[str] = []

    class Interrupted(VirtualClock):
        count = 0

        def now(self) -> float:
            self.count += 1
            if self.count == moment:
                raise KeyboardInterrupt
            return super().now()

    async def worker() -> None:
        try:
            await forever()
        finally:
            cleaned.append("worker")

    async def main() -> None:
        try:
            spawn(worker())
            await turns(100)
        finally:
            cleaned.append("main")

    with pytest.raises(KeyboardInterrupt):
        run(main, clock=Interrupted())
    assert cleaned.count("main") == 1
    assert set(cleaned) <= {"main", "worker"}


variable: ContextVar[str] = ContextVar("variable")

LOOP = {
    Executor.run_while.__code__,
    Executor._poll.__code__,
    Executor._run_ready.__code__,
    Executor._resume.__code__,
    Executor._finish.__code__,
}

FINISH = {
    Executor._finish.__code__,
    Task.finish.__code__,
    Scope.dismiss.__code__,
    _GroupScope.dismiss.__code__,
    TaskGroup.child_done.__code__,
}

LEAVE = {
    TaskGroup._children_ended.__code__,
    CancelScope.__enter__.__code__,
    park.__code__,
}


def interrupt_at_line(number: int, where: set[CodeType] = LOOP) -> Callable[..., Any]:
    """A trace function that raises at the n-th line that these functions execute."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code not in where:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                raise KeyboardInterrupt
        return trace

    return trace


def test_an_interrupt_between_any_two_lines_of_the_loop_ends_the_run(run: Runner) -> None:
    """Python runs the handler of Ctrl-C wherever it stands, so it comes everywhere in turn."""
    begun: list[str] = []
    cleaned: list[str] = []

    async def worker() -> None:
        begun.append("worker")
        token = variable.set("worker's own")
        try:
            await sleep(1e6)
        finally:
            variable.reset(token)  # ValueError if the task has lost its context
            cleaned.append("worker")

    async def main() -> None:
        begun.append("main")
        try:
            spawn(worker())
            await yield_now()
            await spawn(sleep(1))
            await forever()
        finally:
            cleaned.append("main")

    before = sys.gettrace()
    interrupted = 0
    try:
        for number in range(1, 120):
            begun.clear()
            cleaned.clear()
            sys.settrace(interrupt_at_line(number))
            with pytest.raises(KeyboardInterrupt):
                Context().run(run, main, clock=VirtualClock())
            sys.settrace(before)
            assert sorted(cleaned) == sorted(begun), number
            interrupted += 1
    finally:
        sys.settrace(before)
    assert interrupted == 119


@pytest.mark.parametrize("where", [FINISH, LEAVE], ids=["a task ends", "the block is left"])
def test_an_interrupt_of_a_group_at_any_line_leaves_no_task_behind(
    run: Runner, where: set[CodeType]
) -> None:
    begun: list[str] = []
    cleaned: list[str] = []

    async def child(name: str, seconds: float) -> None:
        begun.append(name)
        try:
            await sleep(seconds)
        finally:
            cleaned.append(name)

    async def parent() -> None:
        begun.append("parent")
        try:
            async with TaskGroup() as group:
                group.spawn(child("short", 0))
                group.spawn(child("long", 1))
        finally:
            cleaned.append("parent")

    async def main() -> None:
        await spawn(parent())

    before = sys.gettrace()
    number = 0
    try:
        while True:
            number += 1
            begun.clear()
            cleaned.clear()
            sys.settrace(interrupt_at_line(number, where))
            try:
                run(main, clock=VirtualClock())
            except KeyboardInterrupt:
                assert sorted(cleaned) == sorted(begun), number
            else:
                break
            finally:
                sys.settrace(before)
    finally:
        sys.settrace(before)
    assert number > 10


def test_interrupts_one_after_another_leave_no_descriptor(run: Runner) -> None:
    """A cleanup that is interrupted itself; the fixture looks at what is left."""

    async def rude() -> None:
        try:
            await forever()
        finally:
            raise KeyboardInterrupt("second")

    async def main() -> None:
        spawn(rude())
        spawn(rude())
        await yield_now()
        raise KeyboardInterrupt("first")

    with pytest.raises(KeyboardInterrupt):
        run(main)
