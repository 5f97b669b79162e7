"""Wakers from other threads: none is lost, whatever the loop is doing when they come."""

import os
import threading
from collections import deque
from collections.abc import Callable

import runtime
from runtime import Waker, current_waker, park, sleep, spawn
from runtime.reactor import Reactor
from runtime.task import current_executor
from runtime.wakeup import WakeupPipe

from .harness import PATIENCE, Runner, turns


def test_wake_ups_that_race_the_loop_going_to_sleep_are_not_lost(run: Runner) -> None:
    """Ping-pong: each side sleeps until the other has woken it, so one lost wake-up hangs."""
    rounds = 3000
    ping = threading.Semaphore(0)
    answered = 0

    def answer(waker: Waker) -> None:
        nonlocal answered
        for _ in range(rounds):
            assert ping.acquire(timeout=PATIENCE)
            answered += 1
            waker.wake()

    async def main() -> int:
        thread = threading.Thread(target=answer, args=(current_waker(),))
        thread.start()
        try:
            for n in range(1, rounds + 1):
                ping.release()
                while answered < n:
                    await park()
        finally:
            for _ in range(rounds):
                ping.release()
            thread.join(PATIENCE)
        return answered

    assert run(main) == rounds


def test_a_wake_up_that_comes_as_the_loop_falls_asleep_ends_its_sleep(run: Runner) -> None:
    """The worst moment: the loop has looked at the queue, and raises its flag before the append."""
    notices = 0

    class JustBefore(deque[Callable[[], object]]):
        def append(self, call: Callable[[], object]) -> None:
            current_executor()._asleep = True
            super().append(call)

    async def main() -> None:
        executor = current_executor()
        notify = executor._pipe.notify

        def count() -> None:
            nonlocal notices
            notices += 1
            notify()

        executor._pipe.notify = count  # type: ignore[method-assign]
        executor._from_outside = JustBefore()
        current_waker().wake()
        executor._pipe.notify = notify  # type: ignore[method-assign]

    run(main)
    assert notices == 1


def test_a_crowd_of_threads_wakes_a_crowd_of_tasks(run: Runner) -> None:
    rounds, threads = 500, 4
    turn: list[int] = [0] * threads

    def work(mine: int, waker: Waker, go: threading.Semaphore) -> None:
        for _ in range(rounds):
            assert go.acquire(timeout=PATIENCE)
            turn[mine] += 1
            waker.wake()
            waker.wake()  # a second one may come before, while or after the task runs

    async def wait_for(mine: int) -> None:
        go = threading.Semaphore(0)
        thread = threading.Thread(target=work, args=(mine, current_waker(), go))
        thread.start()
        try:
            for n in range(1, rounds + 1):
                go.release()
                while turn[mine] < n:
                    await park()
        finally:
            go.release(rounds)
            thread.join(PATIENCE)

    async def main() -> list[None]:
        return await runtime.join_all(wait_for(n) for n in range(threads))

    run(main)
    assert turn == [rounds] * threads


def test_a_wake_up_before_the_task_waits_counts(run: Runner) -> None:
    async def main() -> str:
        thread = threading.Thread(target=current_waker().wake)
        thread.start()
        thread.join(PATIENCE)
        await park()  # hangs, if the wake-up was only good while the task waited
        return "woken"

    assert run(main) == "woken"


def test_a_wake_up_after_the_task_is_done_does_nothing(run: Runner) -> None:
    wakers: list[Waker] = []

    async def leave_waker() -> None:
        wakers.append(current_waker())

    async def main() -> None:
        await spawn(leave_waker())
        for _ in range(3):
            thread = threading.Thread(target=wakers[0].wake)
            thread.start()
            thread.join(PATIENCE)
            await turns(2)
        await sleep(0.02)

    run(main)
    assert run.polls < 30


def test_a_wake_up_after_the_cancelled_task_is_done_does_not_spin(run: Runner) -> None:
    wakers: list[Waker] = []

    async def leave_waker() -> None:
        wakers.append(current_waker())
        while True:
            await park()

    async def main() -> None:
        handle = spawn(leave_waker())
        await turns(1)
        handle.cancel()
        await turns(2)
        assert handle.done
        wakers[0].wake()
        await sleep(0.03)

    run(main)
    assert run.polls < 20


def test_a_wake_up_after_the_run_is_over_does_nothing(run: Runner) -> None:
    async def main() -> Waker:
        return current_waker()

    waker = run(main)
    waker.wake()
    assert run(main) is not waker


def test_a_notice_that_comes_after_the_end_goes_to_nobody(run: Runner) -> None:
    """A thread that saw the loop asleep may be late: the number is somebody else's by then."""
    pipe = WakeupPipe(Reactor(run.selector_class()))
    end = pipe.write_end
    reactor = pipe._reactor
    pipe.close()
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        assert end in (reading, writing)  # else this test proves nothing
        pipe.notify()
        try:
            stray = os.read(reading, 10)
        except BlockingIOError:
            stray = b""
        assert stray == b""
    finally:
        os.close(reading)
        os.close(writing)
        reactor.close()


def test_more_wake_ups_than_the_pipe_holds(run: Runner) -> None:
    woken = 0

    async def count() -> None:
        nonlocal woken
        while True:
            await park()
            woken += 1

    async def main() -> None:
        task = spawn(count())
        await turns(1)
        pipe = current_executor()._pipe
        for _ in range(70_000):  # a pipe holds 64 KiB
            pipe.notify()
        Waker(task).wake()
        await turns(3)
        await sleep(0.01)

    run(main)
    assert woken == 1
    assert run.polls < 60  # and it was emptied


def test_wakers_of_one_loop_wake_from_a_task_of_another(run: Runner) -> None:
    """Two runtimes in two threads that wake each other."""
    rounds = 300
    ready = threading.Event()
    state = {"turn": 0}
    wakers: dict[int, Waker] = {}

    async def player(me: int) -> int:
        wakers[me] = current_waker()
        if len(wakers) == 2:
            ready.set()
        assert ready.wait(PATIENCE)
        for _ in range(rounds):
            while state["turn"] % 2 != me:
                await park()
            state["turn"] += 1
            wakers[1 - me].wake()
        return me

    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(runtime.run(player(1))))
    thread.start()
    results.append(run(lambda: player(0)))
    thread.join(PATIENCE)
    assert sorted(results) == [0, 1]
    assert state["turn"] == 2 * rounds


def test_threads_that_never_stop_waking_do_not_keep_the_loop_from_its_turn(run: Runner) -> None:
    over = threading.Event()

    def storm(waker: runtime.Waker) -> None:
        while not over.is_set():
            waker.wake()

    async def main() -> int:
        wakers = [runtime.current_waker() for _ in range(2)]
        threads = [threading.Thread(target=storm, args=(waker,)) for waker in wakers]
        for thread in threads:
            thread.start()
        try:
            with runtime.move_on_after(0.02):
                while True:
                    await runtime.park()
            return len(runtime.current_task().executor._from_outside)
        finally:
            over.set()
            for thread in threads:
                thread.join(10)

    assert run(main) <= 2  # wake-ups before the task runs are one, give or take a thread's race
