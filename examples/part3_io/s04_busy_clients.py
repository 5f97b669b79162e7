"""Ten clients as tasks, on sockets that do not block: one second, and all of it on the CPU.

A non-blocking `recv` is nearly a `poll` already.  It returns at once, with bytes or with an error
that says "not now" (BlockingIOError).  Two of `poll`'s three jobs are done; what remains is to know
when it is worth asking again.  Nobody can tell us yet, so this future wakes itself, like the busy
sleep of Part One, and the loop of Part Two never comes to sleep.

(Connecting may block as well.  To this machine it takes no time, so it stays as it is;
`runtime/connect.py` has what it takes to do without, and it is more than one would think.)

Next: somebody who knows when bytes have come.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from runtime import PENDING, Pending, Ready

from ..options import parser
from ..part1_futures.s01_sleep import Waker
from ..part2_tasks.s02_async_def import Future
from ..part2_tasks.s06_join_handle import spawn
from ..part2_tasks.s08_awake import run
from .s01_server import Address, serving


class Recv(Future[bytes]):
    """The next bytes of a non-blocking socket; b"" at their end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def poll(self, waker: Waker) -> Ready[bytes] | Pending:
        try:
            return Ready(self.sock.recv(1024))
        except BlockingIOError:
            self.arrange(waker)
            return PENDING

    def arrange(self, waker: Waker) -> None:
        """See to it that this is polled when there may be bytes."""
        waker.wake()


#: A socket -> a future of its next bytes; the next step has a better one.
MakeRecv: TypeAlias = Callable[[socket.socket], Future[bytes]]


async def client(address: Address, recv: MakeRecv = Recv) -> None:
    """Print all that the server says."""
    with socket.create_connection(address) as sock:
        sock.setblocking(False)
        while data := await recv(sock):
            print(data.decode(), end="")


async def all_clients(count: int, address: Address, recv: MakeRecv = Recv) -> None:
    handles = [spawn(client(address, recv)) for _ in range(count)]
    for handle in handles:
        await handle


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, clients=10, seconds=1.0).parse_args(argv)
    with serving(options.seconds) as address:
        began, cpu_before = time.monotonic(), time.process_time()
        run(all_clients(options.clients, address))
        cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
        print(f"{wall:.2f} s, {cpu:.2f} s of them on the CPU")


if __name__ == "__main__":
    main()
