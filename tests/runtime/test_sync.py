"""Event and Semaphore: everybody hears of it, and permits add up whatever is cancelled."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import (
    Cancelled,
    Event,
    Semaphore,
    Task,
    TaskCancelled,
    join_all,
    move_on_after,
    sleep,
    spawn,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns


def test_an_event_wakes_everybody_who_waits(run: Runner) -> None:
    order: list[int] = []

    async def waiter(event: Event, n: int) -> None:
        await event.wait()
        order.append(n)

    async def main() -> None:
        event = Event()
        tasks = [spawn(waiter(event, n)) for n in range(20)]
        await turns(2)
        assert not event.is_set
        assert order == []
        event.set()
        event.set()
        await join_all(tasks)
        assert event.is_set

    run(main)
    assert order == list(range(20))


def test_an_event_that_is_set_lets_through_without_a_turn(run: Runner) -> None:
    async def main() -> str:
        event = Event()
        event.set()
        with runtime.CancelScope() as scope:
            scope.cancel()
            await event.wait()
            return "did not wait"
        return "waited"

    assert run(main) == "did not wait"


def test_a_waiter_that_is_cancelled_is_forgotten(run: Runner) -> None:
    async def main() -> int:
        event = Event()
        with move_on_after(1):
            await event.wait()
        left = len(event._waiters)
        event.set()
        await turns(2)
        return left

    assert run(main, clock=VirtualClock()) == 0


def test_a_spurious_wake_up_is_no_event(run: Runner) -> None:
    async def main() -> bool:
        event = Event()
        task = spawn(event.wait())
        for _ in range(3):
            await yield_now()
            task.wake()
        await turns(3)
        waited = not task.done
        event.set()
        await task
        return waited

    assert run(main)


def test_a_semaphore_holds_back_the_one_too_many(run: Runner) -> None:
    inside, most = 0, 0

    async def work(semaphore: Semaphore) -> None:
        nonlocal inside, most
        async with semaphore:
            inside += 1
            most = max(most, inside)
            await sleep(1)
            inside -= 1

    async def main() -> tuple[float, int]:
        semaphore = Semaphore(3)
        await join_all(work(semaphore) for _ in range(10))
        return runtime.now(), semaphore.free

    assert run(main, clock=VirtualClock()) == (4.0, 3)
    assert most == 3


def test_a_permit_comes_back_when_the_block_fails(run: Runner) -> None:
    async def main() -> int:
        semaphore = Semaphore(1)
        with pytest.raises(KeyError):
            async with semaphore:
                raise KeyError
        return semaphore.free

    assert run(main) == 1


def test_permits_go_to_the_one_that_has_waited_longest(run: Runner) -> None:
    order: list[int] = []

    async def work(semaphore: Semaphore, n: int) -> None:
        await semaphore.acquire()
        order.append(n)

    async def main() -> None:
        semaphore = Semaphore(0)
        tasks = [spawn(work(semaphore, n)) for n in range(10)]
        await yield_now()
        for n in range(10):
            semaphore.release()
            if n == 5:
                # Somebody who comes now must not overtake those who wait.
                tasks.append(spawn(work(semaphore, 99)))
            await turns(2)
        semaphore.release()
        await join_all(tasks)

    run(main)
    assert order == [*range(10), 99]


def test_a_newcomer_does_not_take_the_permit_that_is_on_its_way(run: Runner) -> None:
    order: list[str] = []

    async def work(semaphore: Semaphore, name: str) -> None:
        await semaphore.acquire()
        order.append(name)
        semaphore.release()

    async def main() -> int:
        semaphore = Semaphore(1)
        await semaphore.acquire()
        waiting = spawn(work(semaphore, "waiting"))
        await yield_now()
        newcomer = spawn(work(semaphore, "newcomer"))
        semaphore.release()
        await join_all(waiting, newcomer)
        return semaphore.free

    assert run(main) == 1
    assert order == ["waiting", "newcomer"]


def test_a_waiter_cancelled_with_a_permit_on_its_way_passes_it_on(run: Runner) -> None:
    async def main() -> str:
        semaphore = Semaphore(0)
        first, second = spawn(semaphore.acquire()), spawn(semaphore.acquire())
        await yield_now()
        semaphore.release()
        first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        with runtime.timeout(1):
            await second
        return f"free: {semaphore.free}"

    assert run(main, clock=VirtualClock()) == "free: 0"


def test_a_cancelled_waiter_is_forgotten(run: Runner) -> None:
    async def main() -> tuple[int, int]:
        semaphore = Semaphore(0)
        with move_on_after(1):
            await semaphore.acquire()
        semaphore.release()
        return semaphore.free, len(semaphore._waiters)

    assert run(main, clock=VirtualClock()) == (1, 0)


def test_a_spurious_wake_up_is_no_permit(run: Runner) -> None:
    async def main() -> bool:
        semaphore = Semaphore(0)
        task = spawn(semaphore.acquire())
        for _ in range(3):
            await yield_now()
            task.wake()
        await turns(2)
        waited = not task.done
        semaphore.release()
        await task
        return waited

    assert run(main)


def test_a_negative_number_of_permits_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 permits"):
        Semaphore(-1)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.just(0)),
        st.tuples(st.sampled_from(["release", "cancel", "finish"]), st.integers(0, 9)),
        st.tuples(st.just("run"), st.just(0)),
    ),
    max_size=60,
)


@given(st.integers(0, 3), OPERATIONS)
@settings(deadline=None, max_examples=200)
def test_permits_add_up_whatever_is_cancelled_when(
    permits: int, operations: list[tuple[str, int]]
) -> None:
    """Model: the permits, a queue, and who holds one. "run" gives the tasks a turn to react."""

    async def holder(semaphore: Semaphore, held: list[int], n: int) -> None:
        try:
            async with semaphore:
                held.append(n)
                await forever()
        except Cancelled:
            if n in held:
                held.remove(n)
            raise

    async def main() -> None:
        semaphore = Semaphore(permits)
        total = permits
        held: list[int] = []
        arrived: list[int] = []
        tasks: dict[int, Task[None]] = {}
        alive: deque[int] = deque()
        for operation, choice in operations:
            if operation == "acquire":
                n = len(tasks)
                tasks[n] = spawn(holder(semaphore, held, n))
                arrived.append(n)
                alive.append(n)
            elif operation == "release":
                semaphore.release()  # a permit that nobody held: one more from now on
                total += 1
            elif operation == "cancel" and alive:
                n = alive[choice % len(alive)]
                alive.remove(n)
                tasks[n].cancel()
            elif operation == "finish" and held:
                n = held[choice % len(held)]
                if n in alive:
                    alive.remove(n)
                tasks[n].cancel()
            else:
                await turns(6)
                # Settled: who holds a permit is exactly who came first among the living.
                assert sorted(held) == list(alive)[:total]
                assert semaphore.free == total - len(held)
                assert len(semaphore._waiters) == len(alive) - len(held)
                assert not semaphore._granted
        for task in tasks.values():
            task.cancel()
        await turns(2 * len(tasks) + 4)
        assert all(task.done for task in tasks.values())
        assert held == []
        assert semaphore.free == total
        assert not semaphore._waiters
        assert not semaphore._granted

    runtime.run(main())
