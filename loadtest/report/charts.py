"""Which charts the report has, and which it could not have: for those, the option that would
measure them.

With several numbers of connections a figure is drawn against them. With a single one, as plain
`make compare` has it, it is a bar for each engine: a line of one point says nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.closed_loop.scenarios import HOLD
from loadtest.report import axes, plots, series
from loadtest.report.answer import ECHO, largest
from loadtest.report.marks import Drawing
from loadtest.report.plots import Axis, Curve
from loadtest.report.series import Line, Ramp
from loadtest.report.words import digits, integer, memory
from loadtest.results.schema import Results


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading, and what one has to know to read it rightly."""

    name: str
    title: str
    better: str
    note: str
    drawing: Drawing


@dataclass(frozen=True)
class Missing:
    """A chart that could not be drawn."""

    title: str
    remedy: str


Found = Chart | Missing


def all_charts(results: Results) -> list[Found]:
    """In the order of the page."""
    return [
        *_throughput(results),
        *_cost(results),
        *_latency(results),
        *_memory(results),
        *_ramp(results),
        *_per_cpu_second(results),
    ]


def _throughput(results: Results) -> Iterator[Found]:
    title = "Echoes a second, closed loop"
    counts = series.counts(results.peaks, ECHO)
    note = "64 bytes there and back on every connection, as fast as the server answers"
    if not counts:
        yield Missing(title, _remedy(results, ECHO))
    elif len(counts) == 1:
        bars = series.bars(results, ECHO, counts[0], "operations_per_second")
        drawing = plots.bar_plot(title, bars, _number, "echoes a second")
        yield Chart("throughput", _at(title, counts[0]), "more is better", note, drawing)
    else:
        lines = series.lines(results, ECHO, "operations_per_second")
        drawing = _lines(title, "echoes a second", lines)
        yield Chart("throughput", title, "more is better", note, drawing)


def _cost(results: Results) -> Iterator[Found]:
    """CPU by echo: the closed loop's, against connections and in its parts; without it, that of
    the held load."""
    counts = series.counts(results.peaks, ECHO)
    if not counts:
        yield from _cost_of_hold(results)
        return
    title = "Server CPU per echo, closed loop"
    note = "user and system time of the server's process"
    if len(counts) > 1:
        lines = series.lines(results, ECHO, "cpu_us")
        drawing = _lines(title, "µs of CPU an echo", lines)
        yield Chart("cost", title, "less is better", note, drawing)
    bars = series.bars(results, ECHO, counts[-1], "cpu_us", ("user_us", "system_us"))
    where = "User and system CPU per echo"
    drawing = plots.bar_plot(where, bars, _number, "µs of CPU an echo", ("user", "system"))
    note = "closed loop; user is the engine's own code, system is the kernel's work for it"
    yield Chart("parts", _at(where, counts[-1]), "less is better", note, drawing)


def _cost_of_hold(results: Results) -> Iterator[Found]:
    title = "Server CPU per echo, held load"
    most = largest(results.rows)
    if most is None:
        yield Missing(title, "no run under Locust counts")
        return
    parts = ("user_us_per_echo", "system_us_per_echo")
    bars = series.bars(results, HOLD, most, "cpu_us_per_echo", parts)
    drawing = plots.bar_plot(title, bars, _number, "µs of CPU an echo", ("user", "system"))
    note = "a server with little to do wakes up for every echo: a closed loop costs less"
    yield Chart("cost", _at(title, most), "less is better", note, drawing)


def _latency(results: Results) -> Iterator[Found]:
    title = "Response time by percentile"
    most = largest(results.rows)
    found = series.percentiles(results, most) if most is not None else []
    points = [point for one in found for point in one.middle]
    if most is None or not points:
        yield Missing(title, "no run under Locust counts" if results.rows else "--scenarios hold")
        return
    x = Axis(axes.nines(max(point.x for point in points)), "percentile", lambda p: f"{p:g}")
    times = [ms for one in found for run in one.runs for p, ms in run if p < 100]
    y = Axis(axes.logarithmic(times), "milliseconds", plots.tick)
    drawing = plots.percentile_plot(
        title, x, y, found, _legend(results, {one.engine for one in found if one.middle})
    )
    note = "from when a message was due (corrected for coordinated omission)"
    limited, of = series.limited(results, most)
    better = "less is better"
    if limited:
        better = f"ranks nobody: Locust was the limit in {limited} of {of} runs"
    yield Chart("latency", _at(title, most), better, note, drawing)


def _memory(results: Results) -> Iterator[Found]:
    counts = series.counts(results.rows)
    if not counts:
        yield Missing(
            "Memory", "no run under Locust counts" if results.rows else "--scenarios hold"
        )
    elif len(counts) == 1:
        title = "Memory per connection"
        bars = series.bars(results, HOLD, counts[0], "rss_per_connection", unit=1000)
        drawing = plots.bar_plot(title, bars, _number, "kB of resident memory a connection")
        note = (
            "growth of the server's process by their number; surer is the slope over several: "
            "--connections 100,1000,10000"
        )
        yield Chart("memory", _at(title, counts[0]), "less is better", note, drawing)
    else:
        title = "Memory of the server"
        lines = series.of_rows(results, lambda row: row.rss_held, 1e6)
        slopes = series.slopes(results)
        suffix = {engine: memory(slope.median) for engine, slope in slopes.items()}
        values = [v for line in lines for p in line.points for v in p.found.values]
        y = Axis(axes.logarithmic(values), "resident MB with all held", plots.tick)
        x = Axis(axes.at_points(counts), "connections", integer)
        legend = _legend(results, {line.engine for line in lines if line.points}, suffix)
        drawing = plots.over_connections(title, x, y, lines, legend)
        note = "beside each name the slope: what one more connection costs"
        yield Chart("memory", title, "less is better", note, drawing)


