"""Histograms: true to three digits, exact in sum, and silent about what they cannot know."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.client.times import Times

MICROSECOND = 1e-6
seconds = st.floats(min_value=MICROSECOND, max_value=3000.0)


def recorded(*values: float, name: str = "ECHO service") -> Times:
    times = Times()
    for value in values:
        times.record(name, value)
    return times


@settings(deadline=None, max_examples=40)
@given(st.lists(seconds, min_size=1, max_size=200))
def test_a_percentile_is_a_recorded_time_to_three_digits(values: list[float]) -> None:
    summary = recorded(*values).summary("ECHO service")
    for key, fraction in (("p50", 0.50), ("p90", 0.90), ("p99", 0.99)):
        rank = max(1, math.floor(fraction * len(values) + 0.5))
        expected = sorted(values)[rank - 1] * 1000
        assert summary[key] == pytest.approx(expected, rel=0.002, abs=0.001)
    assert summary["count"] == len(values)
    assert summary["max"] == pytest.approx(max(values) * 1000, rel=0.002, abs=0.001)


@settings(deadline=None, max_examples=40)
@given(st.lists(seconds, max_size=50), st.lists(seconds, max_size=50))
def test_two_processes_add_up_to_what_one_would_have_recorded(
    ours: list[float], theirs: list[float]
) -> None:
    together = recorded(*ours)
    together.add(recorded(*theirs).encode())
    alone = recorded(*ours, *theirs)
    assert together.summary("ECHO service")["count"] == len(ours) + len(theirs)
    a, b = together.curve("ECHO service"), alone.curve("ECHO service")
    assert [percentile for percentile, _ in a] == [percentile for percentile, _ in b]
    # What travels is the bucket of the maximum, to the same three digits as all else.
    assert [ms for _, ms in a] == pytest.approx([ms for _, ms in b], rel=0.002)


@settings(deadline=None, max_examples=40)
@given(st.lists(seconds, min_size=1, max_size=300))
def test_a_curve_rises_and_ends_at_the_maximum(values: list[float]) -> None:
    times = recorded(*values)
    curve = times.curve("ECHO service")
    assert curve == sorted(curve)
    assert [ms for _, ms in curve] == sorted(ms for _, ms in curve)
    assert curve[-1] == (100.0, times.summary("ECHO service")["max"])


@pytest.mark.parametrize(("count", "known"), [(999, False), (1000, True)])
def test_a_far_percentile_needs_a_sample_beyond_it(count: int, known: bool) -> None:
    times = recorded(*[0.001] * count)
    assert (times.summary("ECHO service")["p99.9"] is not None) == known
    assert (99.9 in dict(times.curve("ECHO service"))) == known


def test_nothing_recorded_is_nothing_known() -> None:
    times = Times()
    assert times.summary("ECHO service")["count"] == 0
    assert set(times.summary("ECHO service").values()) == {0, None}
    assert times.curve("ECHO service") == []


def test_a_time_beyond_the_scale_counts_as_its_end() -> None:
    times = recorded(-1.0, 0.0, 10_000.0)
    summary = times.summary("ECHO service")
    assert summary["count"] == 3
    assert summary["max"] == 3_600_000


def test_what_is_forgotten_starts_from_nothing_and_the_rest_stays() -> None:
    times = recorded(1.0, name="CONNECT echo")
    times.record("ECHO service", 1.0)
    times.forget(["ECHO service", "never heard of"])
    assert times.names() == ["CONNECT echo"]
    assert times.count("ECHO service") == 0
