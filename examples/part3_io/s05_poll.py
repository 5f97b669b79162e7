"""Ten clients and poll(2): the kernel tells which sockets are worth a try, and the loop sleeps.

poll(2) takes a list of descriptors, and how long to wait for any of them: "wake me when one of
these has bytes, or in so many milliseconds".  That is a sleep which sockets can end, so it takes
the place of the other sleep in the loop; its timeout is the time until the next timer, and so one
call waits for both.  `half_time` shows that: a task that sleeps among those that read.

A `Recv` that is not ready puts its descriptor on the list, and its waker beside it.  Once the loop
has waited the list is thrown away: the next turn polls every task, so each that still waits is on
the next list, and a descriptor that was closed is not.  (One closed in a turn that ended without
a wait is on it once more; poll(2) says so at once, and that is a turn too many.)

Since everybody is polled, it would be enough that the wait ends.  The wakers are called all the
same: a future need not know that this loop has one flag for all.

That is simple, it is right, and it is where the series ends.  Next: a detail of its timeout.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Coroutine, Sequence
from math import ceil
from typing import Any, TypeVar

from ..options import parser
from ..part1_futures.s01_sleep import Waker
from ..part1_futures.s11_wake_times import wake_times
from ..part2_tasks import s08_awake
from ..part2_tasks.s02_async_def import Sleep
from ..part2_tasks.s06_join_handle import spawn
from . import s04_busy_clients
from .s01_server import Address, serving
from .s04_busy_clients import all_clients

T = TypeVar("T")

#: Descriptors that somebody waits to read from, and whom to wake.
wakers: dict[int, Waker] = {}


class Recv(s04_busy_clients.Recv):
    """Leaves its descriptor with the loop."""

    def arrange(self, waker: Waker) -> None:
        wakers[self.sock.fileno()] = waker


def poll_until_first(to_milliseconds: Callable[[float], int] = ceil) -> None:
    """Wait until a socket is readable or a sleep is due, and wake whoever it is."""
    seconds = wake_times.until_first()
    if seconds is None and not wakers:
        raise RuntimeError("sleep forever?")
    poller = select.poll()
    for descriptor in wakers:
        poller.register(descriptor, select.POLLIN)
    timeout = None if seconds is None else to_milliseconds(seconds * 1000)
    for descriptor, _ in poller.poll(timeout):
        wakers[descriptor].wake()
    wakers.clear()
    wake_times.wake_due()


def run(main: Coroutine[Any, Any, T], wait: Callable[[], None] = poll_until_first) -> T:
    """Run `main` on a loop that waits for sockets and for time."""
    try:
        return s08_awake.run(main, wait)
    finally:
        wakers.clear()  # of those that were cut off


async def half_time(seconds: float) -> None:
    await Sleep(seconds / 2)
    print("half-time")


async def clients_and_a_sleeper(count: int, address: Address, seconds: float) -> None:
    spawn(half_time(seconds))
    await all_clients(count, address, Recv)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, clients=10, seconds=1.0).parse_args(argv)
    with serving(options.seconds) as address:
        began, cpu_before = time.monotonic(), time.process_time()
        run(clients_and_a_sleeper(options.clients, address, options.seconds))
        cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
        print(f"{wall:.2f} s, {cpu:.4f} s of them on the CPU")


if __name__ == "__main__":
    main()
