"""A million at the same time, in one thread, which no machine's threads can do.

Each is a task that sleeps for a second: a coroutine, a timer, and what the runtime knows of it,
half a kilobyte together.  It takes longer than that second in all, because to make a million of
anything and to resume each of them takes Python several.  But it is no million seconds, and it is
one thread: nobody was refused.

With `--asyncio` it is asyncio's `gather` that does it.  Memory is the most that the process ever
had, so the two want a process each: run it twice.

Next: how to spoil it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import runtime

from ..options import parser


async def on_the_runtime(count: int, seconds: float) -> int:
    async def foo() -> int:
        await runtime.sleep(seconds)
        return 1

    return sum(await runtime.join_all(foo() for _ in range(count)))


async def on_asyncio(count: int, seconds: float) -> int:
    async def foo() -> int:
        await asyncio.sleep(seconds)
        return 1

    return sum(await asyncio.gather(*(foo() for _ in range(count))))


def peak_memory() -> int:
    """The most memory that this program ever held, in bytes.

    `ru_maxrss` is a figure of the process, which begins as a copy of its parent; Linux keeps the
    program's own beside it.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser(__doc__, count=1_000_000, seconds=1.0)
    arguments.add_argument("--asyncio", action="store_true", help="on asyncio, for comparison")
    options = arguments.parse_args(argv)
    memory_before, cpu_before, began = peak_memory(), time.process_time(), time.monotonic()
    if options.asyncio:
        name, done = "asyncio", asyncio.run(on_asyncio(options.count, options.seconds))
    else:
        name, done = "runtime", runtime.run(on_the_runtime(options.count, options.seconds))
    wall, cpu = time.monotonic() - began, time.process_time() - cpu_before
    grown = peak_memory() - memory_before
    print(f"{name}: {done:,} of {options.count:,} are done")
    print(f"{wall:.2f} s, {cpu:.2f} s of them on the CPU")
    print(f"memory: {grown / 2**20:,.1f} MiB, {grown / options.count:,.0f} bytes for each")


if __name__ == "__main__":
    main()
