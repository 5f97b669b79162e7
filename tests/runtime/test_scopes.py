"""Scopes with deadlines and shields: `CancelScope`, `timeout`, `move_on_after`."""

import socket
from math import inf, nan

import pytest

import runtime
from runtime import (
    Cancelled,
    CancelScope,
    Semaphore,
    Stream,
    current_task,
    move_on_after,
    now,
    sleep,
    spawn,
    timeout,
    yield_now,
)
from runtime.testing import VirtualClock

from .harness import Runner, forever, turns


def test_a_timeout_ends_the_block_at_its_deadline(run: Runner) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError, match="not done within 5 seconds"), timeout(5):
            await sleep(1000)
        return now()

    assert run(main, clock=VirtualClock()) == 5


def test_a_timeout_that_does_not_strike_leaves_no_timer(run: Runner) -> None:
    async def main() -> int:
        with timeout(1000):
            await sleep(1)
        return len(current_task().executor.timers)

    assert run(main, clock=VirtualClock()) == 0


def test_move_on_after_says_whether_it_struck(run: Runner) -> None:
    async def main() -> list[tuple[bool, float]]:
        seen = []
        for seconds in (1, 3):
            with move_on_after(2) as scope:
                await sleep(seconds)
            seen.append((scope.cancelled_caught, now()))
        return seen

    assert run(main, clock=VirtualClock()) == [(False, 1.0), (True, 3.0)]


def test_work_that_never_waits_is_not_taken_back(run: Runner) -> None:
    clock = VirtualClock()

    async def main() -> list[str]:
        done = []
        with timeout(5):
            clock._now += 10  # a long calculation
            done.append("computed")
        return done

    assert run(main, clock=clock) == ["computed"]


@pytest.mark.parametrize("seconds", [0, -1, -inf])
def test_a_deadline_in_the_past_lets_through_what_does_not_wait(
    run: Runner, seconds: float
) -> None:
    async def main() -> list[str]:
        seen = []
        with move_on_after(seconds) as scope:
            await Semaphore(1).acquire()
            seen.append("did not wait")
            await sleep(0)
            seen.append("waited")
        assert scope.cancelled_caught
        return seen

    assert run(main, clock=VirtualClock()) == ["did not wait"]


def test_the_outer_deadline_ends_both_blocks(run: Runner) -> None:
    async def main() -> tuple[float, bool, bool]:
        with move_on_after(1) as outer:
            with move_on_after(2) as inner:
                await sleep(10)
            await sleep(10)
        return now(), outer.cancelled_caught, inner.cancelled_caught

    assert run(main, clock=VirtualClock()) == (1.0, True, False)


def test_the_inner_deadline_ends_the_inner_block_alone(run: Runner) -> None:
    async def main() -> tuple[float, bool, bool]:
        with move_on_after(5) as outer:
            with move_on_after(2) as inner:
                await sleep(10)
            await sleep(1)
        return now(), outer.cancelled_caught, inner.cancelled_caught

    assert run(main, clock=VirtualClock()) == (3.0, False, True)


def test_two_deadlines_at_the_same_moment_end_the_outer_block(run: Runner) -> None:
    async def main() -> tuple[bool, bool]:
        with move_on_after(2) as outer, move_on_after(2) as inner:
            await sleep(10)
        return outer.cancelled_caught, inner.cancelled_caught

    assert run(main, clock=VirtualClock()) == (True, False)


def test_a_timeout_inside_a_cancelled_scope_is_not_a_timeout(run: Runner) -> None:
    async def main() -> bool:
        with move_on_after(1) as outer, timeout(2):
            await sleep(10)
        return outer.cancelled_caught

    assert run(main, clock=VirtualClock())


def test_a_shield_holds_off_the_outer_deadline_and_not_its_own(run: Runner) -> None:
    async def main() -> list[object]:
        seen: list[object] = []
        with move_on_after(1) as outer:
            with CancelScope(shield=True):
                await sleep(3)
                seen.append(now())
            with CancelScope(shield=True, deadline=now() + 2) as own:
                await sleep(100)
            seen += [now(), own.cancelled_caught]
            await yield_now()
            seen.append("not reached")
        return [*seen, now(), outer.cancelled_caught]

    assert run(main, clock=VirtualClock()) == [3.0, 5.0, True, 5.0, True]


def test_a_shield_inside_a_cancelled_scope_still_protects(run: Runner) -> None:
    async def main() -> float:
        with CancelScope() as outer:
            outer.cancel()
            with CancelScope(shield=True):
                await sleep(3)
        return now()

    assert run(main, clock=VirtualClock()) == 3


def test_a_scope_cancelled_before_it_is_entered(run: Runner) -> None:
    async def main() -> tuple[bool, float]:
        scope = CancelScope()
        scope.cancel()
        with scope:
            await sleep(10)
        return scope.cancelled_caught, now()

    assert run(main, clock=VirtualClock()) == (True, 0.0)


def test_a_scope_cancelled_by_another_task(run: Runner) -> None:
    async def cancel_later(scope: CancelScope) -> None:
        await sleep(2)
        scope.cancel()

    async def main() -> tuple[bool, float]:
        with CancelScope() as scope:
            spawn(cancel_later(scope))
            await sleep(10)
        await sleep(1)  # it is over: no longer cancelled
        return scope.cancelled_caught, now()

    assert run(main, clock=VirtualClock()) == (True, 3.0)


def test_a_scope_cancelled_after_it_was_left_cancels_nothing(run: Runner) -> None:
    async def main() -> str:
        with CancelScope() as scope:
            await yield_now()
        scope.cancel()
        await turns(3)
        return "alive"

    assert run(main) == "alive"


