"""`Future`: leaves that are written as something to poll."""

import threading
from typing import Any

import pytest

import runtime
from runtime import PENDING, Future, Ready, Waker, spawn, yield_now

from .harness import Runner, turns


class Countdown(Future[str]):
    """Ready at the n-th poll; wakes itself in between."""

    def __init__(self, polls: int) -> None:
        self.left = polls

    def poll(self, waker: Waker) -> Any:
        self.left -= 1
        if self.left == 0:
            return Ready("lift-off")
        waker.wake()
        waker.wake()
        return PENDING


def test_a_future_is_polled_once_for_each_wake_up(run: Runner) -> None:
    async def main() -> tuple[str, int]:
        future = Countdown(10)
        return await future, future.left

    assert run(main) == ("lift-off", 0)


def test_a_future_can_be_spawned_joined_and_run(run: Runner) -> None:
    async def main() -> list[str]:
        return [await spawn(Countdown(3)), *await runtime.join_all(Countdown(1), Countdown(2))]

    assert run(main) == ["lift-off"] * 3
    assert run(Countdown(2)) == "lift-off"


def test_a_busy_future_does_not_keep_the_others_from_running(run: Runner) -> None:
    async def main() -> tuple[int, bool]:
        future = Countdown(100_000)
        task = spawn(future)
        await turns(50)
        left = future.left
        await runtime.sleep(0.001)  # timers fire, too
        task.cancel()
        await turns(3)
        return left, task.done

    left, done = run(main)
    assert 100_000 - 55 <= left <= 100_000 - 45
    assert done


def test_a_future_that_a_thread_wakes(run: Runner) -> None:
    class FromThread(Future[int]):
        def __init__(self) -> None:
            self.value: int | None = None
            self.polls = 0

        def poll(self, waker: Waker) -> Any:
            self.polls += 1
            if self.value is not None:
                return Ready(self.value)
            if self.polls == 1:
                threading.Thread(target=self.work, args=(waker,)).start()
            return PENDING

        def work(self, waker: Waker) -> None:
            self.value = 42
            waker.wake()

    async def main() -> tuple[int, int]:
        future = FromThread()
        return await future, future.polls

    assert run(main) == (42, 2)


@pytest.mark.parametrize("wrong", [None, 42, "PENDING", Ready], ids=repr)
def test_a_wrong_answer_from_poll_is_named(run: Runner, wrong: Any) -> None:
    class Wrong(Future[int]):
        def poll(self, waker: Waker) -> Any:
            return wrong

    async def main() -> None:
        with pytest.raises(TypeError, match=r"Wrong\.poll returned .*return PENDING or Ready"):
            await Wrong()

    run(main)


def test_an_exception_from_poll_is_raised_at_the_await(run: Runner) -> None:
    class Bad(Future[int]):
        def poll(self, waker: Waker) -> Any:
            raise LookupError("no such thing")

    async def main() -> None:
        with pytest.raises(LookupError, match="no such thing"):
            await Bad()

    run(main)


def test_a_future_that_is_cancelled_is_not_polled_again(run: Runner) -> None:
    class Never(Future[int]):
        polls = 0

        def poll(self, waker: Waker) -> Any:
            self.polls += 1
            return PENDING

    async def main() -> tuple[int, bool]:
        future = Never()
        task = spawn(future)
        await yield_now()
        task.cancel()
        await turns(3)
        return future.polls, task.done

    assert run(main) == (1, True)


def test_ready_may_hold_anything_even_pending(run: Runner) -> None:
    class Odd(Future[Any]):
        def poll(self, waker: Waker) -> Any:
            return Ready(PENDING)

    async def main() -> Any:
        return await Odd()

    assert run(main) is PENDING
    assert repr(PENDING) == "PENDING"
