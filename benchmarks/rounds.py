"""All runs, in rounds: every engine once in each, so that a ratio compares neighbours.

The machine's speed drifts and others use it too.  Engines take turns within a round (every second
round the other way), a ratio is made of two runs of one round, and only then is a median taken.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalogue import BENCHMARKS
from benchmarks.engines import ENGINES
from benchmarks.measure import Run

#: Seconds until a run is given up; the longest known, Trio's million sleepers, takes 135.
PATIENCE = 900.0

#: Where `python -m benchmarks.measure` finds the package.
ROOT = Path(__file__).parent.parent


class RunFailed(Exception):
    """A run gave no figures; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    benchmarks: tuple[str, ...]
    engines: tuple[str, ...]
    rounds: int
    scale: float

    def operations(self, benchmark: str) -> int:
        return max(1, round(BENCHMARKS[benchmark].size * self.scale))

    def comparable(self, benchmark: str) -> tuple[str, ...]:
        """The engines asked for that have a version of it."""
        return tuple(name for name in self.engines if ENGINES[name].program(benchmark) is not None)

    def turns(self, benchmark: str) -> Iterator[tuple[int, str]]:
        """(round, engine) in the order to run them."""
        engines = self.comparable(benchmark)
        for number in range(self.rounds):
            for engine in engines[::-1] if number % 2 else engines:
                yield number, engine


def run_apart(benchmark: str, engine: str, operations: int) -> Run:
    """One run in a process of its own.  RunFailed if it ends without figures."""
    command = [sys.executable, "-m", "benchmarks.measure", benchmark, engine, str(operations)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise RunFailed(f"not done after {PATIENCE:g} s") from late
    if done.returncode < 0:
        raise RunFailed(f"ended by {signal.Signals(-done.returncode).name} (out of memory?)")
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["without a word"]
        raise RunFailed(f"ended with status {done.returncode}: {words[-1]}")
    try:
        return Run(**json.loads(done.stdout))
    except (ValueError, TypeError) as error:
        raise RunFailed(f"printed no figures but {done.stdout[:80]!r}") from error
