"""The loop: who runs when, and what `run` leaves behind."""

import contextvars
import gc
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import runtime
from runtime import (
    Cancelled,
    CancelScope,
    JoinHandle,
    Stream,
    TaskCancelled,
    current_task,
    join_all,
    park,
    run_in_thread,
    sleep,
    spawn,
    yield_now,
)
from runtime.executor import POLL_AFTER, POLL_EVERY
from runtime.testing import VirtualClock

from .harness import PATIENCE, Runner, forever, raw_pair, turns


def test_a_turn_runs_exactly_the_tasks_that_were_ready_when_it_began(run: Runner) -> None:
    order: list[str] = []

    async def child(name: str) -> None:
        order.append(name)
        if len(name) < 3:
            spawn(child(name + "a"))
            spawn(child(name + "b"))

    async def main() -> None:
        spawn(child("x"))
        for n in range(4):
            order.append(f"turn {n}")
            await yield_now()

    run(main)
    assert order == [
        "turn 0",
        "x",
        "turn 1",
        "xa",
        "xb",
        "turn 2",
        "xaa",
        "xab",
        "xba",
        "xbb",
        "turn 3",
    ]


def test_who_gives_way_has_the_loop_poll_once_a_turn(run: Runner) -> None:
    async def main() -> None:
        await turns(50)

    run(main)
    assert 50 <= run.polls <= 53


async def ping_pong(rounds: int) -> None:
    """Two tasks that keep each other busy without giving way."""

    async def pong(other: JoinHandle[Any]) -> None:
        while True:
            other.wake()
            await park()

    partner = spawn(pong(current_task()))
    for _ in range(rounds):
        partner.wake()
        await park()
    partner.cancel()


def test_tasks_that_wake_each_other_are_polled_around_now_and_then(run: Runner) -> None:
    run(ping_pong(1000), clock=VirtualClock())
    # Two resumes a round, and a poll after every 61.
    assert 2000 / POLL_EVERY - 2 <= run.polls <= 2000 / POLL_EVERY + 5


def test_bytes_are_seen_while_tasks_wake_each_other(run: Runner) -> None:
    async def main() -> bytes:
        one, other = raw_pair("unix")
        with other:
            async with Stream(one) as stream:
                reader = spawn(stream.recv(10))
                await turns(3)
                other.sendall(b"seen")
                await ping_pong(POLL_EVERY)
                assert reader.done
                return await reader

    assert run(main, clock=VirtualClock()) == b"seen"


def test_steps_that_take_long_are_polled_after(run: Runner) -> None:
    class Slow(VirtualClock):
        """Each look at it finds that some milliseconds have gone by."""

        def now(self) -> float:
            self._now += 2 * POLL_AFTER
            return self._now

    run(ping_pong(100), clock=Slow())
    assert run.polls >= 100  # in every second turn, for the look at the clock is a turn old


def test_bytes_are_seen_while_tasks_keep_the_loop_busy(run: Runner) -> None:
    async def busy() -> None:
        while True:
            await yield_now()

    async def main() -> bytes:
        one, other = raw_pair("unix")
        with other:
            async with Stream(one) as stream:
                for _ in range(10):
                    spawn(busy())
                reader = spawn(stream.recv(10))
                await turns(3)
                other.sendall(b"seen")
                await turns(3)
                assert reader.done
                return await reader

    assert run(main) == b"seen"


def test_timers_fire_while_tasks_keep_the_loop_busy(run: Runner) -> None:
    async def busy() -> None:
        while True:
            await yield_now()

    async def main() -> bool:
        spawn(busy())
        sleeper = spawn(sleep(0.005))
        deadline = time.monotonic() + PATIENCE
        while not sleeper.done and time.monotonic() < deadline:
            await yield_now()
        return sleeper.done

    assert run(main)


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


def test_context_variables_are_inherited_at_spawn_and_then_a_tasks_own(run: Runner) -> None:
    seen: dict[str, str] = {}

    async def child(name: str) -> None:
        seen[f"{name} inherited"] = VARIABLE.get()
        VARIABLE.set(name)
        await yield_now()
        seen[f"{name} kept"] = VARIABLE.get()
        current_task().wake()
        await park()
        seen[f"{name} kept longer"] = VARIABLE.get()

    async def main() -> None:
        VARIABLE.set("main")
        one = spawn(child("one"))
        VARIABLE.set("main later")
        two = spawn(child("two"))
        await join_all(one, two)
        seen["main"] = VARIABLE.get()

    run(main)
    assert seen == {
        "one inherited": "main",
        "one kept": "one",
        "one kept longer": "one",
        "two inherited": "main later",
        "two kept": "two",
        "two kept longer": "two",
        "main": "main later",
    }
    assert VARIABLE.get() == "unset"


def test_the_context_holds_during_cancellation_too(run: Runner) -> None:
    seen: list[str] = []

    async def child() -> None:
        VARIABLE.set("child")
        try:
            await forever()
        finally:
            seen.append(VARIABLE.get())

    async def main() -> None:
        task = spawn(child())
        await yield_now()
        task.cancel()
        await turns(2)
        assert task.done

    run(main)
    assert seen == ["child"]


