"""Scales keep the order of what they place, and their ticks are round and inside."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report import axes
from loadtest.report.marks import fitting, wide

POSITIVE = st.floats(min_value=1e-6, max_value=1e12)


@given(st.lists(POSITIVE, min_size=1))
def test_a_linear_scale_begins_at_zero_and_has_room_for_all(values: list[float]) -> None:
    scale = axes.linear(values)
    assert scale.place(0) == 0
    assert all(0 <= scale.place(value) <= 1 + 1e-9 for value in values)
    assert scale.ticks[0] == 0
    assert scale.ticks[-1] == scale.high
    assert 2 <= len(scale.ticks) <= 6


@given(st.lists(POSITIVE, min_size=1))
def test_a_logarithmic_scale_has_room_for_all_and_two_ticks(values: list[float]) -> None:
    scale = axes.logarithmic(values)
    assert all(-1e-9 <= scale.place(value) <= 1 + 1e-9 for value in values)
    assert len(scale.ticks) >= 2
    assert all(-1e-3 <= scale.place(tick) <= 1 + 1e-3 for tick in scale.ticks)


@given(st.lists(POSITIVE, min_size=1, max_size=5, unique=True))
def test_at_points_every_point_is_a_tick_inside(values: list[float]) -> None:
    scale = axes.at_points(values)
    assert list(scale.ticks) == sorted(values)
    places = [scale.place(tick) for tick in scale.ticks]
    assert places == sorted(places)
    assert places[0] > 0
    assert places[-1] < 1


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([7], (0, 2, 4, 6, 8)),
        ([100], (0, 50, 100)),
        ([0.3], (0, 0.1, 0.2, 0.3)),
        ([34.1, 12], (0, 10, 20, 30, 40)),
        ([], (0, 1)),
        ([-5.0], (0, 1)),
        ([math.inf, 10], (0, 5, 10)),
    ],
)
def test_linear_ticks_are_round(values: list[float], ticks: tuple[float, ...]) -> None:
    assert axes.linear(values).ticks == ticks


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.3, 12], (0.2, 0.5, 1, 2, 5, 10, 20)),
        ([21, 38], (20, 30, 40, 50)),
        ([1, 100_000], (1, 10, 100, 1000, 10_000, 100_000)),
        ([1.0], (1, 2)),
        ([0.0, -1.0], (1, 2)),
    ],
)
def test_logarithmic_ticks_are_round(values: list[float], ticks: tuple[float, ...]) -> None:
    assert axes.logarithmic(values).ticks == ticks


def test_what_is_not_above_zero_is_at_the_end_of_a_logarithmic_scale() -> None:
    assert axes.logarithmic([1, 10]).place(0) == 0
    assert axes.logarithmic([1, 10]).place(-3) == 0


def test_every_further_nine_takes_the_same_room() -> None:
    scale = axes.nines(99.99)
    assert scale.ticks == (0, 50, 90, 99, 99.9, 99.99)
    assert [scale.place(tick) for tick in (0, 90, 99, 99.9, 99.99)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    assert 0 < scale.place(50) < 0.25
    # A hundred is further away than can be drawn, and is not asked for.
    assert axes.nines(100).high < 100


def test_labels_that_would_run_into_another_are_left_out() -> None:
    assert axes.apart([(0, 10), (20, 10), (40, 10)]) == [0, 1, 2]
    assert axes.apart([(0, 10), (36, 10), (40, 10)]) == [0, 2]
    assert axes.apart([]) == []


@given(st.text(min_size=1), st.floats(min_value=20, max_value=300))
def test_a_text_that_is_cut_has_room_and_says_that_it_is_cut(text: str, room: float) -> None:
    shown = fitting(text, room)
    assert shown == text or shown.endswith("…")
    assert wide(shown) <= room
