"""From runs to findings: each figure's median and interval, its ratio to the rival, and slopes.

Void runs enter nothing. Runs in which the client was the limit enter everything, but no engine is
said to be better than another by a figure of the client's side that such a run is part of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from loadtest.closed_loop.scenarios import HOLD
from loadtest.results.estimate import Estimate, difference, estimate, line, ratio
from loadtest.results.schema import Comparison, Difference, Peak, Row, Slope

SERVER_FIGURES = (
    "cpu_us_per_echo",
    "user_us_per_echo",
    "system_us_per_echo",
    "rss_per_connection",
    "threads",
    "voluntary_switches_per_second",
    "involuntary_switches_per_second",
)
CLIENT_FIGURES = (
    "ramp_seconds",
    "achieved_per_second",
    "connect_ms.p50",
    "connect_ms.p99",
    "response_ms.p50",
    "response_ms.p99",
    "response_ms.p99.9",
    "service_ms.p50",
    "service_ms.p99",
    "service_ms.p99.9",
)
PEAK_FIGURES = (
    "cpu_us",
    "user_us",
    "system_us",
    "operations_per_second",
    "bytes_per_cpu_second",
    "operations_per_cpu_second",
    "rss_per_connection",
)
SLOPE_FIGURES = ("rss_held", "pss_held", "tcp_buffers", "kernel_slab")


# Scenario, connections, figure and engine -> what was found.
Found = dict[tuple[str, int, str, str], Comparison]


@dataclass
class _Cell:
    """What the rounds of one engine at one number of connections gave for one figure."""

    values: dict[int, float] = field(default_factory=dict)
    limited: bool = False


# (scenario, connections, figure) -> engine -> what it gave.
_Cells = dict[tuple[str, int, str], dict[str, _Cell]]


def compare_runs(rows: Sequence[Row], peaks: Sequence[Peak], rival: str) -> list[Comparison]:
    """Every figure that was measured, by scenario, number of connections and engine."""
    return [
        _compare(place, engine, cells, rival)
        for place, cells in _cells(rows, peaks).items()
        for engine in cells
    ]


def index(summary: Sequence[Comparison]) -> Found:
    """By what each is of."""
    return {
        (entry.scenario, entry.connections, entry.figure, entry.engine): entry for entry in summary
    }


def slopes(rows: Sequence[Row]) -> list[Slope]:
    """What a connection costs in memory, for each engine with several numbers of them."""
    engines = dict.fromkeys(row.engine for row in rows if row.ok)
    found = (_slope(rows, engine, figure) for engine in engines for figure in SLOPE_FIGURES)
    return [slope for slope in found if slope is not None]


def value(run: Row | Peak, figure: str) -> float | None:
    """A figure by its name; "response_ms.p99" is a percentile."""
    name, _, key = figure.partition(".")
    found = getattr(run, name)
    if key and found is not None:
        found = found.get(key)
    return None if found is None else float(found)


def _cells(rows: Sequence[Row], peaks: Sequence[Peak]) -> _Cells:
    cells: _Cells = {}
    for scenario, run, figure in _figures(rows, peaks):
        number = value(run, figure)
        if number is not None:
            engines = cells.setdefault((scenario, run.connections, figure), {})
            cell = engines.setdefault(run.engine, _Cell())
            cell.values[run.repeat] = number
            limited = isinstance(run, Row) and run.verdict == "client-limited"
            cell.limited |= limited and figure in CLIENT_FIGURES
    return cells


def _figures(rows: Sequence[Row], peaks: Sequence[Peak]) -> Iterator[tuple[str, Row | Peak, str]]:
    """Scenario, run and figure, for every run that counts."""
    for row in rows:
        if row.ok:
            for figure in (*SERVER_FIGURES, *CLIENT_FIGURES):
                yield HOLD, row, figure
    for peak in peaks:
        if peak.ok:
            for figure in PEAK_FIGURES:
                yield peak.scenario, peak, figure


def _compare(
    place: tuple[str, int, str], engine: str, cells: dict[str, _Cell], rival: str
) -> Comparison:
    scenario, connections, figure = place
    ours = cells[engine]
    middle = _certain(estimate(_in_order(ours)))
    quotient: Estimate | None = None
    finding: Difference | None = None
    if engine != rival and rival in cells:
        theirs = cells[rival]
        quotient = ratio(ours.values, theirs.values)
        finding = difference(middle, _certain(estimate(_in_order(theirs))), quotient)
        if ours.limited or theirs.limited:
            finding = "client-limited"
    return Comparison(scenario, figure, engine, connections, middle, rival, quotient, finding)


def _slope(rows: Sequence[Row], engine: str, figure: str) -> Slope | None:
    rounds: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        held = value(row, figure) if row.ok and row.engine == engine else None
        if held is not None:
            rounds.setdefault(row.repeat, []).append((row.connections, held))
    lines = [found for repeat in sorted(rounds) if (found := line(rounds[repeat])) is not None]
    if not lines:
        return None
    return Slope(
        figure=figure,
        engine=engine,
        connections=sorted({int(count) for points in rounds.values() for count, _ in points}),
        bytes_per_connection=_certain(estimate([slope for slope, _ in lines])),
        intercept=_certain(estimate([intercept for _, intercept in lines])),
    )


def _in_order(cell: _Cell) -> list[float]:
    return [cell.values[repeat] for repeat in sorted(cell.values)]


def _certain(found: Estimate | None) -> Estimate:
    if found is None:
        raise AssertionError("a cell is there because it has a value")
    return found
