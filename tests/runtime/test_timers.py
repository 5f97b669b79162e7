"""Timers against a model: in order, never early, first set first fired, and memory given back."""

from collections.abc import Callable
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from runtime.timers import LATE, Timer, Timers, timer


class Target:
    """Notes that it was woken, and then cancels the timers it was told to."""

    def __init__(self, number: int, woken: list[int]) -> None:
        self.number = number
        self.woken = woken
        self.victims: list[Timer] = []
        self.timers: Timers | None = None

    def wake(self) -> None:
        self.woken.append(self.number)
        for victim in self.victims:
            assert self.timers is not None
            self.timers.cancel(victim)


def set_timer(timers: Timers, deadline: float, number: int, woken: list[int]) -> Timer:
    made = timer(deadline, Target(number, woken))
    timers.add(made)
    return made


def entries(timers: Timers) -> int:
    """How many entries are kept, those that are cancelled included."""
    return len(timers._run) + len(timers._heap)


DEADLINES = st.one_of(
    st.integers(0, 4).map(float),
    st.integers(0, 20).map(float),
    st.floats(allow_nan=False),
    st.sampled_from([inf, -inf, 0.0, -0.0]),
)


class TimersMachine(RuleBasedStateMachine):
    """Adds, cancels and expires in any order; the model is a list that is sorted each time."""

    timers_set = Bundle("timers_set")

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        #: What is set: when it was set, and the timer.
        self.model: list[tuple[int, Timer]] = []
        self.woken: list[int] = []
        self.count = 0

    def add_one(self, deadline: float) -> Timer:
        made = set_timer(self.timers, deadline, self.count, self.woken)
        self.model.append((self.count, made))
        self.count += 1
        return made

    @rule(target=timers_set, deadline=DEADLINES)
    def add(self, deadline: float) -> Timer:
        return self.add_one(deadline)

    @rule(deadline=DEADLINES, count=st.integers(100, 200), spread=st.sampled_from([0, 0.5, -0.5]))
    def add_many_and_cancel_most(self, deadline: float, count: int, spread: float) -> None:
        """Enough empty entries for a sweep."""
        for victim in [self.add_one(deadline + n * spread) for n in range(count)][2:]:
            self.cancel(victim)

    @rule(victim=timers_set)
    def cancel(self, victim: Timer) -> None:
        self.timers.cancel(victim)
        self.model = [entry for entry in self.model if entry[1] is not victim]
        assert victim.target is None

    @rule(victim=timers_set)
    def cancel_twice(self, victim: Timer) -> None:
        self.cancel(victim)
        self.cancel(victim)

    @rule(now=DEADLINES.filter(lambda now: now != inf))
    def expire(self, now: float) -> None:
        due = sorted((entry for entry in self.model if entry[1] <= now), key=lambda e: (e[1], e[0]))
        self.model = [entry for entry in self.model if entry[1] > now]
        self.woken.clear()
        self.timers.expire(now)
        assert self.woken == [number for number, _ in due]
        assert all(fired.target is None for _, fired in due)

    @invariant()
    def next_deadline_is_the_first(self) -> None:
        assert self.timers.next_deadline() == min((each for _, each in self.model), default=inf)

    @invariant()
    def length_is_what_is_left(self) -> None:
        assert len(self.timers) == len(self.model)

    @invariant()
    def what_is_kept_is_mostly_alive(self) -> None:
        assert entries(self.timers) <= 2 * len(self.model) + 65


TestTimersAgainstAModel = TimersMachine.TestCase
TestTimersAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 30))), max_size=30))
@settings(deadline=None, max_examples=100)
def test_a_target_that_cancels_others_is_obeyed(plan: list[tuple[int, list[int]]]) -> None:
    """What a wake-up cancels does not fire any more, even if it was due at the same time."""
    timers, woken = Timers(), list[int]()
    made = [set_timer(timers, float(deadline), n, woken) for n, (deadline, _) in enumerate(plan)]
    for each, (_, victims) in zip(made, plan, strict=True):
        assert isinstance(each.target, Target)
        each.target.timers = timers
        each.target.victims = [made[v] for v in victims if v < len(made)]

    expected, cancelled = [], set[int]()
    for n in sorted(range(len(plan)), key=lambda n: (plan[n][0], n)):
        if n not in cancelled:
            expected.append(n)
            cancelled.update(plan[n][1])
    timers.expire(5.0)
    assert woken == expected
    assert len(timers) == 0


@pytest.mark.parametrize("step", [1, -1])
def test_a_sweep_in_the_middle_of_expire_loses_and_repeats_nothing(step: int) -> None:
    timers, woken = Timers(), list[int]()
    first = set_timer(timers, 1.0, 0, woken)
    victims = [set_timer(timers, 1000.0 + step * n, n, woken) for n in range(1, 500)]
    set_timer(timers, 1.5, -1, woken)
    assert isinstance(first.target, Target)
    first.target.timers, first.target.victims = timers, victims
    before = entries(timers)
    timers.expire(1.6)
    assert woken == [0, -1]
    assert entries(timers) < before / 2  # they were swept out under the loop's feet
    assert len(timers) == 0
    timers.expire(1e9)
    assert woken == [0, -1]


