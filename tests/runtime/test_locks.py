"""Lock and Condition: one task inside, the owner known, no notification lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import (
    Cancelled,
    Condition,
    Deadlock,
    Lock,
    Task,
    TaskCancelled,
    current_task,
    join_all,
    move_on_after,
    sleep,
    spawn,
    timeout,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns
from .interleaving import Crew, Operation, operations, settle


def test_one_task_at_a_time_is_inside(run: Runner) -> None:
    inside = most = 0

    async def work(lock: Lock) -> None:
        nonlocal inside, most
        async with lock:
            inside += 1
            most = max(most, inside)
            await sleep(1)
            inside -= 1

    async def main() -> tuple[float, bool]:
        lock = Lock()
        await join_all(work(lock) for _ in range(5))
        return runtime.now(), lock.locked

    assert run(main, clock=VirtualClock()) == (5.0, False)
    assert most == 1


def test_a_free_lock_is_taken_without_a_turn(run: Runner) -> None:
    async def main() -> bool:
        lock = Lock()
        with runtime.CancelScope() as scope:
            scope.cancel()
            async with lock:
                assert lock.owner is current_task()
        return scope.cancelled_caught or lock.locked

    assert not run(main)


def test_the_lock_is_released_when_the_block_fails(run: Runner) -> None:
    async def main() -> bool:
        lock = Lock()
        with pytest.raises(KeyError):
            async with lock:
                raise KeyError
        return lock.locked

    assert not run(main)


def test_taking_a_lock_twice_says_that_it_would_wait_for_ever(run: Runner) -> None:
    async def main() -> bool:
        lock = Lock()
        async with lock:
            with pytest.raises(RuntimeError, match="'main' holds this lock already"):
                await lock.acquire()
            assert lock.owner is current_task()
        return lock.locked

    assert not run(main)


def test_a_lock_whose_owner_has_ended_says_so(run: Runner) -> None:
    async def main() -> None:
        lock = Lock()

        async def careless() -> None:
            await lock.acquire()

        await spawn(careless())
        with pytest.raises(RuntimeError, match="careless' ended without releasing this lock"):
            await lock.acquire()

    run(main)


def test_only_the_owner_releases(run: Runner) -> None:
    async def main() -> None:
        lock = Lock()
        with pytest.raises(RuntimeError, match="does not hold the lock; nobody does"):
            lock.release()

        async def hold() -> None:
            async with lock:
                await forever()

        holder = spawn(hold(), name="holder")
        await turns(1)
        with pytest.raises(RuntimeError, match="does not hold the lock; task 'holder' does"):
            lock.release()
        assert lock.owner is holder
        assert repr(lock) == "<Lock held by task 'holder', 0 waiting>"
        holder.cancel()
        await settle()
        assert repr(lock) == "<Lock free, 0 waiting>"

    run(main)


def test_a_lock_on_its_way_is_not_to_be_released_by_the_one_before(run: Runner) -> None:
    async def main() -> None:
        lock = Lock()
        await lock.acquire()
        waiter = spawn(lock.acquire())
        await turns(1)
        lock.release()
        assert lock.owner is waiter  # it has not run yet
        with pytest.raises(RuntimeError, match="does not hold"):
            lock.release()
        await waiter

    run(main)


def test_a_newcomer_does_not_overtake_those_who_wait(run: Runner) -> None:
    order: list[str] = []

    async def work(lock: Lock, name: str) -> None:
        async with lock:
            order.append(name)

    async def main() -> None:
        lock = Lock()
        await lock.acquire()
        waiting = [spawn(work(lock, "first")), spawn(work(lock, "second"))]
        await yield_now()
        newcomer = spawn(work(lock, "newcomer"))
        lock.release()
        await lock.acquire()
        order.append("again")
        lock.release()
        await join_all(*waiting, newcomer)

    run(main)
    assert order == ["first", "second", "again", "newcomer"]


def test_a_lock_that_came_in_the_turn_of_the_cancellation_is_passed_on(run: Runner) -> None:
    async def main() -> Task[None] | None:
        lock = Lock()
        await lock.acquire()
        first, second = spawn(lock.acquire()), spawn(lock.acquire())
        await yield_now()
        lock.release()
        first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        with timeout(1):
            await second
        assert lock.owner is second
        return lock.owner

    assert run(main, clock=VirtualClock()) is not None


def test_two_locks_in_two_orders_are_a_deadlock_with_the_lines_that_wait(run: Runner) -> None:
    async def work(one: Lock, other: Lock) -> None:
        async with one:
            await yield_now()
            async with other:
                raise AssertionError("unreached")

    async def main() -> None:
        one, other = Lock(), Lock()
        await join_all(work(one, other), work(other, one))

    line = r"in Lock.acquire \(.*locks.py:\d+\), awaited by .*work \(.*test_locks.py:\d+\)"
    with pytest.raises(Deadlock, match=f"{line}.*{line}"):
        run(main)


@given(operations("acquire", "acquire", "release"))
@settings(deadline=None, max_examples=300)
def test_the_first_of_those_alive_holds_the_lock(operations: list[Operation]) -> None:
    async def main() -> None:
        lock = Lock()
        arrivals = 0
        waiting: list[int] = []
        taken: list[int] = []
        inside: list[Task[None]] = []
        may_go: set[Task[None]] = set()
        crew = Crew()

        async def work() -> None:
            nonlocal arrivals
            n, arrivals = arrivals, arrivals + 1
            waiting.append(n)
            try:
                await lock.acquire()
            finally:
                waiting.remove(n)
            me = current_task()
            taken.append(n)
            assert inside == []
            inside.append(me)
            try:
                while me not in may_go:
                    await runtime.park()
            finally:
                inside.remove(me)
                lock.release()

        def check() -> None:
            assert lock.owner is (inside[0] if inside else None)
            assert len(lock._waiters) == len(waiting)
            assert lock.locked or not waiting
            assert all(first < later for first in taken for later in waiting)

        for operation, choice in operations:
            if operation == "acquire":
                crew.start(work())
            elif operation == "release" and inside:
                may_go.add(inside[0])
                inside[0].wake()
            else:
                await crew.disturb(operation, choice)
            if operation == "settle":
                check()
        await settle()
        check()
        assert taken == sorted(taken)
        await crew.dismiss()
        assert not lock.locked
        assert not lock._waiters

    runtime.run(main())


def test_notify_lets_as_many_go_on_as_it_says_oldest_first(run: Runner) -> None:
    order: list[int] = []

    async def wait(condition: Condition, n: int) -> None:
        async with condition:
            await condition.wait()
            assert condition.lock.owner is current_task()
            order.append(n)

    async def main() -> list[list[int]]:
        seen = []
        condition = Condition()
        tasks = [spawn(wait(condition, n)) for n in range(6)]
        await settle()
        assert repr(condition) == "<Condition 6 waiting, <Lock free, 0 waiting>>"
        for count in 0, 1, 2, -1:
            async with condition:
                condition.notify(count)
            await settle()
            seen.append(order[:])
        async with condition:
            condition.notify_all()
        await join_all(tasks)
        async with condition:
            condition.notify()  # nobody waits, and nobody will hear of it
        return seen

    assert run(main) == [[], [0], [0, 1, 2], [0, 1, 2]]
    assert order == list(range(6))


def test_those_who_wait_hold_no_lock_and_those_who_do_not_hold_it_may_not_wait(
    run: Runner,
) -> None:
    async def main() -> None:
        lock = Lock()
        condition, other = Condition(lock), Condition(lock)
        assert condition.lock is other.lock
        with pytest.raises(RuntimeError, match="does not hold the lock"):
            await condition.wait()
        with pytest.raises(RuntimeError, match="does not hold the lock"):
            condition.notify()
        with pytest.raises(RuntimeError, match="does not hold the lock"):
            condition.notify_all()

    run(main)


def test_waiting_for_a_predicate_gives_what_it_returned(run: Runner) -> None:
    async def main() -> list[str]:
        condition = Condition()
        basket: list[str] = []

        async def eat() -> list[str]:
            async with condition:
                return await condition.wait_for(lambda: basket)

        eater = spawn(eat())
        await settle()
        async with condition:
            condition.notify_all()  # too early: it looks again
        await settle()
        assert not eater.done
        async with condition:
            basket.append("apple")
            condition.notify()
        return await eater

    assert run(main) == ["apple"]


def test_a_cancelled_wait_holds_the_lock_again_before_it_goes_on(run: Runner) -> None:
    order: list[str] = []

    async def main() -> None:
        condition = Condition()

        async def wait() -> None:
            async with condition:
                try:
                    await condition.wait()
                except Cancelled:
                    assert condition.lock.owner is current_task()
                    order.append("cancelled")
                    raise

        waiter = spawn(wait())
        await settle()
        async with condition:
            waiter.cancel()
            await turns(5)  # the lock is taken, so the cancellation has to wait
            order.append("released")
        await settle()
        assert waiter.done
        assert not condition.lock.locked

    run(main)
    assert order == ["released", "cancelled"]


def test_a_cancellation_while_the_lock_is_taken_again_comes_at_the_next_wait(run: Runner) -> None:
    async def main() -> str:
        condition = Condition()
        reached = "nothing"

        async def wait() -> None:
            nonlocal reached
            async with condition:
                await condition.wait()
                reached = "what the notification was for"
                await yield_now()
                reached = "too far"

        waiter = spawn(wait())
        await settle()
        async with condition:
            condition.notify()
            await turns(3)  # it was notified, has run, and waits for the lock
            waiter.cancel()
            await turns(3)
        await settle()
        assert waiter.done
        assert not condition.lock.locked
        return reached

    assert run(main) == "what the notification was for"


def test_a_notification_in_the_turn_of_the_cancellation_goes_to_the_next(run: Runner) -> None:
    async def main() -> None:
        condition = Condition()

        async def wait() -> None:
            async with condition:
                await condition.wait()

        first, second = spawn(wait()), spawn(wait())
        await settle()
        async with condition:
            condition.notify()
            first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        with timeout(1):
            await second

    run(main, clock=VirtualClock())


def test_a_wait_that_times_out_is_forgotten(run: Runner) -> None:
    async def main() -> tuple[bool, int]:
        condition = Condition()
        async with condition:
            with move_on_after(1) as scope:
                await condition.wait()
            assert condition.lock.owner is current_task()
        return scope.cancelled_caught, len(condition._waiters)

    assert run(main, clock=VirtualClock()) == (True, 0)


PHASES = st.lists(operations("notify", "notify", "notify_all", "hold"), max_size=4)


@given(st.integers(0, 6), PHASES)
@settings(deadline=None, max_examples=300)
def test_every_notification_reaches_one_that_goes_on(
    waiters: int, phases: list[list[Operation]]
) -> None:
    """Within a phase nobody comes new, so each notification must show, while anybody waits."""

    async def main() -> None:
        condition = Condition()
        crew = Crew()
        arrivals = inside = given_out = 0
        waiting: list[int] = []
        notified: list[int] = []

        async def wait() -> None:
            nonlocal arrivals
            n, arrivals = arrivals, arrivals + 1
            async with condition:
                waiting.append(n)
                try:
                    await condition.wait()
                    notified.append(n)
                finally:
                    waiting.remove(n)
                    assert condition.lock.owner is current_task()
                    assert inside == 0

        async def hold() -> None:
            nonlocal inside
            async with condition:
                inside += 1
                assert inside == 1
                try:
                    await turns(2)
                finally:
                    inside -= 1

        async def notify(count: int) -> None:
            nonlocal given_out
            async with condition:
                given_out += min(count, len(condition._waiters))
                condition.notify(count)

        for phase in phases:
            for _ in range(waiters):
                crew.start(wait())
            await settle()
            given_out = 0
            notified.clear()
            notifiers: list[Task[None]] = []
            for operation, choice in phase:
                if operation == "notify":
                    notifiers.append(spawn(notify(choice % 3)))
                elif operation == "notify_all":
                    notifiers.append(spawn(notify(100)))
                elif operation == "hold":
                    crew.start(hold())
                else:
                    await crew.disturb(operation, choice)
            await settle()
            await join_all(notifiers)
            assert len(condition._waiters) == len(waiting)
            assert not condition.lock.locked
            assert len(notified) <= given_out
            assert len(notified) == given_out or not waiting
            assert all(first < later for first in notified for later in waiting)
            assert len(set(notified)) == len(notified)
        await crew.dismiss()
        assert not condition._waiters
        assert not condition.lock.locked
        assert not condition.lock._waiters

    runtime.run(main())
