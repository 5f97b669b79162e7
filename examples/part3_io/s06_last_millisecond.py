"""The last millisecond before a timer: truncate the timeout of poll(2), and the loop spins in it.

poll(2) counts whole milliseconds.  A sleep of 10.9 ms that is truncated waits 10, finds that it is
not time yet, has 0.9 ms left, which truncates to 0: "do not wait at all".  And so on, some hundred
turns of the loop for each sleep that is due.  Rounded up it wakes at 11 ms and is 0.1 ms late,
which a sleep may be (too early it may not).

It is an easy mistake, since nothing looks wrong but the CPU time.  Python's own `select.epoll`,
which the runtime stands on, takes seconds and rounds them up.

Next: the same ten clients on the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from ..options import parser
from ..part2_tasks.s02_async_def import Sleep
from .s05_poll import poll_until_first, run


async def naps(count: int) -> None:
    for _ in range(count):
        await Sleep(0.0109)


def turns(count: int, to_milliseconds: Callable[[float], int]) -> int:
    """How often the loop waits during so many naps."""
    waits = 0

    def wait() -> None:
        nonlocal waits
        waits += 1
        poll_until_first(to_milliseconds)

    run(naps(count), wait)
    return waits


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10).parse_args(argv)
    print(f"{options.count} naps, truncated: {turns(options.count, int)} turns of the loop")
    print(f"{options.count} naps, rounded up: {turns(options.count, ceil)} turns of the loop")


if __name__ == "__main__":
    main()
