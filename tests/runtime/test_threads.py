"""`run_in_thread`: results, faults and context come back; the loop goes on meanwhile."""

import contextvars
import threading
import time

import pytest

import runtime
from runtime import join_all, move_on_after, run_in_thread, sleep, spawn

from .harness import PATIENCE, Runner, turns

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def test_the_result_comes_back_and_the_call_ran_elsewhere(run: Runner) -> None:
    def call(a: int, b: int) -> tuple[int, bool]:
        return a + b, threading.current_thread() is threading.main_thread()

    async def main() -> tuple[int, bool]:
        return await run_in_thread(call, 40, 2)

    assert run(main) == (42, False)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, StopAsyncIteration])
def test_what_the_call_raises_is_raised_at_the_await(
    run: Runner, kind: type[BaseException]
) -> None:
    def call() -> None:
        raise kind("from the thread")

    async def main() -> str:
        try:
            await run_in_thread(call)
        except kind as error:
            return str(error)
        return "nothing"

    assert run(main) == "from the thread"


def test_a_stop_iteration_from_the_call_does_not_pass_for_a_result(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await run_in_thread(next, iter(()))

    run(main)


def test_the_loop_goes_on_while_a_call_blocks(run: Runner) -> None:
    async def main() -> tuple[int, int]:
        release = threading.Event()
        task = spawn(run_in_thread(release.wait, PATIENCE))
        for _ in range(5):
            await sleep(0.001)
        pending = not task.done
        release.set()
        return pending, await task

    assert run(main) == (True, True)


def test_a_cancelled_call_is_left_behind_and_does_not_spin(run: Runner) -> None:
    release = threading.Event()

    async def main() -> bool:
        with move_on_after(0.005) as scope:
            await run_in_thread(release.wait, PATIENCE)
        release.set()
        await sleep(0.02)
        return scope.cancelled_caught

    assert run(main)
    assert run.polls < 20


def test_a_call_that_ends_after_its_task_was_cancelled_does_not_spin(run: Runner) -> None:
    release = threading.Event()

    async def main() -> bool:
        task = spawn(run_in_thread(release.wait, PATIENCE))
        await sleep(0.002)
        task.cancel()
        await turns(3)
        release.set()
        await sleep(0.03)
        return task.done

    assert run(main)
    assert run.polls < 25


def test_a_call_that_ends_after_the_run_is_over_disturbs_nobody(run: Runner) -> None:
    release, ended = threading.Event(), threading.Event()

    def call() -> None:
        release.wait(PATIENCE)
        ended.set()

    async def main() -> None:
        with move_on_after(0.002):
            await run_in_thread(call)

    run(main)
    release.set()
    assert ended.wait(PATIENCE)


def test_context_variables_are_seen_in_the_thread_and_not_changed_by_it(run: Runner) -> None:
    def call() -> str:
        seen = VARIABLE.get()
        VARIABLE.set("changed in the thread")
        return seen

    async def main() -> tuple[str, str]:
        VARIABLE.set("set by the task")
        return await run_in_thread(call), VARIABLE.get()

    assert run(main) == ("set by the task", "set by the task")


def test_many_calls_run_at_the_same_time(run: Runner) -> None:
    count = 20
    barrier = threading.Barrier(count)

    async def main() -> list[int]:
        async def call(n: int) -> int:
            await run_in_thread(barrier.wait, PATIENCE)
            return n

        return await join_all(call(n) for n in range(count))

    assert run(main) == list(range(count))


def test_a_call_that_is_over_at_once_is_not_missed(run: Runner) -> None:
    async def main() -> int:
        return sum([await run_in_thread(int, "1") for _ in range(100)])

    assert run(main) == 100


def test_a_runtime_may_run_in_the_thread(run: Runner) -> None:
    async def inner() -> str:
        await sleep(0.001)
        return threading.current_thread().name

    async def main() -> str:
        return await run_in_thread(runtime.run, inner())

    assert run(main) != threading.current_thread().name


def test_threads_are_daemons_so_a_call_that_hangs_keeps_no_program_from_ending(
    run: Runner,
) -> None:
    async def main() -> bool:
        return await run_in_thread(lambda: threading.current_thread().daemon)

    began = time.monotonic()
    assert run(main)
    assert time.monotonic() - began < PATIENCE
