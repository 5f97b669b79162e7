"""The introduction's steps with threads: what each says, and that no thread is left behind."""

import errno
import os
import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import runtime
from examples.part0_introduction import (
    s01_threads,
    s02_many_threads,
    s03_basketballs,
    s04_thread_pool,
)
from examples.part0_introduction.thread_limits import Limit, refusal

from .harness import examples, printed, python
from .steps import each_in_order

pytestmark = pytest.mark.usefixtures("nothing_left")

REFUSED = "RuntimeError: can't start new thread"
EAGAIN = f"EAGAIN ({errno.EAGAIN}), {os.strerror(errno.EAGAIN)}"


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the system refuse a thread while so many have been started here and are alive."""
    start = threading.Thread.start

    def allow(most: int) -> None:
        before = threading.active_count()

        def start_if_there_is_room(thread: threading.Thread) -> None:
            if threading.active_count() - before >= most:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_if_there_is_room)

    return allow


def test_ten_threads_sleep_at_the_same_time(capsys: pytest.CaptureFixture[str]) -> None:
    s01_threads.main(["--seconds", "0.05"])
    *said, took = printed(capsys)
    assert each_in_order(said, 10)
    assert re.fullmatch(r"\d\.\d\d s", took)


def test_threads_all_start_before_the_first_is_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sleeps until all of them do: one after the other, the first would never wake."""
    all_asleep = threading.Barrier(10)
    monkeypatch.setattr(time, "sleep", lambda seconds: all_asleep.wait(10))
    s01_threads.main([])
    assert each_in_order(printed(capsys)[:-1], 10)


def test_rounds_of_more_and_more_threads_up_to_the_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s02_many_threads.main(["--most", "120", "--seconds", "0.01"])
    ten, hundred, held, left = printed(capsys)
    assert re.fullmatch(r"10 threads: \d\.\d\d s", ten)
    assert re.fullmatch(r"100 threads: \d\.\d\d s", hundred)
    assert held == "120 threads at the same time, and not refused; --most asks for more"
    assert left == "all given back: 0 left"


def test_a_refusal_is_told_and_every_thread_given_back(
    capsys: pytest.CaptureFixture[str], few_threads: Callable[[int], None]
) -> None:
    before = threading.active_count()
    few_threads(30)
    s02_many_threads.main(["--seconds", "0.01"])
    said = printed(capsys)
    assert re.fullmatch(r"10 threads: \d\.\d\d s", said[0])
    assert said[3].startswith("30 threads at the same time, and not one more: " + REFUSED)
    # It was this test that refused, and so the system has a thread to give.
    assert said[4].startswith("pthread_create: works again")
    assert said[-2] == "none of these is reached: it was one that cannot be read from here"
    assert said[-1] == "all given back: 0 left"
    assert threading.active_count() == before


def test_a_round_that_falls_short_says_so(
    capsys: pytest.CaptureFixture[str], few_threads: Callable[[int], None]
) -> None:
    few_threads(30)
    s02_many_threads.sleep_in_threads(100, 0.05)
    (said,) = printed(capsys)
    assert re.fullmatch(rf"\d+ threads: \d\.\d\d s, and no more of 100: {REFUSED}", said)


def test_memory_that_is_short_is_a_refusal_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(thread: threading.Thread) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(threading.Thread, "start", no_memory)
    s02_many_threads.hold_as_many_as_possible(5)
    said = printed(capsys)
    assert said[0] == "0 threads at the same time, and not one more: MemoryError: no room"


def reached(said: list[str]) -> list[str]:
    """The limits that were found to be reached, by their first word."""
    return [line.split()[0] for line in said if line.endswith("  <- reached")]


def held(said: list[str]) -> int:
    """How many threads there were at the same time."""
    (found,) = (line for line in said if "at the same time" in line)
    assert found.endswith(f"and not one more: {REFUSED}")
    return int(found.split()[0].replace(",", ""))


def test_an_address_space_that_is_full_is_found_out() -> None:
    """Two thirds of a gigabyte: no room for a hundred stacks."""
    bound = 700 << 20
    done = examples(
        "many_threads",
        *("--seconds", "0"),
        preexec=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
    )
    said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert 1 <= held(said) < 100
    assert f"pthread_create: {EAGAIN}" in said
    assert reached(said) == ["RLIMIT_AS"]
    assert said[-1] == "all given back: 0 left"


MAPPINGS = Path("/proc/sys/vm/max_map_count")


