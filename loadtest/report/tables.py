"""The tables of the report: every figure that was measured, every run with its verdict.

A cell of a figure is the median over the runs that count, with its interval; what was not measured
is a dash. Errors are the exception: those of runs that do not count are counted too, for they are
why.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from loadtest.closed_loop.scenarios import HOLD, SCENARIOS
from loadtest.report.answer import ECHO, largest, tallies
from loadtest.report.words import (
    FINDINGS,
    UNKNOWN,
    Show,
    digits,
    integer,
    interval,
    listed,
    megabytes,
    memory,
    quotient,
)
from loadtest.results.estimate import Estimate, estimate
from loadtest.results.schema import Comparison, Peak, Results, Row
from loadtest.results.summary import Found, index, value

Run = Row | Peak
PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


@dataclass(frozen=True)
class Cell:
    """`aside` is smaller: an interval, a finding; `css` says how it stands out."""

    text: str
    aside: str = ""
    css: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a table; one without cells is the heading of those after it."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """`shown` at once, or only when asked for."""

    title: str
    head: list[str]
    lines: list[Line]
    note: str = ""
    shown: bool = False
    css: str = ""

    def head_css(self, place: int) -> str:
        """A column of words has its heading where they begin."""
        cells = next((line.cells for line in self.lines if line.cells), [])
        return "words" if 0 < place <= len(cells) and cells[place - 1].css == "words" else ""


@dataclass(frozen=True)
class Figure:
    """One line of a table of figures: what it is called, where it is, how it is written."""

    name: str
    get: Callable[[Run], float | None]
    show: Show = digits
    # Its field, if it is one of Row or Peak; with a percentile after a dot.
    field: str = ""


@dataclass(frozen=True)
class Group:
    title: str
    figures: list[Figure] = field(default_factory=list)


def glance(results: Results) -> Table:
    """What most readers want, one engine a line, at the numbers of connections of the answer."""
    most = largest(results.rows)
    loops = largest([peak for peak in results.peaks if peak.scenario == ECHO])
    found = index(results.summary)
    scenario, count, cost = (
        (ECHO, loops, "cpu_us") if loops is not None else (HOLD, most, "cpu_us_per_echo")
    )
    cost_of = "closed loop" if loops is not None else "held load"
    head = ["engine", f"CPU an echo, {cost_of}", f"to {results.asked.rival}"]
    head += ["memory a connection", "rounds that count", "held at the least"]
    head += ["response p99, held load"]
    lines = []
    for engine in results.asked.modes:
        entry = found.get((scenario, count or 0, cost, engine))
        cells = [
            _figure(entry.estimate if entry else None, digits, " µs"),
            _against(entry),
            _memory(results, found, engine, most),
            _rounds(results, engine, most),
            _held(results, engine, most),
            _response(found.get((HOLD, most or 0, "response_ms.p99", engine)), results, most),
        ]
        lines.append(Line(engine, cells))
    return Table("At a glance", head, lines, shown=True)


def held_loads(results: Results) -> list[Table]:
    """A table for each number of connections, the largest first."""
    counts = sorted({row.connections for row in results.rows}, reverse=True)
    return [
        _figures_table(
            f"Held load: {count:,} connections",
            results.asked.modes,
            [row for row in results.rows if row.connections == count],
            _row_groups(),
            shown=count == counts[0],
        )
        for count in counts
    ]


def closed_loops(results: Results) -> list[Table]:
    """A table for each scenario and number of connections."""
    places = {(peak.scenario, peak.connections) for peak in results.peaks}
    return [
        _figures_table(
            f"Closed loop {scenario}: {count:,} connections",
            results.asked.modes,
            [p for p in results.peaks if (p.scenario, p.connections) == (scenario, count)],
            _peak_groups(),
            note=SCENARIOS[scenario].explained if scenario in SCENARIOS else "",
        )
        for scenario, count in sorted(places, key=_in_order)
    ]


def slopes(results: Results) -> Table | None:
    """What one more connection takes, and what the process takes without any."""
    if not results.slopes:
        return None
    lines: list[Line] = []
    for figure, title in (
        ("rss_held", "resident (RSS) of the server"),
        ("pss_held", "proportional (PSS) of the server"),
        ("tcp_buffers", "socket buffers of the machine"),
        ("kernel_slab", "kernel slab of the machine"),
    ):
        for part in ("bytes_per_connection", "intercept"):
            cells = [
                _figure(
                    next(
                        (
                            getattr(slope, part)
                            for slope in results.slopes
                            if (slope.figure, slope.engine) == (figure, engine)
                        ),
                        None,
                    ),
                    memory,
                )
                for engine in results.asked.modes
            ]
            what = "a connection" if part == "bytes_per_connection" else "without connections"
            lines.append(Line(f"{title}, {what}", cells))
    return Table(
        "Memory as a line through all numbers of connections",
        ["figure", *results.asked.modes],
        lines,
        note=f"least squares through {_points(results)} connections in each round, then the median "
        "of the rounds; what the machine's kernel takes is of both ends",
    )


def _points(results: Results) -> str:
    """Through which numbers of connections the lines go, where engines differ by engine."""
    engines: dict[str, list[str]] = {}
    for slope in results.slopes:
        if slope.figure == "rss_held":
            counts = ", ".join(f"{count:,}" for count in slope.connections)
            engines.setdefault(counts, []).append(slope.engine)
    if len(engines) == 1:
        return next(iter(engines))
    return "; ".join(f"{counts} ({', '.join(names)})" for counts, names in engines.items())


def differences(results: Results) -> list[Table]:
    """Every ratio to the rival with its interval, and what may be said of it."""
    rival = results.asked.rival
    others = [engine for engine in results.asked.modes if engine != rival]
    places = {(entry.scenario, entry.connections) for entry in results.summary}
    found = index(results.summary)
    titles = _titles()
    return [
        Table(
            f"Ratios to {rival}: {_scenario(scenario)}, {count:,} connections",
            ["figure", rival, *others],
            _ratio_lines(found, titles, scenario, count, [rival, *others]),
        )
        for scenario, count in sorted(places, key=_in_order)
        if others
    ]


def verdicts(results: Results) -> Table:
    """Every run that was tried, in the order in which they ran."""
    lines = [
        Line(
            f"{row.engine}, {row.connections:,}, round {row.repeat}",
            [
                Cell(row.verdict, css=_css(row)),
                Cell("; ".join(row.reasons) or UNKNOWN, css="words"),
                Cell(integer(row.held_client_min)),
                Cell(integer(row.held_server_min)),
                Cell(integer(row.lost)),
                Cell(_errors(row), css="words"),
                Cell(integer(row.server_exit_status)),
                Cell(_moment(row.started)),
            ],
        )
        for row in results.rows
    ]
    lines += [
        Line(
            f"{peak.scenario} {peak.engine}, {peak.connections:,}, round {peak.repeat}",
            [
                Cell("valid" if peak.ok else "failed", css="" if peak.ok else "bad"),
                Cell(peak.reason or UNKNOWN, css="words"),
                *[Cell(UNKNOWN)] * 3,
                Cell(UNKNOWN, css="words"),
                Cell(UNKNOWN),
                Cell(_moment(peak.started)),
            ],
        )
        for peak in results.peaks
    ]
    head = ["run", "verdict", "reasons", "held, client", "held, server", "lost", "errors"]
    return Table("Every run", [*head, "exit status", "started, UTC"], lines)


def failures(results: Results) -> Table | None:
    """What went wrong, by its text."""
    lines = [
        Line(
            f"{row.engine}, {row.connections:,}, round {row.repeat}",
            [
                Cell(f"{failure.kind} {failure.name}", css="words"),
                Cell(failure.error, css="words"),
                Cell(integer(failure.count)),
            ],
        )
        for row in results.rows
        for failure in row.failures
    ]
    if not lines:
        return None
    return Table("Failures by their text", ["run", "request", "error", "count"], lines, shown=True)


def not_counted(results: Results) -> list[str]:
    """Every run that does not count, with its reasons; those of one kind with the same together."""
    rounds: dict[tuple[str, str], list[str]] = {}
    for row in results.rows:
        if not row.ok:
            place = f"{row.engine} at {row.connections:,} connections"
            rounds.setdefault((place, f"void: {'; '.join(row.reasons)}"), []).append(
                str(row.repeat)
            )
    for peak in results.peaks:
        if not peak.ok:
            place = f"closed loop {peak.scenario} on {peak.engine} at {peak.connections:,}"
            rounds.setdefault((place, f"failed: {peak.reason}"), []).append(str(peak.repeat))
    return [
        f"{place}, round{'s' if len(numbers) > 1 else ''} {listed(numbers)}: {reason}"
        for (place, reason), numbers in rounds.items()
    ]


def _rounds(results: Results, engine: str, most: int | None) -> Cell:
    counts = [most] if most is not None else sorted({row.connections for row in results.rows})
    if not counts:
        return Cell(UNKNOWN)
    (tally,) = tallies([engine], results.rows, counts[-1])
    short = tally.good < tally.tried or not tally.tried
    return Cell(f"{tally.good} of {tally.tried}", css="bad" if short else "")


def _held(results: Results, engine: str, most: int | None) -> Cell:
    """The lowest count of either side in any round, those that do not count included."""
    at = most if most is not None else max((row.connections for row in results.rows), default=0)
    rows = [row for row in results.rows if (row.engine, row.connections) == (engine, at)]
    held = [
        count
        for row in rows
        for count in (row.held_client_min, row.held_server_min)
        if count is not None
    ]
    least = min(held, default=None)
    return Cell(integer(least), css="bad" if least is None or least < at else "")


def _memory(results: Results, found: Found, engine: str, most: int | None) -> Cell:
    for slope in results.slopes:
        if (slope.figure, slope.engine) == ("rss_held", engine):
            return _figure(slope.bytes_per_connection, memory)
    entry = found.get((HOLD, most or 0, "rss_per_connection", engine))
    return _figure(entry.estimate if entry else None, memory)


def _response(entry: Comparison | None, results: Results, most: int | None) -> Cell:
    """With a warning where it is Locust's time rather than the server's."""
    cell = _figure(entry.estimate if entry else None, digits, " ms")
    if entry is None:
        return cell
    limited = sum(
        row.verdict == "client-limited"
        for row in results.rows
        if (row.engine, row.connections) == (entry.engine, most)
    )
    return Cell(cell.text, f"{cell.aside} client-limited".strip(), "warned") if limited else cell


def _figures_table(
    title: str,
    engines: Sequence[str],
    runs: Sequence[Run],
    groups: Sequence[Group],
    note: str = "",
    shown: bool = False,
) -> Table:
    by_engine = [[run for run in runs if run.engine == engine] for engine in engines]
    good = [[run for run in ours if run.ok] for ours in by_engine]
    rounds = [
        Cell(f"{len(ok)} of {len(ours)}", css="bad" if len(ok) < len(ours) or not ours else "")
        for ours, ok in zip(by_engine, good, strict=True)
    ]
    lines = [Line("rounds that count", rounds)]
    for group in groups:
        figures = [*_figure_lines(group, good)]
        if figures:
            lines += [Line(group.title, []), *figures]
    if any(isinstance(run, Row) for run in runs):
        lines += [Line("Errors, of all rounds", []), *_error_lines(by_engine)]
    return Table(title, ["figure", *engines], lines, note=note, shown=shown)


def _figure_lines(group: Group, good: Sequence[Sequence[Run]]) -> Iterator[Line]:
    """Those that any engine has."""
    for figure in group.figures:
        found = [
            estimate([number for run in runs if (number := figure.get(run)) is not None])
            for runs in good
        ]
        if any(found):
            yield Line(figure.name, [_figure(one, figure.show) for one in found])


def _error_lines(by_engine: Sequence[Sequence[Run]]) -> Iterator[Line]:
    counts = [[row.errors for row in runs if isinstance(row, Row)] for runs in by_engine]
    names = sorted({name for ours in counts for errors in ours for name in errors})
    for name in names:
        totals = [sum(errors.get(name, 0) for errors in ours) for ours in counts]
        yield Line(name, [Cell(integer(total), css="bad" if total else "") for total in totals])
    if not names:
        yield Line("any", [Cell("0" if ours else UNKNOWN) for ours in counts])


def _row_groups() -> list[Group]:
    """All that a row has."""
    return [
        Group(
            "Held",
            [
                _named("at the least, client's side", "held_client_min", integer),
                _named("at the least, server's side", "held_server_min", integer),
                _named("lost", "lost", integer),
                _named("seconds until all were held", "ramp_seconds"),
                _named("seconds measured", "hold_seconds"),
            ],
        ),
        Group(
            "Echoes",
            [
                _named("verified", "echoes", integer),
                _named("offered a second", "offered_per_second", integer),
                _named("achieved a second", "achieved_per_second", integer),
            ],
        ),
        *(
            Group(
                f"{title}, ms",
                [_named(key, f"{name}.{key}") for key in PERCENTILES],
            )
            for title, name in (
                ("Response (from when it was due)", "response_ms"),
                ("Service (from when it was sent)", "service_ms"),
                ("Connecting, over the whole run", "connect_ms"),
            )
        ),
        Group(
            "CPU of the server",
            [
                _named("µs an echo", "cpu_us_per_echo"),
                _named("µs an echo, user", "user_us_per_echo"),
                _named("µs an echo, system", "system_us_per_echo"),
                _named("seconds, user", "cpu_user"),
                _named("seconds, system", "cpu_system"),
            ],
        ),
        Group(
            "Memory of the server",
            [
                _named("bytes a connection, RSS", "rss_per_connection", integer),
                _named("RSS before, MB", "rss_before", megabytes),
                _named("RSS with all held, MB", "rss_held", megabytes),
                _named("PSS before, MB", "pss_before", megabytes),
                _named("PSS with all held, MB", "pss_held", megabytes),
            ],
        ),
        Group(
            "Memory of the kernel, both ends",
            [
                _named("socket buffers, MB", "tcp_buffers", megabytes),
                _named("slab, MB", "kernel_slab", megabytes),
            ],
        ),
        Group(
            "Threads and context switches",
            [
                _named("threads", "threads", integer),
                _named("voluntary a second", "voluntary_switches_per_second"),
                _named("involuntary a second", "involuntary_switches_per_second"),
            ],
        ),
        Group(
            "Fairness among the connections",
            [
                Figure("Jain's index (1 is equal)", _fairness("jain"), lambda n: _four(n)),
                Figure("echoes of the least served", _fairness("least"), integer),
                Figure("echoes of the most served", _fairness("most"), integer),
            ],
        ),
        Group(
            "The client's own evidence",
            [
                _named("Locust's CPU, % of a core", "client_cpu_percent"),
                _named("Locust's lag p50, ms", "hub_lag_ms.p50"),
                _named("Locust's lag p99, ms", "hub_lag_ms.p99"),
                _named("Locust's lag at most, ms", "hub_lag_ms.max"),
                _named("listen queue overflows", "listen_overflows", integer),
                _named("listen queue drops", "listen_drops", integer),
                _named("packets dropped (softnet)", "softnet_drops", integer),
            ],
        ),
    ]


def _peak_groups() -> list[Group]:
    return [
        Group(
            "CPU of the server",
            [
                _named("µs an operation", "cpu_us"),
                _named("µs an operation, user", "user_us"),
                _named("µs an operation, system", "system_us"),
                _named("MB a CPU second", "bytes_per_cpu_second", megabytes),
                _named("connections a CPU second", "operations_per_cpu_second", integer),
            ],
        ),
        Group(
            "Throughput",
            [
                _named("operations a second", "operations_per_second", integer),
                _named("operations", "operations", integer),
                _named("seconds", "seconds"),
            ],
        ),
        Group(
            "Memory and listen queue",
            [
                _named("bytes a connection, RSS", "rss_per_connection", integer),
                _named("listen queue overflows", "listen_overflows", integer),
                _named("listen queue drops", "listen_drops", integer),
            ],
        ),
    ]


def _named(name: str, figure: str, show: Show = digits) -> Figure:
    return Figure(name, lambda run: value(run, figure), show, figure)


def _fairness(part: str) -> Callable[[Run], float | None]:
    def get(run: Run) -> float | None:
        fairness = run.fairness if isinstance(run, Row) else None
        return None if fairness is None else float(getattr(fairness, part))

    return get


def _four(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.4f}"


def _ratio_lines(
    found: Found, titles: dict[str, str], scenario: str, count: int, engines: Sequence[str]
) -> list[Line]:
    """The rival's own figure, and the ratios of all others to it."""
    rival, *others = engines
    figures = dict.fromkeys(
        figure for kind, at, figure, _ in found if (kind, at) == (scenario, count)
    )
    lines = []
    for figure in figures:
        base = found.get((scenario, count, figure, rival))
        cells = [_figure(base.estimate if base else None, digits)]
        cells += [
            _against(found.get((scenario, count, figure, engine)), brief=True) for engine in others
        ]
        lines.append(Line(titles.get(figure, figure), cells))
    return lines