ORDERS: dict[str, Callable[[int], float]] = {
    "rising": lambda n: n,
    "falling": lambda n: -n,
    "all the same": lambda n: 1,
    "to and fro": lambda n: n * 7919 % 1000,
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_hundred_thousand_cancelled_timers_give_their_memory_back(order: str) -> None:
    deadline = ORDERS[order]
    timers, woken = Timers(), list[int]()
    made = [set_timer(timers, deadline(n), n, woken) for n in range(100_000)]
    for n, each in enumerate(made):
        if n % 100:
            timers.cancel(each)
    assert len(timers) == 1000
    assert entries(timers) <= 2065
    timers.expire(1e9)
    kept = range(0, 100_000, 100)
    assert woken == sorted(kept, key=lambda n: (deadline(n), n))


@pytest.mark.parametrize("deadline", ["moving", "constant"])
@pytest.mark.parametrize("other", [1e9, -1e9, inf])
def test_a_timer_that_is_set_and_taken_back_for_ever_holds_nothing(
    deadline: str, other: float
) -> None:
    """A server's idle time-outs: what is kept must not grow with the number of requests."""
    timers, woken = Timers(), list[int]()
    set_timer(timers, other, 0, woken)
    longest = 0
    for n in range(10_000):
        made = set_timer(timers, float(n) if deadline == "moving" else 5.0, 1, woken)
        timers.cancel(made)
        longest = max(longest, entries(timers))
    assert longest <= 68
    assert len(timers) == 1


def test_a_timer_that_is_taken_back_at_once_leaves_no_entry() -> None:
    timers, woken = Timers(), list[int]()
    set_timer(timers, 1.0, 0, woken)
    timers.cancel(set_timer(timers, 2.0, 1, woken))
    assert entries(timers) == 1


def test_equal_deadlines_fire_in_the_order_they_were_set() -> None:
    timers, woken = Timers(), list[int]()
    for n in range(1000):
        set_timer(timers, 5.0, n, woken)
    timers.expire(5.0)
    assert woken == list(range(1000))


def test_equal_deadlines_fire_in_order_though_a_later_one_was_set_in_between() -> None:
    timers, woken = Timers(), list[int]()
    set_timer(timers, 5.0, 0, woken)
    later = set_timer(timers, 10.0, 3, woken)
    set_timer(timers, 5.0, 1, woken)
    timers.cancel(later)
    set_timer(timers, 5.0, 2, woken)
    timers.expire(5.0)
    assert woken == [0, 1, 2]


def test_equal_deadlines_fire_in_order_though_the_one_that_put_them_on_the_heap_is_gone() -> None:
    timers, woken = Timers(), list[int]()
    later = set_timer(timers, 7.0, 9, woken)
    set_timer(timers, 5.0, 0, woken)
    set_timer(timers, 6.0, 1, woken)
    timers.cancel(later)
    assert timers.next_deadline() == 5.0
    set_timer(timers, 6.0, 2, woken)
    timers.expire(6.0)
    assert woken == [0, 1, 2]


def test_timers_that_only_rise_need_no_heap() -> None:
    timers = Timers()
    for n in range(100):
        set_timer(timers, float(n // 2), n, [])
        set_timer(timers, inf, n, [])
    assert not timers._heap


def test_a_timer_does_not_fire_before_its_deadline() -> None:
    timers, woken = Timers(), list[int]()
    set_timer(timers, 1.0, 0, woken)
    timers.expire(0.9999999999999999)
    assert woken == []
    timers.expire(1.0)
    assert woken == [0]


@pytest.mark.parametrize("before", [None, 1.0])
def test_nan_has_no_place_in_an_order(before: float | None) -> None:
    timers = Timers()
    if before is not None:
        set_timer(timers, before, 0, [])
    for _ in range(2):
        with pytest.raises(ValueError, match="NaN"):
            set_timer(timers, nan, 0, [])
    assert len(timers) == (before is not None)
    assert timers.next_deadline() == (inf if before is None else before)


def test_infinity_never_fires() -> None:
    timers, woken = Timers(), list[int]()
    never = set_timer(timers, inf, 0, woken)
    timers.expire(1e308)
    assert woken == []
    assert len(timers) == 1
    timers.cancel(never)
    assert len(timers) == 0


def test_cancelling_what_has_fired_or_never_was_changes_nothing() -> None:
    timers, woken = Timers(), list[int]()
    fired = set_timer(timers, 1.0, 0, woken)
    set_timer(timers, 2.0, 1, woken)
    timers.expire(1.0)
    for _ in range(100):
        timers.cancel(fired)
    assert len(timers) == 1
    assert timers.next_deadline() == 2.0
    timers.expire(2.0)
    assert woken == [0, 1]


def test_late_timers_are_counted_and_the_worst_of_them_is_known() -> None:
    timers, woken = Timers(), list[int]()
    for n, deadline in enumerate([1.0, 2.0, 3.0, 3.0 + LATE]):
        set_timer(timers, deadline, n, woken)
    timers.expire(3.0 + LATE)
    assert (timers.late, timers.latest) == (2, 2.0 + LATE)
    set_timer(timers, 4.0, 9, woken)
    timers.expire(4.5)
    assert (timers.late, timers.latest) == (3, 2.0 + LATE)
