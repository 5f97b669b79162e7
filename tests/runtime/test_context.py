"""Context variables: every task has its own, though most tasks share one empty context."""

import contextvars
from contextvars import ContextVar

import pytest

from runtime import Cancelled, TaskGroup, current_task, run_in_thread, sleep, spawn, yield_now
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns

name: ContextVar[str] = ContextVar("name", default="unset")


def test_a_variable_that_a_task_sets_is_its_own(run: Runner) -> None:
    seen: dict[int, list[str]] = {}

    async def worker(n: int) -> None:
        seen[n] = [name.get()]
        if n % 2:
            name.set(f"worker {n}")
        await yield_now()
        seen[n].append(name.get())
        await sleep(1)
        seen[n].append(name.get())

    async def main() -> str:
        async with TaskGroup() as group:
            for n in range(4):
                group.spawn(worker(n))
        return name.get()

    assert run(main, clock=VirtualClock()) == "unset"
    assert seen == {
        0: ["unset"] * 3,
        1: ["unset", "worker 1", "worker 1"],
        2: ["unset"] * 3,
        3: ["unset", "worker 3", "worker 3"],
    }


def test_a_task_begins_with_what_its_spawner_had_set_at_the_time(run: Runner) -> None:
    async def child() -> str:
        before = name.get()
        await yield_now()
        assert name.get() == before
        return before

    async def main() -> list[str]:
        handles = [spawn(child())]
        name.set("first")  # in the same step as the spawns around it
        handles.append(spawn(child()))
        name.set("second")
        await yield_now()
        handles.append(spawn(child()))
        return [await handle for handle in handles]

    assert run(main) == ["unset", "first", "second"]


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled", "awaits rubbish"])
def test_what_a_task_set_in_its_last_step_reaches_nobody(run: Runner, how: str) -> None:
    class Rubbish:
        def __await__(self):  # type: ignore[no-untyped-def]
            name.set("spilt")
            yield "rubbish"

    async def last() -> None:
        if how == "is cancelled":
            try:
                await forever()
            finally:
                name.set("spilt")
        name.set("spilt")
        if how == "raises":
            raise ValueError
        if how == "awaits rubbish":
            await Rubbish()

    async def main() -> tuple[str, str]:
        async def look() -> str:
            return name.get()

        handle = spawn(last())
        other = spawn(look())
        await turns(2)
        handle.cancel()
        later = spawn(look())
        await turns(2)
        return await other, await later

    assert run(main) == ("unset", "unset")
    if how == "raises":
        assert "failed and nobody awaits it" in run.expected_error()
    if how == "awaits rubbish":
        assert "TypeError" in run.expected_error()


def test_a_variable_that_is_set_and_reset_leaves_nothing(run: Runner) -> None:
    async def main() -> bool:
        token = name.set("for a moment")
        name.reset(token)
        await yield_now()
        return current_task().context is None

    assert contextvars.Context().run(run, main) is True


def test_a_token_is_good_across_a_wait(run: Runner) -> None:
    async def main() -> str:
        token = name.set("set")
        await yield_now()
        name.reset(token)
        return name.get()

    assert run(main) == "unset"


def test_what_was_set_outside_of_the_run_is_seen_inside_and_not_changed(run: Runner) -> None:
    async def child() -> str:
        name.set("child")
        await yield_now()
        return name.get()

    async def main() -> tuple[str, str, str]:
        before = name.get()
        of_child = await spawn(child())
        after = name.get()
        name.set("main")
        return before, of_child, after

    def in_a_context() -> tuple[str, str, str]:
        name.set("outside")
        result = run(main)
        assert name.get() == "outside"
        return result

    assert contextvars.copy_context().run(in_a_context) == ("outside", "child", "outside")


def test_a_variable_set_in_cleanup_is_there_at_the_next_wait(run: Runner) -> None:
    async def worker() -> str:
        try:
            await forever()
        except Cancelled:
            name.set("cleaning up")
        try:
            await yield_now()
        except Cancelled:
            return name.get()
        return "not cancelled"

    async def main() -> str:
        handle = spawn(worker())
        await yield_now()
        handle.cancel()
        return await handle

    assert run(main) == "cleaning up"


def test_a_call_in_a_thread_sees_the_variables_of_its_task(run: Runner) -> None:
    async def main() -> str:
        name.set("in the task")
        return await run_in_thread(name.get)

    assert run(main) == "in the task"