@pytest.mark.skipif(
    not MAPPINGS.exists() or int(MAPPINGS.read_text()) > 300_000,
    reason="takes up every mapping but a few, and the kernel allows too many of them",
)
def test_mappings_that_have_run_out_are_found_out() -> None:
    done = python(
        "-c",
        """
import mmap
from pathlib import Path
from examples.part0_introduction.s02_many_threads import hold_as_many_as_possible
allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
used = len(Path("/proc/self/maps").read_text().splitlines())
# Neighbours that may be written to and that may not are two mappings.
kept = [
    mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | n % 2 * mmap.PROT_WRITE)
    for n in range(allowed - used - 200)
]
hold_as_many_as_possible(1000)
""",
    )
    said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert 30 < held(said) <= 100
    assert f"pthread_create: {EAGAIN}" in said
    assert reached(said) == ["vm.max_map_count"]
    assert said[-1] == "all given back: 0 left"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who has no processes")
def test_the_quota_of_a_user_is_found_out() -> None:
    nobody = 64_321
    done = python(
        "-c",
        f"""
import os, resource
from examples.part0_introduction.s02_many_threads import hold_as_many_as_possible
resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))
os.setuid({nobody})
hold_as_many_as_possible(1000)
""",
    )
    said = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert held(said) == 39  # the fortieth is the main thread
    assert f"pthread_create: {EAGAIN}" in said
    assert reached(said) == ["RLIMIT_NPROC"]


def test_the_system_gives_a_thread_when_it_is_asked_past_python() -> None:
    before = len(os.listdir("/proc/self/task"))
    assert refusal() == 0
    assert len(os.listdir("/proc/self/task")) == before


def test_the_errno_is_told_by_name_and_in_words() -> None:
    limits = [Limit("wide", 10, 1), Limit("narrow", 10_000, 9_999, needs=2)]
    assert s02_many_threads.explain(errno.EAGAIN, limits).splitlines() == [
        f"pthread_create: {EAGAIN}",
        f"limit{'allows':>51}{'used':>16}",
        f"wide{'10':>52}{'1':>16}",
        f"narrow{'10,000':>50}{'9,999':>16}  <- reached",
    ]


@pytest.mark.parametrize("players", [2, 3, 40])
def test_threads_pass_balls(players: int) -> None:
    assert s03_basketballs.with_threads(players, 8, 0.02) > 0


@pytest.mark.parametrize("players", [2, 3, 40])
def test_tasks_pass_balls(players: int) -> None:
    assert runtime.run(s03_basketballs.with_tasks(players, 8, 0.02)) > 0


def test_without_a_ball_nobody_passes() -> None:
    assert s03_basketballs.with_threads(3, 0, 0.01) == 0


def test_a_ball_goes_to_any_other_player_and_never_back_to_the_same() -> None:
    thrown = Counter(s03_basketballs.another(2, 5) for _ in range(1000))
    assert set(thrown) == {0, 1, 3, 4}


def test_basketballs_prints_a_row_for_each_number_of_players(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s03_basketballs.main(["--most", "5", "--balls", "3", "--seconds", "0.01"])
    title, head, *rows = printed(capsys)
    assert title == "passes per ms, 3 balls"
    assert head.split() == ["players", "threads", "tasks"]
    assert [row.split()[0] for row in rows] == ["2", "4"]
    assert all(float(figure) > 0 for row in rows for figure in row.split()[1:])


def test_where_no_more_threads_can_play_tasks_still_do(
    capsys: pytest.CaptureFixture[str], few_threads: Callable[[int], None]
) -> None:
    few_threads(3)
    s03_basketballs.main(["--most", "4", "--seconds", "0.01"])
    *_, two, four = printed(capsys)
    assert float(two.split()[1]) > 0
    assert four.split()[:2] == ["4", "refused"]
    assert float(four.split()[2]) > 0


def test_a_pool_lets_few_wait_and_starves_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    s04_thread_pool.main(["--count", "6", "--workers", "2", "--seconds", "0.03"])
    figures = re.fullmatch(
        r"6 jobs, 2 threads: (\d+\.\d\d) s, (\d\.\d\d) s of CPU\n"
        r"waited for a thread: the first (\d\.\d\d) s, the last (\d+\.\d\d) s\n"
        r"a job of no time at all, handed in last: (\d+\.\d\d) s\n",
        capsys.readouterr().out,
    )
    assert figures is not None
    wall, _, first, last, quick = map(float, figures.groups())
    assert first < last
    assert wall >= 0.09  # three rounds of two
    assert last >= 0.06
    assert quick >= 0.06  # the first of the last two has ended
