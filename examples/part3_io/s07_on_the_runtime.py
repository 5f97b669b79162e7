"""The same ten clients on the runtime: the loop is gone from the program, and nothing else changed.

`client` reads like the one that blocked.  What we built is underneath: `stream.recv` is `Recv`, the
group is the list of tasks with their handles, and `run` is the loop.  There is no blocking connect
any more, and when one client fails the others are told.

Next: a thousand times as many.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import runtime

from ..options import parser
from .s01_server import Address, serving


async def client(address: Address) -> None:
    """Print all that the server says."""
    async with await runtime.connect(*address) as stream:
        while data := await stream.recv(1024):
            print(data.decode(), end="")


async def all_clients(count: int, address: Address) -> None:
    async with runtime.TaskGroup() as group:
        for _ in range(count):
            group.spawn(client(address))


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, clients=10, seconds=1.0).parse_args(argv)
    with serving(options.seconds) as address:
        began, cpu_before = time.monotonic(), time.process_time()
        runtime.run(all_clients(options.clients, address))
        cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
        print(f"{wall:.2f} s, {cpu:.4f} s of them on the CPU")


if __name__ == "__main__":
    main()
