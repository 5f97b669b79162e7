"""The three forms that a chart of the report can have: bars, lines over a scale, and lines in time.

All show the median of the runs, its interval as a whisker, and every run as a dot of its own (or a
line of its own, where a run is a line): a median of three hides what the three were. Each has its
legend in itself, so that it can be cut out and still be read.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.report import marks
from loadtest.report.axes import Scale, apart, linear
from loadtest.report.looks import looks
from loadtest.report.marks import WIDTH, Drawing, Frame, Mark, Path, Text
from loadtest.report.series import Bar, Line, Percentiles
from loadtest.report.words import with_interval

Label = Callable[[float], str]

LINE = 17
PLOT_HEIGHT = 210
RIGHT = 14
BAR_ROW = 38
BAR_TOP = 18
BAR_HEIGHT = 13
# Between the symbols of two engines at the same number of connections, at most.
DODGE = 6.0


@dataclass(frozen=True)
class Axis:
    """A scale with what is written on it."""

    scale: Scale
    title: str
    label: Label


@dataclass(frozen=True)
class Curve:
    """A line of its own colour: `points` carry symbols, dots and whiskers if `marked`; `thin` are
    single runs, and `failed` says which of those ended before their time."""

    engine: str
    middle: list[tuple[float, float]] = field(default_factory=list)
    whiskers: list[tuple[float, float, float]] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    thin: list[list[tuple[float, float]]] = field(default_factory=list)
    failed: list[tuple[float, float]] = field(default_factory=list)
    symbols: list[tuple[float, float]] = field(default_factory=list)


def bar_plot(
    title: str,
    bars: Sequence[Bar],
    label: Label,
    unit: str,
    parts: Sequence[str] = (),
    look: int | None = None,
) -> Drawing:
    """A row for each engine: name and figure, and the bar under both. Bars that are of no engine
    all have the given look."""
    numbers = _looks([bar.engine for bar in bars])
    if look is not None:
        numbers = dict.fromkeys(numbers, look)
    values = [v for bar in bars if bar.found for v in (*bar.found.values, bar.found.high)]
    scale = linear(values)
    top = LINE + 4 if parts else 0
    frame = Frame(2, top, WIDTH - 2 - RIGHT, BAR_ROW * len(bars))
    drawn: list[Mark] = [*_part_legend(parts)]
    drawn += _level_axis(frame, scale, unit)
    for place, bar in enumerate(bars):
        drawn += _bar(frame, top + place * BAR_ROW, bar, scale, numbers[bar.engine], label)
    told = [f"{bar.engine} {_figure(bar, label)}" for bar in bars]
    return Drawing(frame.bottom + 2 * LINE + 6, title, f"{unit}: {'; '.join(told)}", drawn)


def line_plot(
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    curves: Sequence[Curve],
    legend: Mapping[str, str],
    height: float = PLOT_HEIGHT,
    dodge: float = 0.0,
) -> Drawing:
    """Any lines over any two scales; the legend says what each is."""
    numbers = _looks(list(legend))
    rows = math.ceil(len(legend) / 2)
    labels = [y.label(value) for value in y.scale.ticks]
    left = max(map(marks.wide, labels)) + 8
    frame = Frame(left, (rows + 1) * LINE + 10, WIDTH - left - RIGHT, height)
    drawn: list[Mark] = [*_legend(legend, numbers)]
    drawn += _upright_axis(frame, y, labels)
    drawn += _bottom_axis(frame, x)
    for place, curve in enumerate(curves):
        shift = (place - (len(curves) - 1) / 2) * dodge
        drawn += _curve(frame, x.scale, y.scale, curve, numbers[curve.engine], shift)
    return Drawing(frame.bottom + 2 * LINE + 6, title, description, drawn)


def over_connections(
    title: str, x: Axis, y: Axis, lines: Sequence[Line], legend: Mapping[str, str]
) -> Drawing:
    """A figure against the number of connections, the engines side by side at each."""
    there = [line for line in lines if line.points]
    curves = [
        Curve(
            line.engine,
            middle=[(point.x, point.found.median) for point in line.points],
            symbols=[(point.x, point.found.median) for point in line.points],
            whiskers=[
                (point.x, point.found.low, point.found.high)
                for point in line.points
                if point.found.runs > 1
            ],
            dots=[
                (point.x, value)
                for point in line.points
                if point.found.runs > 1
                for value in point.found.values
            ],
        )
        for line in there
    ]
    told = [
        f"{line.engine} "
        + ", ".join(f"{y.label(p.found.median)} at {x.label(p.x)}" for p in line.points)
        for line in there
    ]
    room = _room(x.scale) * (WIDTH - 70)
    dodge = min(DODGE, 0.6 * room / max(1, len(there)))
    return line_plot(title, f"{y.title}: {'; '.join(told)}", x, y, curves, legend, dodge=dodge)


def percentile_plot(
    title: str, x: Axis, y: Axis, found: Sequence[Percentiles], legend: Mapping[str, str]
) -> Drawing:
    """Time against percentile: the median of the runs, and each run thin beside it."""
    ticks = set(x.scale.ticks)
    there = [one for one in found if one.middle]
    curves = [
        Curve(
            one.engine,
            middle=[(point.x, point.found.median) for point in one.middle],
            thin=[[(p, ms) for p, ms in run if p < 100] for run in one.runs]
            if len(one.runs) > 1
            else [],
            symbols=[(p.x, p.found.median) for p in one.middle if p.x in ticks],
            whiskers=[
                (p.x, p.found.low, p.found.high)
                for p in one.middle
                if p.x in ticks and p.found.runs > 1
            ],
        )
        for one in there
    ]
    told = [
        f"{one.engine} "
        + ", ".join(f"p{p.x:g} {y.label(p.found.median)}" for p in one.middle if p.x in ticks)
        for one in there
    ]
    return line_plot(title, f"{y.title}: {'; '.join(told)}", x, y, curves, legend)


def _looks(engines: Sequence[str]) -> dict[str, int]:
    return looks(list(dict.fromkeys(engines)))


def _room(scale: Scale) -> float:
    """Between the two ticks that are nearest to each other."""
    places = sorted(scale.place(value) for value in scale.ticks)
    return min((b - a for a, b in itertools.pairwise(places)), default=1.0)


def _figure(bar: Bar, label: Label) -> str:
    if bar.found is None:
        return "no run counts"
    return with_interval(bar.found, lambda value: label(value or 0.0))


def _bar(frame: Frame, top: float, bar: Bar, scale: Scale, look: int, label: Label) -> list[Mark]:
    missing = "" if bar.found else "absent"
    told = _figure(bar, label)
    name = marks.fitting(bar.engine, frame.width - marks.wide(told) - marks.CHARACTER)
    drawn: list[Mark] = [
        Text(frame.left, top + 13, name, css=missing),
        Text(frame.right, top + 13, told, "end", missing),
    ]
    if bar.found is None:
        return drawn
    begin, y = 0.0, top + BAR_TOP
    parts = bar.parts if len(bar.parts) > 1 else [bar.found.median]
    for place, part in enumerate(parts):
        end = max(begin, begin + part)
        left, right = frame.x(scale.place(begin)), frame.x(min(1.0, scale.place(end)))
        css = f"bar part-{place} look-{look}"
        drawn.append(marks.rectangle(left, y, max(0.0, right - left), BAR_HEIGHT, css))
        begin = end
    middle = y + BAR_HEIGHT / 2
    if bar.found.runs > 1:
        low, high = (frame.x(_within(scale, end)) for end in (bar.found.low, bar.found.high))
        drawn.append(marks.level_whisker(middle, low, high))
        drawn += [
            marks.dot(frame.x(_within(scale, value)), middle, look) for value in bar.found.values
        ]
    return drawn


def _within(scale: Scale, value: float) -> float:
    return min(1.0, max(0.0, scale.place(value)))


def _part_legend(parts: Sequence[str]) -> list[Mark]:
    drawn: list[Mark] = []
    left = 2.0
    for place, name in enumerate(parts):
        drawn.append(marks.rectangle(left, 3, 11, 11, f"bar part-{place} neutral"))
        drawn.append(Text(left + 16, 13, name))
        left += 16 + marks.wide(name) + 14
    return drawn


def tick(value: float) -> str:
    """As it stands beside an axis: in full, with no more digits than it has."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _level_axis(frame: Frame, scale: Scale, unit: str) -> list[Mark]:
    """Of bars: ticks under all of them."""
    drawn: list[Mark] = []
    labels = [tick(value) for value in scale.ticks]
    places = [
        (frame.x(scale.place(value)), marks.wide(label))
        for value, label in zip(scale.ticks, labels, strict=True)
    ]
    for x, _ in places:
        drawn.append(
            Path(f"M{marks.number(x)} {marks.number(frame.top)}V{frame.bottom + 3}", "grid")
        )
    drawn += _tick_texts(frame, places, labels)
    drawn.append(Text(frame.right, frame.bottom + 2 * LINE, unit, "end", "soft"))
    return drawn