def test_a_run_inside_a_run_is_refused_without_a_warning(run: Runner) -> None:
    async def main() -> str:
        with pytest.raises(RuntimeError, match="runs a runtime already"):
            runtime.run(forever())
        return "alive"

    assert run(main) == "alive"


def test_runs_follow_one_another(run: Runner) -> None:
    async def main() -> int:
        await yield_now()
        return 1

    assert sum(run(main) for _ in range(20)) == 20


def test_after_a_failed_run_the_next_one_works(run: Runner) -> None:
    async def fail() -> None:
        raise KeyError("main")

    async def main() -> str:
        return "fine"

    with pytest.raises(KeyError, match="main"):
        run(fail)
    assert run(main) == "fine"


def test_runtimes_in_several_threads_do_not_see_one_another(run: Runner) -> None:
    results: dict[int, list[int]] = {}

    async def main(me: int) -> None:
        async def child(n: int) -> int:
            await sleep(0.001)
            return me * 100 + n

        results[me] = await join_all(child(n) for n in range(20))

    threads = [threading.Thread(target=lambda n=n: run(main(n))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {me: [me * 100 + n for n in range(20)] for me in range(4)}


def test_the_end_of_main_cancels_the_others_and_waits_for_their_cleanup(run: Runner) -> None:
    cleaned: list[str] = []

    async def worker(name: str) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(3)
            cleaned.append(name)

    async def main() -> str:
        spawn(worker("one"))
        spawn(worker("two"))
        await yield_now()
        return "result"

    assert run(main, clock=VirtualClock()) == "result"
    assert sorted(cleaned) == ["one", "two"]


def test_a_task_that_never_started_is_still_run_to_its_first_wait(run: Runner) -> None:
    seen: list[str] = []

    async def worker() -> None:
        seen.append("began")
        await yield_now()
        seen.append("went on")

    async def main() -> None:
        spawn(worker())

    run(main)
    assert seen == ["began"]


def test_a_task_spawned_during_the_shutdown_is_cancelled_and_waited_for(run: Runner) -> None:
    seen: list[str] = []

    async def late() -> None:
        seen.append("late began")
        try:
            await sleep(1000)
            seen.append("late slept")
        finally:
            seen.append("late cleaned up")

    async def worker() -> None:
        try:
            await forever()
        finally:
            spawn(late())

    async def main() -> None:
        spawn(worker())
        await yield_now()

    run(main, clock=VirtualClock())
    assert seen == ["late began", "late cleaned up"]


def test_a_failure_during_the_shutdown_is_logged(run: Runner) -> None:
    async def worker() -> None:
        try:
            await forever()
        finally:
            raise ValueError("cleanup")

    async def main() -> str:
        spawn(worker())
        await yield_now()
        return "result"

    assert run(main) == "result"
    assert "worker" in run.expected_error()


def test_a_task_held_by_nobody_runs_to_its_end(run: Runner) -> None:
    ended: list[str] = []

    async def worker() -> None:
        await sleep(1)
        ended.append("yes")

    async def main() -> None:
        spawn(worker())
        await yield_now()
        gc.collect()
        await sleep(2)

    run(main, clock=VirtualClock())
    assert ended == ["yes"]


def test_the_executor_forgets_what_is_done(run: Runner) -> None:
    async def nothing() -> None: ...

    async def main() -> int:
        for _ in range(100):
            spawn(nothing())
        await turns(2)
        return len(list(current_task().executor.tasks()))

    assert run(main) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: runtime.now(),
        lambda: runtime.current_waker(),
        lambda: runtime.move_on_after(1),
        lambda: runtime.listen("127.0.0.1", 0),
        lambda: runtime.signals(10),
        lambda: sleep(1),
    ],
    ids=["now", "current_waker", "move_on_after", "listen", "signals", "sleep"],
)
def test_outside_of_a_run_calls_say_what_is_missing(
    anything_left: None, call: Callable[[], Any]
) -> None:
    with pytest.raises(RuntimeError, match=r"inside runtime\.run"):
        call()


def test_a_stream_outside_of_a_run_says_what_is_missing(anything_left: None) -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(RuntimeError, match=r"inside runtime\.run"):
        Stream(one)


def test_ten_thousand_tasks_at_once(run: Runner) -> None:
    async def work(n: int) -> int:
        await sleep(n % 10)
        await yield_now()
        return n

    async def main() -> int:
        return sum(await join_all(work(n) for n in range(10_000)))

    assert run(main, clock=VirtualClock()) == sum(range(10_000))


def test_a_task_that_swallows_its_cancellation_at_the_shutdown_is_asked_again(
    run: Runner,
) -> None:
    caught = 0

    async def stubborn() -> None:
        nonlocal caught
        while caught < 5:
            try:
                await forever()
            except Cancelled:
                caught += 1

    async def main() -> None:
        spawn(stubborn())
        await yield_now()

    run(main)
    assert caught == 5


def test_a_main_task_that_cancels_itself_takes_down_what_it_started(run: Runner) -> None:
    async def main() -> None:
        async with runtime.listen("127.0.0.1", 0) as listener:
            spawn(sleep(1e9))
            spawn(run_in_thread(time.sleep, 0.01))
            await yield_now()
            current_task().cancel()
            await listener.accept()

    with pytest.raises(TaskCancelled):
        run(main)
