"""`run_in_thread`: results, faults and context come back; the loop goes on meanwhile."""

import contextvars
import signal
import subprocess
import sys
import threading

import pytest

import runtime
from runtime import TaskCancelled, join_all, move_on_after, run_in_thread, sleep, spawn
from runtime.testing.leaks import living_threads
from runtime.threads import THREADS, pool

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


def fail(event: threading.Event) -> None:
    event.wait(PATIENCE)
    raise LookupError("too late")


def test_the_exception_of_a_call_that_was_left_behind_is_logged(run: Runner) -> None:
    release = threading.Event()

    async def main() -> None:
        with move_on_after(0.002):
            await run_in_thread(fail, release)
        release.set()
        while pool("thread", THREADS)._alive != len(pool("thread", THREADS)._idle):
            await sleep(0.001)

    run(main)
    while not run.errors:  # the thread rests first and tells second
        threading.Event().wait(0.001)
    logged = run.expected_error()
    assert "fail" in logged
    assert "the task that waited for it was cancelled (LookupError)" in logged


def test_the_exception_of_a_call_is_logged_after_the_run_too(run: Runner) -> None:
    release = threading.Event()
    before = set(threading.enumerate())

    async def main() -> None:
        with move_on_after(0.002):
            await run_in_thread(fail, release)

    run(main)
    release.set()
    assert living_threads(before) == []
    assert "was cancelled (LookupError)" in run.expected_error()


def test_an_exception_that_comes_in_the_turn_of_the_cancellation_is_logged(run: Runner) -> None:
    """The call is over, but its task has not run since and now never will."""
    release = threading.Event()

    async def main() -> None:
        task = spawn(run_in_thread(fail, release))
        await turns(2)
        release.set()
        while not pool("thread", THREADS)._idle:
            pass
        task.cancel()
        with pytest.raises(TaskCancelled):
            await task

    run(main)
    assert "was cancelled (LookupError)" in run.expected_error()


def test_a_task_that_is_cancelled_already_begins_no_call(run: Runner) -> None:
    called: list[int] = []

    async def main() -> None:
        with runtime.CancelScope() as scope:
            scope.cancel()
            await run_in_thread(called.append, 1)

    before = set(threading.enumerate())
    run(main)
    assert living_threads(before) == []
    assert called == []


BLOCKED = """
import threading, runtime, sys
def blocked():
    print("blocked", flush=True)
    threading.Event().wait(1000)
async def main():
    {main}
runtime.run(main())
"""


def blocked_program(main: str) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", BLOCKED.format(main=main)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "blocked\n"
    return program


def test_a_call_that_never_ends_does_not_hang_the_exit_cpython_111358() -> None:
    main = "runtime.spawn(runtime.run_in_thread(blocked)); await runtime.sleep(0.01)"
    with blocked_program(main) as program:
        assert program.wait(PATIENCE) == 0


def test_ctrl_c_ends_a_program_that_awaits_a_call_without_end_cpython_111358() -> None:
    main = (
        "try: await runtime.run_in_thread(blocked)\n"
        "    finally: sys.stderr = open('/dev/null', 'w')"  # the traceback is not looked at
    )
    with blocked_program(main) as program:
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE) != 0
