"""A future that forgets its waker is pointed out, while everything else goes on."""

import logging
from collections.abc import Callable, Generator

import pytest

import runtime
from runtime import (
    PENDING,
    CancelScope,
    Event,
    Future,
    Pending,
    Ready,
    Waker,
    current_waker,
    sleep,
    spawn,
    yield_now,
)
from runtime.task import current_executor
from runtime.testing import VirtualClock

from .harness import Runner


class Forgetful(Future[None]):
    """The sleep of a first attempt: it never arranges to be woken."""

    def poll(self, waker: Waker) -> Ready[None] | Pending:
        return PENDING


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "runtime")
    return caplog


def test_a_forgotten_waker_is_reported_while_other_tasks_go_on(
    run: Runner, warnings: pytest.LogCaptureFixture
) -> None:
    async def sleep_forever() -> None:
        await Forgetful()

    async def main() -> str:
        task = spawn(sleep_forever(), name="dreamer")
        for _ in range(3):
            await sleep(1)  # the loop is idle more than once, and says it once
        task.cancel()
        return "others went on"

    assert run(main, clock=VirtualClock()) == "others went on"
    assert len(warnings.messages) == 1
    assert warnings.messages[0].startswith("task 'dreamer' waits for ever in Forgetful.__await__ (")
    assert warnings.messages[0].endswith(
        "Forgetful.poll returned PENDING and nobody keeps the waker it was given"
    )


class Kept(Future[str]):
    """Keeps the waker, as it must."""

    def __init__(self) -> None:
        self.waker: Waker | None = None
        self.polls = 0

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        self.polls += 1
        self.waker = waker
        return Ready("done") if self.polls == 2 else PENDING


class WokenAtOnce(Future[str]):
    """Does not keep it, because it has used it."""

    polls = 0

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        self.polls += 1
        waker.wake()
        return Ready("done") if self.polls == 5 else PENDING


class KeepsTheFirst(Future[str]):
    """An earlier waker of the same task is as good."""

    def __init__(self) -> None:
        self.waker: Waker | None = None
        self.polls = 0

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        self.polls += 1
        self.waker = self.waker or waker
        return Ready("done") if self.polls == 3 else PENDING


class Timed(Future[str]):
    """Steps a sleep of the runtime by hand: a timer wakes the task, and no waker is needed."""

    steps: Generator[None, None, None] | None = None

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        self.steps = self.steps or sleep(1).__await__()
        try:
            next(self.steps)
        except StopIteration:
            return Ready("done")
        return PENDING


class Joins(Future[str]):
    """Steps the await of another task by hand."""

    def __init__(self, task: runtime.JoinHandle[None]) -> None:
        self.steps = task.__await__()

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        try:
            next(self.steps)
        except StopIteration:
            return Ready("done")
        return PENDING


KINDS: dict[str, Callable[[], Future[str]]] = {
    "kept": Kept,
    "woken at once": WokenAtOnce,
    "keeps the first": KeepsTheFirst,
    "timed": Timed,
}


@pytest.mark.parametrize("kind", [*KINDS, "joins"])
def test_a_future_that_will_be_woken_is_no_false_alarm(
    run: Runner, warnings: pytest.LogCaptureFixture, kind: str
) -> None:
    async def nap() -> None:
        await sleep(2)

    async def main() -> str:
        future: Future[str]
        future = Joins(spawn(nap())) if kind == "joins" else KINDS[kind]()

        async def awaits() -> str:
            return await future

        task = spawn(awaits())
        for _ in range(4):
            await sleep(1)
            waker = getattr(future, "waker", None)
            if waker is not None:
                waker.wake()
        return await task

    assert run(main, clock=VirtualClock()) == "done"
    assert warnings.messages == []


def test_a_task_that_keeps_a_waker_of_its_own_is_no_suspect(
    run: Runner, warnings: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def keeps() -> None:
            wakers.append(current_waker())
            await Forgetful()

        wakers: list[Waker] = []
        task = spawn(keeps())
        await sleep(1)
        task.cancel()
        wakers.clear()

    run(main, clock=VirtualClock())
    assert warnings.messages == []


def test_a_waker_that_is_forgotten_after_another_task_was_reported_is_reported_too(
    run: Runner, warnings: pytest.LogCaptureFixture
) -> None:
    class ForgetsTheSecond(Future[None]):
        waker: Waker | None = None
        polls = 0

        def poll(self, waker: Waker) -> Ready[None] | Pending:
            self.polls += 1
            self.waker = waker if self.polls == 1 else None
            return PENDING

    async def wait_for(future: Future[None]) -> None:
        await future

    async def main() -> None:
        future = ForgetsTheSecond()
        tasks = [spawn(wait_for(each)) for each in (future, Forgetful())]
        await sleep(1)
        assert future.waker is not None
        future.waker.wake()
        await sleep(1)
        for task in tasks:
            task.cancel()

    run(main, clock=VirtualClock())
    assert [message.split(": ")[1].split()[0] for message in warnings.messages] == [
        "Forgetful.poll",
        f"{ForgetsTheSecond.__qualname__}.poll",
    ]


def test_a_task_that_does_not_wait_for_the_future_any_more_is_no_suspect(
    run: Runner, warnings: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        tidied_up = Event()

        async def worker() -> None:
            try:
                await Forgetful()
            finally:
                with CancelScope(shield=True):
                    await tidied_up.wait()

        task = spawn(worker())
        await yield_now()
        assert list(current_executor().suspects) == [task]
        task.cancel()  # the loop has not been idle since
        await sleep(1)
        assert not current_executor().suspects
        tidied_up.set()

    run(main, clock=VirtualClock())
    assert warnings.messages == []


def test_a_task_that_a_deadline_will_end_does_not_wait_for_ever(
    run: Runner, warnings: pytest.LogCaptureFixture
) -> None:
    async def main() -> float:
        with runtime.move_on_after(5):
            await Forgetful()
        return runtime.now()

    assert run(main, clock=VirtualClock()) == 5
    assert warnings.messages == []
