"""The pool behind `run_in_thread`: bounded, first come first served, and gone when the run is."""

import gc
import threading
import weakref
from collections.abc import Callable
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import JoinHandle, join_all, move_on_after, run_in_thread, sleep, spawn, timeout
from runtime.testing.leaks import living_threads
from runtime.threads import Pool, pool

from .harness import PATIENCE, Runner, turns

threads = import_module("runtime.threads")


def name() -> str:
    return threading.current_thread().name


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 2)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 1)


def the_pool() -> Pool:
    return pool("thread", threads.THREADS)


def test_one_call_after_the_other_uses_one_thread(run: Runner) -> None:
    async def main() -> set[str]:
        return {await run_in_thread(name) for _ in range(100)}

    assert run(main) == {"runtime-thread-1"}


def test_threads_are_started_when_they_are_needed_and_no_more(
    run: Runner, two_threads: None
) -> None:
    both_busy = threading.Barrier(2)

    def meet() -> str:
        both_busy.wait(PATIENCE)
        return name()

    async def main() -> list[str]:
        return await join_all(run_in_thread(meet) for _ in range(10))

    assert set(run(main)) == {"runtime-thread-1", "runtime-thread-2"}


def test_calls_beyond_the_limit_begin_in_the_order_they_came(run: Runner, one_thread: None) -> None:
    release, order = threading.Event(), list[int]()

    async def main() -> None:
        first = spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)
        rest = [spawn(run_in_thread(order.append, n)) for n in range(20)]
        await turns(2)
        release.set()
        await join_all(first, *rest)

    run(main)
    assert order == list(range(20))


def test_a_call_that_has_not_begun_never_will_if_its_task_is_cancelled(
    run: Runner, one_thread: None
) -> None:
    release, called = threading.Event(), list[str]()

    async def main() -> None:
        first = spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)
        with move_on_after(0.002):
            await run_in_thread(called.append, "cancelled")
        assert not the_pool()._waiting  # nor does it take up room until its turn would come
        last = spawn(run_in_thread(called.append, "last"))
        release.set()
        await join_all(first, last)

    run(main)
    assert called == ["last"]


def test_a_call_that_its_thread_has_not_come_to_yet_is_taken_back_too(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, called = threading.Event(), list[str]()
    work = threads._Worker.run

    def wait_and_work(self: threading.Thread) -> None:
        go.wait(PATIENCE)
        work(self)

    monkeypatch.setattr(threads._Worker, "run", wait_and_work)

    async def main() -> None:
        with move_on_after(0.002):
            await run_in_thread(called.append, "cancelled")
        go.set()
        await run_in_thread(called.append, "next")

    run(main)
    assert called == ["next"]


def test_a_pool_that_is_closed_begins_nothing_that_waited(run: Runner) -> None:
    """As when Ctrl-C tears a run away from its tasks before they could take their calls back."""
    release, called, before = threading.Event(), list[str](), set(threading.enumerate())

    async def main() -> None:
        own = Pool(runtime.task.current_executor(), "own", 1)
        spawn(own.call(release.wait, (PATIENCE,)))
        spawn(own.call(called.append, ("never",)))
        await turns(2)
        own.close()
        release.set()
        (busy,) = set(threading.enumerate()) - before
        busy.join(PATIENCE)
        assert not busy.is_alive()

    run(main)
    assert called == []


def test_the_thread_that_came_to_rest_last_is_used_first(run: Runner) -> None:
    """So the others rest for long, and end."""
    first, second = threading.Event(), threading.Event()

    def wait(event: threading.Event) -> str:
        event.wait(PATIENCE)
        return name()

    async def main() -> tuple[str, str, str]:
        one, other = spawn(run_in_thread(wait, first)), spawn(run_in_thread(wait, second))
        await turns(2)
        second.set()
        rests_first = await other
        first.set()
        rests_last = await one
        return rests_first, rests_last, await run_in_thread(name)

    rests_first, rests_last, used = run(main)
    assert used == rests_last != rests_first


class Fault(Exception):
    """One that can be watched by a weak reference."""


def test_an_exception_that_was_logged_is_kept_by_nobody(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, told = threading.Event(), threading.Event()
    alive: list[weakref.ref[BaseException]] = []
    monkeypatch.setattr(threads.log, "error", lambda *_, **__: told.set())

    def fail() -> None:
        release.wait(PATIENCE)
        error = Fault("nobody listens")
        alive.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def main() -> None:
        with move_on_after(0.002):
            await run_in_thread(fail)
        release.set()

    before = set(threading.enumerate())
    gc.disable()
    try:
        run(main)
        assert living_threads(before) == []
        assert told.is_set()
        assert alive[0]() is None
    finally:
        gc.enable()


def test_calls_that_wait_when_the_run_ends_never_begin(run: Runner, one_thread: None) -> None:
    release, called, before = threading.Event(), list[str](), set(threading.enumerate())

    async def main() -> None:
        spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)
        spawn(run_in_thread(called.append, "never"))
        await turns(2)

    run(main)
    (busy,) = set(threading.enumerate()) - before
    release.set()
    busy.join(PATIENCE)
    assert not busy.is_alive()
    assert called == []


def test_the_end_of_a_run_joins_the_threads_that_rest(run: Runner) -> None:
    before = threading.enumerate()

    async def main() -> None:
        barrier = threading.Barrier(5)
        await join_all(run_in_thread(barrier.wait, PATIENCE) for _ in range(5))
        assert len(threading.enumerate()) == len(before) + 5

    run(main)
    assert threading.enumerate() == before
    assert not threads._pools


def test_a_busy_thread_is_a_daemon_and_not_waited_for(run: Runner) -> None:
    release, before = threading.Event(), set(threading.enumerate())

    async def main() -> None:
        spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)

    run(main)
    (left,) = set(threading.enumerate()) - before
    assert left.daemon
    release.set()  # it ends by itself: the fixture waits for that


