"""Timers against a model: in order, never early, first set first fired, and memory given back."""

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from runtime.timers import Timers


class Target:
    """Notes that it was woken, and then cancels whom it was told to."""

    def __init__(self, deadline: float, number: int, woken: list[int]) -> None:
        self.deadline = deadline
        self.number = number
        self.woken = woken
        self.victims: list[Target] = []
        self.timers: Timers | None = None

    def wake(self) -> None:
        self.woken.append(self.number)
        for victim in self.victims:
            assert self.timers is not None
            self.timers.cancel(victim.deadline, victim)


DEADLINES = st.one_of(
    st.integers(0, 20).map(float),
    st.floats(allow_nan=False),
    st.sampled_from([inf, -inf, 0.0, -0.0]),
)


class TimersMachine(RuleBasedStateMachine):
    """Adds, cancels and expires in any order; the model is a list that is sorted each time."""

    targets = Bundle("targets")

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        #: Who waits: deadline, when it was set, and whom it wakes.
        self.model: list[tuple[float, int, Target]] = []
        self.woken: list[int] = []
        self.count = 0

    def add_one(self, deadline: float) -> Target:
        target = Target(deadline, self.count, self.woken)
        self.timers.add(deadline, target)
        self.model.append((deadline, self.count, target))
        self.count += 1
        return target

    @rule(target=targets, deadline=DEADLINES)
    def add(self, deadline: float) -> Target:
        return self.add_one(deadline)

    @rule(target_=targets)
    def add_again(self, target_: Target) -> None:
        """One that waits already keeps its place; one that fired or was cancelled waits anew."""
        self.timers.add(target_.deadline, target_)
        if all(entry[2] is not target_ for entry in self.model):
            self.model.append((target_.deadline, self.count, target_))
            self.count += 1

    @rule(deadline=DEADLINES, count=st.integers(100, 200), spread=st.sampled_from([0, 0.5]))
    def add_many_and_cancel_most(self, deadline: float, count: int, spread: float) -> None:
        """Enough leftovers for a rebuild."""
        targets = [self.add_one(deadline + n * spread) for n in range(count)]
        for target in targets[2:]:
            self.cancel(target)

    @rule(target_=targets)
    def cancel(self, target_: Target) -> None:
        waited = any(entry[2] is target_ for entry in self.model)
        self.timers.cancel(target_.deadline, target_)
        self.model = [entry for entry in self.model if entry[2] is not target_]
        if waited and all(entry[0] != target_.deadline for entry in self.model):
            # Nobody waits for this deadline any more: leftovers are not the most of the heap.
            assert len(self.timers._heap) <= 2 * len(self.model) + 64

    @rule(target_=targets)
    def cancel_twice(self, target_: Target) -> None:
        self.cancel(target_)
        self.cancel(target_)

    @rule(now=DEADLINES)
    def expire(self, now: float) -> None:
        due = sorted((e for e in self.model if e[0] <= now), key=lambda e: (e[0], e[1]))
        self.model = [entry for entry in self.model if entry[0] > now]
        self.woken.clear()
        self.timers.expire(now)
        assert self.woken == [entry[2].number for entry in due]

    @invariant()
    def next_deadline_is_the_first(self) -> None:
        assert self.timers.next_deadline() == min((e[0] for e in self.model), default=inf)

    @invariant()
    def length_is_what_is_left(self) -> None:
        assert len(self.timers) == len(self.model)


TestTimersAgainstAModel = TimersMachine.TestCase
TestTimersAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 30))), max_size=30))
@settings(deadline=None, max_examples=100)
def test_a_target_that_cancels_others_is_obeyed(plan: list[tuple[int, list[int]]]) -> None:
    """What a wake-up cancels does not fire any more, even if it was due at the same time."""
    timers, woken = Timers(), list[int]()
    targets = [Target(float(deadline), n, woken) for n, (deadline, _) in enumerate(plan)]
    for target, (_, victims) in zip(targets, plan, strict=True):
        timers.add(target.deadline, target)
        target.timers = timers
        target.victims = [targets[v] for v in victims if v < len(targets)]

    expected, cancelled = [], set[int]()
    for n in sorted(range(len(plan)), key=lambda n: (plan[n][0], n)):
        if n not in cancelled:
            expected.append(n)
            cancelled.update(plan[n][1])
    timers.expire(5.0)
    assert woken == expected
    assert len(timers) == 0


