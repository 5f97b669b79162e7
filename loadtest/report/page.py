"""`report.html`: one file that opens offline and needs no script, with the answer first.

All text that varies (reasons, commands, names of CPUs) is data to the templates, which escape it.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2

from loadtest.closed_loop.scenarios import HOLD
from loadtest.report import tables
from loadtest.report.answer import answer, largest
from loadtest.report.beyond import Beyond, beyond, facts_table, same_machine
from loadtest.report.charts import Chart, Missing, all_charts
from loadtest.report.tables import Table
from loadtest.results.decode import Unreadable
from loadtest.results.extremes import Extremes, read_extremes
from loadtest.results.schema import Results, read_results

REPORT = "report.html"
RESULTS = "results.json"
EXTREMES = "extremes.json"
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Section:
    """Tables under one heading."""

    title: str
    note: str
    tables: list[Table]


def report_again(directory: Path) -> list[str]:
    """Write the report of what is in a directory; Unreadable if that is not results. Returns what
    the reader of the command should know."""
    results = read_results(directory / RESULTS)
    path = directory / EXTREMES
    extremes = read_extremes(path) if path.exists() else None
    notes = [_stranger(path)] if extremes is not None and _is_strange(results, extremes) else []
    _write(directory / REPORT, render(results, extremes, notes))
    return notes


def write_report(results: Results, directory: Path) -> list[str]:
    """The same at the end of a comparison, which no fault of `extremes.json` may spoil."""
    path = directory / EXTREMES
    extremes: Extremes | None = None
    notes: list[str] = []
    try:
        extremes = read_extremes(path) if path.exists() else None
    except Unreadable as fault:
        notes.append(f"{fault}; it is left out of the report")
    if extremes is not None and _is_strange(results, extremes):
        notes.append(_stranger(path))
    (directory / REPORT).write_text(render(results, extremes, notes), encoding="utf-8")
    return notes


def render(
    results: Results, extremes: Extremes | None = None, notes: list[str] | None = None
) -> str:
    """The page."""
    if extremes is not None and _is_strange(results, extremes):
        extremes = None
    charts, told = all_charts(results), answer(results)
    further = beyond(extremes, results.machine) if extremes is not None else None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        results=results,
        title=_title(results),
        answer=told,
        how=_how(results),
        brackets="times [" in told,
        notes=notes or [],
        glance=tables.glance(results),
        not_counted=tables.not_counted(results),
        charts=[chart for chart in charts if isinstance(chart, Chart)],
        missing=[chart for chart in charts if isinstance(chart, Missing)],
        sections=_sections(results),
        beyond=further,
        commands=_commands(results, further),
    )


def _title(results: Results) -> str:
    counts = [run.connections for run in results.rows] or results.asked.connections
    most = largest(results.rows) or max(counts, default=0)
    return f"{most:,} connections, {len(results.asked.modes)} engines compared"


def _how(results: Results) -> list[str]:
    """What the figures rest on, in a few short lines."""
    asked = results.asked
    rounds = "1 round" if asked.repeats == 1 else f"{asked.repeats} rounds"
    told = [f"{rounds}, begun {results.started}; {results.pinning}."]
    if HOLD in asked.scenarios:
        paces = ", ".join(f"{asked.pacing[count]:g} s at {count:,}" for count in asked.pacing)
        told.append(
            f"Held load, by Locust: {asked.payload}-byte echoes, one a connection every {paces}, "
            f"measured for {asked.duration:g} s with all connections held."
        )
    loops = [name for name in asked.scenarios if name != HOLD]
    if loops:
        told.append(f"Closed loops, by clients in C: {', '.join(loops)}.")
    return told


def _sections(results: Results) -> list[Section]:
    slopes = tables.slopes(results)
    failures = tables.failures(results)
    made = [
        Section(
            "Figures",
            "Medians over the rounds that count, and under them the 95 % interval of the median. "
            "A dash is not measured.",
            [
                *tables.held_loads(results),
                *([slopes] if slopes else []),
                *tables.closed_loops(results),
            ],
        ),
        Section(
            f"Differences from {results.asked.rival}",
            "Each engine's figure divided by that of the same round. More (+) or less (−) is said "
            "only where the intervals are apart and that of the ratio leaves 1 out; = is no "
            "difference, ? is not ranked.",
            tables.differences(results),
        ),
        Section(
            "Verdicts",
            "Void: no figure of the run stands. Client-limited: CPU and memory of the server "
            "stand, times and rates are about Locust and rank nobody.",
            [*([failures] if failures else []), tables.verdicts(results)],
        ),
        Section("Machine and versions", "", [_machine(results)]),
    ]
    return [section for section in made if section.tables]


def _machine(results: Results) -> Table:
    machine = results.machine
    facts = [
        ("CPU", f"{machine.cores} cores of {machine.cpu}"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("kernel", f"Linux {machine.kernel}"),
        ("Python", machine.python),
        ("git revision", machine.git_revision),
        *machine.versions.items(),
        ("open files", f"{machine.open_files:,}"),
        *machine.sysctls.items(),
        *(("resumed", moment) for moment in results.resumed),
    ]
    return facts_table("Machine, limits and versions", facts, shown=True)


def _commands(results: Results, further: Beyond | None) -> list[tuple[str, list[str]]]:
    """What was started, once for each kind of run."""
    found: dict[str, list[str]] = {"the whole comparison": [results.command]}
    for row in results.rows:
        name = f"held load, {row.engine}, {row.connections:,} connections"
        found.setdefault(name, [shlex.join(row.server_command), shlex.join(row.locust_command)])
    for peak in results.peaks:
        name = f"closed loop {peak.scenario}, {peak.engine}, {peak.connections:,} connections"
        found.setdefault(name, [shlex.join(peak.server_command), shlex.join(peak.client_command)])
    if further is not None:
        found["beyond one process"] = further.commands
    return [(name, [line for line in lines if line]) for name, lines in found.items()]


def _is_strange(results: Results, extremes: Extremes) -> bool:
    return not same_machine(results.machine, extremes.machine)


def _stranger(path: Path) -> str:
    return f"{path.name} was measured on another machine, and is left out of the report"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"cannot write {path}: {error.strerror}") from None
