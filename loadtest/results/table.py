"""The comparison on a terminal: medians with their intervals by number of connections, then why
runs do not count.

A ratio carries its finding: "=" is no difference, "?" too few rounds to tell (or Locust was the
limit), and nothing is a difference.
"""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.closed_loop.scenarios import HOLD, SCENARIOS, Scenario
from loadtest.results.estimate import RUNS_TO_RANK, Estimate
from loadtest.results.schema import Comparison, Peak, Results, Row
from loadtest.results.summary import Found, index, value

MARKS = {"less": "", "more": "", "none": "=", "unknown": "?", "client-limited": "?"}


def print_results(results: Results, console: Console) -> None:
    found = index(results.summary)
    for count in sorted({row.connections for row in results.rows}):
        _print_hold(results, found, count, console)
    print_peaks(results.peaks, results.summary, results.asked.rival, console)
    _print_slopes(results, console)
    _print_verdicts(results.rows, console)
    if any("?" in MARKS.get(entry.difference or "less", "") for entry in results.summary):
        _say(
            console,
            f"?: not ranked, for want of {RUNS_TO_RANK} rounds (--repeats) or because Locust was "
            "the limit; =: no difference",
        )


def print_peaks(
    peaks: Sequence[Peak], summary: Sequence[Comparison], rival: str, console: Console
) -> None:
    """The closed loops, a table for each, and those that failed."""
    found = index(summary)
    for scenario, count in dict.fromkeys((peak.scenario, peak.connections) for peak in peaks):
        engines = _engines([peak for peak in peaks if peak.scenario == scenario])
        _print_peak(SCENARIOS[scenario], count, engines, found, rival, console)
    for peak in peaks:
        if not peak.ok:
            _say(console, f"{_name(peak)}: failed: {peak.reason}")


def run_line(run: Row | Peak) -> str:
    """A finished run in one line: whether it counts, and its first figures."""
    if isinstance(run, Peak):
        if not run.ok:
            return f"FAILED: {run.reason}"
        each = integer_or_tenth(run.cpu_us)
        return f"{each} us of CPU an operation, {integer(run.operations_per_second)} a second"
    figures = (
        f"{integer_or_tenth(run.cpu_us_per_echo)} us of CPU an echo, "
        f"{kilobytes(run.rss_per_connection)} kB a connection, "
        f"response p99 {three_digits(value(run, 'response_ms.p99'))} ms"
    )
    return "; ".join([run.verdict, *run.reasons, *([figures] if run.ok else [])])


