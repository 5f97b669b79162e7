"""The benchmarks as programs: one file an engine, the same functions in the same order.

Each is written as somebody who knows the engine best would write it; who finds one that is not is
asked for a patch.  `async def name(n)` does exactly `n` operations and returns how many it has
counted, by what came out and not by what went in.  A file imports its own engine and no other one:
modules weigh on the memory, and on the collector.

What several of them share, and is of no engine, is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

#: Tasks that share the work where a benchmark is about many of them.
TASKS = 100

#: Tasks that sleep for a millisecond in `timer_fire`: so many that some are due at every turn of
#: the loop, which thus never sleeps itself.
SLEEPERS = 1_000

#: Tasks that want one lock.
RIVALS = 10

#: How many items a channel holds in `channel_throughput`.
CAPACITY = 128

#: Long enough for a timeout that never fires.
LONG = 60.0

#: Timeouts set and taken back between two turns of the loop, which is where an engine tidies up.
TURN = 100

#: Of the timers in `million_timers`, one in so many is left to fire.
KEPT = 100


@dataclass(frozen=True)
class Outcome:
    """Operations, and what else there is to say: a count for each word."""

    operations: int
    facts: dict[str, int] = field(default_factory=dict)


def shares(n: int, parts: int) -> list[int]:
    """`n` operations dealt out as evenly as can be: `parts` numbers that add up to `n`."""
    return [n // parts + (part < n % parts) for part in range(parts)]


def deadlines(n: int, now: float) -> list[float]:
    """Where the timers of `million_timers` stand: in no order, 0.1 us apart on average.

    The first is due so late that all can be set and taken back before: 5 us for each.
    """
    first, width = now + 0.01 + n * 5e-6, n * 1e-7
    random = Random(n)
    return [first + random.random() * width for _ in range(n)]


def judge(n: int, kept: list[float], rung: list[tuple[float, float]]) -> Outcome:
    """What became of the timers: `kept` are the deadlines left, `rung` is (deadline, when).

    Raises RuntimeError if others rang than those.
    """
    if sorted(deadline for deadline, _ in rung) != sorted(kept):
        raise RuntimeError(f"{len(kept):,} timers were left to fire, {len(rung):,} fired")
    early = [deadline - when for deadline, when in rung if when < deadline]
    turned = sum(after[0] < before[0] for before, after in pairwise(rung))
    return Outcome(
        n,
        {
            "fired": len(rung),
            "early": len(early),
            "earliest_us": round(max(early, default=0.0) * 1e6),
            "out_of_order": turned,
        },
    )
