"""Part Two: each step says what it claims, and its loops do what loops of tasks must."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from examples.part1_futures import s11_wake_times
from examples.part2_tasks import (
    s01_spawn,
    s02_async_def,
    s03_task_list,
    s04_new_tasks,
    s05_main_task,
    s06_join_handle,
    s07_sleep_forever,
    s08_awake,
)
from examples.part2_tasks.s02_async_def import Async, Current, Sleep
from examples.part2_tasks.s06_join_handle import JoinHandle
from runtime import PENDING, Pending, Ready

from .steps import Bell, all_at_once, at_once, starts

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.timeout(20)]

BRIEFLY = ["--seconds", "0.02"]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began >= seconds


@pytest.fixture(autouse=True)
def nothing_left_on_our_loop() -> Iterator[None]:
    """What one run forgot would be in the way of the next, since our loops share their lists."""
    yield
    assert s11_wake_times.wake_times.until_first() is None
    assert not s04_new_tasks.new_tasks


@pytest.mark.usefixtures("virtual_time")
def test_ten_tasks_that_are_awaited_in_turn_take_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s01_spawn.main([])
    assert lines(capsys) == ["spawned, and nothing has run yet", *all_at_once(10), "1.00 s"]


@pytest.mark.parametrize("step", [s02_async_def, s03_task_list], ids=lambda step: step.__name__)
def test_ten_coroutines_at_once(step: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with at_least(0.02):
        step.main(BRIEFLY)
    *said, report = lines(capsys)
    assert at_once(said, 10)
    assert report.startswith("0.")


def test_a_coroutine_is_polled_with_the_waker_that_it_is_given() -> None:
    class Seen(s02_async_def.Future[None]):
        def poll(self, waker: object) -> Ready[None]:
            seen.append(waker)
            return Ready(None)

    async def outer() -> int:
        await Seen()
        Async(inner()).poll(theirs)  # as `JoinAll` does, in the middle of our own poll
        await Seen()
        return 42

    async def inner() -> None:
        await Seen()

    ours, theirs, before = Bell(), Bell(), Current.waker
    seen: list[object] = []
    assert Async(outer()).poll(ours) == Ready(42)
    assert seen == [ours, theirs, ours]
    assert Current.waker is before


def test_a_coroutine_that_raises_gives_the_place_of_the_waker_back() -> None:
    async def fail() -> None:
        raise LookupError("no such thing")

    before = Current.waker
    with pytest.raises(LookupError, match="no such thing"):
        Async(fail()).poll(Bell())
    assert Current.waker is before


def test_tasks_that_are_spawned_run_to_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    with at_least(0.02):
        s04_new_tasks.main(BRIEFLY)
    first, *said, report = lines(capsys)
    assert first == "spawned 10"
    assert at_once(said, 10)
    assert report.startswith("0.")


def test_a_task_that_a_task_spawned_runs_in_the_same_turn() -> None:
    turns: list[str] = []

    async def generation(left: int) -> None:
        turns.append(f"{left} left")
        if left:
            s04_new_tasks.spawn(generation(left - 1))

    s04_new_tasks.spawn(generation(3))
    assert s04_new_tasks.poll_all([], Bell()) == []
    assert turns == ["3 left", "2 left", "1 left", "0 left"]


def test_a_spawn_in_the_middle_of_a_turn_disturbs_nobody() -> None:
    """Neither is a task of the list passed over, nor one polled twice."""
    polled: list[int] = []

    async def once(n: int) -> None:
        polled.append(n)
        s04_new_tasks.spawn(late(n + 10))

    async def late(n: int) -> None:
        polled.append(n)

    s04_new_tasks.poll_all([Async(once(n)) for n in range(3)], Bell())
    assert polled == [0, 1, 2, 10, 11, 12]


def test_when_the_main_task_ends_the_others_are_cut_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s05_main_task.main(["--seconds", "0.04"])
    *said, last, report = lines(capsys)
    assert said == starts(10)
    assert last == "main ends"
    assert report.startswith("0.")


def test_what_is_cut_off_is_closed_also_if_it_never_ran() -> None:
    ended: list[str] = []

    async def background(name: str) -> None:
        try:
            await Sleep(3600)
        finally:
            ended.append(name)

    async def main() -> str:
        s04_new_tasks.spawn(background("one"))
        await Sleep(0)
        await Sleep(0.001)
        s04_new_tasks.spawn(background("never begun"))
        return "result"

    assert s05_main_task.run(main()) == "result"
    assert ended == ["one"]


def test_what_the_main_task_raises_ends_the_run_and_closes_the_others() -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await Sleep(3600)
        finally:
            ended.append("background")

    async def main() -> None:
        s04_new_tasks.spawn(background())
        await Sleep(0.001)
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        s05_main_task.run(main())
    assert ended == ["background"]


def test_a_join_handle_goes_through_its_four_states(capsys: pytest.CaptureFixture[str]) -> None:
    s06_join_handle.main([])
    assert lines(capsys) == [
        "Unawaited()",
        "polled: PENDING, now Awaited(waker=a bell)",
        "  (the waker is called)",
        "the task ends: Ready(value=42)",
        "polled: Ready(value=42), now Done()",
        "polled: this handle has given its value away already",
    ]


def test_a_handle_wakes_the_last_waker_and_nobody_if_it_is_unawaited() -> None:
    awaited, unawaited = JoinHandle[int](), JoinHandle[int]()
    first, second = Bell(), Bell()
    awaited.poll(first)
    awaited.poll(second)
    awaited.finish(1)
    unawaited.finish(2)
    assert (first.called, second.called) == (0, 1)
    assert (awaited.poll(first), unawaited.poll(first)) == (Ready(1), Ready(2))
    assert first.called == 0


def test_a_handle_has_what_its_task_returned() -> None:
    async def double(n: int) -> int:
        await Sleep(0.001 * n)
        return 2 * n

    async def main() -> list[int]:
        handles = [s06_join_handle.spawn(double(n)) for n in (3, 1, 2)]
        return [await handle for handle in handles]

    assert s08_awake.run(main()) == [6, 2, 4]


def test_a_wake_up_that_nobody_hears_ends_in_sleep_forever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s07_sleep_forever.main(BRIEFLY)
    *said, verdict = lines(capsys)
    assert at_once(said, 10)
    assert verdict == "RuntimeError: sleep forever?"


def test_a_wake_up_that_is_heard_ends_in_all_joined(capsys: pytest.CaptureFixture[str]) -> None:
    with at_least(0.02):
        s08_awake.main(BRIEFLY)
    *said, joined, report = lines(capsys)
    assert at_once(said, 10)
    assert joined == "all joined"
    assert report.startswith("0.")


def test_a_flag_is_set_until_it_was_asked() -> None:
    awake = s08_awake.Awake()
    assert awake.clear() is False
    awake.wake()
    awake.wake()
    assert [awake.clear(), awake.clear()] == [True, False]


def test_what_ended_the_wait_costs_one_turn_and_no_more() -> None:
    class Count(s02_async_def.Future[None]):
        polls = 0

        def poll(self, waker: object) -> Pending:
            self.polls += 1
            return PENDING

    async def count() -> None:
        await counted

    async def main() -> None:
        s04_new_tasks.spawn(count())
        await Sleep(0.001)
        await Sleep(0.001)
        await Sleep(0.001)

    counted = Count()
    s08_awake.run(main())
    assert counted.polls == 3  # the fourth turn ends the run


def test_a_loop_that_nobody_woke_waits() -> None:
    waits: list[str] = []

    def wait() -> None:
        waits.append("waited")
        if len(waits) == 2:
            raise KeyboardInterrupt

    async def main() -> None:
        await s06_join_handle.spawn(at_once_done())  # a turn more, because it is woken
        await Forever()

    async def at_once_done() -> None:
        pass

    class Forever(s02_async_def.Future[None]):
        polls = 0

        def poll(self, waker: object) -> Pending:
            Forever.polls += 1
            return PENDING

    with pytest.raises(KeyboardInterrupt):
        s08_awake.run(main(), wait)
    assert Forever.polls == 2