def test_a_cancelled_scope_in_which_nothing_waits_again_is_just_left(run: Runner) -> None:
    async def main() -> bool:
        with CancelScope() as scope:
            scope.cancel()
        await turns(2)
        return scope.cancelled_caught

    assert run(main) is False
    assert run.polls < 15


def test_other_exceptions_pass_a_cancelled_scope(run: Runner) -> None:
    async def main() -> None:
        with CancelScope() as scope:
            scope.cancel()
            try:
                await yield_now()
            finally:
                raise KeyError("cleanup")

    with pytest.raises(KeyError, match="cleanup"):
        run(main)


def test_a_cancelled_that_the_block_raised_itself_passes(run: Runner) -> None:
    """A `Cancelled` out of nowhere belongs to no scope here."""

    async def main() -> str:
        try:
            with CancelScope():
                raise Cancelled
        except Cancelled:
            return "passed"
        return "swallowed"

    assert run(main) == "passed"


def test_a_scope_is_entered_once(run: Runner) -> None:
    async def main() -> None:
        scope = CancelScope()
        with scope, pytest.raises(RuntimeError, match="entered already"), scope:
            await yield_now()
        with pytest.raises(RuntimeError, match="entered already"), scope:
            await yield_now()
        await yield_now()

    run(main)


def test_scopes_are_left_in_order(run: Runner) -> None:
    async def main() -> None:
        outer, inner = CancelScope(), CancelScope()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError, match="reverse of the order"):
            outer.__exit__(None, None, None)
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)

    run(main)


def test_a_deadline_that_is_not_a_number_leaves_the_task_as_it_was(run: Runner) -> None:
    async def main() -> list[object]:
        seen: list[object] = []
        with move_on_after(5) as outer:
            with pytest.raises(ValueError, match="NaN"), timeout(nan):
                seen.append("entered")
            await sleep(10)
        return [*seen, outer.cancelled_caught, now()]

    assert run(main, clock=VirtualClock()) == [True, 5.0]


def test_a_deadline_at_infinity_sets_no_timer(run: Runner) -> None:
    async def main() -> int:
        with timeout(inf), CancelScope():
            await yield_now()
            return len(current_task().executor.timers)
        raise AssertionError("not reached")

    assert run(main) == 0


def test_scopes_need_a_runtime() -> None:
    with pytest.raises(RuntimeError, match=r"inside runtime\.run"), CancelScope():
        pass
    with pytest.raises(RuntimeError, match=r"inside runtime\.run"):
        timeout(1)


def test_bytes_that_come_in_the_turn_of_the_deadline_are_not_lost(run: Runner) -> None:
    async def main() -> tuple[bool, bytes]:
        one, other = socket.socketpair()
        async with Stream(one) as left, Stream(other) as right:

            async def send_later() -> None:
                await sleep(5)
                await right.send_all(b"in time")

            sender = spawn(send_later())
            with move_on_after(5) as scope:
                await left.recv(100)
            await sender
            return scope.cancelled_caught, await left.recv(100)

    assert run(main, clock=VirtualClock()) == (True, b"in time")


def test_a_permit_granted_in_the_turn_of_the_deadline_is_not_lost(run: Runner) -> None:
    async def main() -> tuple[bool, int]:
        semaphore = Semaphore(1)
        await semaphore.acquire()

        async def release_later() -> None:
            await sleep(5)
            semaphore.release()

        releaser = spawn(release_later())
        with move_on_after(5) as scope:
            await semaphore.acquire()
        await releaser
        return scope.cancelled_caught, semaphore.free

    assert run(main, clock=VirtualClock()) == (True, 1)


def test_a_joined_result_that_comes_in_the_turn_of_the_deadline_stays_in_the_handle(
    run: Runner,
) -> None:
    async def work() -> str:
        await sleep(5)
        return "result"

    async def main() -> str:
        task = spawn(work())
        with move_on_after(5):
            await task
        return await task

    assert run(main, clock=VirtualClock()) == "result"


def test_a_result_computed_before_the_deadline_struck_counts(run: Runner) -> None:
    """The block received its bytes, then the deadline passed, and it did not wait again."""
    clock = VirtualClock()

    async def main() -> bytes:
        one, other = socket.socketpair()
        async with Stream(one) as left, Stream(other) as right:
            await right.send_all(b"data")
            with timeout(5):
                data = await left.recv(100)
                clock._now += 100
            return data

    assert run(main, clock=clock) == b"data"


def test_a_spawned_task_does_not_inherit_the_deadline(run: Runner) -> None:
    async def work() -> str:
        await sleep(10)
        return "finished"

    async def main() -> tuple[str, bool]:
        with move_on_after(1) as scope:
            task = spawn(work())
            await forever()
        return await task, scope.cancelled_caught

    assert run(main, clock=VirtualClock()) == ("finished", True)


def test_timeouts_in_a_loop_pile_up_nothing(run: Runner) -> None:
    async def main() -> tuple[int, int, object]:
        for _ in range(2000):
            with timeout(100):
                await yield_now()
        timers = runtime.task.current_executor().timers
        return len(timers), len(timers._heap), current_task().scope

    count, heap, scope = run(main)
    assert count == 0
    assert heap <= 70
    assert scope is None


def test_the_timeout_error_says_where_it_waited(run: Runner) -> None:
    async def slow_function() -> None:
        await sleep(10)

    async def main() -> None:
        with timeout(1):
            await slow_function()

    with pytest.raises(TimeoutError) as caught:
        run(main, clock=VirtualClock())
    cause = caught.value.__cause__
    assert isinstance(cause, Cancelled)
    names = []
    traceback = cause.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert "slow_function" in names
