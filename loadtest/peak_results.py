"""What `bench` was asked for, what it found, and both as JSON and as a table.

A ratio is taken within a round, where the two runs are minutes apart at most, and the median of
those ratios is shown: the machine's speed may drift between rounds, and then cancels out.
"""

import json
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.machine import describe_machine

COLUMNS = ("CPU us\n/echo", "\nmin-max", "\nuser", "\nsystem", "RSS B\n/conn", "echoes\n/s")


@dataclass(frozen=True)
class PeakPlan:
    """What is asked for."""

    modes: tuple[str, ...]
    connections: int
    requests: int
    repeats: int
    out: Path
    server_command: tuple[str, ...] = (sys.executable, "-m", "server")

    def runs(self) -> list[tuple[int, str]]:
        """Repeat and mode; every second round the other way, so that drift favours nobody."""
        return [
            (repeat, mode)
            for repeat in range(1, self.repeats + 1)
            for mode in (self.modes if repeat % 2 else self.modes[::-1])
        ]


@dataclass(frozen=True)
class Peak:
    """One run. CPU in microseconds per echo, RSS in bytes per connection."""

    mode: str
    repeat: int
    cpu_user: float
    cpu_system: float
    rss: float
    echoes_per_second: float

    @property
    def cpu(self) -> float:
        return self.cpu_user + self.cpu_system


@dataclass
class PeakResults:
    """All runs so far; a failed one is a reason in place of figures."""

    peaks: list[Peak] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, mode: str) -> list[Peak]:
        return [peak for peak in self.peaks if peak.mode == mode]

    def ratio(self, mode: str, rival: str) -> float | None:
        """CPU per echo of `mode` by that of `rival`: the median over the rounds both finished."""
        theirs = {peak.repeat: peak.cpu for peak in self.of(rival)}
        pairs = [peak.cpu / theirs[peak.repeat] for peak in self.of(mode) if peak.repeat in theirs]
        return statistics.median(pairs) if pairs else None


def write_peaks(plan: PeakPlan, results: PeakResults) -> None:
    """`bench.json`, with all runs and the machine they ran on."""
    document = {
        "machine": asdict(describe_machine()),
        "connections": plan.connections,
        "requests": plan.requests,
        "runs": [asdict(peak) for peak in results.peaks],
        "failures": results.failures,
    }
    (plan.out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


def print_peaks(plan: PeakPlan, results: PeakResults, console: Console) -> None:
    """A row for each engine, and the ratios of ours to the others."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("engine", no_wrap=True)
    for column in (
        "CPU us\n/echo",
        "\nmin-max",
        "\nuser",
        "\nsystem",
        "RSS B\n/conn",
        "echoes\n/s",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for mode in plan.modes:
        peaks = results.of(mode)
        if not peaks:
            table.add_row(mode, "failed", style="red")
            continue
        cpu = [peak.cpu for peak in peaks]
        table.add_row(
            mode,
            f"{statistics.median(cpu):.1f}",
            f"{min(cpu):.1f}-{max(cpu):.1f}",
            f"{statistics.median(peak.cpu_user for peak in peaks):.1f}",
            f"{statistics.median(peak.cpu_system for peak in peaks):.1f}",
            f"{statistics.median(peak.rss for peak in peaks):,.0f}",
            f"{statistics.median(peak.echoes_per_second for peak in peaks):,.0f}",
        )
    console.print(table)
    for rival in plan.modes:
        ratio = results.ratio("runtime", rival)
        if ratio is not None and rival != "runtime":
            console.print(f"CPU per echo, runtime / {rival}: {ratio:.2f}", highlight=False)
    console.print(
        f"{plan.connections:,} connections, 64 bytes, closed loop, {plan.repeats} interleaved "
        f"rounds; wrote {plan.out}/bench.json",
        soft_wrap=True,
    )
