"""`report.html`: one file that opens offline, with the answer first.

All text that varies (reasons, commands, names of CPUs) is data to the template, which escapes
it. Medians are over the good runs of an engine; failed runs are listed with their reasons and
enter no figure.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2

from loadtest.report import charts
from loadtest.report.charts import Chart, make_chart
from loadtest.results import table
from loadtest.results.figures import Summary
from loadtest.results.schema import Results, Row

Value = Callable[[Row], float | None]
Show = Callable[[float | None], str]
# With fewer runs of each, an order of engines may be chance, and is not called a result.
RUNS_TO_RANK = 3
PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


@dataclass(frozen=True)
class Line:
    """One figure for each engine, ready to print."""

    name: str
    cells: list[str]


def write_report(results: Results, path: Path) -> None:
    path.write_text(render(results), encoding="utf-8")


def render(results: Results) -> str:
    results = largest(results)
    by_engine = _good_rows(results.rows)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        results=results,
        connections=max(results.asked.connections),
        answer=answer(results),
        charts=_charts(by_engine),
        geometry=charts,
        engines=list(by_engine),
        lines=_lines(by_engine),
        failed=[row for row in results.rows if not row.ok],
        noted=[row for row in results.rows if row.ok and row.reasons],
        commands=_commands(results.rows),
    )


def largest(results: Results) -> Results:
    """The rows at the largest number of connections alone."""
    most = max(results.asked.connections)
    return replace(results, rows=[row for row in results.rows if row.connections == most])


def answer(results: Results) -> str:
    """The comparison in one sentence."""
    by_engine = _good_rows(results.rows)
    failed = list(dict.fromkeys(row.engine for row in results.rows if not row.ok))
    held = f"{max(results.asked.connections):,} connections"
    failing = f"{_join(failed)} did not hold {held} through every run (see below)"
    if not by_engine:
        return f"{failing[0].upper()}{failing[1:]}." if failed else "Nothing was measured."
    parts = [f"{_join(list(by_engine))} held {held} with every echo verified"]
    costs = {
        engine: sorted(row.cpu_us_per_echo for row in rows if row.cpu_us_per_echo is not None)
        for engine, rows in by_engine.items()
    }
    costs = {engine: numbers for engine, numbers in costs.items() if numbers}
    if costs:
        parts.append(_cost(costs))
    if failed:
        parts.append(failing)
    return "; ".join(parts) + "."


def median(rows: Sequence[Row], value: Value) -> float | None:
    """Of the runs that have this figure."""
    numbers = [number for row in rows if (number := value(row)) is not None]
    return statistics.median(numbers) if numbers else None


def _cost(costs: Mapping[str, Sequence[float]]) -> str:
    """CPU per echo by engine, cheapest first, and whether that order means anything."""
    order = sorted(costs, key=lambda engine: statistics.median(costs[engine]))
    each = _join(
        [f"{statistics.median(costs[engine]):.0f} µs of CPU on {engine}" for engine in order]
    )
    told = f"an echo cost the server {each}"
    if len(order) < 2:
        return told
    best, second = costs[order[0]], costs[order[1]]
    if min(len(best), len(second)) < RUNS_TO_RANK:
        return f"{told} (too few runs to rank them: --repeats {RUNS_TO_RANK})"
    if max(best) >= min(second):
        return f"{told} (no clear difference between {order[0]} and {order[1]}: their runs overlap)"
    return f"{told} ({order[0]} the least in every run)"


def _join(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _good_rows(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.ok:
            found.setdefault(row.engine, []).append(row)
    return found


def _charts(by_engine: Mapping[str, Sequence[Row]]) -> list[Chart]:
    made = [
        make_chart(
            "Server CPU per echo",
            "user and system time of the server process, microseconds; less is better",
            by_engine,
            lambda row: row.cpu_us_per_echo,
            lambda value: f"{value:,.0f} µs",
        ),
        make_chart(
            "Memory per connection",
            "growth of the server's resident memory, kB; less is better",
            by_engine,
            lambda row: row.rss_per_connection,
            lambda value: f"{value / 1000:,.1f} kB",
        ),
        make_chart(
            "Response time, p99",
            "from when a message was due, milliseconds, Locust's own lag included; less is better",
            by_engine,
            _of("response_ms", "p99"),
            lambda value: f"{value:.3g} ms",
        ),
    ]
    return [chart for chart in made if chart is not None]


def _lines(by_engine: Mapping[str, Sequence[Row]]) -> list[Line]:
    return [
        Line("good runs", [str(len(rows)) for rows in by_engine.values()]),
        *(
            Line(name, [show(median(rows, value)) for rows in by_engine.values()])
            for name, value, show in _figures()
        ),
    ]


def _figures() -> list[tuple[str, Value, Show]]:
    """What the table lists: a name, where it comes from, how it is printed."""
    integer = table.integer
    return [
        ("held, client's side", lambda row: row.held_client_min, integer),
        ("held, server's side", lambda row: row.held_server_min, integer),
        ("seconds to hold all", lambda row: row.ramp_seconds, _decimal),
        ("connect p50, ms", _of("connect_ms", "p50"), table.three_digits),
        ("connect p99, ms", _of("connect_ms", "p99"), table.three_digits),
        ("echoes/s offered", lambda row: row.offered_per_second, integer),
        ("echoes/s achieved", lambda row: row.achieved_per_second, integer),
        ("CPU per echo, µs", lambda row: row.cpu_us_per_echo, integer),
        ("CPU user, s", lambda row: row.cpu_user, _decimal),
        ("CPU system, s", lambda row: row.cpu_system, _decimal),
        ("memory per connection, bytes", lambda row: row.rss_per_connection, integer),
        ("threads", lambda row: row.threads, integer),
        ("switches/s, voluntary", lambda row: row.voluntary_switches_per_second, integer),
        ("switches/s, involuntary", lambda row: row.involuntary_switches_per_second, integer),
        *(
            (f"response {key}, ms", _of("response_ms", key), table.three_digits)
            for key in PERCENTILES
        ),
        *(
            (f"service {key}, ms", _of("service_ms", key), table.three_digits)
            for key in PERCENTILES
        ),
        ("Locust CPU, %", lambda row: row.client_cpu_percent, integer),
        ("Locust lag p99, ms", _of("hub_lag_ms", "p99"), table.three_digits),
    ]


def _of(field: str, key: str) -> Value:
    """A percentile of one of the row's summaries."""

    def value(row: Row) -> float | None:
        summary: Summary | None = getattr(row, field)
        return summary.get(key) if summary else None

    return value


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _commands(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The commands of the first run of each engine."""
    commands: dict[str, tuple[str, str]] = {}
    for row in rows:
        commands.setdefault(
            row.engine, (" ".join(row.server_command), " ".join(row.locust_command))
        )
    return list(commands.values())
