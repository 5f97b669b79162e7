"""Part One: each step says what it claims, in the order it claims."""

import re
import resource
import subprocess
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest

import runtime
from examples.part1_futures import (
    s01_sleep,
    s02_foo,
    s03_own_join_all,
    s04_never_woken,
    s05_busy_sleep,
    s06_thread_per_waker,
    s07_timer_thread,
    s08_timeout,
    s09_recursion,
    s10_busy_main,
    s11_wake_times,
)
from examples.part1_futures.s01_sleep import Future, Waker
from examples.part1_futures.s06_thread_per_waker import ThreadSleep
from runtime import PENDING, Pending, Ready

from .steps import PATIENCE, Bell, all_at_once, at_once, starts

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.timeout(20)]

BRIEFLY = ["--seconds", "0.02"]


class Steps(Future[str]):
    """Ready at the n-th poll."""

    def __init__(self, polls: int) -> None:
        self.left = polls
        self.polls = 0

    def poll(self, waker: Waker) -> Ready[str] | Pending:
        self.polls += 1
        self.left -= 1
        return PENDING if self.left else Ready("done")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def polls_in(report: str) -> int:
    """The count in `1,234 polls in 0.02 s, ...`."""
    found = re.match(r"([\d,]+) polls", report)
    assert found is not None, report
    return int(found[1].replace(",", ""))


@pytest.mark.usefixtures("virtual_time")
def test_a_sleep_is_polled_twice_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    s01_sleep.main(["--seconds", "3600"])
    assert lines(capsys) == ["polled 2 times in 3600.00 s"]


@pytest.mark.usefixtures("virtual_time")
def test_ten_foos_take_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    s02_foo.main([])
    assert lines(capsys) == [*all_at_once(10), "1.00 s"]


def test_foo_moves_from_state_to_state(capsys: pytest.CaptureFixture[str]) -> None:
    class Sleep(Future[None]):
        def __init__(self, seconds: float) -> None:
            self.polls = 0

        def poll(self, waker: Waker) -> Ready[None] | Pending:
            self.polls += 1
            return PENDING if self.polls < 3 else Ready(None)

    foo, bell = s02_foo.Foo(7, 0, Sleep), Bell()
    assert lines(capsys) == []
    assert foo.poll(bell) is PENDING
    assert lines(capsys) == ["start 7"]
    assert foo.poll(bell) is PENDING
    assert lines(capsys) == []
    assert foo.poll(bell) == Ready(7)
    assert lines(capsys) == ["end 7"]


@pytest.mark.usefixtures("virtual_time")
def test_join_all_starts_nothing_until_it_is_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    s03_own_join_all.main([])
    first, *rest, last = lines(capsys)
    assert first == "joined, and nothing has started"
    assert rest == all_at_once(10)
    assert last == "20 polls of 10 futures in 1.00 s"


def test_join_all_polls_whoever_is_left_and_nobody_else() -> None:
    futures = [Steps(1), Steps(3), Steps(2)]
    joined, bell = s03_own_join_all.JoinAll(futures), Bell()
    assert joined.poll(bell) is PENDING
    assert joined.poll(bell) is PENDING
    assert joined.poll(bell) == Ready(None)
    assert [future.polls for future in futures] == [1, 3, 2]
    assert joined.polls == 6


def test_a_sleep_that_forgets_its_waker_is_found_out_at_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    s04_never_woken.main(["--seconds", "3600"])
    *said, verdict = lines(capsys)
    assert said == starts(10)
    assert verdict.startswith("Deadlock: task 'main' in JoinAll.__await__ (")
    assert "awaited by join (" in verdict
    (warning,) = caplog.messages
    assert warning.endswith("JoinAll.poll returned PENDING and nobody keeps the waker it was given")