def test_runs_one_after_the_other_have_threads_of_their_own(run: Runner) -> None:
    async def main() -> int:
        return await run_in_thread(threading.get_native_id)

    assert run(main) != run(main)


def test_a_thread_that_has_nothing_to_do_ends(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.001)

    async def main() -> list[str]:
        first = await run_in_thread(threading.current_thread)
        first.join(PATIENCE)
        assert not first.is_alive()
        assert the_pool()._alive == 0
        return [first.name, await run_in_thread(name)]

    assert run(main) == ["runtime-thread-1", "runtime-thread-2"]


def test_a_call_that_comes_as_a_thread_ends_its_rest_is_not_lost(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.001)
    tired, handed = threading.Event(), threading.Event()
    retire = Pool.retire

    def wait_and_retire(self: Pool, worker: object) -> bool:
        monkeypatch.setattr(threads, "IDLE", PATIENCE)
        tired.set()
        handed.wait(PATIENCE)
        return retire(self, worker)  # type: ignore[arg-type]

    monkeypatch.setattr(Pool, "retire", wait_and_retire)

    async def main() -> list[str]:
        first = await run_in_thread(name)
        assert tired.wait(PATIENCE)
        second = spawn(run_in_thread(name))
        await turns(2)
        handed.set()
        return [first, await second, await run_in_thread(name)]

    assert run(main) == ["runtime-thread-1"] * 3


def test_threads_that_never_rest_for_long_lose_no_call(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.0)

    async def main() -> int:
        results = 0
        for n in range(200):
            results += sum(await join_all(run_in_thread(int, "1") for _ in range(1 + n % 3)))
        return results

    assert run(main) == sum(1 + n % 3 for n in range(200))


def no_more_threads(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    def start(self: threading.Thread) -> None:
        before()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads._Worker, "start", start)


def test_without_any_thread_a_call_says_so(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        with monkeypatch.context() as patch:
            no_more_threads(patch, lambda: None)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await run_in_thread(name)
        return await run_in_thread(name)

    assert run(main) == "runtime-thread-2"


def test_a_thread_that_there_was_no_memory_for_takes_no_place(
    run: Runner, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(self: threading.Thread) -> None:
        raise MemoryError

    async def main() -> str:
        with monkeypatch.context() as patch:
            patch.setattr(threads._Worker, "start", no_memory)
            with pytest.raises(MemoryError):
                await run_in_thread(name)
        with timeout(5):
            return await run_in_thread(name)

    assert run(main) == "runtime-thread-2"


def test_without_another_thread_a_call_waits_for_those_that_are_there(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    async def main() -> str:
        first = spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)
        no_more_threads(monkeypatch, lambda: None)
        second = spawn(run_in_thread(name))
        await turns(2)
        assert len(the_pool()._waiting) == 1
        release.set()
        await first
        return await second

    assert run(main) == "runtime-thread-1"


def test_without_another_thread_one_that_came_to_rest_meanwhile_takes_the_call(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    async def main() -> str:
        first = spawn(run_in_thread(release.wait, PATIENCE))
        await turns(2)

        def let_it_rest() -> None:
            release.set()
            while not the_pool()._idle:
                pass

        no_more_threads(monkeypatch, let_it_rest)
        second = await run_in_thread(name)
        await first
        return second

    assert run(main) == "runtime-thread-1"


def test_a_thread_that_rests_holds_on_to_nothing(run: Runner) -> None:
    class Big:
        pass

    alive: weakref.WeakSet[Big] = weakref.WeakSet()

    def call(big: Big) -> Big:
        alive.add(big)
        return big

    async def main() -> None:
        await run_in_thread(call, Big())
        with timeout(PATIENCE):
            while alive:  # the thread lets go after it has told
                await sleep(0.001)

    run(main)


class Gated:
    """A call that begins and ends when the test says so."""

    def __init__(self, began: list[int], number: int) -> None:
        self.began, self.number = began, number
        self.entered, self.gate = threading.Event(), threading.Event()

    def __call__(self) -> int:
        self.began.append(self.number)
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        return self.number


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 3), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_any_order_of_calls_cancellations_and_ends(
    limit: int, steps: list[tuple[bool, int]]
) -> None:
    """A model beside the pool: who runs, who waits, and in which order they must have begun."""
    began: list[int] = []
    expected: list[int] = []

    async def main() -> None:
        calls: list[Gated] = []
        tasks: list[JoinHandle[int]] = []
        running: list[int] = []
        waiting: list[int] = []
        cancelled: set[int] = set()

        def begin() -> None:
            while waiting and len(running) < limit:
                number = waiting.pop(0)
                running.append(number)
                expected.append(number)
                assert calls[number].entered.wait(PATIENCE)

        async def end(number: int) -> None:
            running.remove(number)
            calls[number].gate.set()
            if number not in cancelled:
                assert await tasks[number] == number
            begin()

        own = Pool(runtime.task.current_executor(), "model", limit)
        for cancels, choice in steps:
            if choice < 4 or not tasks:
                number = len(calls)
                calls.append(Gated(began, number))
                tasks.append(spawn(own.call(calls[number], ())))
                waiting.append(number)
                await turns(2)
                begin()
            elif cancels:
                number = choice % len(tasks)
                if not tasks[number].done:
                    cancelled.add(number)
                    tasks[number].cancel()
                    await turns(2)
                    if number in waiting:
                        waiting.remove(number)
            elif running:
                await end(running[choice % len(running)])
        while running:
            await end(running[0])
        assert own._alive <= limit

    runtime.run(main())
    assert began == expected
