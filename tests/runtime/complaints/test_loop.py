"""Complaints about the loop: tasks that vanish, wake-ups for nothing, time, and context."""

import gc
import time
import weakref
from contextvars import ContextVar

import pytest

import runtime
from runtime import move_on_after, now, run_in_thread, sleep, spawn
from runtime.testing import VirtualClock, wait_all_tasks_blocked

from ..harness import CountingSelector, Runner, dial, stream_pair


class Island:
    """Holds the task that waits for its event, and is held by nobody but that task: a cycle."""

    def __init__(self) -> None:
        self.event = runtime.Event()


def test_cpython_91887_a_task_that_nobody_refers_to_runs_to_its_end(run: Runner) -> None:
    """The loop holds its tasks weakly, so one that is started and forgotten can be collected in the
    middle of its work.

    Ours are held until they are done. In depth: `test_garbage.py`.
    """
    finished: list[str] = []

    async def main() -> None:
        async def works(island: Island) -> None:
            await island.event.wait()
            finished.append("to the end")

        island = Island()
        held_by_others = weakref.ref(island)
        spawn(works(island))
        del island
        await wait_all_tasks_blocked()
        gc.collect()
        found = held_by_others()
        assert found is not None
        found.event.set()
        await wait_all_tasks_blocked()

    run(main)
    assert finished == ["to the end"]


def test_curio_282_an_idle_server_is_not_woken_up(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has nothing to do polls once a second, for nothing, instead of sleeping until a
    client comes.

    Ours sleeps without a deadline if no timer is set, and until the next one otherwise. In depth:
    `test_executor.py`.
    """
    waits: list[float | None] = []
    real = CountingSelector.select

    def select(self: CountingSelector, timeout: float | None = None) -> object:
        waits.append(timeout)
        return real(self, timeout)

    async def main() -> list[float | None]:
        async with runtime.listen("127.0.0.1", 0) as listener:
            server = spawn(runtime.serve(listener, lambda stream: stream.recv(1)))
            with dial(listener):
                await wait_all_tasks_blocked()
                monkeypatch.setattr(CountingSelector, "select", select)
                await run_in_thread(time.sleep, 0.03)
                idle = list(waits)
                await sleep(0.01)
                assert 1 <= len(waits) - len(idle) <= 3  # a poll may end a little early
                server.cancel()
            return idle

    assert run(main) == [None]


def test_anyio_260_a_test_can_jump_forward_in_time(run: Runner) -> None:
    """Tests of code that waits want a clock that jumps, as trio's does, on every backend.

    Ours is an argument of `run`, and goes with real sockets. In depth: `test_timers.py`,
    `test_moving_deadlines.py`.
    """

    async def main() -> tuple[bool, float]:
        left, right = stream_pair()
        async with left, right:
            with move_on_after(3600) as patience:
                await left.recv(1)
            return patience.cancelled_caught, now()

    assert run(main, clock=VirtualClock()) == (True, 3600.0)


request: ContextVar[str] = ContextVar("request", default="none")


def test_curio_310_context_variables_belong_to_tasks(run: Runner) -> None:
    """Context variables should work: each task with its own values, begun with its spawner's.

    Ours do, in calls made in threads as well. In depth: `test_context.py`.
    """

    async def child(number: int) -> list[str]:
        seen = [request.get()]
        request.set(f"child {number}")
        await runtime.yield_now()
        return [*seen, request.get(), await run_in_thread(request.get)]

    async def main() -> tuple[list[list[str]], str]:
        request.set("main")
        return await runtime.join_all(child(n) for n in range(2)), request.get()

    assert run(main) == (
        [["main", "child 0", "child 0"], ["main", "child 1", "child 1"]],
        "main",
    )