@pytest.mark.parametrize("step", [s05_busy_sleep, s10_busy_main])
def test_a_busy_loop_polls_all_the_time(
    step: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    step.main(["--seconds", "0.05"])
    assert time.monotonic() - began >= 0.05
    *said, report = lines(capsys)
    assert at_once(said, 10)
    assert polls_in(report) > 20  # so many would be enough
    assert re.fullmatch(r"[\d,]+ polls in \d\.\d\d s, \d\.\d\d s of them on the CPU", report)


def test_a_busy_sleep_lets_the_others_have_their_turn() -> None:
    async def main() -> bool:
        busy = runtime.spawn(s05_busy_sleep.BusySleep(3600))
        await runtime.sleep(0.001)
        busy.cancel()
        return not busy.done

    assert runtime.run(main())


def test_a_thread_for_each_sleep(capsys: pytest.CaptureFixture[str]) -> None:
    s06_thread_per_waker.main(BRIEFLY)
    *said, report = lines(capsys)
    assert at_once(said, 10)
    assert report.startswith("10 threads, 0.")


def test_a_sleep_that_is_polled_again_has_one_thread_and_wakes_the_last_waker() -> None:
    class Held(ThreadSleep):
        """Its thread sleeps until the test says so, and not by the clock."""

        def sleep_for_it(self) -> None:
            hold.wait(PATIENCE)
            self.wake_up()

    hold, before = threading.Event(), threading.active_count()
    sleep, bells = Held(3600), [Bell(), Bell(), Bell()]
    for bell in bells:
        assert sleep.poll(bell) is PENDING
    assert threading.active_count() == before + 1
    hold.set()
    assert bells[-1].rung.wait(PATIENCE)
    assert [bell.called for bell in bells] == [0, 0, 1]


def test_the_thread_of_a_sleep_wakes_it_when_its_time_has_come_and_not_before() -> None:
    sleep, bell = ThreadSleep(0.02), Bell()
    if sleep.poll(bell) is PENDING:
        assert bell.rung.wait(PATIENCE)
    assert time.monotonic() >= sleep.wake_time
    assert sleep.poll(bell) == Ready(None)


def test_too_many_threads_are_too_many() -> None:
    """In a process of its own, whose memory holds no thousand stacks."""
    bound = 1 << 30
    done = subprocess.run(
        [sys.executable, "-m", s06_thread_per_waker.__name__, "--count", "1000"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
        timeout=15,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"\d+ threads, and not one more: can't start new thread\n", done.stderr)
    said = done.stdout.splitlines()
    assert said == starts(len(said))
    assert 1 < len(said) < 1000


def test_one_thread_wakes_a_thousand(capsys: pytest.CaptureFixture[str]) -> None:
    s07_timer_thread.main(["--count", "1000", "--seconds", "0.02"])
    *said, report = lines(capsys)
    assert at_once(said, 1000)
    assert report.startswith("1,000 sleeps, 1 thread, ")


def test_a_sleep_that_is_due_before_all_others_ends_the_wait_of_the_timer_thread() -> None:
    before = threading.active_count()
    late, early = Bell(), Bell()
    with s07_timer_thread.TimerThread() as timers:
        assert s07_timer_thread.TimerSleep(timers, 3600).poll(late) is PENDING
        time.sleep(0.01)  # by now the thread waits for that one
        assert s07_timer_thread.TimerSleep(timers, 0.01).poll(early) is PENDING
        assert threading.active_count() == before + 1
        assert early.rung.wait(PATIENCE)
    assert (late.called, early.called) == (0, 1)
    assert threading.active_count() == before


def test_equal_wake_times_are_served_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    served: list[int] = []

    class Note(ThreadSleep):
        def wake_up(self) -> None:
            served.append(sleeps.index(self))

    sleeps: list[ThreadSleep] = [Note(0), Note(0), Note(0)]
    wake_times = s07_timer_thread.WakeTimes()
    for sleep in sleeps:
        wake_times.add(sleep)
    wake_times.wake_due()
    assert served == [0, 1, 2]


@pytest.mark.usefixtures("virtual_time")
def test_a_timeout_gives_none_and_what_it_gave_up_never_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s08_timeout.main([])
    assert lines(capsys) == ["start 1", "None", "start 2", "end 2", "2"]


@pytest.mark.usefixtures("virtual_time")
def test_whoever_is_ready_in_time_wins_a_tie() -> None:
    async def main() -> list[Any]:
        return [
            await s08_timeout.Timeout(1, s02_foo.Foo(1, 1)),
            await s08_timeout.Timeout(0, Steps(1)),
        ]

    assert runtime.run(main()) == [1, "done"]


@pytest.mark.usefixtures("virtual_time")
def test_recursion_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    s09_recursion.main([])
    s09_recursion.main(["--count", "1"])
    assert lines(capsys) == [
        "10! = 3628800 = 3628800, the outermost polled 2 times",
        "1! = 1 = 1, the outermost polled 2 times",
    ]


@pytest.mark.usefixtures("virtual_time")
def test_recursion_has_an_end_where_calls_have_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    s09_recursion.main(["--count", "5000"])
    (said,) = lines(capsys)
    assert said.startswith("5000 deep: maximum recursion depth exceeded")


def test_a_loop_that_sleeps_polls_only_when_somebody_is_due(
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    s11_wake_times.main(BRIEFLY)
    assert time.monotonic() - began >= 0.02
    *said, report = lines(capsys)
    assert at_once(said, 10)
    # All once, and then one more poll of whoever is left for each of the ten that are due.
    assert 20 <= polls_in(report) <= 10 + sum(range(11))


def test_a_loop_without_wake_times_asks_whether_to_sleep_forever() -> None:
    with pytest.raises(RuntimeError, match=r"^sleep forever\?$"):
        s11_wake_times.run(s04_never_woken.NeverWoken(3600))
