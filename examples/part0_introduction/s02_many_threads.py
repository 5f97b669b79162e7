"""Ten, a hundred, a thousand threads, and then as many as the machine gives.

A thousand are no trouble on most machines, and a fair number of thousands works on many.  But each
has a stack (8 MiB of addresses, and as much memory as it has touched), a structure in the kernel, a
number, and a place in somebody's quota.  One of these runs out, and the next thread is refused:
Python raises RuntimeError("can't start new thread").

That is not the end of a program that expects it.  This one asks the system for the reason, which
Python does not tell, looks which limit is reached, and gives every thread back.

While it holds them nobody else may get a thread either, and a cgroup's *memory* limit does not
refuse but kills.  On a machine that others use, bound it: `--most 500`.

Next: what so many threads cost that could be started.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread

from ..options import parser
from .thread_limits import Limit, refusal, thread_limits

ROUNDS = (10, 100, 1_000)


def start(count: int, job: Callable[[], object], started: list[Thread]) -> str | None:
    """Start so many threads; None, or Python's words when it could start no more."""
    while len(started) < count:
        thread = Thread(target=job)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            return f"{type(error).__name__}: {error}"
        started.append(thread)
    return None


def sleep_in_threads(count: int, seconds: float) -> None:
    """A second in each of them; what one of them prints in the last step is left out."""
    began = time.monotonic()
    threads: list[Thread] = []
    refused = start(count, partial(time.sleep, seconds), threads)
    for thread in threads:
        thread.join()
    ended = f"{len(threads):,} threads: {time.monotonic() - began:.2f} s"
    print(ended if refused is None else f"{ended}, and no more of {count:,}: {refused}")


def hold_as_many_as_possible(most: int) -> None:
    """Start threads that wait until no other can be started, tell why, and let all of them go."""
    before = threading.active_count()
    over = threading.Event()
    threads: list[Thread] = []
    try:
        refused = start(most, over.wait, threads)
        if refused is None:
            print(f"{most:,} threads at the same time, and not refused; --most asks for more")
        else:
            reason, limits = refusal(), thread_limits()
            print(f"{len(threads):,} threads at the same time, and not one more: {refused}")
            print(explain(reason, limits))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    print(f"all given back: {threading.active_count() - before} left")


def explain(reason: int, limits: Sequence[Limit]) -> str:
    """The errno by name and in words, and a table of the limits."""
    if reason == 0:
        said = "pthread_create: works again, somebody else has given back what was short"
    else:
        said = f"pthread_create: {errno.errorcode[reason]} ({reason}), {os.strerror(reason)}"
    lines = [said, f"{'limit':40} {'allows':>15} {'used':>15}"]
    for limit in limits:
        mark = "  <- reached" if limit.is_reached else ""
        lines.append(f"{limit.name:40} {limit.allows:15,} {limit.used:15,}{mark}")
    if not any(limit.is_reached for limit in limits):
        lines.append("none of these is reached: it was one that cannot be read from here")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, most=100_000, seconds=1.0).parse_args(argv)
    for count in ROUNDS:
        if count <= options.most:
            sleep_in_threads(count, options.seconds)
    hold_as_many_as_possible(options.most)


if __name__ == "__main__":
    main()
