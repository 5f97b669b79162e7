"""Complaints about programs that hang, block or fail, and do not say so."""

import io
import logging
import threading
import time
from collections.abc import Callable

import pytest

import runtime
from runtime import Deadlock, Lock, detect_blocking, run_in_thread, sleep, spawn
from runtime.testing import VirtualClock

from ..harness import PATIENCE, Runner, fail_after, forever, stream_pair, turns


def test_trio_591_a_blocked_loop_is_reported_and_an_idle_one_is_not(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that blocks stalls all the others and nothing says so; a watchdog must not bark at a
    loop that merely waits in its poll.

    Ours names the task and the line while it blocks. In depth: `test_watchdog.py`.
    """
    caplog.set_level(logging.WARNING, "runtime")

    def reads_config() -> None:
        deadline = time.monotonic() + PATIENCE
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.001)

    async def main() -> list[str]:
        with detect_blocking(0.02):
            await sleep(0.045)
            idle = list(caplog.messages)
            reads_config()
            return idle

    assert run(main) == []
    (message,) = caplog.messages
    assert message.startswith("task 'main' has blocked the loop for 20 ms and still does")
    assert "reads_config (" in message


def test_trio_1085_a_run_that_nothing_can_wake_ends_and_one_that_a_thread_can_does_not(
    run: Runner,
) -> None:
    """No task can run, no timer is set, nobody waits for I/O, and the program hangs in silence;
    what makes it hard to tell is that a thread might still call in.

    Ours counts the wakers that are held, and raises once there are none. In depth:
    `test_deadlock.py`.
    """
    never = runtime.Event()

    async def main() -> None:
        await run_in_thread(time.sleep, 0.01)  # meanwhile, nothing but the thread can wake the loop
        await never.wait()

    with pytest.raises(Deadlock, match=r"task 'main' in Event.wait \(.*: it waits for ever"):
        run(main)


def test_trio_182_locks_taken_crosswise_or_never_released_are_errors(run: Runner) -> None:
    """A lock knows its owner, so a task that ends with it, or two that wait for each other's, could
    be reported instead of hanging.

    Ours refuses to wait for a lock whose owner is gone, and names the tasks of a cycle when nothing
    else can go on. In depth: `test_locks.py`.
    """

    async def both(first: Lock, second: Lock) -> None:
        async with first:
            await runtime.yield_now()
            async with second:
                raise AssertionError("unreached")

    async def main() -> None:
        forgotten, left, right = Lock(), Lock(), Lock()
        await spawn(forgotten.acquire(), name="careless")
        with pytest.raises(RuntimeError, match="'careless' ended without releasing this lock"):
            await forgotten.acquire()
        spawn(both(left, right), name="a")
        await spawn(both(right, left), name="b")

    with pytest.raises(Deadlock) as caught:
        run(main)
    for name in "ab":
        assert f"task {name!r} in Lock.acquire (" in str(caught.value)


async def waits_inside() -> None:
    await forever()


async def waits_outside() -> None:
    await waits_inside()


def test_cpython_135371_a_task_is_shown_with_the_calls_inside_of_it(run: Runner) -> None:
    """`python -m asyncio ps` showed which task awaits which, and not where within its own calls
    each of them stands.

    Ours shows the chain of awaits of every task, outermost first, under the task that owns it. In
    depth: `test_inspect.py`.
    """

    async def main() -> str:
        out = io.StringIO()
        async with runtime.TaskGroup() as group:
            group.spawn(waits_outside(), name="worker")
            await turns(2)
            runtime.dump_tasks(out)
            group.cancel_scope.cancel()
        return out.getvalue()

    lines = run(main).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("    worker: waiting for "))
    stack = [line.split("(")[0].strip() for line in lines[at + 1 : at + 5]]
    assert stack[:3] == ["at waits_outside", "at waits_inside", "at forever"]


def test_trio_413_a_loop_that_hangs_can_be_looked_at_from_outside(run: Runner) -> None:
    """Curio has a monitor that lists the tasks of a running program; a user of trio wants one, and
    wants it most when the loop itself is what hangs.

    Ours can be called from any thread. In depth, and by a signal: `test_inspect.py`.
    """
    hangs, seen = threading.Event(), threading.Event()
    out = io.StringIO()

    def look() -> None:
        hangs.wait(PATIENCE)
        runtime.dump_tasks(out)
        seen.set()

    async def spins() -> None:
        hangs.set()
        deadline = time.monotonic() + PATIENCE
        while not seen.is_set() and time.monotonic() < deadline:
            pass

    async def main() -> None:
        await spawn(spins(), name="guilty")

    looker = threading.Thread(target=look)
    looker.start()
    run(main)
    looker.join(PATIENCE)
    _, _, hung = out.getvalue().partition("guilty: running for ")
    assert "spins (" in hung.splitlines()[1]
    assert "main: waiting for " in out.getvalue()


CALLS: dict[str, Callable[[runtime.Stream], object]] = {
    "send_all": lambda stream: stream.send_all(b"lost"),
    "sleep": lambda stream: sleep(1),
}


@pytest.mark.parametrize("forgotten", CALLS)
def test_trio_79_a_call_that_was_not_awaited_is_pointed_out(run: Runner, forgotten: str) -> None:
    """To forget an `await` is everybody's mistake, and the interpreter should help more to find it.

    Ours makes every call a coroutine, or something that warns as one does, down to the lowest; none
    is a silent generator. In depth: `test_never_awaited.py`.
    """

    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            with pytest.warns(RuntimeWarning, match=f"{forgotten}.* was never awaited"):
                CALLS[forgotten](left)

    run(main)


def test_python_asyncio_397_a_handle_that_is_kept_hides_no_exception(run: Runner) -> None:
    """A task's exception is reported when the task is garbage-collected, so a reference to it that
    somebody keeps silences it.

    Ours logs it when the task ends, if nobody awaits it then. In depth: `test_task.py`.
    """

    async def main() -> runtime.JoinHandle[None]:
        kept = spawn(fail_after(1, ValueError("heard")), name="kept")
        await sleep(2)
        assert "task 'kept', spawned at" in run.expected_error()
        return kept

    assert isinstance(run(main, clock=VirtualClock()).error, ValueError)
