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
from array import array
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
    facts: dict[str, int]

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
    began = _clocks()
    outcome = await program(operations)
    ended = _clocks()
    rss_peak = peak()
    give_back()
    rss_after = resident()
    if isinstance(outcome, int):
        outcome = Outcome(outcome)
    wall, user, system = (end - begin for begin, end in zip(began, ended, strict=True))
    return Run(
        benchmark,
        engine,
        outcome.operations,
        wall=wall,
        user=user,
        system=system,
        rss_before=rss_before,
        rss_peak=rss_peak,
        rss_after=rss_after,
        facts=outcome.facts,
    )


def _clocks() -> array[float]:
    """Wall, user and system time in seconds.

    In an array: a float of its own would come from the interpreter's free list, whose floats lie
    wherever the benchmark left them, and each one in use keeps a megabyte from being given back.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    return array("d", (time.perf_counter(), used.ru_utime, used.ru_stime))


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