def _ramp(results: Results) -> Iterator[Found]:
    """At the largest number that was tried, whether it counts or not."""
    title = "The ramp"
    most = max((row.connections for row in results.rows), default=None)
    ramps = series.ramps(results, most) if most is not None else []
    if most is None or not ramps:
        yield Missing(
            title, "no server was looked at twice" if results.rows else "--scenarios hold"
        )
        return
    ends = [ramp.complete if ramp.complete is not None else ramp.moments[-1][0] for ramp in ramps]
    end = max(ends) * 1.15
    held = [count for ramp in ramps for _, count in ramp.moments]
    curves = [
        _ramp_curve(engine, [ramp for ramp in ramps if ramp.engine == engine], end)
        for engine in dict.fromkeys(ramp.engine for ramp in ramps)
    ]
    x = Axis(axes.linear([end]), "seconds since the first connection", plots.tick)
    y = Axis(axes.linear([*held, most]), "connections held, server's side", integer)
    tried = {ramp.engine for ramp in ramps}
    told = [_ramp_told(ramp) for ramp in ramps]
    drawing = plots.line_plot(title, "; ".join(told), x, y, curves, _legend(results, tried))
    note = "a line for every run; symbols stand where all were held"
    if any(not ramp.ok for ramp in ramps):
        note += ", crosses where a run that does not count was last looked at"
    heading = f"{title} to {most:,} connections"
    asked = f"asked for {results.asked.spawn_rate:,} a second"
    yield Chart("ramp", heading, asked, note, drawing)


def _ramp_curve(engine: str, ramps: Sequence[Ramp], end: float) -> Curve:
    seen = {id(r): [(at, float(held)) for at, held in r.moments if at <= end] for r in ramps}
    whole = sorted(
        (ramp for ramp in ramps if ramp.ok and ramp.complete is not None),
        key=lambda ramp: ramp.complete or 0.0,
    )
    middle = whole[len(whole) // 2] if whole else None
    return Curve(
        engine,
        middle=seen[id(middle)] if middle else [],
        thin=[seen[id(ramp)] for ramp in ramps if ramp is not middle],
        symbols=[_complete(ramp) for ramp in whole],
        failed=[seen[id(ramp)][-1] for ramp in ramps if not ramp.ok and seen[id(ramp)]],
    )


def _complete(ramp: Ramp) -> tuple[float, float]:
    return next((at, float(held)) for at, held in ramp.moments if at == ramp.complete)


def _ramp_told(ramp: Ramp) -> str:
    void = "" if ramp.ok else " (void)"
    if ramp.complete is None:
        return f"{ramp.engine}{void} never held all"
    return f"{ramp.engine}{void} held all after {ramp.complete:.1f} s"


def _per_cpu_second(results: Results) -> Iterator[Found]:
    for scenario, title, figure, per, unit, note in (
        (
            "bulk-64k",
            "Bulk, 64 KiB at a time",
            "bytes_per_cpu_second",
            1e6,
            "MB echoed by a second of CPU",
            "16 connections, each 64 KiB there and back",
        ),
        (
            "bulk-16m",
            "Bulk, 16 MiB at a time",
            "bytes_per_cpu_second",
            1e6,
            "MB echoed by a second of CPU",
            "4 connections, each 16 MiB there and back",
        ),
        (
            "churn",
            "Churn",
            "operations_per_cpu_second",
            1.0,
            "connections by a second of CPU",
            "connect, one echo of 64 bytes, close; 64 at a time",
        ),
    ):
        counts = series.counts(results.peaks, scenario)
        if not counts:
            yield Missing(title, _remedy(results, scenario))
            continue
        bars = series.bars(results, scenario, counts[-1], figure, unit=per)
        drawing = plots.bar_plot(title, bars, _number, unit)
        yield Chart(scenario, title, "more is better", note, drawing)


def _lines(title: str, unit: str, lines: Sequence[Line]) -> Drawing:
    """Against connections, from zero."""
    values = [v for line in lines for p in line.points for v in (*p.found.values, p.found.high)]
    counts = [point.x for line in lines for point in line.points]
    return plots.over_connections(
        title,
        Axis(axes.at_points(counts), "connections", integer),
        Axis(axes.linear(values), unit, plots.tick),
        lines,
        {line.engine: line.engine if line.points else f"{line.engine}: none" for line in lines},
    )


def _legend(
    results: Results, there: set[str], suffix: dict[str, str] | None = None
) -> dict[str, str]:
    """Every engine that was asked for, those without a run included."""
    texts: dict[str, str] = {}
    for engine in results.asked.modes:
        after = (suffix or {}).get(engine, "")
        texts[engine] = f"{engine} {after}".strip() if engine in there else f"{engine}: none"
    return texts


def _remedy(results: Results, scenario: str) -> str:
    if any(peak.scenario == scenario for peak in results.peaks):
        return "no run of it counts: see the verdicts"
    wanted = [*results.asked.scenarios, scenario]
    return f"--scenarios {','.join(dict.fromkeys(wanted))}"


def _at(title: str, connections: int) -> str:
    return f"{title} at {connections:,}"


def _number(value: float) -> str:
    return digits(value)
