"""One run: one benchmark on one engine, in this process.

    python -m benchmarks.measure spawn_many runtime 100000

prints one line of JSON.  The clocks run inside the engine, from a warm-up (a hundredth of the work)
to the last operation, so neither imports nor the start of a loop are in it.  The collector has its
default settings, in all engines alike.

The process keeps to one CPU, also where it has two threads: what it measures is then the work and
the switch, and not where the scheduler put the other thread this time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.engines import ENGINES, Program
from benchmarks.memory import give_back, peak, resident
from benchmarks.programs import Outcome

WARM_UP = 100
"""One operation in so many is done before, untimed."""


@dataclass(frozen=True)
class Run:
    """What one run took: seconds and bytes.

    The memory before and after is what is held when all that is free was given back; the peak is
    that of the whole process.
    """

    benchmark: str
    engine: str
    operations: int
    wall: float
    user: float
    system: float
    rss_before: int
    rss_peak: int
    rss_after: int
    facts: dict[str, float]

    @property
    def cpu(self) -> float:
        return self.user + self.system


def measure(benchmark: str, engine: str, operations: int) -> Run:
    """Run it here.  LookupError if the engine has no such program, RuntimeError if it miscounts."""
    program = ENGINES[engine].program(benchmark)
    if program is None:
        raise LookupError(f"{engine} has nothing that compares to {benchmark}")

    async def main() -> Run:
        return await _timed(benchmark, engine, program, operations)

    run: Run = ENGINES[engine].run(main)
    if run.operations != operations:
        raise RuntimeError(f"{operations:,} operations were asked for, {run.operations:,} done")
    return run


async def _timed(benchmark: str, engine: str, program: Program, operations: int) -> Run:
    await program(max(1, operations // WARM_UP))
    give_back()
    rss_before = resident()
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    outcome = await program(operations)
    wall, spent = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    most = peak()
    give_back()
    if isinstance(outcome, int):
        outcome = Outcome(outcome)
    return Run(
        benchmark,
        engine,
        outcome.operations,
        wall=wall,
        user=spent.ru_utime - used.ru_utime,
        system=spent.ru_stime - used.ru_stime,
        rss_before=rss_before,
        rss_peak=most,
        rss_after=resident(),
        facts=outcome.facts,
    )


def keep_to_one_cpu() -> int | None:
    """The CPU that this process runs on from here; None if the system has no such thing."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


def main(arguments: Sequence[str]) -> int:
    benchmark, engine, operations = arguments
    keep_to_one_cpu()
    sys.stdout.write(json.dumps(asdict(measure(benchmark, engine, int(operations)))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