def integer(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def integer_or_tenth(number: float | None) -> str:
    """Three digits of something that is a few or some hundreds."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def kilobytes(number: float | None) -> str:
    return "-" if number is None else f"{number / 1000:,.1f}"


def three_digits(number: float | None) -> str:
    return "-" if number is None else f"{number:.3g}"


def _print_verdicts(rows: Sequence[Row], console: Console) -> None:
    """Every void run with its reasons; those at Locust's limit, of which there may be many, in one
    line with the first of them."""
    for row in rows:
        if row.verdict == "void":
            _say(console, f"{_name(row)}: void: {'; '.join(row.reasons)}")
    limited = [row for row in rows if row.verdict == "client-limited"]
    if limited:
        _say(
            console,
            f"client-limited: Locust was the limit in {len(limited)} of {len(rows)} runs, whose "
            f"times and rates rank nobody; {_name(limited[0])}: {'; '.join(limited[0].reasons)}",
        )


def _print_hold(results: Results, found: Found, count: int, console: Console) -> None:
    rows = [row for row in results.rows if row.connections == count]
    _say(console, f"{count:,} connections held; ratios to {results.asked.rival}")
    table = _table(
        ("runs", "held", "CPU us\n/echo", "\n95 %", "\nratio"),
        ("RSS kB\n/conn", "answer\np50 ms", "\np99 ms"),
    )
    for engine in _engines(rows):
        ours = [row for row in rows if row.engine == engine]
        good = [row for row in ours if row.ok]
        held = [held for row in ours for held in _held(row)]
        cpu = found.get((HOLD, count, "cpu_us_per_echo", engine))
        table.add_row(
            engine,
            f"{len(good)}/{len(ours)}",
            integer(min(held, default=None)),
            integer_or_tenth(_median(cpu)),
            _interval(cpu),
            _ratio(cpu),
            kilobytes(_median(found.get((HOLD, count, "rss_per_connection", engine)))),
            three_digits(_median(found.get((HOLD, count, "response_ms.p50", engine)))),
            three_digits(_median(found.get((HOLD, count, "response_ms.p99", engine)))),
            style="" if good else "red",
        )
    console.print(table)
    console.print()


def _print_peak(
    scenario: Scenario, count: int, engines: list[str], found: Found, rival: str, console: Console
) -> None:
    """The figure that a scenario is about, with its interval and ratio; then what it is made of."""
    _say(
        console,
        f"{scenario.name} over {count:,} connections: {scenario.explained}; ratios to {rival}",
    )
    figure, title, unit = _main_figure(scenario)
    table = _table(
        (title, "\n95 %", "\nratio", "CPU us/op\nuser", "\nsystem", "RSS B\n/conn", "ops\n/s"),
    )
    for engine in engines:
        main = found.get((scenario.name, count, figure, engine))
        table.add_row(
            engine,
            integer_or_tenth(_median(main, unit)),
            _interval(main, unit),
            _ratio(main),
            *(
                show(_median(found.get((scenario.name, count, name, engine))))
                for name, show in (
                    ("user_us", integer_or_tenth),
                    ("system_us", integer_or_tenth),
                    ("rss_per_connection", integer),
                    ("operations_per_second", integer),
                )
            ),
            style="" if main else "red",
        )
    console.print(table)
    console.print()


def _main_figure(scenario: Scenario) -> tuple[str, str, float]:
    """Its field in Peak, its title, and the unit that it is shown in."""
    if scenario.bulk:
        return "bytes_per_cpu_second", "MB\n/CPU-s", 1e6
    if scenario.churns:
        return "operations_per_cpu_second", "conns\n/CPU-s", 1.0
    return "cpu_us", "CPU us\n/echo", 1.0


def _print_slopes(results: Results, console: Console) -> None:
    lines = [slope for slope in results.slopes if slope.figure == "rss_held"]
    if not lines:
        return
    _say(console, "memory of the process, as a line through all numbers of connections")
    table = _table(("bytes/conn", "95 %"), ("without MB",))
    for slope in lines:
        each = slope.bytes_per_connection
        table.add_row(
            slope.engine,
            integer(each.median),
            _span(each, integer),
            f"{slope.intercept.median / 1e6:,.1f}",
        )
    console.print(table)
    console.print()


def _table(*columns: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("engine", no_wrap=True)
    for group in columns:
        for column in group:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _engines(runs: Sequence[Row] | Sequence[Peak]) -> list[str]:
    """In the order of the first round."""
    return list(dict.fromkeys(run.engine for run in runs))


def _held(row: Row) -> list[int]:
    return [held for held in (row.held_client_min, row.held_server_min) if held is not None]


def _median(found: Comparison | None, unit: float = 1.0) -> float | None:
    return found.estimate.median / unit if found else None


def _interval(found: Comparison | None, unit: float = 1.0) -> str:
    return _span(found.estimate, lambda end: integer_or_tenth(end / unit)) if found else ""


def _span(estimate: Estimate, show: Callable[[float], str]) -> str:
    if estimate.runs < 2:
        return ""
    return f"{show(estimate.low)}-{show(estimate.high)}"


def _ratio(found: Comparison | None) -> str:
    if found is None or found.ratio is None:
        return ""
    return f"{found.ratio.median:.2f}{MARKS[found.difference or 'less']}"


def _name(run: Row | Peak) -> str:
    kind = "" if isinstance(run, Row) else f"{run.scenario} "
    return f"{kind}{run.engine}, {run.connections:,}, round {run.repeat}"


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
