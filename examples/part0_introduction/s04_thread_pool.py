"""A pool of threads and a thousand jobs that wait: a few of them can, and the rest starve.

A pool does not run out of threads; it has a fixed number of them, and a queue.  That is right for
jobs that calculate, since no more of them than there are CPUs can go on at a time anyway.  A job
that sleeps, or waits for a peer, needs no CPU, and still it holds a thread until it is done.

So the last job here begins when nearly everything is over, and so does one that takes no time at
all, if it is handed in last.  Meanwhile the CPUs have nothing to do.  A hundred threads are many
for a pool: with Python's default (CPUs + 4, and no more than 32) it takes half a minute or longer.

Next: the same with `async`, at first without any of this.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..options import parser


def sleeper(seconds: float) -> float:
    """When it began."""
    began = time.monotonic()
    time.sleep(seconds)
    return began


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=1_000, workers=100, seconds=1.0).parse_args(argv)
    began, cpu_before = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(sleeper, options.seconds) for _ in range(options.count)]
        quick = pool.submit(time.monotonic)
        waited = [job.result() - began for job in jobs]
        answered = quick.result() - began
    wall, cpu = time.monotonic() - began, time.process_time() - cpu_before
    print(f"{options.count:,} jobs, {options.workers:,} threads: {wall:.2f} s, {cpu:.2f} s of CPU")
    print(f"waited for a thread: the first {min(waited):.2f} s, the last {max(waited):.2f} s")
    print(f"a job of no time at all, handed in last: {answered:.2f} s")


if __name__ == "__main__":
    main()
