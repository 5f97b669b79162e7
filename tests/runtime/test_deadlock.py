"""A run that could never end says so, instead of hanging; and one that could is left alone."""

import threading
import time

import pytest

import runtime
from runtime.testing import VirtualClock
from tests.runtime.harness import Runner


class Forgetful(runtime.Future[None]):
    """The sleep of a first attempt: it never arranges to be woken."""

    def poll(self, waker: runtime.Waker) -> runtime.Ready[None] | runtime.Pending:
        return runtime.PENDING


class Patient(runtime.Future[str]):
    """Keeps its waker for somebody outside."""

    def __init__(self) -> None:
        self.waker: runtime.Waker | None = None
        self.value: str | None = None

    def poll(self, waker: runtime.Waker) -> runtime.Ready[str] | runtime.Pending:
        if self.value is not None:
            return runtime.Ready(self.value)
        self.waker = waker
        return runtime.PENDING


def test_a_future_that_forgets_its_waker_is_named_with_its_line(run: Runner) -> None:
    async def main() -> None:
        await Forgetful()

    with pytest.raises(
        runtime.Deadlock, match=r"^task 'main' in Forgetful.__await__ \(.*\): it waits"
    ):
        run(main)


def test_tasks_that_await_one_another_are_reported(run: Runner) -> None:
    async def main() -> None:
        handles: list[runtime.JoinHandle[None]] = []

        async def awaits(other: int) -> None:
            await runtime.yield_now()
            await handles[other]

        handles += [runtime.spawn(awaits(1), name="a"), runtime.spawn(awaits(0), name="b")]
        await runtime.join_all(handles)

    with pytest.raises(
        runtime.Deadlock, match=r"('a' in .*'b' in |'b' in .*'a' in ).*they wait for ever"
    ):
        run(main)


def test_cleanup_runs_before_the_report(run: Runner) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await Forgetful()
        finally:
            await runtime.sleep(0)  # cancelled, so it does not wait
            cleaned.append("unreached")

    async def outer() -> None:
        try:
            await main()
        finally:
            cleaned.append("outer")

    with pytest.raises(runtime.Deadlock):
        run(outer)
    assert cleaned == ["outer"]


def test_a_waker_that_a_thread_holds_is_waited_for(run: Runner) -> None:
    async def main() -> str:
        future = Patient()

        def answer() -> None:
            while future.waker is None:
                pass
            future.value = "from a thread"
            future.waker.wake()

        thread = threading.Thread(target=answer)
        thread.start()
        value = await future
        thread.join(10)
        return value

    assert run(main) == "from a thread"


def test_a_thread_that_lets_go_of_the_last_waker_while_the_loop_sleeps_is_noticed(
    run: Runner,
) -> None:
    future = Patient()

    def lets_go() -> None:
        while future.waker is None:
            time.sleep(0.001)
        time.sleep(0.01)  # by now the loop is asleep, for as long as somebody might wake it
        future.waker = None

    async def main() -> None:
        thread.start()
        await future

    thread = threading.Thread(target=lets_go)
    with pytest.raises(runtime.Deadlock, match="task 'main' in "):
        run(main)
    thread.join(10)


def test_a_sleep_without_end_is_asked_for_and_no_deadlock(run: Runner) -> None:
    async def main() -> str:
        async def cancels(task: runtime.JoinHandle[None]) -> None:
            await runtime.run_in_thread(task.executor.call_soon, task.wake)
            task.cancel()

        async def sleeps() -> None:
            await runtime.sleep(float("inf"))

        task = runtime.spawn(sleeps())
        await cancels(task)
        with pytest.raises(runtime.TaskCancelled):
            await task
        return "woken"

    assert run(main) == "woken"


def test_the_report_names_ten_tasks_and_counts_the_rest() -> None:
    async def main() -> None:
        await runtime.join_all(Forgetful() for _ in range(20))

    with pytest.raises(runtime.Deadlock, match=r", and 11 more: they wait for ever\."):
        runtime.run(main(), clock=VirtualClock())


def test_the_line_that_waits_is_the_users_and_the_name_is_what_it_called() -> None:
    async def worker(semaphore: runtime.Semaphore) -> None:
        async with semaphore:
            raise AssertionError("unreached")

    async def main() -> None:
        await worker(runtime.Semaphore(0))

    waits = r"'main' in Semaphore.acquire \(.*sync.py:\d+\), awaited by .*worker \(.*deadlock"
    with pytest.raises(runtime.Deadlock, match=waits):
        runtime.run(main())


def test_a_task_without_a_line_of_the_users_is_named_after_what_it_waits_for() -> None:
    async def main() -> None:
        await runtime.spawn(runtime.Semaphore(0).acquire())

    with pytest.raises(runtime.Deadlock, match=r"'Semaphore.acquire' in Semaphore.acquire \("):
        runtime.run(main())