def test_a_rebuild_in_the_middle_of_expire_loses_and_repeats_nothing() -> None:
    timers, woken = Timers(), list[int]()
    first, last = Target(1.0, 0, woken), Target(1.5, -1, woken)
    first.victims = [Target(2.0 + n, n, woken) for n in range(1, 500)]
    first.timers = timers
    for target in (first, last, *first.victims):
        timers.add(target.deadline, target)
    heap_before = timers._heap
    timers.expire(1.6)
    assert timers._heap is not heap_before  # it was rebuilt under the loop's feet
    assert woken == [0, -1]
    assert len(timers) == 0
    timers.expire(inf)
    assert woken == [0, -1]


@pytest.mark.parametrize("deadlines", [1, 1000, 100_000])
def test_a_hundred_thousand_cancelled_timers_give_their_memory_back(deadlines: int) -> None:
    timers, woken = Timers(), list[int]()
    targets = [Target(float(n % deadlines), n, woken) for n in range(100_000)]
    for target in targets:
        timers.add(target.deadline, target)
    for n, target in enumerate(targets):
        if n % 100:
            timers.cancel(target.deadline, target)
    assert len(timers) == 1000
    assert len(timers._heap) <= 2065
    assert len(timers._waiting) <= 1000
    timers.expire(inf)
    assert sorted(woken) == list(range(0, 100_000, 100))


@pytest.mark.parametrize("deadline", ["moving", "constant"])
def test_a_timer_that_is_set_and_taken_back_for_ever_holds_nothing(deadline: str) -> None:
    """A server's idle time-outs: the heap must not grow with the number of requests."""
    timers, target = Timers(), Target(0.0, 0, [])
    timers.add(1e9, Target(1e9, 0, []))
    longest = 0
    for n in range(10_000):
        at = float(n) if deadline == "moving" else 5.0
        timers.add(at, target)
        timers.cancel(at, target)
        longest = max(longest, len(timers._heap))
    assert longest <= 68
    assert len(timers) == 1


def test_equal_deadlines_fire_in_the_order_they_were_set() -> None:
    timers, woken = Timers(), list[int]()
    for n in range(1000):
        timers.add(5.0, Target(5.0, n, woken))
    timers.expire(5.0)
    assert woken == list(range(1000))


def test_a_timer_does_not_fire_before_its_deadline() -> None:
    timers, woken = Timers(), list[int]()
    timers.add(1.0, Target(1.0, 0, woken))
    timers.expire(0.9999999999999999)
    assert woken == []
    timers.expire(1.0)
    assert woken == [0]


def test_nan_has_no_place_in_an_order() -> None:
    timers = Timers()
    for _ in range(2):
        with pytest.raises(ValueError, match="NaN"):
            timers.add(nan, Target(nan, 0, []))
    assert len(timers) == 0
    assert timers.next_deadline() == inf


def test_infinity_never_fires_in_finite_time() -> None:
    timers, woken = Timers(), list[int]()
    target = Target(inf, 0, woken)
    timers.add(inf, target)
    timers.expire(1e308)
    assert woken == []
    timers.cancel(inf, target)
    timers.expire(inf)
    assert woken == []
    assert len(timers) == 0


def test_cancelling_what_has_fired_or_never_was_changes_nothing() -> None:
    timers, woken = Timers(), list[int]()
    fired, other = Target(1.0, 0, woken), Target(2.0, 1, woken)
    timers.add(1.0, fired)
    timers.add(2.0, other)
    timers.expire(1.0)
    for _ in range(100):
        timers.cancel(1.0, fired)
        timers.cancel(2.0, fired)
        timers.cancel(3.0, other)
    assert len(timers) == 1
    assert timers.next_deadline() == 2.0
    timers.expire(2.0)
    assert woken == [0, 1]
