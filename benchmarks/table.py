"""The results on a terminal: a row for each benchmark and engine, in 80 columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.catalogue import BENCHMARKS
from benchmarks.measure import Run
from benchmarks.results import OURS, Results, Spread

MIB = 1 << 20


def print_table(results: Results, console: Console) -> None:
    """Print every benchmark; what failed and what is remarkable comes below."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for column in ("benchmark", "engine"):
        table.add_column(column, no_wrap=True)
    for column in (
        "CPU us\n/op",
        "\nmin-max",
        "wall us\n/op",
        "RSS MiB\npeak",
        "CPU\nratio",
        "\nmin-max",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for benchmark in results.plan.benchmarks:
        engines = results.plan.comparable(benchmark)
        for engine in engines:
            table.add_row(
                benchmark if engine == engines[0] else "",
                *_cells(results, benchmark, engine),
                end_section=engine == engines[-1],
            )
    console.print(table)
    for line in _notes(results):
        console.print(Text(line), soft_wrap=True)


def _cells(results: Results, benchmark: str, engine: str) -> list[str]:
    cpu = results.spread(benchmark, engine, cpu_each)
    wall = results.spread(benchmark, engine, lambda run: 1e6 * run.wall / run.operations)
    rss = results.spread(benchmark, engine, lambda run: run.rss_peak / MIB)
    if cpu is None or wall is None or rss is None:
        return [engine, "failed"]
    ratio = results.ratio(benchmark, engine, cpu_each)
    return [
        engine,
        f"{cpu.median:.2f}",
        _range(cpu),
        f"{wall.median:.2f}",
        f"{rss.median:,.0f}",
        f"{ratio.median:.2f}" if ratio else "",
        _range(ratio) if ratio else "",
    ]


def cpu_each(run: Run) -> float:
    """User and system time in microseconds an operation."""
    return 1e6 * run.cpu / run.operations


def _range(spread: Spread) -> str:
    return f"{spread.least:.2f}-{spread.most:.2f}"


def _notes(results: Results) -> list[str]:
    rounds = results.plan.rounds
    notes = [f"ratio: CPU of {OURS} by that of this engine, in each of {rounds} rounds"]
    notes += [
        f"{benchmark}: {BENCHMARKS[benchmark].operation} "
        f"({results.plan.operations(benchmark):,} a run)"
        for benchmark in results.plan.benchmarks
    ]
    for (benchmark, engine, number), run in results.runs.items():
        if run.facts:
            said = ", ".join(f"{word} {value:,}" for word, value in run.facts.items())
            held = " / ".join(
                f"{size / MIB:,.0f}" for size in (run.rss_before, run.rss_peak, run.rss_after)
            )
            notes.append(
                f"{benchmark} on {engine}, round {number + 1}: {said}; "
                f"RSS before / peak / after: {held} MiB"
            )
    notes += [
        f"FAILED {benchmark} on {engine}, round {number + 1}: {reason}"
        for (benchmark, engine, number), reason in results.failures.items()
    ]
    return notes