def _tick_texts(
    frame: Frame, places: Sequence[tuple[float, float]], labels: Sequence[str]
) -> list[Mark]:
    """Under a frame, kept within the drawing, and those left out that would run into another."""
    inside = [
        (min(max(x, width / 2), WIDTH - width / 2), width + marks.CHARACTER) for x, width in places
    ]
    return [
        Text(inside[place][0], frame.bottom + LINE, labels[place], "middle", "soft")
        for place in apart(inside)
    ]


def _legend(legend: Mapping[str, str], numbers: Mapping[str, int]) -> list[Mark]:
    """Two columns, in the order of the engines, at the top."""
    drawn: list[Mark] = []
    for place, (engine, text) in enumerate(legend.items()):
        x, y = (place % 2) * WIDTH / 2, (place // 2) * LINE + 9
        look = numbers[engine]
        drawn.append(marks.polyline([(x + 1, y), (x + 25, y)], f"middle look-{look}"))
        drawn.append(marks.symbol(x + 13, y, look))
        drawn.append(Text(x + 31, y + 4, marks.fitting(text, WIDTH / 2 - 31)))
    return drawn


def _upright_axis(frame: Frame, axis: Axis, labels: Sequence[str]) -> list[Mark]:
    drawn: list[Mark] = [Text(0, frame.top - 10, axis.title, css="soft")]
    for value, label in zip(axis.scale.ticks, labels, strict=True):
        y = frame.y(axis.scale.place(value))
        drawn.append(marks.polyline([(frame.left, y), (frame.right, y)], "grid"))
        drawn.append(Text(frame.left - 6, y + 4, label, "end", "soft"))
    return drawn


def _bottom_axis(frame: Frame, axis: Axis) -> list[Mark]:
    places, labels = [], []
    drawn: list[Mark] = []
    for value in axis.scale.ticks:
        x = frame.x(axis.scale.place(value))
        drawn.append(marks.polyline([(x, frame.bottom), (x, frame.bottom + 4)], "axis"))
        places.append((x, marks.wide(axis.label(value))))
        labels.append(axis.label(value))
    bottom = [(frame.left, frame.bottom), (frame.right, frame.bottom)]
    drawn.append(marks.polyline(bottom, "axis"))
    drawn += _tick_texts(frame, places, labels)
    drawn.append(Text(frame.right, frame.bottom + 2 * LINE, axis.title, "end", "soft"))
    return drawn


def _curve(frame: Frame, x: Scale, y: Scale, curve: Curve, look: int, shift: float) -> list[Mark]:
    def at(point: tuple[float, float]) -> tuple[float, float]:
        return frame.x(_within(x, point[0])) + shift, frame.y(_within(y, point[1]))

    drawn: list[Mark] = [
        marks.polyline([at(point) for point in run], f"thin look-{look}")
        for run in curve.thin
        if len(run) > 1
    ]
    if len(curve.middle) > 1:
        drawn.append(marks.polyline([at(p) for p in curve.middle], f"middle look-{look}"))
    for place, low, high in curve.whiskers:
        (left, bottom), (_, top) = at((place, low)), at((place, high))
        drawn.append(marks.upright_whisker(left, bottom, top, look))
    drawn += [marks.dot(*at(point), look) for point in curve.dots]
    drawn += [marks.symbol(*at(point), look) for point in curve.symbols]
    drawn += [marks.cross(*at(point), look) for point in curve.failed]
    return drawn
