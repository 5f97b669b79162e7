"""What the runs say together: medians, their spread, and ratios within rounds."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Run
from benchmarks.rounds import Plan

#: The engine that the others are compared to, if it is among them.
OURS = "runtime"


@dataclass(frozen=True)
class Spread:
    """The middle of several figures, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass
class Results:
    """Every run so far, by round; one that failed is a reason in place of figures."""

    plan: Plan
    runs: dict[tuple[str, str, int], Run] = field(default_factory=dict)
    failures: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def of(self, benchmark: str, engine: str) -> dict[int, Run]:
        """Round -> run."""
        return {
            number: run
            for (name, who, number), run in self.runs.items()
            if (name, who) == (benchmark, engine)
        }

    def spread(self, benchmark: str, engine: str, figure: Callable[[Run], float]) -> Spread | None:
        """Of a figure over the rounds; None if there was no run."""
        figures = [figure(run) for run in self.of(benchmark, engine).values()]
        return Spread.of(figures) if figures else None

    def ratio(self, benchmark: str, rival: str, figure: Callable[[Run], float]) -> Spread | None:
        """Ours by theirs, over the rounds that both finished."""
        ours, theirs = self.of(benchmark, OURS), self.of(benchmark, rival)
        ratios = [
            figure(ours[number]) / figure(theirs[number])
            for number in ours
            if number in theirs and figure(theirs[number])
        ]
        return Spread.of(ratios) if ratios and rival != OURS else None


def write_json(results: Results, arguments: Sequence[str], file: Path) -> None:
    """All runs, and where and with what they were made."""
    document = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "machine": {
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "kernel": f"{platform.system()} {platform.release()}",
            "cpus": os.cpu_count(),
            "load": os.getloadavg(),
            "versions": {package: _version(package) for package in ("c10k", "uvloop", "trio")},
        },
        "rounds": results.plan.rounds,
        "scale": results.plan.scale,
        "runs": [{"round": number, **asdict(run)} for (_, _, number), run in results.runs.items()],
        "failures": [
            {"benchmark": benchmark, "engine": engine, "round": number, "reason": reason}
            for (benchmark, engine, number), reason in results.failures.items()
        ],
    }
    file.write_text(json.dumps(document, indent=1) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
