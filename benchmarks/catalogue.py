"""What there is to measure: the definitions that every engine's program keeps to.

Names are verbs, as in the benchmarks of smol and of Tokio.  `size` is how many operations one run
does at `--scale 1`, enough for some tenths of a second.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """One thing to do `size` times; `operation` says what counts as once."""

    name: str
    size: int
    operation: str
    #: Takes minutes on some engines, and gigabytes: only run when named.
    big: bool = False


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("spawn_one", 50_000, "spawn a task that returns at once, and await it"),
        Benchmark("spawn_many", 100_000, "one of many such tasks, all awaited together"),
        Benchmark("yield_now", 300_000, "one turn given to the others, among 100 tasks"),
        Benchmark("event_ping_pong", 50_000, "there and back between two tasks, by events"),
        Benchmark("channel_ping_pong", 50_000, "there and back, by channels that hold one item"),
        Benchmark("channel_throughput", 200_000, "one item through a channel that holds 128"),
        Benchmark("lock_uncontended", 200_000, "take and release a lock that nobody else wants"),
        Benchmark("lock_contended", 50_000, "the same with 10 tasks that yield while they hold it"),
        Benchmark("timer_set_cancel", 100_000, "a timeout around something that is done at once"),
        Benchmark("timer_fire", 100_000, "one sleep of 1 ms, among 1,000 tasks"),
        Benchmark("wake_across_thread", 20_000, "there and back between a task and a thread"),
        Benchmark("run_in_thread", 10_000, "a call that returns at once, in another thread"),
        Benchmark("million_sleepers", 1_000_000, "a task that sleeps for one second", big=True),
        Benchmark("million_timers", 1_000_000, "set a timer, take 99 of 100 back", big=True),
    )
}

SMALL = tuple(name for name, benchmark in BENCHMARKS.items() if not benchmark.big)
