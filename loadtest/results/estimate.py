"""How sure a figure is: the median of a few runs, and the interval that it may lie in.

The interval is a bootstrap: draw as many runs from those measured, with replacement, take the
median, and do that many times; the middle 95 % of those medians are the interval (the percentile
method). It assumes nothing about the shape of the noise, which here has a long tail. The draws
come from a fixed seed, so the same runs give the same interval.

A difference between two engines is claimed only where their intervals are apart, and so is the
interval of their ratios from 1. For that there must be some runs: of three each, one engine has
all of the lowest by chance in one case of ten; of four each, in one of thirty-five.
"""

import functools
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Finding = Literal["less", "more", "none", "unknown"]

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 10_000
RUNS_TO_RANK = 4


@dataclass(frozen=True)
class Estimate:
    """A median with its interval, and what it was taken from. One run is its own interval."""

    median: float
    low: float
    high: float
    values: list[float]

    @property
    def runs(self) -> int:
        return len(self.values)

    def overlaps(self, other: "Estimate") -> bool:
        return self.low <= other.high and other.low <= self.high


def estimate(values: Sequence[float]) -> Estimate | None:
    """The median of what was measured; None of nothing."""
    if not values:
        return None
    return Estimate(statistics.median(values), *_interval(tuple(values)), list(values))


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """Ours by theirs, within the rounds that both have: a machine whose speed drifts between
    rounds drifts for both, and cancels out.

    Between the two middle ones of an even number of rounds it is the geometric mean, so that
    twice as much and half as much are the same finding, whoever is the rival.
    """
    rounds = [number for number in sorted(ours) if theirs.get(number)]
    quotients = [ours[number] / theirs[number] for number in rounds]
    if not quotients or min(quotients) <= 0:
        return estimate(quotients)  # memory that shrank, say
    logs = estimate([math.log(quotient) for quotient in quotients])
    assert logs is not None
    return Estimate(math.exp(logs.median), math.exp(logs.low), math.exp(logs.high), quotients)


def difference(ours: Estimate, theirs: Estimate, quotient: Estimate | None) -> Finding:
    """Whether ours is less or more than theirs, as far as so many runs can tell."""
    if quotient is None or quotient.runs < RUNS_TO_RANK:
        return "unknown"
    if ours.overlaps(theirs) or quotient.low <= 1 <= quotient.high:
        return "none"
    return "less" if ours.median < theirs.median else "more"


@functools.cache
def _interval(values: tuple[float, ...]) -> tuple[float, float]:
    """Kept, for the same runs are asked about again and again: beside each rival, in each table."""
    if min(values) == max(values):
        return values[0], values[0]
    draw = random.Random(SEED).choices
    medians = sorted(statistics.median(draw(values, k=len(values))) for _ in range(RESAMPLES))
    tail = round((1 - CONFIDENCE) / 2 * (len(medians) - 1))
    return medians[tail], medians[-1 - tail]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Slope and intercept of the line through the points (x, y) by least squares; None unless
    there are two x at least."""
    if len({x for x, _ in points}) < 2:
        return None
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    return slope, intercept
