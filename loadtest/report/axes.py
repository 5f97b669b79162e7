"""Scales: from a figure to a place between 0 and 1, and the ticks at which a scale is read.

Three kinds: linear from zero, because a bar or a line that begins elsewhere exaggerates;
logarithmic, where figures are apart by tens; and that of percentiles, on which every further nine
takes the same room, because that is where latency happens.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

NINES = (0, 50, 90, 99, 99.9, 99.99, 99.999)
# Steps of round numbers, as parts of a power of ten.
ROUND = (1, 2, 5, 10)


class Scale(Protocol):
    """What every kind has."""

    def place(self, value: float) -> float:
        """From 0 to 1; outside of them for what is outside of the scale."""
        ...

    @property
    def ticks(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Linear:
    """From zero to `high`."""

    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        return value / self.high


@dataclass(frozen=True)
class Logarithmic:
    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """What is not above zero has no place on it, and is put at the lower end."""
        if value <= self.low:
            return 0.0
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Nines:
    """Percentiles from 0 up to `high`, which is under 100."""

    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        return _nines(value) / _nines(self.high)


def linear(values: Iterable[float], parts: int = 4) -> Linear:
    """From zero to a round number that is not under any of them, with about so many parts."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    if most <= 0:
        return Linear(1.0, (0.0, 1.0))
    step = _round_up(most / parts)
    number = math.ceil(round(most / step, 6))
    # By multiplication: sums of tenths are not round.
    ticks = tuple(round(step * place, 12) for place in range(number + 1))
    return Linear(ticks[-1], ticks)


def logarithmic(values: Iterable[float]) -> Logarithmic:
    """From a round number under all of them to one above; ticks at the powers of ten, and between
    them if those would be few."""
    known = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = _round_down(min(known)), _round_up(max(known))
    if high <= low:
        high = _round_up(low * 1.01)
    decades = math.log10(high / low)
    factors = _factors(decades)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    candidates = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    inside = [tick for tick in candidates if low * 0.999 <= tick <= high * 1.001]
    return Logarithmic(low, high, tuple(float(f"{tick:.6g}") for tick in inside))


def at_points(values: Iterable[float]) -> Logarithmic:
    """Logarithmic with a tick at each of a few given values, and room beside the outer ones."""
    known = sorted(set(values))
    spread = max(known[-1] / known[0], 2.0) ** 0.08
    return Logarithmic(known[0] / spread, known[-1] * spread, tuple(known))


def nines(highest: float) -> Nines:
    """Up to the highest percentile that there is, if that is one."""
    high = max(90.0, min(highest, 99.9999))
    return Nines(high, tuple(tick for tick in NINES if tick <= high))


def apart(places: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the labels (middle, width), in order, to print so that none runs into another: the
    last one always, then those before it that have room."""
    kept: list[int] = []
    left = math.inf
    for number in range(len(places) - 1, -1, -1):
        middle, width = places[number]
        if middle + width / 2 <= left:
            kept.append(number)
            left = middle - width / 2
    return kept[::-1]


def _factors(decades: float) -> Sequence[int]:
    """Which multiples of the powers of ten have room."""
    if decades > 3:
        return (1,)
    return (1, 2, 5) if decades > 1 else (1, 2, 3, 4, 5, 6, 8)


def _nines(percentile: float) -> float:
    return -math.log10(1 - percentile / 100)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(part * power for part in ROUND if part * power >= value * (1 - 1e-9))


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(part * power for part in ROUND if part * power <= value * (1 + 1e-9))
