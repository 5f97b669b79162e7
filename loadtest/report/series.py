"""From results to the numbers of each chart, without a thought of how they are drawn.

What stands in `summary` is taken from there. Runs that do not count are in no figure; an engine
that has none is there all the same, with nothing, so that a chart can say so. The ramp is the
exception: how far a run came that failed is what one wants to see of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.results.estimate import Estimate, estimate
from loadtest.results.figures import Curve
from loadtest.results.schema import Peak, Results, Row
from loadtest.results.summary import index
from loadtest.runs.sampler import Sample


@dataclass(frozen=True)
class Point:
    """A figure at one number of connections."""

    x: float
    found: Estimate


@dataclass(frozen=True)
class Line:
    """An engine's points, from the least number of connections to the most."""

    engine: str
    points: list[Point]


@dataclass(frozen=True)
class Bar:
    """An engine's figure, if it has one; `parts` are what it is made of, and add up to about it."""

    engine: str
    found: Estimate | None
    parts: list[float]


@dataclass(frozen=True)
class Percentiles:
    """An engine's curves, one a run, and the median of the runs at each percentile."""

    engine: str
    runs: list[Curve]
    middle: list[Point]


@dataclass(frozen=True)
class Ramp:
    """Connections against seconds since the first of them, of one run."""

    engine: str
    ok: bool
    moments: list[tuple[float, int]]
    # When all were there; None if that never was.
    complete: float | None


def lines(results: Results, scenario: str, figure: str, unit: float = 1.0) -> list[Line]:
    """A figure of `summary` against the number of connections."""
    found = index(results.summary)
    return [
        Line(
            engine,
            [
                Point(count, scaled(entry.estimate, unit))
                for (kind, count, name, of), entry in sorted(found.items())
                if (kind, name, of) == (scenario, figure, engine)
            ],
        )
        for engine in results.asked.modes
    ]


def bars(
    results: Results,
    scenario: str,
    connections: int,
    figure: str,
    parts: Sequence[str] = (),
    unit: float = 1.0,
) -> list[Bar]:
    """The same at one number of connections."""
    found = index(results.summary)

    def at(name: str, engine: str) -> Estimate | None:
        entry = found.get((scenario, connections, name, engine))
        return scaled(entry.estimate, unit) if entry else None

    return [
        Bar(
            engine,
            at(figure, engine),
            [part.median for name in parts if (part := at(name, engine)) is not None],
        )
        for engine in results.asked.modes
    ]


def of_rows(
    results: Results, figure: Callable[[Row], float | None], unit: float = 1.0
) -> list[Line]:
    """A figure of the rows that `summary` does not have."""
    return [
        Line(
            engine,
            [
                Point(count, scaled(found, unit))
                for count in results.asked.connections
                if (found := estimate(_figures(results.rows, engine, count, figure))) is not None
            ],
        )
        for engine in results.asked.modes
    ]


def percentiles(results: Results, connections: int, curve: str = "response") -> list[Percentiles]:
    made = []
    for engine in results.asked.modes:
        runs = [
            row.curves[curve]
            for row in results.rows
            if row.ok
            and (row.engine, row.connections) == (engine, connections)
            and row.curves.get(curve)
        ]
        made.append(Percentiles(engine, runs, _middle(runs)))
    return made


def ramps(results: Results, connections: int) -> list[Ramp]:
    """Of every run that has more than one look at its server."""
    return [
        ramp
        for row in results.rows
        if row.connections == connections and (ramp := _ramp(row)) is not None
    ]


def counts(runs: Iterable[Row | Peak], scenario: str = "") -> list[int]:
    """The numbers of connections with a run that counts."""
    return sorted(
        {
            run.connections
            for run in runs
            if run.ok and (isinstance(run, Row) or run.scenario == scenario)
        }
    )


def limited(results: Results, connections: int) -> tuple[int, int]:
    """In how many of the runs that count Locust was the limit."""
    good = [row for row in results.rows if row.ok and row.connections == connections]
    return sum(row.verdict == "client-limited" for row in good), len(good)


def slopes(results: Results, figure: str = "rss_held") -> Mapping[str, Estimate]:
    """Bytes a connection by engine, where there are several numbers of connections."""
    return {
        slope.engine: slope.bytes_per_connection
        for slope in results.slopes
        if slope.figure == figure
    }


def scaled(found: Estimate, unit: float) -> Estimate:
    """In another unit."""
    if unit == 1:
        return found
    return Estimate(
        found.median / unit,
        found.low / unit,
        found.high / unit,
        [value / unit for value in found.values],
    )


def _figures(
    rows: Sequence[Row], engine: str, connections: int, figure: Callable[[Row], float | None]
) -> list[float]:
    return [
        number
        for row in rows
        if row.ok
        and (row.engine, row.connections) == (engine, connections)
        and (number := figure(row)) is not None
    ]


def _middle(runs: Sequence[Curve]) -> list[Point]:
    """At every percentile that all of the runs have, but for the maximum, which is none."""
    if not runs:
        return []
    shared = set.intersection(*({percentile for percentile, _ in run} for run in runs))
    known = [dict(run) for run in runs]
    found = [(p, estimate([run[p] for run in known])) for p in sorted(shared) if p < 100]
    return [Point(percentile, middle) for percentile, middle in found if middle is not None]


def _ramp(row: Row) -> Ramp | None:
    """A connection is a descriptor beyond those that the idle server had."""
    samples = row.samples
    if len(samples) < 2:
        return None
    idle = samples[0].fds
    begin = _last_idle(samples).at
    moments = [(s.at - begin, max(0, s.fds - idle)) for s in samples if s.at >= begin]
    complete = next((at for at, held in moments if held >= row.connections), None)
    return Ramp(row.engine, row.ok, moments, complete)


def _last_idle(samples: Sequence[Sample]) -> Sample:
    """The last look before the first connection."""
    idle = samples[0]
    for sample in samples:
        if sample.fds > samples[0].fds:
            return idle
        idle = sample
    return samples[0]
