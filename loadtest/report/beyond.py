"""The two ends of the machine, from `extremes.json`: a crowd that takes several processes, and
threads, with a connection each and without, until no more can be had. Neither is ranked against
anything."""

import shlex
from dataclasses import dataclass

from loadtest.host.machine import Machine
from loadtest.report import axes, plots
from loadtest.report.charts import Chart
from loadtest.report.marks import Drawing
from loadtest.report.plots import Axis, Curve
from loadtest.report.series import Bar
from loadtest.report.tables import PERCENTILES, Cell, Line, Table
from loadtest.report.words import UNKNOWN, digits, integer, memory
from loadtest.results.estimate import Estimate
from loadtest.results.extremes import Breaking, Crowd, Extremes
from loadtest.results.figures import Summary
from loadtest.runs.plan import MODES

CLIENT, SERVER = "client's side", "server's side"
TOTAL = "all server processes"
# The look of what is of no engine; that of lines is given by their place.
PLAIN = len(MODES)


@dataclass(frozen=True)
class Beyond:
    """The section, ready to print. `sentences` come first, one for each end."""

    sentences: list[str]
    charts: list[Chart]
    tables: list[Table]
    commands: list[str]
    # What differs between the two measurements, which were not made at the same time.
    origin: str


def beyond(extremes: Extremes, machine: Machine) -> Beyond:
    crowd = extremes.crowd
    sentences, charts, tables = [], [], []
    commands = [shlex.join(extremes.command)]
    if crowd is not None:
        sentences.append(_crowd_told(crowd))
        charts += _crowd_charts(crowd)
        tables += [table for table in (_crowd_table(crowd), _crowd_failures(crowd)) if table]
        commands += [shlex.join(crowd.server_command), shlex.join(crowd.locust_command)]
    for breaking, title in (
        (extremes.breaking, "A thread for each connection, until it failed"),
        (extremes.bare_threads, "Threads alone, until one was refused"),
    ):
        if breaking is not None:
            sentences.append(_breaking_told(breaking))
            tables.append(_breaking_table(breaking, title))
            commands.append(shlex.join(breaking.command))
    return Beyond(sentences, charts, tables, commands, _origin(extremes, machine))


def same_machine(ours: Machine, theirs: Machine) -> bool:
    """Whether both were measured on one; code and versions may have moved on between."""
    return all(
        getattr(ours, part) == getattr(theirs, part)
        for part in ("cpu", "cores", "memory_bytes", "kernel")
    )


def _crowd_told(crowd: Crowd) -> str:
    split = f"{crowd.workers} server processes, {crowd.locust_processes} of Locust"
    if not crowd.ok:
        return (
            f"The crowd of {crowd.connections:,} connections on {crowd.engine} ({split}) does not "
            f"count: {crowd.reason}"
        )
    parts = [f"{crowd.engine} held {crowd.connections:,} connections at once ({split})"]
    if crowd.lost is not None:
        parts.append(f"{crowd.lost:,} were lost")
    if crowd.connections_echoed is not None and crowd.echoes is not None:
        parts.append(
            f"{crowd.connections_echoed:,} of them got {crowd.echoes:,} verified echoes in the hold"
        )
    if crowd.rss_held is not None:
        parts.append(f"all server processes together took {memory(crowd.rss_held)} resident")
    return "; ".join(parts) + "."


def _breaking_told(breaking: Breaking) -> str:
    """How threads ended: by a refusal, by descriptors before that, or not at all."""
    whose = (
        f"A thread for each connection came to {breaking.connections:,} connections "
        if breaking.connections
        else "Threads alone, without connections, came to "
    )
    came_to = f"{whose}{_threads_told(breaking)}"
    if breaking.reason:
        return f"{came_to}; it does not count: {breaking.reason}"
    limit = breaking.limit or "no limit that was found"
    if breaking.errno is None:
        return f"{came_to}; then {breaking.error or 'it went no further'}, at {limit}."
    refused = f"errno {breaking.errno}, {breaking.error}"
    return f"{came_to}; the next could not be started ({refused}), at {limit}."


def _threads_told(breaking: Breaking) -> str:
    threads = f"{breaking.threads:,} threads"
    return f"({threads})" if breaking.connections else threads


def _crowd_charts(crowd: Crowd) -> list[Chart]:
    made = []
    if len(crowd.moments) > 1:
        made += [_held_chart(crowd), _memory_chart(crowd)]
    if crowd.rss_by_process:
        bars = [Bar(name, _single(size / 1e6), []) for name, size in crowd.rss_by_process.items()]
        title = "Memory by process, all held"
        drawing = plots.bar_plot(title, bars, digits, "resident MB", look=PLAIN)
        made.append(Chart("crowd-processes", title, "less is better", "", drawing))
    return made


def _held_chart(crowd: Crowd) -> Chart:
    title = f"{crowd.connections:,} connections held in time"
    sides = (
        (CLIENT, [(moment.at, float(moment.held_client)) for moment in crowd.moments]),
        (SERVER, [(moment.at, float(moment.held_server)) for moment in crowd.moments]),
    )
    curves = [Curve(name, middle=points, symbols=points[-1:]) for name, points in sides]
    most = max(held for _, points in sides for _, held in points)
    y = Axis(axes.linear([most, crowd.connections]), "connections", integer)
    told = f"{integer(most)} at most, asked for {integer(crowd.connections)}"
    drawing = plots.line_plot(
        title, told, _seconds(crowd), y, curves, {CLIENT: CLIENT, SERVER: SERVER}
    )
    return Chart("crowd-held", title, f"asked for {integer(crowd.connections)}", "", drawing)


