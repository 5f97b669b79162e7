"""Intervals that cover what they should, and no difference where there may be none."""

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.results.estimate import RUNS_TO_RANK, Estimate, difference, estimate, line, ratio

figures = st.floats(min_value=0.01, max_value=1e9)
few = st.lists(figures, min_size=1, max_size=9)


def certain(values: list[float]) -> Estimate:
    found = estimate(values)
    assert found is not None
    return found


@settings(deadline=None, max_examples=50)
@given(few)
def test_the_interval_holds_the_median_and_no_more_than_was_measured(values: list[float]) -> None:
    found = certain(values)
    assert found.median == statistics.median(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found.values == values


@settings(deadline=None, max_examples=50)
@given(few, st.randoms(use_true_random=False))
def test_the_same_runs_give_the_same_interval_again(
    values: list[float], shuffle: random.Random
) -> None:
    assert estimate(values) == estimate(values)
    other = values[:]
    shuffle.shuffle(other)
    assert certain(other).median == certain(values).median


@settings(deadline=None, max_examples=50)
@given(few, st.sampled_from([0.25, 2.0, 1024.0]))
def test_another_unit_changes_the_scale_alone(values: list[float], unit: float) -> None:
    found, scaled = certain(values), certain([value * unit for value in values])
    assert (scaled.low, scaled.high) == pytest.approx((found.low * unit, found.high * unit))


def test_nothing_measured_is_no_estimate_and_one_run_its_own_interval() -> None:
    assert estimate([]) is None
    one = certain([3.0])
    assert (one.low, one.median, one.high, one.runs) == (3.0, 3.0, 3.0, 1)


def test_the_interval_of_five_runs_covers_the_true_median_nineteen_times_of_twenty() -> None:
    noise = random.Random(7)
    covered = 0
    for _ in range(200):
        found = certain([noise.lognormvariate(0.0, 0.5) for _ in range(5)])
        covered += found.low <= 1.0 <= found.high
    # 15 of 16 in theory: both ends of five are on one side of it with a chance of 2 in 32.
    assert 170 <= covered <= 200


def test_one_wild_run_of_five_does_not_move_the_median() -> None:
    assert certain([10.0, 11.0, 10.5, 10.2, 500.0]).median == 10.5


def test_a_ratio_is_taken_within_rounds_so_that_drift_cancels_out() -> None:
    ours = {1: 10.0, 2: 20.0, 3: 40.0, 4: 80.0}
    theirs = {number: value * 2 for number, value in ours.items()}
    found = ratio(ours, theirs)
    assert found is not None
    assert (found.low, found.median, found.high) == (0.5, 0.5, 0.5)


def test_only_rounds_that_both_have_and_that_can_be_divided_by_make_a_ratio() -> None:
    found = ratio({1: 1.0, 2: 2.0, 4: 5.0}, {2: 4.0, 3: 9.0, 4: 0.0})
    assert found is not None
    assert found.values == [0.5]
    assert ratio({1: 1.0}, {2: 1.0}) is None


def judged(ours: list[float], theirs: list[float]) -> str:
    quotient = ratio(dict(enumerate(ours)), dict(enumerate(theirs)))
    return difference(certain(ours), certain(theirs), quotient)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3], "less"),
        ([2.0, 2.1, 2.2, 2.3], [1.0, 1.1, 1.2, 1.3], "more"),
        ([1.0, 1.1, 1.2, 2.2], [2.0, 2.1, 2.2, 2.3], "none"),
        ([1.0, 1.1, 1.2], [2.0, 2.1, 2.2], "unknown"),
        ([1.0], [2.0], "unknown"),
    ],
)
def test_a_difference_is_one_only_where_the_intervals_are_apart(
    ours: list[float], theirs: list[float], found: str
) -> None:
    assert judged(ours, theirs) == found


@settings(deadline=None, max_examples=50)
@given(st.lists(figures, min_size=RUNS_TO_RANK, max_size=8))
def test_nobody_differs_from_himself(values: list[float]) -> None:
    assert judged(values, values) == "none"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(figures, figures), min_size=RUNS_TO_RANK, max_size=8))
def test_if_one_is_less_the_other_is_more(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    mirrored = {"less": "more", "more": "less", "none": "none", "unknown": "unknown"}
    assert judged(theirs, ours) == mirrored[judged(ours, theirs)]


@given(
    st.floats(-1e5, 1e5),
    st.floats(-1e9, 1e9),
    st.lists(st.integers(1, 100_000), min_size=2, max_size=6, unique=True),
)
def test_a_line_through_points_on_a_line_is_that_line(
    slope: float, intercept: float, counts: list[int]
) -> None:
    found = line([(count, slope * count + intercept) for count in counts])
    assert found is not None
    assert found[0] == pytest.approx(slope, rel=1e-4, abs=0.05)
    assert found[1] == pytest.approx(intercept, rel=1e-4, abs=10.0)


def test_one_number_of_connections_is_no_line() -> None:
    assert line([(100.0, 5.0), (100.0, 6.0)]) is None
    assert line([]) is None
