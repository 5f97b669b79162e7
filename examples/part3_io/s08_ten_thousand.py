"""Ten thousand clients on the runtime, in one thread: the number that all this is named after.

Client and server are the programs of before; what is new is what the machine must give.  A
connection is a descriptor on each side, hence two processes, and a port at ours.  Both are looked
at first, and what is short is said.  And the server can queue only so many connections that it has
not accepted yet, so no more than `CONNECTING` of us knock at a time.

Nothing is printed for each client, but counted: each must have heard `start n` and `end n`, with an
n that no other one heard.  They are silent for five seconds rather than one, because it takes some
of them to connect ten thousand, and the last should come before the first has gone.

Next: the same number on the loop of step 05, or why not.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import runtime

from ..options import parser
from .s01_server import Address, raise_descriptor_limit, serving

#: Connects under way at a time.
CONNECTING = 500

#: Descriptors that each process needs besides its connections.
RESERVED = 64

PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass
class Tally:
    """What became of the clients."""

    connected: int = 0
    most: int = 0  # connected at the same time
    complete: set[int] = field(default_factory=set)  # the numbers heard at both start and end


async def client(address: Address, door: runtime.Semaphore, tally: Tally) -> None:
    """Hear the server out, and note its number."""
    async with door:
        stream = await runtime.connect(*address)
    tally.connected += 1
    tally.most = max(tally.most, tally.connected)
    heard = b""
    async with stream:
        while data := await stream.recv(1024):
            heard += data
    tally.connected -= 1
    if both := re.fullmatch(rb"start (\d+)\nend \1\n", heard):
        tally.complete.add(int(both[1]))


async def all_clients(count: int, address: Address) -> Tally:
    door, tally = runtime.Semaphore(CONNECTING), Tally()
    async with runtime.TaskGroup() as group:
        for _ in range(count):
            group.spawn(client(address, door, tally))
    return tally


def shortage(clients: int, descriptors: int, ports: int) -> str | None:
    """What this machine lacks for so many clients, and what to do about it."""
    most = descriptors - RESERVED
    if clients > most:
        return (
            f"{clients} clients need {clients + RESERVED} open files here, and the server as many, "
            f"but the limit is {descriptors}; ask for at most {most} or raise it (ulimit -Hn)"
        )
    if clients > ports:
        return (
            f"{clients} clients need a local port each, but there are {ports}; "
            f"ask for at most {ports} or widen {PORTS}"
        )
    return None


def local_ports() -> int:
    """How many ports connections can come from; all there are where the system does not tell."""
    try:
        first, last = map(int, PORTS.read_text().split())
    except OSError:
        return 65_535
    return last - first + 1


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser(__doc__, clients=10_000, seconds=5.0)
    options = arguments.parse_args(argv)
    lack = shortage(options.clients, raise_descriptor_limit(), local_ports())
    if lack is not None:
        arguments.error(lack)
    with serving(options.seconds) as address:
        began, cpu_before = time.monotonic(), time.process_time()
        tally = runtime.run(all_clients(options.clients, address))
        cpu, wall = time.process_time() - cpu_before, time.monotonic() - began
    server = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{tally.most:,} of {options.clients:,} clients connected at the same time")
    print(f"{len(tally.complete):,} of them heard start and end")
    print(f"{wall:.2f} s, {cpu:.2f} s of them on the CPU")
    print(f"the server: {server.ru_utime + server.ru_stime:.2f} s on the CPU")


if __name__ == "__main__":
    main()