def _memory_chart(crowd: Crowd) -> Chart:
    title = f"Memory of the server with {crowd.connections:,}"
    points = [(moment.at, moment.rss / 1e6) for moment in crowd.moments]
    y = Axis(axes.linear([rss for _, rss in points]), "resident MB", integer)
    told = f"{digits(max(rss for _, rss in points))} MB at most"
    drawing: Drawing = plots.line_plot(
        title,
        told,
        _seconds(crowd),
        y,
        [Curve(TOTAL, middle=points, symbols=points[-1:])],
        {TOTAL: TOTAL},
    )
    return Chart("crowd-memory", title, "less is better", "", drawing)


def _seconds(crowd: Crowd) -> Axis:
    last = max(moment.at for moment in crowd.moments)
    return Axis(axes.linear([last]), "seconds", plots.tick)


def _crowd_table(crowd: Crowd) -> Table:
    facts = [
        ("engine", crowd.engine),
        ("verdict", "valid" if crowd.ok else f"void: {crowd.reason}"),
        ("server processes", integer(crowd.workers)),
        ("Locust processes", integer(crowd.locust_processes)),
        ("source addresses", crowd.source_addresses or UNKNOWN),
        ("started", crowd.started or UNKNOWN),
        ("held at the least, client's side", integer(crowd.held_client_min)),
        ("held at the least, server's side", integer(crowd.held_server_min)),
        ("lost", integer(crowd.lost)),
        ("seconds until all were held", digits(crowd.ramp_seconds)),
        ("seconds measured", digits(crowd.hold_seconds)),
        ("echoes verified", integer(crowd.echoes)),
        ("connections echoed", integer(crowd.connections_echoed)),
        ("CPU an echo, µs", digits(crowd.cpu_us_per_echo)),
        ("response, ms", _percentiles(crowd.response_ms)),
        ("connecting, ms", _percentiles(crowd.connect_ms)),
        ("RSS before", memory(crowd.rss_before)),
        ("RSS with all held", memory(crowd.rss_held)),
        ("PSS with all held", memory(crowd.pss_held)),
        ("socket buffers, both ends", memory(crowd.tcp_buffers)),
        ("kernel slab, both ends", memory(crowd.kernel_slab)),
        ("listen queue overflows", integer(crowd.listen_overflows)),
        ("listen queue drops", integer(crowd.listen_drops)),
        ("Locust's CPU, % of a core", digits(crowd.client_cpu_percent)),
        ("Locust's lag, ms", _percentiles(crowd.hub_lag_ms)),
        ("server's exit status", integer(crowd.server_exit_status)),
    ]
    return facts_table(f"The crowd: {crowd.connections:,} connections", facts)


def _crowd_failures(crowd: Crowd) -> Table | None:
    if not crowd.failures:
        return None
    lines = [
        Line(
            f"{failure.kind} {failure.name}",
            [Cell(failure.error, css="words"), Cell(integer(failure.count))],
        )
        for failure in crowd.failures
    ]
    return Table("Failures in the crowd", ["request", "error", "count"], lines, shown=True)


def _breaking_table(breaking: Breaking, title: str) -> Table:
    facts = [
        ("connections, each answered by its thread", integer(breaking.connections)),
        ("threads", integer(breaking.threads)),
        ("errno", UNKNOWN if breaking.errno is None else str(breaking.errno)),
        ("error", breaking.error or UNKNOWN),
        ("limit that was reached", breaking.limit or UNKNOWN),
        ("verdict", f"void: {breaking.reason}" if breaking.reason else "valid"),
        ("seconds", digits(breaking.seconds)),
        ("RSS", memory(breaking.rss)),
        ("started", breaking.started),
    ]
    return facts_table(title, facts)


def facts_table(title: str, facts: list[tuple[str, str]], shown: bool = False) -> Table:
    """Names and what they are."""
    lines = [Line(name, [Cell(told, css="words")]) for name, told in facts]
    return Table(title, [], lines, shown=shown, css="facts")


def _percentiles(summary: Summary | None) -> str:
    if summary is None:
        return UNKNOWN
    known = [(key, summary.get(key)) for key in PERCENTILES]
    return ", ".join(f"{key} {digits(ms)}" for key, ms in known if ms is not None) or UNKNOWN


def _origin(extremes: Extremes, machine: Machine) -> str:
    theirs = extremes.machine
    told = f"Measured on the same machine at {extremes.started}"
    changed = [
        f"{name} {new} (the comparison: {old})"
        for name, new, old in (
            ("revision", theirs.git_revision, machine.git_revision),
            ("Python", theirs.python, machine.python),
        )
        if new != old
    ]
    return f"{told}{', with ' + ' and '.join(changed) if changed else ''}."


def _single(number: float) -> Estimate:
    return Estimate(number, number, number, [number])
