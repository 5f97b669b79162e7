"""Bar charts as plain coordinates, drawn by the template as inline SVG.

A chart is as wide as a telephone (its text keeps its size there) and is placed beside others
where there is room. Each engine has a bar for the median of its runs and a dot for every run,
because a median of three hides what the three were.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.results.schema import Row

WIDTH = 340
ROW_HEIGHT = 44
BAR_TOP = 20
BAR_HEIGHT = 14


@dataclass(frozen=True)
class Bar:
    """One engine: `y` is the top of its row, `width` and `dots` are in chart units."""

    engine: str
    label: str
    y: int
    width: float
    dots: list[float]


@dataclass(frozen=True)
class Chart:
    """Bars on a scale from zero to the largest run."""

    title: str
    note: str
    height: int
    bars: list[Bar]

    @property
    def description(self) -> str:
        values = ", ".join(f"{bar.engine} {bar.label}" for bar in self.bars)
        return f"{self.title}: {values}"


def make_chart(
    title: str,
    note: str,
    by_engine: Mapping[str, Sequence[Row]],
    value: Callable[[Row], float | None],
    label: Callable[[float], str],
) -> Chart | None:
    """A chart of one figure; None where no engine has it."""
    points = {
        engine: [number for row in rows if (number := value(row)) is not None]
        for engine, rows in by_engine.items()
    }
    points = {engine: numbers for engine, numbers in points.items() if numbers}
    if not points:
        return None
    largest = max(number for numbers in points.values() for number in numbers)
    scale = WIDTH / largest if largest > 0 else 0.0
    bars = [
        _bar(place, engine, numbers, scale, label)
        for place, (engine, numbers) in enumerate(points.items())
    ]
    return Chart(title, note, height=ROW_HEIGHT * len(bars), bars=bars)


def _bar(
    place: int,
    engine: str,
    numbers: Sequence[float],
    scale: float,
    label: Callable[[float], str],
) -> Bar:
    middle = statistics.median(numbers)
    return Bar(
        engine=engine,
        label=label(middle),
        y=place * ROW_HEIGHT,
        width=round(max(0.0, middle * scale), 1),
        dots=[round(max(0.0, number * scale), 1) for number in numbers],
    )