def _titles() -> dict[str, str]:
    """What the figures of `summary` are called, by their fields."""
    return {
        figure.field: f"{re.sub(r' [(].*[)]', '', group.title)}: {figure.name}"
        for group in (*_peak_groups(), *_row_groups())
        for figure in group.figures
    }


def _in_order(place: tuple[str, int]) -> tuple[bool, bool, str, int]:
    """The held load, the closed loop of echoes, the others; the largest number first."""
    scenario, count = place
    return scenario != HOLD, scenario != ECHO, scenario, -count


def _against(entry: Comparison | None, brief: bool = False) -> Cell:
    """A ratio, its interval, and the finding in a sign and in words; in brief only if the sign
    does not say all."""
    if entry is None or entry.ratio is None:
        return Cell(UNKNOWN)
    sign, told = FINDINGS[entry.difference] if entry.difference else ("?", "not compared")
    between = interval(entry.ratio, quotient)
    if brief and sign != "?":
        told = ""
    return Cell(f"{quotient(entry.ratio.median)} {sign}", f"{between} {told}".strip())


def _figure(found: Estimate | None, show: Show, unit: str = "") -> Cell:
    if found is None:
        return Cell(UNKNOWN)
    between = interval(found, show)
    if show(found.low) == show(found.high):
        between = ""  # It says nothing that the median does not.
    return Cell(f"{show(found.median)}{unit}", between)


def _scenario(name: str) -> str:
    return "held load" if name == HOLD else f"closed loop {name}"


def _errors(row: Row) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in row.errors.items()) or UNKNOWN


def _moment(started: str) -> str:
    return started.removesuffix("+00:00").replace("T", " ") or UNKNOWN


def _css(row: Row) -> str:
    return {"void": "bad", "client-limited": "warned", "valid": ""}[row.verdict]
