"""Event and Semaphore: everybody hears of it, and permits add up whatever is cancelled."""

from typing import Any

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
    current_task,
    join_all,
    move_on_after,
    sleep,
    spawn,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns
from .interleaving import Crew, Operation, operations, settle


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


@given(st.integers(0, 3), operations("acquire", "acquire", "release", "finish"))
@settings(deadline=None, max_examples=300)
def test_permits_add_up_whatever_is_cancelled_when(
    permits: int, operations: list[Operation]
) -> None:
    """Model: the permits, and who came when; the first of those alive hold them."""

    async def main() -> None:
        semaphore = Semaphore(permits)
        total, arrivals = permits, 0
        waiting: list[int] = []
        held: dict[int, Task[None]] = {}
        taken: list[int] = []
        crew = Crew()

        async def hold() -> None:
            nonlocal arrivals
            n, arrivals = arrivals, arrivals + 1
            waiting.append(n)
            try:
                await semaphore.acquire()
            finally:
                waiting.remove(n)
            held[n] = current_task()
            taken.append(n)
            try:
                await forever()
            finally:
                del held[n]
                semaphore.release()

        def check() -> None:
            assert semaphore.free == total - len(held)
            assert not (semaphore.free and waiting)
            assert len(semaphore._waiters) == len(waiting)
            assert all(first < later for first in taken for later in waiting)

        for operation, choice in operations:
            if operation == "acquire":
                crew.start(hold())
            elif operation == "release":
                semaphore.release()  # a permit that nobody held: one more from now on
                total += 1
            elif operation == "finish" and held:
                list(held.values())[choice % len(held)].cancel()
            else:
                await crew.disturb(operation, choice)
            if operation == "settle":
                check()
        await settle()
        check()
        await crew.dismiss()
        assert semaphore.free == total
        assert not semaphore._waiters

    runtime.run(main())


@given(operations("wait", "wait", "set"))
@settings(deadline=None, max_examples=200)
def test_everybody_hears_of_an_event_and_nobody_too_early(operations: list[Operation]) -> None:
    async def main() -> None:
        event = Event()
        crew = Crew()
        cancelled: set[Task[None]] = set()

        async def wait() -> None:
            try:
                await event.wait()
            except Cancelled:
                cancelled.add(current_task())
                raise
            assert event.is_set

        for operation, choice in operations:
            if operation == "wait":
                crew.start(wait())
            elif operation == "set":
                event.set()
            else:
                await crew.disturb(operation, choice)
        await settle()
        assert len(event._waiters) == len(crew.alive)
        assert not (event.is_set and crew.alive)
        for task in crew.tasks:
            assert task.done == (event.is_set or task in cancelled)
        await crew.dismiss()
        assert not event._waiters

    runtime.run(main())


def test_what_can_be_seen_of_them(run: Runner) -> None:
    async def main() -> None:
        event, semaphore = Event(), Semaphore(2)
        tasks = [spawn(event.wait()), *(spawn(semaphore.acquire()) for _ in range(3))]
        await settle()
        assert repr(event) == "<Event not set, 1 waiting>"
        assert repr(semaphore) == "<Semaphore 0 free, 1 waiting>"
        event.set()
        semaphore.release()
        assert repr(event) == "<Event set>"
        await join_all(tasks)

    run(main)


def test_one_task_may_wait_twice_for_the_same_thing(run: Runner) -> None:
    """A future may poll two waits by itself, as `select` does in Rust."""

    class Both(runtime.Future[None]):
        def __init__(self, event: Event, semaphore: Semaphore) -> None:
            self.waits: list[Any] = [
                event.wait(),
                event.wait(),
                semaphore.acquire(),
                semaphore.acquire(),
            ]

        def poll(self, waker: runtime.Waker) -> runtime.Ready[None] | runtime.Pending:
            for wait in tuple(self.waits):
                try:
                    wait.send(None)
                except StopIteration:
                    self.waits.remove(wait)
            return runtime.PENDING if self.waits else runtime.Ready(None)

    async def main() -> tuple[int, int]:
        event, semaphore = Event(), Semaphore(0)

        async def wait() -> None:
            await Both(event, semaphore)

        task = spawn(wait())
        await settle()
        event.set()
        semaphore.release()
        await settle()
        assert not task.done
        semaphore.release()
        await task
        return semaphore.free, len(semaphore._waiters)

    assert run(main) == (0, 0)


def test_ten_thousand_waits_that_time_out_leave_in_any_order(run: Runner) -> None:
    async def main() -> int:
        semaphore = Semaphore(0)
        tasks = [spawn(semaphore.acquire()) for _ in range(10_000)]
        await settle()
        for n in range(10_000):
            tasks[n * 7919 % 10_000].cancel()
        await settle()
        return len(semaphore._waiters)

    assert run(main) == 0
